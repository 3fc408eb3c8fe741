# SPDX-License-Identifier: MIT
"""Descriptors and what is behind them: from inside (the programs say WRONG) and from outside (links,
flags, offsets in /proc, and which descriptors share a description)."""
import ctypes
import fcntl
import os
import pathlib
import re
import signal
import subprocess

import pytest

from conftest import LIMIT, REPRISE, children_of, fields_of, poll, tree_of

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_KCMP, KCMP_FILE = 312, 0


def same(a, b):
    """Whether two (pid, number) lead to one description."""
    return LIBC.syscall(SYS_KCMP, a[0], b[0], KCMP_FILE, a[1], b[1]) == 0


def picture(root):
    """The descriptors of a tree without what is another number after a restart."""
    found, classes, objects = {}, [], {}
    own_numbers = {pid: int(fields_of(pid)["NSpid"][-1]) for pid in tree_of(root)}
    for pid, own in sorted(own_numbers.items(), key=lambda item: item[1]):
        for number in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
            link = os.readlink(f"/proc/{pid}/fd/{number}")
            with open(f"/proc/{pid}/fdinfo/{number}") as f:
                info = dict(line.split(":", 1) for line in f.read().splitlines())
            if link.startswith("pipe:"):
                link = f"pipe {objects.setdefault(link, len(objects))}"
            link = re.sub(r"/[^/]* \(deleted\)", "/(deleted)", link)
            for i, one in enumerate(classes):
                if same((pid, number), one):
                    break
            else:
                i = len(classes)
                classes.append((pid, number))
            found[own, number] = (link, info["pos"].strip(), info["flags"].strip(),
                                  info.get("eventfd-count"), i)
    return found


def go(frame, number):
    (frame.path / f"go-{number}").touch()


def wait_round(frame, number, box=None):
    """Until the program stands before its next step, in the folder that it works in."""
    place = pathlib.Path(f"/proc/{box.pid}/cwd") if box else frame.path
    poll(lambda: (place / f"at-{number}").exists())


def twice(frame, name, flags=()):
    """Runs a program of two rounds with a restart before each; returns what it said."""
    box = frame.start([frame.program(name, flags)])
    for number in (1, 2):
        wait_round(frame, number)
        before = picture(box.pid)
        image = box.checkpoint(f"image{number}")
        box = frame.restart(image)
        assert picture(box.pid) == before
        go(frame, number)
    frame.wait_text("finished\n")
    text = frame.text()
    assert "WRONG" not in text, text
    assert text.count("ready 1\n") == 1 and text.count("ready 2\n") == 1
    return text


@pytest.mark.parametrize("name", ["fd_files", "fd_pipes", "fd_counts", "fd_locks", "fd_owners"])
def test_program(frame, name):
    twice(frame, name)


@pytest.mark.parametrize("name", ["fd_files", "fd_pipes", "fd_counts", "fd_locks", "fd_owners"])
def test_program_is_not_disturbed(frame, name):
    box = frame.start([frame.program(name)])
    for number in (1, 2):
        wait_round(frame, number)
        before = picture(box.pid)
        box.checkpoint(f"image{number}", stop=False)
        assert picture(box.pid) == before
        go(frame, number)
    frame.wait_text("finished\n")
    assert "WRONG" not in frame.text(), frame.text()


@pytest.mark.parametrize("name", ["fd_files", "fd_pipes", "fd_locks"])
def test_on_a_tmpfs_of_the_container(frame, name):
    """The files are on a mount that comes back with the container itself."""
    (frame.path / "place").mkdir()
    script = f"mount -t tmpfs mine place && cd place && exec {frame.program(name)}"
    box = frame.start(["sh", "-c", script], unshare=("--pid", "--mount", "--mount-proc"))
    for number in (1, 2):
        wait_round(frame, number, box)
        before = picture(box.pid)
        image = box.checkpoint(f"image{number}")
        box = frame.restart(image)
        assert picture(box.pid) == before
        pathlib.Path(f"/proc/{box.pid}/cwd/go-{number}").touch()
    frame.wait_text("finished\n")
    assert "WRONG" not in frame.text(), frame.text()
    assert list((frame.path / "place").iterdir()) == []


