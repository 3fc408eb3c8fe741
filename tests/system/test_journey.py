# SPDX-License-Identifier: MIT
"""The journey itself: small trees out and back."""
import os
import signal
import subprocess

import pytest
from conftest import (REPRISE, Container, children_of, describe, exists, fields_of, parents, poll,
                      tree_of)


def test_one_process_goes_on(frame):
    box = frame.start([frame.program("counter")])
    frame.wait_lines(20)
    before = describe(box.pid)
    image = box.checkpoint()
    frozen = frame.text()
    again = frame.restart(image)
    poll(lambda: frame.text().count("\n") >= frozen.count("\n") + 20)
    assert describe(again.pid) == before
    again.kill()
    lines = frame.text().split("\n")[:-1]
    assert lines == [str(i) for i in range(len(lines))]


def test_leaves_it_running_without_stop(frame):
    box = frame.start([frame.program("counter")])
    frame.wait_lines(5)
    box.checkpoint(stop=False)
    count = frame.text().count("\n")
    frame.wait_lines(count + 20)
    box.kill()
    lines = frame.text().split("\n")[:-1]
    assert lines == [str(i) for i in range(len(lines))]


def test_shell_tree(frame):
    script = "sleep 1000 & (sleep 1000; :) & trap 'echo caught' USR1; while :; do wait; done"
    box = frame.start(["bash", "-c", script])
    poll(lambda: sorted(fields_of(p)["Name"][0] for p in tree_of(box.pid)) ==
         ["bash", "bash", "sleep", "sleep"])
    before, family = describe(box.pid), parents(box.pid)
    image = box.checkpoint()
    again = frame.restart(image)
    assert describe(again.pid) == before
    assert parents(again.pid) == family
    second = again.checkpoint("image2")
    third = frame.restart(second)
    assert describe(third.pid) == before


def test_plain_tree_gets_its_pids_back(frame):
    box = frame.plain([frame.program("counter")])
    frame.wait_lines(5)
    before = describe(box.pid, outer=True)
    image = box.checkpoint()
    again = frame.restart(image)
    assert again.pid == box.pid
    assert describe(again.pid, outer=True) == before


