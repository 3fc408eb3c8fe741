# SPDX-License-Identifier: MIT
"""A restart that is killed at any moment leaves the whole tree or nothing, and the image as it was."""
import os
import random
import signal
import subprocess
import time

import pytest
from conftest import LIMIT, REPRISE, Container, describe, exists, fields_of, poll, tree_of

KILLS = int(os.environ.get("REPRISE_KILLS", "200"))
SEED = int(os.environ.get("REPRISE_SEED", "1"))
INNER = "sleep 100000 & sleep 100000 & wait"
TREE = ["bash", "-c", f"unshare --pid --fork bash -c '{INNER}' & {INNER}"]


def tasks_in(folder):
    """Every process that works in this folder: those of the tree, and whatever restart made for it."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/cwd") == str(folder):
                found.append(int(name))
        except OSError:
            pass
    return found


def restart(folder, image):
    return subprocess.Popen([REPRISE, "restart", "-d", str(image)], cwd=str(folder),
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, start_new_session=True)


def find_root(pids):
    """The root of a whole tree among these, or None."""
    return next((pid for pid in pids if sorted(tree_of(pid)) == sorted(pids)), None)


def settle(folder, wanted):
    """Waits until nothing is left, or the whole tree; whether it is the tree, which is ended then."""
    def settled():
        pids = tasks_in(folder)
        root = find_root(pids)
        try:
            return not pids or root and describe(root) == wanted
        except OSError:  # of those some have just ended
            return False

    poll(settled)
    # What is there now was let go whole: it must not be half of something that is still ending.
    time.sleep(0.02)
    pids = tasks_in(folder)
    if not pids:
        return False
    root = find_root(pids)
    assert root and describe(root) == wanted, pids
    pidfd = os.pidfd_open(root)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    poll(lambda: not tasks_in(folder))
    return True


def test_killed_at_random_moments(frame):
    folder = frame.path / "here"
    folder.mkdir()
    box = frame.start(TREE, cwd=str(folder))
    poll(lambda: [row[4] for row in describe(box.pid)].count(["sleep"]) == 4)
    wanted = describe(box.pid)
    image = box.checkpoint()
    poll(lambda: not tasks_in(folder))
    moments = random.Random(SEED)
    lengths, nothing = [], 0
    for _ in range(3):
        start = time.monotonic()
        child = restart(folder, image)
        _, said = child.communicate(timeout=LIMIT)
        lengths.append(time.monotonic() - start)
        assert child.returncode == 0, said
        assert settle(folder, wanted)
    for _ in range(KILLS):
        child = restart(folder, image)
        try:
            child.wait(moments.random() * min(lengths) * 1.1)
        except subprocess.TimeoutExpired:
            child.kill()
        _, said = child.communicate(timeout=LIMIT)
        assert child.returncode in (0, -9), said
        there = settle(folder, wanted)
        assert there or child.returncode == -9
        nothing += not there
    assert nothing > 0
    # The image is as good as ever.
    back = frame.restart(image)
    assert isinstance(back, Container) and describe(back.pid) == wanted


LATE = """
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int prctl(int option, ...)
{
	unsigned long a[4];
	va_list list;
	va_start(list, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(list, unsigned long);
	if (option == PR_SET_PDEATHSIG) {
		fclose(fopen("asks", "w"));
		while (access("go", F_OK) < 0)
			usleep(1000);
	}
	return syscall(SYS_prctl, option, a[0], a[1], a[2], a[3]);
}
long ptrace(int request, ...)
{
	for (;;)
		pause();
}
"""


@pytest.mark.parametrize("words", [["check"], ["run", "--namespaces", "1", "--", "sleep", "100000"]],
                         ids=["check", "run"])
def test_a_parent_that_ends_before_the_child_asks_for_its_signal(frame, words):
    (frame.path / "late.c").write_text(LATE)
    frame.run(["gcc", "-shared", "-fPIC", "-o", str(frame.path / "late.so"), str(frame.path / "late.c")])
    parent = subprocess.Popen([REPRISE, *words], cwd=str(frame.path), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env={**os.environ, "LD_PRELOAD": str(frame.path / "late.so")})
    try:
        poll((frame.path / "asks").exists)
        left = tasks_in(frame.path)
        # The one that sleeps is the last in the line: its parent is the one to die.
        for pid in left[:-1]:
            os.kill(pid, signal.SIGKILL)
        poll(lambda: all(fields_of(pid)["State"][0] == "Z" for pid in left[:-1] if exists(pid)))
        (frame.path / "go").touch()
        poll(lambda: not tasks_in(frame.path))
    finally:
        for pid in tasks_in(frame.path):
            os.kill(pid, signal.SIGKILL)
        parent.wait()
