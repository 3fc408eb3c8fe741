# SPDX-License-Identifier: MIT
"""The way there: what is refused, what is said, and that nobody is disturbed."""
import os
import subprocess

from conftest import REPRISE, children_of, describe, exists, fields_of, poll, tree_of

PYTHON = "/usr/bin/python3"
SOCKETS = """
import os, select, socket, time
first = socket.socket()
if os.fork() == 0:
    second = select.epoll()
    print("child", os.getpid(), flush=True)
    time.sleep(100000)
print("parent", os.getpid(), flush=True)
time.sleep(100000)
"""
BUSY = """
import subprocess
i = 0
while True:
    done = subprocess.run(["/bin/echo", str(i)], stdout=subprocess.PIPE, close_fds=False)
    assert done.stdout == b"%d\\n" % i
    i += 1
    print(i, flush=True)
"""


def refused(frame, *command, code=1):
    done = frame.run([REPRISE, "checkpoint", *map(str, command)], ok=False)
    assert done.returncode == code, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("reprise: "), done.stderr
    return done.stderr


def test_all_that_is_refused_is_said_at_once(frame):
    box = frame.start([PYTHON, "-c", SOCKETS])
    frame.wait_text("parent")
    frame.wait_text("child")
    said = refused(frame, "--stop", box.pid, frame.path / "image")
    child = children_of(box.pid)[0]
    assert f"{box.pid} 1 (python3): " in said and f"{child} 2 (python3): " in said
    assert "descriptor 3 is a socket" in said and "descriptor 4 is an epoll" in said
    for pid in tree_of(box.pid):
        assert fields_of(pid)["TracerPid"] == ["0"]
    assert not (frame.path / "image").exists()


def test_wrong_words(frame):
    image = frame.path / "image"
    for words in ((), ("1",), ("x", image), ("-1", image), ("0", image), ("1", image, image), ("--so", "1", image)):
        said = refused(frame, *words, code=2)
        assert "usage" in said
    done = frame.run([REPRISE, "checkpoint", "--help"])
    assert "--stop" in done.stdout


def test_nobody_there(frame):
    child = subprocess.Popen(["true"])
    child.wait()
    assert "no task" in refused(frame, child.pid, frame.path / "image")
    box = frame.plain([PYTHON, "-c", "import threading, time\n"
                       "threading.Thread(target=time.sleep, args=(100000,)).start()\n"
                       "print('up', flush=True)"])
    frame.wait_text("up")
    threads = poll(lambda: [int(t) for t in os.listdir(f"/proc/{box.pid}/task") if int(t) != box.pid])
    assert "no task" in refused(frame, threads[0], frame.path / "image")


def test_a_zombie_is_no_root(frame):
    box = frame.start(["bash", "-c", "exec -a x sleep 0 & exec sleep 100000"])
    zombie = poll(lambda: [p for p in children_of(box.pid) if fields_of(p)["State"][0] == "Z"])[0]
    assert "has ended" in refused(frame, zombie, frame.path / "image")


def test_the_folder_is_there(frame):
    box = frame.start(["sleep", "100000"])
    (frame.path / "image").mkdir()
    assert "File exists" in refused(frame, box.pid, frame.path / "image")
    assert "No such file" in refused(frame, box.pid, frame.path / "no" / "image")
    assert box.alive()


def test_not_itself(frame):
    script = f"{REPRISE} checkpoint $$ {frame.path}/image; echo $?; exec sleep 100000"
    box = frame.plain(["bash", "-c", script])
    frame.wait_text("\n1\n")
    assert "checkpointing process itself" in frame.text()
    assert box.alive()


def test_children_that_come_and_go(frame):
    """vfork, exec and exit while the tree is looked at and frozen."""
    box = frame.start([PYTHON, "-c", BUSY])
    frame.wait_lines(3)
    for i in range(12):
        done = frame.run([REPRISE, "checkpoint", str(box.pid), str(frame.path / f"image{i}")])
        assert done.stderr == ""
        frame.wait_lines(frame.text().count("\n") + 2)
    assert box.alive()
    lines = frame.text().split("\n")[:-1]
    assert lines == [str(i + 1) for i in range(len(lines))]


def test_who_came_from_outside(frame):
    """A member of the container's namespace whose parent is not in the tree."""
    box = frame.start(["sleep", "100000"])
    guest = subprocess.Popen(["nsenter", "--target", str(box.pid), "--pid", "sleep", "200000"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        member = poll(lambda: (children_of(guest.pid) or [None])[0])
        poll(lambda: os.readlink(f"/proc/{member}/exe").endswith("/sleep"))
        image = box.checkpoint()
        poll(lambda: not exists(member) or fields_of(member)["State"][0] == "Z")
        shown = frame.run([REPRISE, "show", str(image)]).stdout
        assert shown.count("sleep") >= 2, shown
    finally:
        guest.kill()
        guest.wait()


def test_stopped_tasks_stay_stopped(frame):
    box = frame.start(["bash", "-c", "sleep 100000 & sleep 100000 & kill -STOP $!; echo up; wait"])
    frame.wait_text("up")
    stopped = poll(lambda: [p for p in children_of(box.pid) if fields_of(p)["State"][0] == "T"])[0]
    poll(lambda: all(p == stopped or fields_of(p)["Name"] == ["sleep"] for p in children_of(box.pid)))
    before = describe(box.pid)
    for i in range(3):
        frame.run([REPRISE, "checkpoint", str(box.pid), str(frame.path / f"image{i}")])
        poll(lambda: fields_of(stopped)["State"][0] == "T")
        assert describe(box.pid) == before


def test_signals_on_their_way_while_a_vfork_is_waited_for(frame):
    """Each attempt to stop the tree lets all go again; a thread that was about to take a signal takes it."""
    box = frame.plain([frame.program("race_vfork")])
    frame.wait_lines(2)
    for i in range(20):
        frame.run([REPRISE, "checkpoint", str(box.pid), str(frame.path / f"image{i}")])
    frame.wait_lines(frame.text().count("\n") + 2)
    assert "FAILED" not in frame.text() and box.alive()
