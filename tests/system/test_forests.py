# SPDX-License-Identifier: MIT
"""Random forests of real processes: a history is done by them, the whole is checkpointed, ended,
restarted, and compared in /proc from outside, at every level. REPRISE_FORESTS says how many,
REPRISE_SEED which."""
import os

import pytest
from conftest import BUILD, describe, fields_of, parents, tree_of

COUNT = int(os.environ.get("REPRISE_FORESTS", 500))
SEED = os.environ.get("REPRISE_SEED", "1")
PORTION = 25


def look(root):
    """Pids, sessions and groups at every level, states, parents, and who is whose namespace's equal."""
    rows, spaces = [], {}
    for pid in sorted(tree_of(root), key=lambda p: fields_of(p)["NSpid"][1:]):
        try:
            inner = os.readlink(f"/proc/{pid}/ns/pid_for_children")
        except OSError:  # a zombie, or a namespace without an init
            inner = ""
        rows.append((fields_of(pid)["NSpid"][1:], spaces.setdefault(inner, len(spaces))))
    return describe(root), parents(root), rows


def ending(pid):
    """An init that cannot end before somebody outside reaps a zombie of its namespace."""
    with open(f"/proc/{pid}/wchan") as f:
        return f.read() == "zap_pid_ns_processes"


def statuses_of(root):
    """Zombies whose status their parents will read: own pid -> exit code field of stat."""
    found = {}
    for pid in tree_of(root):
        with open(f"/proc/{pid}/stat") as f:
            words = f.read().rsplit(") ", 1)[1].split()
        if words[0] == "Z":
            found[tuple(fields_of(pid)["NSpid"][1:])] = words[-1]
    return found


@pytest.mark.parametrize("first", range(0, COUNT, PORTION))
def test_random_forests(frame, first):
    for at in range(first, min(first + PORTION, COUNT)):
        name = f"output-{at}"
        box = frame.start([BUILD / "tests/model/forest-kernel", "--seed", SEED, "--hold", at],
                          unshare=("--pid", "--mount", "--mount-proc"), output=name)
        frame.wait_lines(1, name)
        assert frame.text(name) == "ready\n", f"history {at} of seed {SEED}"
        before, statuses = look(box.pid), statuses_of(box.pid)
        if any(ending(pid) for pid in tree_of(box.pid)):
            done = box.checkpoint(ok=False)
            assert done.returncode == 1 and "it is ending" in done.stderr and box.alive()
            box.kill()
            continue
        again = frame.restart(box.checkpoint(f"image-{at}"))
        assert look(again.pid) == before, f"history {at} of seed {SEED}"
        assert statuses_of(again.pid) == statuses, f"history {at} of seed {SEED}"
        again.kill()