@pytest.mark.parametrize("leader", ["WHOLE", "GONE"])
def test_corners(frame, leader):
    """Many and high numbers, files without a name; with the leader there, and after it has exited."""
    box = frame.start([frame.program("fd_corners")], env=dict(os.environ, **{leader: "1"}),
                      unshare=("--pid", "--mount-proc"))
    (frame.path / "leave").touch()
    for number in (1, 2):
        wait_round(frame, number)
        if leader == "GONE":
            poll(lambda: fields_of(box.pid)["State"][0] == "Z")
        image = box.checkpoint(f"image{number}")
        box = frame.restart(image)
        go(frame, number)
    frame.wait_text("finished\n")
    assert "WRONG" not in frame.text(), frame.text()


def test_one_image_several_times(frame):
    box = frame.start([frame.program("fd_pipes")])
    wait_round(frame, 1)
    image = box.checkpoint()
    size = (frame.path / "output").stat().st_size
    for _ in range(2):
        os.truncate(frame.path / "output", size)
        for name in ("go-1", "go-2"):
            (frame.path / name).unlink(missing_ok=True)
        again = frame.restart(image)
        go(frame, 1)
        go(frame, 2)
        poll(lambda: "finished\n" in frame.text())
        again.kill()
        assert "WRONG" not in frame.text(), frame.text()


def test_in_the_foreground(frame):
    """The command lives on as the parent, and holds no end of a pipe: a reader sees the end."""
    box = frame.start([frame.program("fd_pipes")])
    wait_round(frame, 1)
    image = box.checkpoint()
    command = subprocess.Popen([REPRISE, "restart", str(image)], stdin=subprocess.DEVNULL)
    go(frame, 1)
    go(frame, 2)
    frame.wait_text("finished\n")
    assert "WRONG" not in frame.text(), frame.text()
    assert [os.readlink(f"/proc/{command.pid}/fd/{n}") for n in os.listdir(f"/proc/{command.pid}/fd")
            if int(n) > 2 and os.readlink(f"/proc/{command.pid}/fd/{n}").startswith("pipe:")] == []
    root = children_of(command.pid)[0]
    signal.pidfd_send_signal(os.pidfd_open(root), signal.SIGKILL)
    assert command.wait(LIMIT) != 0


SHELL = """
exec 3<> both 4< /etc/passwd 5>> log
mkfifo f
(while :; do sleep 0.02; read -r line || break; echo "$line" >> copied; done) < f &
i=0
exec 6> f 3>&-
while [ $i -lt 100000 ]; do i=$((i + 1)); echo $i >&6; echo $i >&5; sleep 0.01; done
"""


def test_numbered_lines_through_a_fifo(frame):
    """Two processes and a FIFO that is never empty for long: no line is lost or doubled."""
    box = frame.start(["sh", "-c", SHELL])
    for number in range(3):
        frame.wait_lines(10 * (number + 1), "copied")
        image = box.checkpoint(f"image{number}")
        count = frame.text("copied").count("\n")
        box = frame.restart(image)
        frame.wait_lines(count + 5, "copied")
    box.kill()
    for name in ("copied", "log"):
        lines = frame.text(name).splitlines()[:-1]
        assert lines == [str(i + 1) for i in range(len(lines))]


REFUSED = """
import os, select, signal, socket, time
os.closerange(3, 1000)
a = socket.socket()
b = select.epoll()
c = os.pidfd_open(os.getpid())
d = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
e = os.open(next(p for p in ("/dev/kmsg", "/dev/fuse", "/dev/port") if os.path.exists(p)), os.O_RDONLY)
f = os.open("/proc/self/ns/pid", os.O_RDONLY)
j = os.open("/proc/self/status", os.O_RDONLY)
import ctypes
libc = ctypes.CDLL(None)
g = libc.timerfd_create(1, 0)
h = libc.inotify_init1(0)
i = libc.signalfd(-1, ctypes.byref(ctypes.c_uint64(1)), 0)
print("ready", *map(int, (a.fileno(), b.fileno(), c, d, e, f, g, h, i, j)), flush=True)
n = 0
while True:
    n += 1
    print(n, flush=True)
    time.sleep(0.01)
"""


