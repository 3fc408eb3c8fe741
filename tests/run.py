#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs the suites of tests/suites and adds up what they counted.

A suite is an executable that ends with the line "N passed, N failed, N skipped". Its head may say
"# timeout: SECONDS" and "# only: full"; REPRISE_FULL=1 in its environment asks for all it has. A
suite that hangs is killed with its whole tree.
"""
import argparse
import ctypes
import os
import pathlib
import re
import selectors
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
COUNT = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")
PR_SET_CHILD_SUBREAPER = 36


def head_of(suite, word, default):
    text = suite.read_text(errors="replace")[:2000]
    found = re.search(rf"^# {word}: (\S+)", text, re.M)
    return found.group(1) if found else default


def children_of(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                found += [int(word) for word in f.read().split()]
    except OSError:
        pass
    return found


def kill_all_below(pid):
    """Ends every descendant; this process is their subreaper, so none gets away."""
    for _ in range(200):
        todo, seen = children_of(pid), []
        while todo:
            one = todo.pop()
            seen.append(one)
            todo += children_of(one)
        if not seen:
            return
        for one in seen:
            try:
                fd = os.pidfd_open(one)
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                os.close(fd)
            except OSError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        time.sleep(0.02)


def run(suite, build, log, full):
    limit = float(head_of(suite, "timeout", 600))
    env = dict(os.environ, REPRISE_BUILD=str(build), REPRISE_ROOT=str(ROOT), REPRISE_FULL=str(int(full)))
    start, last, tail = time.monotonic(), (0, 1, 0), ""
    child = subprocess.Popen([suite], cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True)
    counted = timed_out = False
    watch = selectors.DefaultSelector()
    watch.register(child.stdout, selectors.EVENT_READ)
    while True:
        left = limit - (time.monotonic() - start)
        if left <= 0:
            timed_out = True
            break
        if not watch.select(min(left, 1)):
            if child.poll() is not None:
                break
            continue
        text = os.read(child.stdout.fileno(), 1 << 16).decode(errors="replace")
        if not text:
            break
        log.write(text)
        tail = (tail + text)[-60000:]
    if not timed_out:
        try:
            child.wait(max(1, limit - (time.monotonic() - start)))
        except subprocess.TimeoutExpired:
            timed_out = True
    kill_all_below(os.getpid())
    for line in reversed(tail.splitlines()):
        found = COUNT.search(line)
        if found:
            last, counted = tuple(map(int, found.groups())), True
            break
    passed, failed, skipped = last
    status = child.returncode
    why = ""
    if timed_out:
        failed, why = failed + 1, f"still running after {limit:.0f} s: killed"
    elif not counted:
        failed, why = 1, f"counted nothing (status {status})"
    elif status not in (0, None) and failed == 0:
        failed, why = 1, f"ended with status {status}"
    print(f"{suite.name:24} {passed} passed, {failed} failed, {skipped} skipped"
          f"   {time.monotonic() - start:.1f} s   {why}", flush=True)
    if failed:
        print(tail[-12000:], flush=True)
    for line in tail.splitlines():
        if skipped and "SKIP" in line:
            print("    " + line.strip())
    return passed, failed, skipped


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--full", action="store_true", help="the long suites as well")
    parser.add_argument("words", nargs="*", help="only suites with such a word in their name")
    args = parser.parse_args()
    build = (ROOT / args.build).resolve()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    suites = sorted(p for p in (ROOT / "tests/suites").iterdir() if os.access(p, os.X_OK) and p.is_file())
    if args.words:
        suites = [s for s in suites if any(w in s.name for w in args.words)]
    elif not args.full:
        suites = [s for s in suites if head_of(s, "only", "") != "full"]
    totals = [0, 0, 0]
    build.mkdir(exist_ok=True)
    (build / "logs").mkdir(exist_ok=True)
    for suite in suites:
        with open(build / "logs" / (suite.name + ".log"), "w") as log:
            totals = [a + b for a, b in zip(totals, run(suite, build, log, args.full))]
    print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped", flush=True)
    sys.exit(1 if totals[1] or not totals[0] else 0)


if __name__ == "__main__":
    main()
