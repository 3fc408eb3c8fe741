# SPDX-License-Identifier: MIT
"""Many tasks, threads, sessions and levels: as many as one pid namespace has room for."""
import os
import resource
import signal

import pytest
from conftest import describe, poll

LONG = 300  # seconds


def needs(tasks):
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    largest = int(open("/proc/sys/kernel/pid_max").read())
    used = sum(name.isdigit() for name in os.listdir("/proc"))
    if limit != resource.RLIM_INFINITY and limit < tasks + used + 1000:
        pytest.skip(f"only {limit} tasks are allowed (RLIMIT_NPROC)")
    if largest < tasks + used + 1000:
        pytest.skip(f"pid_max is {largest}")


@pytest.mark.parametrize("kind, count", [("tasks", 20000), ("threads", 5000), ("sessions", 1000)])
def test_many(frame, kind, count):
    needs(count)
    box = frame.start([frame.program("scale", flags=["-static"]), kind, str(count)])
    frame.wait_text("ready\n", seconds=LONG)
    before = describe(box.pid)
    assert len(before) == count + 1
    if kind == "sessions":
        assert len({row[3][-1] for row in before}) == count + 1
    box = frame.restart(box.checkpoint())
    assert describe(box.pid) == before
    box.signal(signal.SIGUSR1)
    poll(lambda: frame.text() == f"ready\n{count} answered\n", LONG)
