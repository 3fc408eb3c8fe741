# SPDX-License-Identifier: MIT
"""State of execution: calls that wait, registers, signals, threads, timers, clocks.

Most programs here are run twice, once without a checkpoint: what they print must be the same.
"""
import os
import signal
import subprocess
import time

import pytest

from conftest import exists, fields_of, poll, tree_of


def run_straight(frame, command, waiting=None):
    """The output of a run that nobody disturbs."""
    box = frame.start(command, output="straight")
    frame.wait_text("ready\n", "straight")
    if waiting is not None:
        poll(lambda: is_waiting(box.pid, waiting))
    (frame.path / "go").touch()
    box.wait_gone()
    box.holder.wait(120)
    (frame.path / "go").unlink()
    return frame.text("straight")


def is_waiting(pid, numbers):
    """A thread of the tree sleeps in one of these system calls."""
    for one in tree_of(pid):
        try:
            for tid in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{tid}/syscall") as f:
                    number = f.read().split()[0]
                if number.isdigit() and int(number) in numbers and fields_of(one, tid)["State"][0] == "S":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return False


def run_interrupted(frame, command, waiting=None, times=1):
    box = frame.start(command, output="interrupted")
    frame.wait_text("ready\n", "interrupted")
    for number in range(times):
        if waiting is not None:
            poll(lambda: is_waiting(box.pid, waiting))
        box = frame.restart(box.checkpoint(f"image{number}"))
    if waiting is not None:
        poll(lambda: is_waiting(box.pid, waiting))
    (frame.path / "go").touch()
    box.wait_gone()
    return frame.text("interrupted")


def same(frame, command, waiting=None, times=1):
    straight = run_straight(frame, command, waiting)
    assert straight.endswith("end\n") and "FAILED" not in straight, straight
    assert run_interrupted(frame, command, waiting, times) == straight
    return straight


# Calls that end only when the first thread wakes them; numbers of x86-64.
WOKEN = {
    "read": (0,), "write": (1,), "futex": (202,), "poll": (7,), "ppoll": (271,), "pselect": (270,),
    "wait4": (61,), "waitid": (247,), "pause": (34,), "sigsuspend": (130,), "sigwaitinfo": (128,),
    "lock": (72,), "open": (257,),
}


@pytest.mark.parametrize("call", sorted(WOKEN))
def test_goes_on_waiting(frame, call):
    same(frame, [frame.program("exec_blocked"), call], WOKEN[call])


# Calls that end by themselves after two seconds: wherever the checkpoint meets them.
@pytest.mark.parametrize("call", [
    "clock_nanosleep", "clock_nanosleep_boot", "futex_deadline", "futex_timeout", "nanosleep",
    "poll_timeout", "sigtimedwait"])
def test_timeout(frame, call):
    out = run_interrupted(frame, [frame.program("exec_blocked"), call])
    wanted = {"clock_nanosleep": "0 ", "clock_nanosleep_boot": "0 ", "futex_deadline": "-1 ETIMEDOUT",
              "futex_timeout": "-1 ETIMEDOUT", "nanosleep": "0 ", "poll_timeout": "0 ",
              "sigtimedwait": "-1 EAGAIN"}
    lines = out.split("\n")
    assert f"{call}: {wanted[call]}" in lines and "end" in lines and "early 1" not in lines, out


def test_registers(frame):
    out = same_set(frame, [frame.program("exec_registers")])
    assert "LOST" not in out


def same_set(frame, command):
    """Threads print in any order."""
    straight = run_straight(frame, command)
    out = run_interrupted(frame, command, times=2)
    assert sorted(out.split("\n")) == sorted(straight.split("\n"))
    return out


def test_signals(frame):
    out = same(frame, [frame.program("exec_signals")], times=2)
    assert "main: signal 34 code -1 pid 1 uid 0 value 3" in out


def test_thread(frame):
    command = ["setarch", "-R", frame.program("exec_thread")]
    out = same(frame, command, times=2)
    assert "mutex: EOWNERDEAD" in out and "handler on stack 1" in out


FAULTS = """
import os, signal, sys, time
how, number = sys.argv[1], signal.SIGSEGV
if how == "ignored":
    signal.signal(number, signal.SIG_IGN)
if how == "caught":
    signal.signal(number, lambda *_: print("caught", flush=True))
if how in ("blocked", "pending"):
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
if how == "pending":
    os.kill(os.getpid(), number)
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
if how == "pending":
    print("waited for", signal.sigwait([number]), flush=True)
print("end", flush=True)
"""


@pytest.mark.parametrize("how", ["default", "ignored", "caught", "blocked", "pending"])
def test_what_is_done_with_faults(frame, how):
    """A stub's last call ends in a fault: nothing of that may be seen by the program."""
    (frame.path / "faults.py").write_text(FAULTS)
    box = frame.start(["/usr/bin/python3", "faults.py", how], cwd=frame.path)
    frame.wait_text("ready\n")
    keys = ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
    before = {key: fields_of(box.pid)[key] for key in keys}
    assert before["ShdPnd"] == ["0000000000000400" if how == "pending" else "0" * 16]
    for number in range(2):
        box = frame.restart(box.checkpoint(f"image{number}"))
        assert {key: fields_of(box.pid)[key] for key in keys} == before
    (frame.path / "go").touch()
    box.wait_gone()
    assert frame.text() == "ready\n" + ("waited for 11\n" if how == "pending" else "") + "end\n"


def test_timers(frame):
    same(frame, [frame.program("exec_timers")], times=2)


