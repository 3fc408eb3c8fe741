# SPDX-License-Identifier: MIT
"""The frame of the whole-system tests: programs in containers, checkpointed and restarted.

A test looks from outside only: at /proc, at what a program writes, at how it ends. Every container
is held by a pidfd of its root and is killed with all that is in it when the test ends.
"""
import ctypes
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("REPRISE_BUILD", ROOT / "build")).resolve()
REPRISE = str(BUILD / "reprise")
PROGRAMS = ROOT / "tests/programs"
LIMIT = float(os.environ.get("REPRISE_LIMIT", 120))  # seconds for anything that should take a moment
PR_SET_CHILD_SUBREAPER = 36


def poll(what, seconds=LIMIT, pause=0.01):
    """Calls what() until it is true; returns that value."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"still not so after {seconds:.0f} s: {what}")
        time.sleep(pause)


def children_of(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                found += [int(word) for word in f.read().split()]
    except OSError:
        pass
    return found


def tree_of(pid):
    """pid and all its descendants, parents first."""
    found = [pid]
    for one in found:
        found += [c for c in children_of(one) if c not in found]
    return found


def fields_of(pid, tid=None):
    """/proc/PID/status as a dictionary of lists of words."""
    path = f"/proc/{pid}/status" if tid is None else f"/proc/{pid}/task/{tid}/status"
    with open(path) as f:
        lines = [line.split(":", 1) for line in f.read().splitlines() if ":" in line]
    return {key: value.split() for key, value in lines}


def exe_of(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def exists(pid):
    return os.path.exists(f"/proc/{pid}")


def describe(root, outer=False):
    """What a tree looks like from outside: a list of tuples, one a thread, without the numbers of the
    outermost namespace unless outer."""
    first = 0 if outer else 1
    rows = []
    for pid in tree_of(root):
        for tid in sorted(map(int, os.listdir(f"/proc/{pid}/task"))):
            f = fields_of(pid, tid)
            state = f["State"][0]
            rows.append((f["NStgid"][first:], f["NSpid"][first:], f["NSpgid"][first:], f["NSsid"][first:],
                         f["Name"], "Z" if state == "Z" else "T" if state == "T" else "alive"))
    return sorted(rows)


def parents(root):
    """Own number of each process -> own number of its parent, in the root's namespace and below."""
    found = {}
    for pid in tree_of(root):
        f = fields_of(pid)
        parent = int(f["PPid"][0])
        found[tuple(f["NSpid"][1:])] = tuple(fields_of(parent)["NSpid"][1:]) if pid != root else ()
    return found


class Container:
    """A root task (pid as seen from here) and everything below it."""

    def __init__(self, frame, pid, holder=None):
        self.frame, self.pid, self.holder = frame, pid, holder
        self.pidfd = os.pidfd_open(pid)

    def alive(self):
        return not select.select([self.pidfd], [], [], 0)[0]

    def wait_gone(self, seconds=LIMIT):
        # An init is not gone before all of its namespace are reaped: some may be this one's children.
        end = time.monotonic() + seconds
        while self.alive():
            assert time.monotonic() < end, f"task {self.pid} is still there"
            self.frame.reap()
            select.select([self.pidfd], [], [], 0.02)
        self.frame.reap()

    def kill(self):
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.wait_gone()
        if self.holder:
            self.holder.wait(LIMIT)

    def signal(self, number):
        signal.pidfd_send_signal(self.pidfd, number)

    def checkpoint(self, name="image", stop=True, ok=True, extra=()):
        image = self.frame.path / name
        command = [REPRISE, "checkpoint"] + (["--stop"] if stop else []) + list(extra)
        done = self.frame.run(command + [str(self.pid), str(image)], ok=ok)
        if ok and stop:
            self.wait_gone()
            if self.holder:
                self.holder.wait(LIMIT)
        return image if ok else done

    def move(self, times=2):
        """Through an image and back, so often: the last container that came of it."""
        box = self
        for number in range(times):
            box = self.frame.restart(box.checkpoint(f"image-{number}"))
        return box

    def own(self, number):
        """The pid, as seen from here, of the task that the container's youngest level calls number."""
        for pid in tree_of(self.pid):
            if fields_of(pid)["NSpid"][-1] == str(number):
                return pid
        raise AssertionError(f"no task {number}")