def test_refused_all_at_once(frame):
    box = frame.start(["/usr/bin/python3", "-c", REFUSED])
    frame.wait_text("ready")
    done = box.checkpoint(ok=False)
    assert done.returncode == 1
    assert not (frame.path / "image").exists()
    numbers = list(map(int, re.search("ready (.*)", frame.text()).group(1).split()))
    words = ["a socket", "an epoll instance", "a pidfd", "a terminal", "a device", "a namespace",
             "a timerfd", "an inotify instance", "a signalfd", "about one task in a /proc outside"]
    for number, word in zip(numbers, words):
        assert f"descriptor {number} is {word}" in done.stderr, done.stderr
    count = frame.text().count("\n")
    frame.wait_lines(count + 10)
    box.kill()


def test_pipe_to_the_outside_is_refused(frame):
    ends = os.pipe()
    os.set_inheritable(ends[1], True)
    holder = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child=SIGKILL", "sleep", "1000"],
        stdin=subprocess.DEVNULL, stdout=ends[1], stderr=subprocess.DEVNULL, start_new_session=True)
    os.close(ends[1])
    try:
        root = poll(lambda: (children_of(holder.pid) or [None])[0])
        poll(lambda: os.readlink(f"/proc/{root}/exe") != os.readlink(f"/proc/{holder.pid}/exe"))
        done = frame.run([REPRISE, "checkpoint", str(root), str(frame.path / "image")], ok=False)
        assert done.returncode == 1
        assert "descriptor 1 is a pipe" in done.stderr
        assert "held outside the tree too, by process" in done.stderr
        assert os.path.exists(f"/proc/{root}")
    finally:
        signal.pidfd_send_signal(os.pidfd_open(root), signal.SIGKILL)
        holder.wait(LIMIT)
        os.close(ends[0])


def test_shared_table_is_refused(frame):
    box = frame.start([frame.program("fd_shared_table")])
    wait_round(frame, 1)
    done = box.checkpoint(ok=False)
    assert done.returncode == 1
    assert "shares its table of descriptors" in done.stderr
    assert "has a table of descriptors of its own" in done.stderr


def test_a_lock_that_was_taken_meanwhile(frame):
    """A restart that cannot have its lock fails and leaves nothing behind."""
    box = frame.start([frame.program("fd_locks")])
    wait_round(frame, 1)
    image = box.checkpoint()
    with open(frame.path / "whole", "r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = frame.restart(image, ok=False)
        assert done.returncode == 1
        assert "whole" in done.stderr
    again = frame.restart(image)
    go(frame, 1)
    go(frame, 2)
    frame.wait_text("finished\n")
    again.kill()
    assert "WRONG" not in frame.text(), frame.text()


def test_many_tasks_with_the_same_descriptors(frame):
    """Inherited descriptors stay shared over a whole tree, those opened anew do not become so."""
    script = ("exec 3< /etc/passwd; read -r x <&3; for i in $(seq 40); do "
              "(exec 4< /etc/passwd 5>> log; echo $i >&5; read -r x <&4; sleep 1000; :) & done; wait")
    box = frame.start(["bash", "-c", script])
    poll(lambda: len(tree_of(box.pid)) == 81)
    frame.wait_lines(40, "log")
    poll(lambda: all(os.path.exists(f"/proc/{pid}/fd/5") for pid in tree_of(box.pid)[1:]))
    poll(lambda: all("pos:\t0\n" not in open(f"/proc/{pid}/fdinfo/4").read()
                     for pid in tree_of(box.pid)[1:]))
    before = picture(box.pid)
    assert len({row[-1] for row in before.values()}) < len(before) / 2
    image = box.checkpoint()
    again = frame.restart(image)
    assert picture(again.pid) == before


def test_more_to_refuse_than_fits_into_one_message(frame):
    box = frame.start(["python3", "-c", "import socket, time; s = [socket.socket() for i in range(200)];"
                                        "print('ready', flush=True); time.sleep(1000)"])
    frame.wait_text("ready")
    done = box.checkpoint(ok=False)
    assert done.returncode == 1
    assert "descriptor 3 is a socket" in done.stderr and done.stderr.endswith(", and more\n")
    assert len(done.stderr) > 1500
