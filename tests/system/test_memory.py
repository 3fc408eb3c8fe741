# SPDX-License-Identifier: MIT
"""Memory: tests/programs/memory.c looks from inside, /proc/PID/smaps from outside."""
import ctypes
import fcntl
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess

import pytest

from conftest import PROGRAMS, REPRISE, Container, children_of, poll

PARTS = [str(PROGRAMS / f"memory_{part}.c") for part in ("private", "files", "special")]
KINDS = re.findall(r'^\t\{"(\w+)", ', "".join(open(part).read() for part in PARTS), re.M)
PAGEMAP_SCAN = 0xc0606610
PAGE_IS_PFNZERO = 1 << 5
HEAD = re.compile(r"^([0-9a-f]+-[0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ \d+ *(.*)$")
# Set by the kernel as it likes: soft dirty, and what an area is accounted for (VM_ACCOUNT follows
# from mapping an area writable, which a read-only one may have been once).
VOLATILE = {"sd", "ac"}


def areas_of(pid):
    """[(addresses, protection, offset, name, flags)], neighbours that are alike joined."""
    rows = []
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            head = HEAD.match(line)
            if head:
                rows.append([*head.groups(), None])
            elif line.startswith("VmFlags:"):
                rows[-1][4] = frozenset(line.split()[1:]) - VOLATILE
    return join([row for row in rows if row[3] != "[vsyscall]"])


def join(rows):
    joined = []
    for addresses, protection, offset, name, flags in rows:
        start, end = (int(word, 16) for word in addresses.split("-"))
        offset = int(offset, 16)
        name = re.sub(r"/\.reprise-\S+|/gone|(/folder/inner)?/file", "/deleted", name)
        last = joined[-1] if joined else None
        if last and last[1] == start and last[2] == protection and last[4:] == [name, flags] and (
                name in ("", "[heap]") or last[3] + last[1] - last[0] == offset):
            last[1] = end
        else:
            joined.append([start, end, protection, offset, name, flags])
    return joined


def places_of(pid):
    """Fields of /proc/PID/stat that tell where code, data, brk, arguments are; auxv; exe; cmdline."""
    stat = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    fields = [stat[i - 3] for i in (26, 27, 28, 45, 46, 47, 48, 49, 50, 51)]
    return (fields, *(open(f"/proc/{pid}/{name}", "rb").read() for name in ("auxv", "cmdline", "environ")),
            os.readlink(f"/proc/{pid}/exe"))


def memory_program(frame):
    return frame.program("memory", PARTS)


@pytest.mark.parametrize("kind", KINDS)
def test_kind(frame, kind):
    box = frame.start([memory_program(frame), kind])
    frame.wait_text("ready\n")
    family = [box.pid] + children_of(box.pid)
    before = [(areas_of(pid), places_of(pid)) for pid in family]
    image = box.checkpoint()
    again = frame.restart(image)
    family = [again.pid] + children_of(again.pid)
    after = [(areas_of(pid), places_of(pid)) for pid in family]
    assert len(after) == len(before)
    for (areas, places), (areas_then, places_then) in zip(after, before):
        assert areas == areas_then
        assert places == places_then
    again.signal(signal.SIGUSR1)
    poll(lambda: frame.text().endswith(("good\n", "bad\n")))
    assert frame.text() == "ready\ngood\n"


@pytest.mark.parametrize("kind", ["heap", "file_private", "file_deleted", "shared_anonymous", "large"])
def test_second_generation(frame, kind):
    """A checkpoint of what was restarted, and a program that goes on after --stop was not asked for."""
    box = frame.start([memory_program(frame), kind])
    frame.wait_text("ready\n")
    before = areas_of(box.pid)
    again = frame.restart(box.checkpoint())
    third = frame.restart(again.checkpoint("second"))
    assert areas_of(third.pid) == before
    third.signal(signal.SIGUSR1)
    poll(lambda: frame.text().endswith(("good\n", "bad\n")))
    assert frame.text() == "ready\ngood\n"