class Frame:
    """One test's folder, programs and containers."""

    prefix = ()  # words before every command that make it another user's
    reprise = REPRISE

    def __init__(self, path):
        self.path, self.containers = path, []

    def reap(self):
        held = {c.holder.pid for c in self.containers if c.holder}
        for child in children_of(os.getpid()):
            if child not in held:
                try:
                    os.waitpid(child, os.WNOHANG)
                except ChildProcessError:
                    pass

    def run(self, command, ok=True, **more):
        if command[0] == REPRISE:
            command = [*self.prefix, self.reprise, *command[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT * 2,
                              stdin=subprocess.DEVNULL, **more)
        if ok:
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def program(self, name, flags=()):
        """Builds tests/programs/NAME.c once."""
        target = BUILD / "programs" / name
        source = PROGRAMS / f"{name}.c"
        newest = max(os.path.getmtime(file) for file in (source, *flags) if os.path.exists(file))
        if not target.exists() or target.stat().st_mtime < newest:
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_name(f"{name}.{os.getpid()}")
            self.run(["gcc", "-O1", "-g", "-D_GNU_SOURCE", "-pthread", "-Wall", "-o", str(fresh),
                      str(source), *flags, "-lm"])
            fresh.rename(target)
        return str(target)

    def start(self, command, unshare=("--pid",), output="output", env=None, stdin=None, cwd=None):
        """Runs a command as the init of a new pid namespace; its output goes to a file."""
        # What unshare itself has to say must not come between the program's lines.
        out, errors = open(self.path / output, "ab"), open(self.path / "errors", "ab")
        holder = subprocess.Popen(
            [*self.prefix, "unshare", *unshare, "--fork", "--kill-child=SIGKILL", *map(str, command)],
            stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=errors, env=env,
            cwd=cwd or str(self.path), start_new_session=True)
        out.close()
        errors.close()
        pid = poll(lambda: (children_of(holder.pid) or [None])[0])
        container = Container(self, pid, holder)
        self.containers.append(container)
        # unshare's child is the container's root from its first moment; exec comes a moment later.
        poll(lambda: not container.alive() or exe_of(pid) not in ("", exe_of(holder.pid)))
        return container

    def plain(self, command, output="output"):
        """Runs a command without a namespace of its own, in a session of its own."""
        out = open(self.path / output, "ab")
        child = subprocess.Popen([*self.prefix, *map(str, command)], stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=out, cwd=str(self.path), start_new_session=True)
        out.close()
        container = Container(self, child.pid, child)
        self.containers.append(container)
        return container

    def restart(self, image, ok=True, extra=(), plain=False):
        pidfile = self.path / "pidfile"
        done = self.run([REPRISE, "restart", "-d", "--pidfile", str(pidfile), *extra, str(image)], ok=ok)
        if not ok:
            return done
        container = Container(self, int(pidfile.read_text()))
        self.containers.append(container)
        return container

    def text(self, name="output"):
        return (self.path / name).read_text(errors="replace")

    def wait_text(self, wanted, name="output", seconds=LIMIT):
        poll(lambda: (self.path / name).exists() and wanted in self.text(name), seconds)

    def wait_lines(self, count, name="output", seconds=LIMIT):
        poll(lambda: (self.path / name).exists() and self.text(name).count("\n") >= count, seconds)

    def close(self):
        for container in self.containers:
            try:
                container.kill()
            except (AssertionError, subprocess.TimeoutExpired):
                pass
            os.close(container.pidfd)
        # Orphans of a tree that was no pid namespace have come to this process, the subreaper.
        poll(self.end_orphans)

    def end_orphans(self):
        """Ends the children that no container holds; whether none is left."""
        held = {c.holder.pid for c in self.containers if c.holder}
        left = [child for child in children_of(os.getpid()) if child not in held]
        for child in left:
            os.kill(child, signal.SIGKILL)  # the number is its own until it is reaped here
        self.reap()
        return not left


@pytest.fixture(scope="session", autouse=True)
def subreaper():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@pytest.fixture
def frame():
    path = pathlib.Path(tempfile.mkdtemp(prefix="reprise-test-"))
    one = Frame(path)
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(path, ignore_errors=True)


def pytest_terminal_summary(terminalreporter):
    stats = terminalreporter.stats
    passed = len(stats.get("passed", []))
    failed = len(stats.get("failed", [])) + len(stats.get("error", []))
    skipped = len(stats.get("skipped", []))
    for report in stats.get("skipped", []):
        terminalreporter.write_line(f"SKIP {report.nodeid}: {report.longrepr}")
    terminalreporter.write_line(f"{passed} passed, {failed} failed, {skipped} skipped")
