# SPDX-License-Identifier: MIT
"""One journey out and back, timed, and the floors beside it: what the benchmarks share."""
import contextlib
import ctypes
import functools
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ["REPRISE_BUILD"])
ROOT = pathlib.Path(os.environ["REPRISE_ROOT"])
REPRISE = str(BUILD / "reprise")
LIMIT = 600
LIBC = ctypes.CDLL(None)


def die_with_us():
    """PR_SET_PDEATHSIG: a benchmark that is ended leaves no tree behind."""
    LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)


def phases(words):
    """Milliseconds at the end of each phase, and of the whole command."""
    start = time.monotonic()
    done = subprocess.run([REPRISE, *map(str, words)], capture_output=True, text=True, timeout=LIMIT,
                          stdin=subprocess.DEVNULL)
    whole = (time.monotonic() - start) * 1e3
    if done.returncode:
        sys.exit(f"{words}: {done.stderr}")
    found = {}
    for name, ms in re.findall(r"^reprise: (\w+) done after ([0-9.]+) ms", done.stderr, re.M):
        found[name] = float(ms)
    return found, whole, done.stdout


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def end(pid):
    fd = os.pidfd_open(pid)
    signal.pidfd_send_signal(fd, signal.SIGKILL)
    limit = time.monotonic() + LIMIT
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < limit:
        reap()
        time.sleep(0.002)
    os.close(fd)


@contextlib.contextmanager
def workplace():
    """A folder on tmpfs; and who loses its parent is this script's child (PR_SET_CHILD_SUBREAPER)."""
    LIBC.prctl(36, 1, 0, 0, 0)
    work = pathlib.Path(tempfile.mkdtemp(prefix="reprise-bench-", dir="/dev/shm"))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@functools.cache
def compiled(source, name):
    """A C program of bench/."""
    out = BUILD / name
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", str(ROOT / "bench" / source), "-o", str(out)],
                   check=True)
    return str(out)


def floor(times, *words):
    """The median, in ms, of what bench/floor.c takes for these words."""
    command = [compiled("floor.c", "bench-floor"), *map(str, words)]
    return statistics.median(float(subprocess.run(command, capture_output=True, text=True, check=True,
                                                  timeout=LIMIT).stdout) for _ in range(times))


def journey(command, work, times):
    """Medians in ms of: frozen, whole checkpoint, bare forest built, until released, whole restart."""
    rows = []
    for _ in range(times):
        image = work / "image"
        # The output pipe belongs to this script: closed, so that the program holds nothing of it.
        with open(work / "out", "w") as out:
            holder = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child=SIGKILL",
                                       *map(str, command)], stdin=subprocess.DEVNULL, stdout=out,
                                      stderr=out, start_new_session=True, preexec_fn=die_with_us)
        limit = time.monotonic() + LIMIT
        while (work / "out").read_text() != "ready\n" and time.monotonic() < limit:
            time.sleep(0.005)
        pid = int(pathlib.Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])
        try:
            out, out_whole, _ = phases(["checkpoint", "-v", pid, image])
        finally:
            end(pid)
            holder.wait()
        back, back_whole, root = phases(["restart", "-v", "-d", image])
        end(int(root))
        shutil.rmtree(image)
        rows.append((out["release"] - out["survey"], out_whole, back["build"] - back["nursery"], back["release"],
                     back_whole))
    return [statistics.median(column) for column in zip(*rows)]
