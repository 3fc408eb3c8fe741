# SPDX-License-Identifier: MIT
"""Random forests of real processes: a history is done by them, the whole is checkpointed, ended,
restarted, and compared in /proc from outside, at every level. REPRISE_FORESTS says how many,
REPRISE_SEED which."""
import json
import os

import pytest
from conftest import BUILD, REPRISE, describe, exe_of, fields_of, parents, poll, tree_of

COUNT = int(os.environ.get("REPRISE_FORESTS", 500))
SEED = os.environ.get("REPRISE_SEED", "1")
PORTION = 25


def look(root):
    """Pids, sessions and groups at every level, states, parents, and who is whose namespace's equal."""
    rows, spaces = [], {}
    for pid in sorted(tree_of(root), key=lambda p: fields_of(p)["NSpid"][1:]):
        for tid in sorted(map(int, os.listdir(f"/proc/{pid}/task"))):
            try:
                inner = os.readlink(f"/proc/{pid}/task/{tid}/ns/pid_for_children")
            except OSError:  # a zombie, or a namespace without an init
                inner = ""
            rows.append((fields_of(f"{pid}/task/{tid}")["NSpid"][1:], spaces.setdefault(inner, len(spaces))))
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


def is_restarted(frame, at):
    """False: an init of it is ending and cannot, and that was refused."""
    name = f"output-{at}"
    box = frame.start([BUILD / "tests/model/forest-kernel", "--seed", SEED, "--hold", at],
                      unshare=("--pid", "--mount", "--mount-proc"), output=name)
    frame.wait_lines(1, name)
    assert frame.text(name) == "ready\n", f"history {at} of seed {SEED}: {frame.text(name)}"
    before, statuses = look(box.pid), statuses_of(box.pid)
    if any(ending(pid) for pid in tree_of(box.pid)):
        done = box.checkpoint(ok=False)
        assert done.returncode == 1 and "it is ending" in done.stderr and box.alive()
        box.kill()
        return False
    again = frame.restart(box.checkpoint(f"image-{at}"))
    assert look(again.pid) == before, f"history {at} of seed {SEED}"
    assert statuses_of(again.pid) == statuses, f"history {at} of seed {SEED}"
    again.kill()
    return True


@pytest.mark.parametrize("first", range(0, COUNT, PORTION))
def test_random_forests(frame, first):
    for at in range(first, min(first + PORTION, COUNT)):
        while not is_restarted(frame, at):
            at += COUNT  # so many are restarted in any case


STEP_KEYS = {
    "clone": {"subject", "exit_signal", "thread", "parent", "newpid"}, "setsid": set(),
    "setpgid": {"subject", "group"}, "unshare": {"namespace"}, "setns": {"namespace"},
    "subreaper": {"on"}, "exit": {"status"}, "wait": {"subject"},
}


def test_plan_as_text_and_as_json(frame):
    """Both say the same steps; a session whose leader is dead costs one ghost, with its number."""
    box = frame.start(["bash", "-c", "setsid bash -c 'sleep 100000 & :'; echo up; sleep 100000 & wait"])
    frame.wait_text("up")
    image = box.checkpoint()
    text = frame.run([REPRISE, "restart", "--plan", str(image)]).stdout.splitlines()
    plan = json.loads(frame.run([REPRISE, "restart", "--plan", "--json", str(image)]).stdout)
    assert set(plan) == {"tasks", "steps", "finish"}
    tasks, steps = plan["tasks"], plan["steps"] + plan["finish"]
    for task in tasks:
        assert set(task) == {"ghost", "namespace", "leader", "pids"}
    ghosts = [task for task in tasks if task["ghost"]]
    assert len(ghosts) == 1 and len(tasks) == 4
    orphans = [row for row in tasks if not row["ghost"] and row["pids"][-1] == ghosts[0]["pids"][-1]]
    assert orphans == []
    assert text[0] == f"{len(tasks) - 1} tasks, 1 ghosts, {len(steps)} steps"

    def name(index):
        if index < 0:
            return "nursery"
        numbers = "/".join(str(n) if n else "*" for n in tasks[index]["pids"])
        return ("ghost " if tasks[index]["ghost"] else "") + numbers

    lines = [line for line in text[1:] if not line.endswith(":")]
    assert len(lines) == len(steps)
    for line, step in zip(lines, steps):
        assert set(step) == {"call", "actor"} | STEP_KEYS[step["call"]]
        assert line.startswith(f"{name(step['actor'])}: {step['call']} ")
        if "subject" in step:
            assert name(step["subject"]) in line
    created = [step["subject"] for step in steps if step["call"] == "clone"]
    assert sorted(created) == list(range(len(tasks)))
    assert not frame.run([REPRISE, "restart", "--plan", str(image / "none")], ok=False).returncode == 0


def test_pid_max_and_last_pid_of_a_namespace(frame):
    """The kernel's choice of pids goes on where it was, and ends where it did."""
    if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) < (6, 14):
        pytest.skip("pid_max belongs to the whole system before Linux 6.14")
    box = frame.start(["bash", "-c", "echo 5000 >/proc/sys/kernel/pid_max; echo 1233 >/proc/sys/kernel/ns_last_pid; "
                       "echo up; exec sleep 100000"], unshare=("--pid", "--mount", "--mount-proc"))
    frame.wait_text("up")
    poll(lambda: exe_of(box.pid).endswith("sleep"))
    again = frame.restart(box.checkpoint())

    def inside(script):
        return frame.run(["nsenter", "-t", str(again.pid), "--pid", "--mount", "sh", "-c", script]).stdout

    assert inside("echo $$; exec cat /proc/sys/kernel/pid_max") == "1234\n5000\n"
    assert inside("echo $$") == "1235\n"
