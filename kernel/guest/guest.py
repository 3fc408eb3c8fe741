# SPDX-License-Identifier: GPL-2.0-only
"""A guest that runs the lines of a plan: its initramfs, its boot, what it said.

In the environment: REPRISE_QEMU, another emulator; REPRISE_BOOT_LIMIT, the seconds in which the kernel
has to reach init; REPRISE_GUEST_LIMIT, those in which all has to end.
"""
import ctypes
import os
import re
import selectors
import shutil
import signal
import stat
import subprocess
import time

BOOT_LIMIT = float(os.environ.get("REPRISE_BOOT_LIMIT", 600))
MACHINES = {
    "x86_64": ["qemu-system-x86_64", "-machine", "pc", "-cpu", "max"],
    "arm64": ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a57"],
}
CONSOLES = {"x86_64": "ttyS0", "arm64": "ttyAMA0"}
QUIET = "tsc=reliable rcupdate.rcu_cpu_stall_suppress=1"
# What the kernel says when it finds itself wrong.
SPLAT = re.compile(r"BUG:|WARNING:|Oops|KASAN:|UBSAN:|kernel BUG|Kernel panic|INFO: (task|rcu|trying)|"
                   r"possible (recursive|circular)|suspicious RCU|inconsistent lock state|held lock freed|"
                   r"general protection fault|unreferenced object|sleeping function called|"
                   r"refcount_t|list_(add|del) corruption|stack-protector|soft lockup|hard LOCKUP")


class Failure(Exception):
    pass


def end_with_parent():
    """PR_SET_PDEATHSIG: no guest outlives what watches over it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def entry(name, mode, data=b"", ino=[0], device=(0, 0)):
    """One member of a cpio archive in the kernel's "newc" form."""
    ino[0] += 1
    raw = name.encode() + b"\0"
    fields = (ino[0], mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + raw
    head += b"\0" * (-len(head) % 4)
    return head + data + b"\0" * (-len(data) % 4)


def initramfs(path, files, plan):
    """files: name in the guest -> (path here, mode)."""
    folders, members = set(), []
    for name in files:
        parts = name.split("/")[:-1]
        folders.update("/".join(parts[:i + 1]) for i in range(len(parts)))
    for name in sorted(folders | {"dev", "proc", "sys", "tmp", "run"}):
        members.append(entry(name, stat.S_IFDIR | 0o755))
    members.append(entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    members.append(entry("plan", stat.S_IFREG | 0o644, plan.encode()))
    for name, (source, mode) in files.items():
        with open(source, "rb") as f:
            members.append(entry(name, stat.S_IFREG | mode, f.read()))
    members.append(entry("TRAILER!!!", 0))
    with open(path, "wb") as f:
        f.write(b"".join(members))
    return path


class Watch:
    """Reads the console line by line within time limits."""

    def __init__(self, child, log, limit):
        self.child, self.log, self.pending = child, log, b""
        self.start = time.monotonic()
        self.end = self.start + limit
        self.boot_end = self.start + BOOT_LIMIT
        self.booted = False
        self.poll = selectors.DefaultSelector()
        self.poll.register(child.stdout, selectors.EVENT_READ)

    def lines(self):
        while True:
            now = time.monotonic()
            if now > self.end:
                raise Failure(f"the guest was still running after {self.end - self.start:.0f} s")
            if not self.booted and now > self.boot_end:
                raise Failure(f"the kernel did not reach init within {BOOT_LIMIT:.0f} s")
            if not self.poll.select(1):
                continue
            data = os.read(self.child.stdout.fileno(), 1 << 16)
            if not data:
                if self.pending:
                    yield self.pending.decode(errors="replace")
                return
            self.log.write(data)
            self.log.flush()
            self.pending += data
            *whole, self.pending = self.pending.split(b"\n")
            for line in whole:
                text = line.decode(errors="replace").rstrip("\r")
                self.booted = self.booted or text.endswith("@@ boot")
                yield text


def ended(child):
    """Its status. An emulator that closed its console is about to end, or has lost its mind."""
    try:
        child.wait(1)
    except subprocess.TimeoutExpired:
        child.kill()
    return child.wait()


def boot(arch, image, initrd, log, limit, smp=2, memory="1G", shift=1, more=(), cmdline=""):
    """The lines of the console, and why the guest did not get to its end, if so.

    The guest's time is counted in instructions: what it sees does not depend on how busy the host is.
    """
    emulator = os.environ.get("REPRISE_QEMU", MACHINES[arch][0])
    if not shutil.which(emulator):
        raise Failure(f"{emulator} is missing: tools/deps kernel")
    limit = float(os.environ.get("REPRISE_GUEST_LIMIT", limit))
    append = f"console={CONSOLES[arch]} loglevel=5 panic=-1 oops=panic {QUIET} {cmdline}"
    command = [emulator, *MACHINES[arch][1:], "-accel", "tcg", "-icount", f"shift={shift},sleep=off",
               "-smp", str(smp), "-m", memory, "-nodefaults", "-nographic", "-serial", "stdio",
               "-no-reboot", "-kernel", str(image), "-initrd", str(initrd), "-append", append, *more]
    lines, why = [], None
    with open(log, "wb") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, preexec_fn=end_with_parent)
        watch = Watch(child, out, limit)
        try:
            for line in watch.lines():
                lines.append(line)
                if line.endswith("@@ done"):
                    break
        except Failure as e:
            why = str(e)
        finally:
            status = ended(child)
    if why is None and not any(line.endswith("@@ done") for line in lines):
        why = "the guest ended before its tests did" if watch.booted else "the kernel did not reach init"
        why += f", and the emulator ended with status {status}"
    return {"lines": lines, "why": why, "log": log}


def report(result, expected):
    """Prints what the guest said of each program and the counts; the exit status."""
    passed = failed = skipped = seen = 0
    name, bad, counts = None, [], [0, 0, 0]
    for line in result["lines"]:
        if SPLAT.search(line):
            failed += 1
            print("FAILED: the kernel said: " + line)
        found = re.search(r"@@ (start|end|trouble:) ?(.*)", line)
        if found and found.group(1) == "start":
            name, bad, counts = found.group(2), [], [0, 0, 0]
        elif found and found.group(1) == "end":
            status, seconds = found.group(2).split()
            seen += 1
            if status not in ("0", "4") or counts[1]:
                print("\n".join(bad[-60:]))
                failed += max(counts[1], 1)
            elif not any(counts):
                counts = [0, 0, 1] if status == "4" else [1, 0, 0]
            passed, skipped = passed + counts[0], skipped + counts[2]
            print(f"{name:40} {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped   "
                  f"{seconds} s   {'' if status in ('0', '4') else 'status ' + status}", flush=True)
            name = None
        elif found:
            print(line, flush=True)
        elif name:
            tap = re.match(r"\s*(not ok|ok) \d+(.*)", line)
            if tap:
                kind = 1 if tap.group(1) == "not ok" else 2 if "# SKIP" in line else 0
                counts[kind] += 1
            total = re.search(r"(\d+) passed, (\d+) failed, (\d+) skipped", line)
            if total and not tap:
                counts = [int(n) for n in total.groups()]
            if not re.match(r"\s*ok \d+", line):
                bad.append(("    " if not tap else "") + line)
            if "SKIP" in line:
                print("    " + line)
    if result["why"]:
        failed += 1
        print("\n".join(result["lines"][-30:]))
        print(f"FAILED: {result['why']}; the whole console is in {result['log']}")
    elif seen != expected:
        failed += 1
        print(f"FAILED: {seen} of {expected} programs ended")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0