def test_taken_pid_is_said_before_anything(frame):
    box = frame.plain([frame.program("counter")])
    frame.wait_lines(5)
    image = box.checkpoint(stop=False)
    done = frame.restart(image, ok=False)
    assert done.returncode == 1
    assert f"{box.pid} (counter)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_all_taken_pids_are_said_in_one_line(frame):
    box = frame.plain(["bash", "-c", "for i in 1 2 3 4; do sleep 100000 & done; echo up; wait"])
    frame.wait_text("up\n")
    poll(lambda: [fields_of(p)["Name"] for p in children_of(box.pid)] == [["sleep"]] * 4)
    image = box.checkpoint(stop=False)
    before = tree_of(box.pid)
    done = frame.restart(image, ok=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    for pid in before:
        assert f"{pid} ({fields_of(pid)['Name'][0]})" in done.stderr, done.stderr
    assert tree_of(box.pid) == before


@pytest.mark.parametrize("milliseconds", (500, 60000))
def test_a_pid_that_is_taken_meanwhile(frame, milliseconds):
    """Free when it was looked at, taken when the task is to be made: all is undone, and tried once more."""
    box = frame.plain(["bash", "-c", "sleep 100000 & echo up; wait"])
    frame.wait_text("up\n")
    child = poll(lambda: [p for p in children_of(box.pid) if fields_of(p)["Name"] == ["sleep"]])[0]
    image = box.checkpoint()
    mounts = open("/proc/self/mountinfo").read()
    env = dict(os.environ, LD_PRELOAD=frame.program("race_grab", ("-shared", "-fPIC")), GRAB_PID=str(child),
               GRAB_MS=str(milliseconds))
    command = subprocess.Popen([REPRISE, "restart", "-v", str(image)], stdin=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, env=env)
    if milliseconds > 3000:
        told = command.communicate(timeout=60)[1]
        assert command.returncode == 1 and told.count("nursery done") == 1
        assert f"1 pid is taken: {child} (grabber)" in told, told
        assert not os.path.exists(f"/proc/{box.pid}")
        assert open("/proc/self/mountinfo").read() == mounts
        os.kill(child, signal.SIGKILL)
        return
    poll(lambda: os.path.exists(f"/proc/{child}") and fields_of(child)["Name"] == ["sleep"])
    poll(lambda: children_of(box.pid) == [child] and children_of(command.pid) == [box.pid])
    os.kill(child, signal.SIGKILL)
    told = command.communicate(timeout=60)[1]
    assert told.count("nursery done") == 2 and told.count("release done") == 1, told


def test_foreground_passes_signals_and_exit_status(frame):
    box = frame.start(["bash", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"])
    frame.wait_text("ready")
    image = box.checkpoint()
    command = subprocess.Popen([REPRISE, "restart", "--pidfile", str(frame.path / "p"), str(image)],
                               stdin=subprocess.DEVNULL)
    poll(lambda: (frame.path / "p").exists() and (frame.path / "p").read_text().endswith("\n"))
    command.terminate()
    assert command.wait(120) == 7


def test_usage_errors(frame):
    for words in (["restart"], ["checkpoint"], ["nothing"], ["restart", "--bogus", "x"]):
        assert frame.run([REPRISE, *words], ok=False).returncode == 2
    done = frame.run([REPRISE, "restart", str(frame.path / "none")], ok=False)
    assert done.returncode == 1 and done.stderr.startswith("reprise: image: ")


def test_plain_tree_in_a_new_pid_namespace(frame):
    """Its pids are taken outside, so it goes where they are free; twice beside the original."""
    box = frame.plain(["bash", "-c", "sleep 1000 & sleep 1001 & wait"])
    poll(lambda: len(tree_of(box.pid)) == 3)
    image = box.checkpoint(stop=False)
    wanted = describe(box.pid, outer=True)
    for _ in range(2):
        copy = frame.restart(image, extra=["--new-pidns"])
        seen = [(*(v[1:] if isinstance(v, list) else v for v in row),) for row in describe(copy.pid, outer=True)]
        assert [row[1] for row in seen] == [row[1] for row in wanted]
        assert box.alive() and copy.alive()


def test_keeper_ends_with_the_root(frame):
    box = frame.plain(["sleep", "1002"])
    image = box.checkpoint()
    copy = frame.restart(image, extra=["--new-pidns"])
    init = [p for p in os.listdir("/proc") if p.isdigit() and
            os.path.exists(f"/proc/{p}/ns/pid") and os.readlink(f"/proc/{p}/ns/pid") ==
            os.readlink(f"/proc/{copy.pid}/ns/pid") and fields_of(p)["NSpid"][-1] == "1"]
    assert len(init) == 1
    copy.kill()
    poll(lambda: frame.reap() or not exists(init[0]))


def test_into_the_pid_namespace_of_another(frame):
    other = frame.start(["sleep", "1003"])
    box = frame.plain(["bash", "-c", "sleep 1000 & wait"])
    poll(lambda: len(tree_of(box.pid)) == 2)
    wanted = [row[1] for row in describe(box.pid, outer=True)]
    image = box.checkpoint(stop=False)
    copy = frame.restart(image, extra=["--into-pidns", str(other.pid)])
    assert os.readlink(f"/proc/{copy.pid}/ns/pid") == os.readlink(f"/proc/{other.pid}/ns/pid")
    assert [row[1][-1:] for row in describe(copy.pid, outer=True)] == wanted
    done = frame.restart(image, ok=False, extra=["--into-pidns", str(other.pid)])
    assert done.returncode == 1 and f"{box.pid} (bash)" in done.stderr
    assert other.alive()


def test_waits_for_pids_to_become_free(frame):
    box = frame.plain(["sleep", "1004"])
    image = box.checkpoint(stop=False)
    command = subprocess.Popen([REPRISE, "restart", "-d", "--wait", "100", str(image)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    poll(lambda: b"restart" in open(f"/proc/{command.pid}/cmdline", "rb").read())
    box.kill()
    assert int(command.communicate(timeout=240)[0]) == box.pid
    frame.containers.append(Container(frame, box.pid))


def test_copies_of_one_image_side_by_side(frame):
    box = frame.start(["bash", "-c", "sleep 1000 & wait"])
    poll(lambda: len(tree_of(box.pid)) == 2)
    image = box.checkpoint(stop=False)
    wanted = describe(box.pid)
    copies = [frame.restart(image) for _ in range(3)]
    assert [describe(copy.pid) for copy in copies] == [wanted] * 3


def test_different_images_at_once(frame):
    """Restarts that run at the same time choose no pid that another has just taken."""
    count = 4
    boxes = [frame.start(["bash", "-c", f"for i in {{1..{n + 5}}}; do sleep 100000 & done; wait"])
             for n in range(count)]
    wanted, images = [], []
    for n, box in enumerate(boxes):
        poll(lambda: [fields_of(p)["Name"] for p in children_of(box.pid)] == [["sleep"]] * (n + 5))
        wanted.append(describe(box.pid))
        images.append(box.checkpoint(name=f"image{n}"))
    files = [frame.path / f"pidfile{n}" for n in range(count)]
    running = [subprocess.Popen([REPRISE, "restart", "-d", "--pidfile", str(file), str(image)],
                                stdin=subprocess.DEVNULL, start_new_session=True)
               for image, file in zip(images, files)]
    codes = [one.wait(120) for one in running]
    back = [Container(frame, int(file.read_text())) for file in files if file.exists()]
    frame.containers.extend(back)
    assert codes == [0] * count
    assert [describe(box.pid) for box in back] == wanted
