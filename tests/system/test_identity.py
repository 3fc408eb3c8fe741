# SPDX-License-Identifier: MIT
"""Identity: who a task is, what it may do, how it is scheduled, and where it stands."""
import pytest

from conftest import fields_of


def identity(frame, what, times=2):
    """Lines that a program prints before and after, without the last of each part."""
    frame.path.chmod(0o777)
    box = frame.start([frame.program("ident_all"), what])
    frame.wait_text("ready\n")
    assert "FAILED" not in frame.text(), frame.text()
    for number in range(times):
        box = frame.restart(box.checkpoint(f"image{number}"))
    (frame.path / "go").touch()
    box.wait_gone()
    before, after = frame.text().split("ready\n")
    assert after.endswith("end\n"), after
    return sorted(before.split("\n")), sorted(after.removesuffix("end\n").split("\n"))


@pytest.mark.parametrize("what", [
    "plain", "deadline", "user", "files", "capabilities", "threads", "limits", "scheduling", "scheduling2", "odds",
    "root", "outside", "gone"])
def test_is_the_same_after(frame, what):
    before, after = identity(frame, what)
    assert before == after


def read(pid, name):
    with open(f"/proc/{pid}/{name}") as f:
        return f.read()


def write(pid, name, text):
    with open(f"/proc/{pid}/{name}", "w") as f:
        f.write(text)


def test_seen_from_outside(frame):
    names = ("oom_score_adj", "coredump_filter", "personality", "limits", "cmdline", "environ", "comm")
    box = frame.start([frame.program("ident_all"), "odds"], env={"LANG": "C", "PATH": "/usr/bin:/bin"})
    frame.wait_text("ready\n")
    write(box.pid, "oom_score_adj", str(min(1000, int(read("self", "oom_score_adj")) + 345)))
    write(box.pid, "coredump_filter", "0x13")
    before = [read(box.pid, name) for name in names]
    box = frame.restart(box.checkpoint())
    assert [read(box.pid, name) for name in names] == before


@pytest.mark.parametrize("what", ["user", "capabilities", "threads", "files"])
def test_status_from_outside(frame, what):
    keys = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
            "Cpus_allowed", "Umask", "SigBlk", "SigIgn", "SigCgt")
    frame.path.chmod(0o777)
    box = frame.start([frame.program("ident_all"), what])
    frame.wait_text("ready\n")
    before = [fields_of(box.pid)[key] for key in keys]
    box = frame.restart(box.checkpoint())
    assert [fields_of(box.pid)[key] for key in keys] == before