def goes_on(frame, box):
    """Out and back: the same from outside, and good from inside."""
    frame.wait_text("ready\n")
    before = (areas_of(box.pid), places_of(box.pid))
    again = frame.restart(box.checkpoint())
    assert (areas_of(again.pid), places_of(again.pid)) == before
    again.signal(signal.SIGUSR1)
    poll(lambda: frame.text().endswith(("good\n", "bad\n")))
    assert frame.text() == "ready\ngood\n"


@pytest.mark.parametrize("kind", ["file_private", "file_shared", "file_deleted"])
def test_files_of_a_tmpfs_of_its_own(frame, kind):
    inside, program = frame.path / "inside", memory_program(frame)
    inside.mkdir()
    script = f"mount -t tmpfs tmpfs {inside} && cp {program} {inside}/p && cd {inside} && exec {inside}/p {kind}"
    goes_on(frame, frame.start(["sh", "-c", script], unshare=("--pid", "--mount")))


def test_changed_root(frame):
    inside = frame.path / "inside"
    inside.mkdir()
    script = f"mount --rbind / {inside} && exec chroot {inside} {memory_program(frame)} heap"
    goes_on(frame, frame.start(["sh", "-c", script], unshare=("--pid", "--mount")))


def test_deleted_executable(frame):
    program = frame.path / "gone"
    shutil.copy(memory_program(frame), program)
    box = frame.start([program, "heap"])
    frame.wait_text("ready\n")
    program.unlink()
    goes_on(frame, box)


def test_checkpoint_disturbs_nothing(frame):
    box = frame.start([memory_program(frame), "many"])
    frame.wait_text("ready\n")
    before = areas_of(box.pid)
    box.checkpoint(stop=False)
    assert areas_of(box.pid) == before
    box.signal(signal.SIGUSR1)
    poll(lambda: frame.text().endswith(("good\n", "bad\n")))
    assert frame.text() == "ready\ngood\n"


@pytest.mark.parametrize("kind", ["sparse", "large", "forbidden", "file_private"])
def test_without_pagemap_scan(frame, kind):
    """Kernels before 6.7."""
    box = frame.start([memory_program(frame), kind])
    frame.wait_text("ready\n")
    image = frame.path / "image"
    frame.run([frame.program("without"), "pagemap_scan", REPRISE, "checkpoint", "--stop",
               str(box.pid), str(image)])
    frame.restart(image).signal(signal.SIGUSR1)
    poll(lambda: frame.text().endswith(("good\n", "bad\n")))
    assert frame.text() == "ready\ngood\n"


SHARING = """
import mmap, os, signal
memory = mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(os.urandom(1 << 20) * 32)
for _ in range(4):
    if os.fork() == 0:
        signal.pause()
print("ready", flush=True)
signal.pause()
"""


def own_memory(pid):
    """kB that the process does not share."""
    rollup = open(f"/proc/{pid}/smaps_rollup").read()
    return int(re.search(r"^Private_Dirty: +(\d+) kB", rollup, re.M).group(1))


def test_pages_shared_since_a_fork_stay_shared(frame):
    (frame.path / "sharing.py").write_text(SHARING)
    box = frame.start(["/usr/bin/python3", "sharing.py"], cwd=frame.path)
    frame.wait_text("ready\n")
    children = children_of(box.pid)
    before = [own_memory(pid) for pid in children]
    box.checkpoint(stop=False)
    assert len(before) == 4 and max(before) < 8 << 10
    assert max(own_memory(pid) for pid in children) < 8 << 10


def test_without_userfaultfd(frame):
    box = frame.start([memory_program(frame), "large"])
    frame.wait_text("ready\n")
    image, pidfile = box.checkpoint(), frame.path / "pidfile"
    frame.run([frame.program("without"), "userfaultfd", REPRISE, "restart", "-d", "--pidfile",
               str(pidfile), str(image)])
    again = Container(frame, int(pidfile.read_text()))
    frame.containers.append(again)
    again.signal(signal.SIGUSR1)
    poll(lambda: frame.text().endswith(("good\n", "bad\n")))
    assert frame.text() == "ready\ngood\n"