def test_running_timers(frame):
    box = frame.start([frame.program("exec_ticks")])
    for number in range(2):
        for kind in ("interval", "posix"):
            before = frame.text().count(kind)
            poll(lambda: frame.text().count(kind) >= before + 2)
        box = frame.restart(box.checkpoint(f"image{number}"))
    for kind in ("interval", "posix"):
        before = frame.text().count(kind)
        poll(lambda: frame.text().count(kind) >= before + 2)
    assert "signal" not in frame.text()


def offsets_of(pid):
    with open(f"/proc/{pid}/timens_offsets") as f:
        words = [line.split() for line in f]
    return {name: int(seconds) * 10**9 + int(rest) for name, seconds, rest in words}


def test_clocks_stand_still_meanwhile(frame):
    box = frame.start([frame.program("exec_clocks")])
    frame.wait_text("ready\n")
    image = box.checkpoint()
    gone = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    time.sleep(0.3)
    box = frame.restart(image)
    offsets = offsets_of(box.pid)
    assert offsets["monotonic"] <= -300_000_000 and offsets["boottime"] <= -300_000_000
    (frame.path / "go").touch()
    box.wait_gone()
    lines = [line for line in frame.text().split("\n") if line and line[0].isdigit()]
    values = [[int(word) for word in line.split()] for line in lines]
    for before, after in zip(values, values[1:]):
        assert before[0] <= after[0] and before[1] <= after[1], lines
    # The task's clock at its end is behind the host's by the offset.
    assert values[2][0] - offsets["monotonic"] >= gone


def test_clocks_of_the_host(frame):
    box = frame.start([frame.program("exec_clocks")])
    frame.wait_text("ready\n")
    box = frame.restart(box.checkpoint(), extra=["--host-clocks"])
    assert offsets_of(box.pid) == {"monotonic": 0, "boottime": 0}


def test_clocks_go_on_twice(frame):
    box = frame.start([frame.program("exec_clocks")])
    frame.wait_text("ready\n")
    box = frame.restart(box.checkpoint("image1"))
    first = offsets_of(box.pid)["monotonic"]
    time.sleep(0.1)
    box = frame.restart(box.checkpoint("image2"))
    assert offsets_of(box.pid)["monotonic"] < first < 0
    (frame.path / "go").touch()
    box.wait_gone()
    lines = [line for line in frame.text().split("\n") if line and line[0].isdigit()]
    values = [int(line.split()[0]) for line in lines]
    assert values == sorted(values), lines


def test_restartable_sequence(frame):
    box = frame.start([frame.program("exec_rseq")])
    frame.wait_text("ready\n")
    for number in range(3):
        box.checkpoint(f"image{number}", stop=False)
    for number in range(3, 5):
        box = frame.restart(box.checkpoint(f"image{number}"))
    (frame.path / "go").touch()
    box.wait_gone()
    assert sorted(frame.text().split()) == sorted("ready aborts 1 sequence kept sequence kept end".split())


def test_first_thread_has_ended(frame):
    box = frame.start([frame.program("exec_leader")])
    (frame.path / "leave").touch()
    poll(lambda: fields_of(box.pid)["State"][0] == "Z")
    (frame.path / "left").touch()
    frame.wait_text("ready\n")
    for number in range(2):
        box = frame.restart(box.checkpoint(f"image{number}"))
        poll(lambda: fields_of(box.pid)["State"][0] == "Z")
    (frame.path / "go").touch()
    box.wait_gone()
    assert frame.text() == "begun\nready\npid 1, interval 2000, left 1\nhandler of 34\nend\n"


def test_no_signal_comes_from_the_building(frame):
    box = frame.start([frame.program("exec_children")])
    frame.wait_text("ready\n")
    box = box.move()
    (frame.path / "look").touch()
    frame.wait_text("seen")
    (frame.path / "go").touch()
    box.wait_gone()
    assert frame.text() == ("stopped 1\norphan's parent ended with 4\nready\nseen 0\ndead: 7\nalive: 3\n"
                            "stopped: 2\norphan: 9\nend\n")


@pytest.mark.parametrize("what, word", [
    ("seccomp", "a seccomp filter"), ("dispatch", "dispatches its system calls"),
    ("traced", "is traced by process"), ("fs", "shared with its parent (CLONE_FS)"),
    ("siblings_fs", "it shares its working directory with process"),
    ("thread_fs", "a working directory of its own"), ("time", "a time namespace for its children"),
    *((f"thread_{kind}", f"is in a {kind} namespace that the others are not in")
      for kind in ("network", "uts", "ipc", "cgroup", "time"))])
def test_refused(frame, what, word):
    box = frame.start([frame.program("exec_refused"), what])
    frame.wait_text("ready\n")
    done = box.checkpoint(ok=False)
    assert done.returncode == 1 and word in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    assert not (frame.path / "image").exists()
    (frame.path / "go").touch()
    frame.wait_text("end\n")


# A 32-bit program that waits, without any library.
WAITS_32 = """
.globl _start
_start: mov $29, %eax
        int $0x80
        jmp _start
"""


def can_run(program):
    try:
        child = subprocess.Popen([program])
    except OSError:
        return False
    child.kill()
    return child.wait() == -signal.SIGKILL


def test_32_bit_is_refused(frame):
    (frame.path / "waits.s").write_text(WAITS_32)
    frame.run(["as", "--32", "-o", str(frame.path / "waits.o"), str(frame.path / "waits.s")])
    frame.run(["ld", "-m", "elf_i386", "-o", str(frame.path / "waits"), str(frame.path / "waits.o")])
    if not can_run(frame.path / "waits"):
        pytest.skip("this kernel runs no 32-bit programs")
    box = frame.start([frame.path / "waits"])
    done = box.checkpoint(ok=False)
    assert done.returncode == 1 and "32-bit" in done.stderr, done.stderr
    assert exists(box.pid)