def test_one_image_twice(frame):
    box = frame.start([memory_program(frame), "sparse"])
    frame.wait_text("ready\n")
    image = box.checkpoint()
    frame.restart(image).kill()
    again = frame.restart(image)
    again.signal(signal.SIGUSR1)
    frame.wait_text("good\n")


def tells_zero_pages():
    """Whether ioctl(PAGEMAP_SCAN) knows a page that was only read as the zero page."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 4 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    assert memory[0] == 0
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    found = (ctypes.c_uint64 * 3)()
    request = struct.pack("12Q", 96, 0, start, start + page, 0, ctypes.addressof(found), 1, 0,
                          0, 0, 0, PAGE_IS_PFNZERO)
    try:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY)
        try:
            return fcntl.ioctl(fd, PAGEMAP_SCAN, bytearray(request)) == 1 and found[2] == PAGE_IS_PFNZERO
        finally:
            os.close(fd)
    except OSError:
        return False


def test_zero_pages_take_no_room(frame):
    if not tells_zero_pages():
        pytest.skip("this kernel does not tell which pages are the zero page")
    box = frame.start([memory_program(frame), "zeros"])
    frame.wait_text("ready\n")
    image = box.checkpoint()
    assert os.path.getsize(image / "pages") < 2 << 20


def test_changed_files_are_said_at_once(frame):
    program = frame.path / "program"
    subprocess.run(["cp", memory_program(frame), program], check=True)
    box = frame.start([program, "file_read_only"])
    frame.wait_text("ready\n")
    image = box.checkpoint()
    program.unlink()
    with open(frame.path / "mapped", "ab") as f:
        f.write(b"more")
    done = frame.restart(image, ok=False)
    assert done.returncode == 1
    assert f"{program} is missing" in done.stderr
    assert f"{frame.path}/mapped has another size" in done.stderr
    assert done.stderr.count("\n") == 1


def test_other_build_is_said(frame):
    program = frame.path / "program"
    subprocess.run(["cp", memory_program(frame), program], check=True)
    box = frame.start([program, "heap"])
    frame.wait_text("ready\n")
    image = box.checkpoint()
    size = program.stat().st_size
    with open(program, "r+b") as f:
        content = f.read()
        note = content.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16
        f.seek(note)
        f.write(bytes(20))
    assert program.stat().st_size == size
    done = frame.restart(image, ok=False)
    assert done.returncode == 1 and "another build id" in done.stderr


@pytest.mark.parametrize("kind, word", [
    ("userfaultfd", "userfaultfd"), ("system_v", "System V"), ("hugetlb", "hugetlbfs"),
    ("aio", "shared with the kernel")])
def test_refused_before_anything(frame, kind, word):
    box = frame.start([frame.program("memory_refused"), kind])
    poll(lambda: frame.text() in ("ready\n", "cannot\n"))
    assert frame.text() == "ready\n"
    done = box.checkpoint(ok=False)
    assert done.returncode == 1 and word in done.stderr
    assert box.alive() and not (frame.path / "image").exists()


def test_file_below_a_mount_is_refused(frame):
    inside, program = frame.path / "inside", memory_program(frame)
    inside.mkdir()
    os.mkfifo(frame.path / "go")
    mount = f"mount -t tmpfs tmpfs {inside}"
    script = f"{mount}; cd {inside}; {program} file_private & cd /; read line <{frame.path}/go; {mount}; wait"
    box = frame.start(["bash", "-c", script], unshare=("--pid", "--mount"))
    frame.wait_text("ready\n")
    with open(frame.path / "go", "w") as go:
        go.write("go\n")
    poll(lambda: open(f"/proc/{box.pid}/mountinfo").read().count(f" {inside} ") == 2)
    done = box.checkpoint(ok=False)
    assert done.returncode == 1 and f"({inside}/mapped) is hidden below a mount" in done.stderr
    assert box.alive()
