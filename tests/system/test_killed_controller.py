# SPDX-License-Identifier: MIT
"""A controller that is killed at any moment leaves the program as if nothing had been.

tests/programs/killed.c checks itself: registers, results of calls, signals, masks. From outside:
every thread goes on, and no mapping is left over. REPRISE_KILLS says how often, REPRISE_SEED when.
"""
import os
import random
import shutil
import struct
import subprocess
import time

from conftest import LIMIT, PROGRAMS, REPRISE, poll

KILLS = int(os.environ.get("REPRISE_KILLS", "1000"))
# On a machine that is ten times slower fewer will do, unless they were asked for.
SECONDS = 1e9 if "REPRISE_KILLS" in os.environ else 90
SEED = int(os.environ.get("REPRISE_SEED", "1"))
PARTS = [str(PROGRAMS / f"killed_{part}.c") for part in ("work", "signals", "registers")]
HEAD, SIZE = 256, 64  # struct common of killed.h


class Program:
    def __init__(self, frame):
        self.frame = frame
        self.box = frame.plain([frame.program("killed", PARTS)])
        frame.wait_text("ready")
        self.count = int(frame.text().split()[1])
        self.go_on()
        self.go_on()
        self.maps = self.read_maps()

    def turns(self):
        data = (self.frame.path / "turns").read_bytes()
        return [struct.unpack_from("=Q", data, HEAD + SIZE * i)[0] for i in range(self.count)]

    def read_maps(self):
        with open(f"/proc/{self.box.pid}/maps") as f:
            return f.read()

    def well(self):
        assert "FAILED" not in self.frame.text(), self.frame.text()
        assert self.box.alive(), f"the program has ended: {self.frame.text()}"

    def go_on(self):
        """Every thread makes a turn that began after now."""
        before = self.turns()
        end = time.monotonic() + LIMIT
        while not all(now > then + 1 for now, then in zip(self.turns(), before)):
            self.well()
            stuck = [i for i, (now, then) in enumerate(zip(self.turns(), before)) if now <= then + 1]
            assert time.monotonic() < end, f"threads {stuck} do not go on"
            time.sleep(0.001)
        self.well()

    def traced(self):
        tracers = set()
        for tid in os.listdir(f"/proc/{self.box.pid}/task"):
            with open(f"/proc/{self.box.pid}/task/{tid}/status") as f:
                tracers.update(line.split()[1] for line in f if line.startswith("TracerPid:"))
        return tracers != {"0"}


def checkpoint(program, image):
    return subprocess.Popen([REPRISE, "checkpoint", str(program.box.pid), str(image)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)


def whole(program, image):
    """A checkpoint that nobody disturbs: how long it took."""
    start = time.monotonic()
    child = checkpoint(program, image)
    _, said = child.communicate(timeout=LIMIT)
    assert child.returncode == 0, said
    shutil.rmtree(image)
    return time.monotonic() - start


def test_killed_at_random_moments(frame):
    program = Program(frame)
    image = frame.path / "image"
    moments = random.Random(SEED)
    length = min(whole(program, image) for _ in range(3))
    program.go_on()
    killed = 0
    end = time.monotonic() + SECONDS
    for i in range(KILLS):
        if i >= 20 and time.monotonic() > end:
            break
        child = checkpoint(program, image)
        delay = moments.random() * length * 1.1
        try:
            child.wait(delay)
        except subprocess.TimeoutExpired:
            child.kill()
        _, said = child.communicate(timeout=LIMIT)
        assert child.returncode in (0, -9), said
        if child.returncode == 0:
            assert image.exists()
        else:
            killed += 1
        # It may have been killed just after the image appeared.
        shutil.rmtree(image, ignore_errors=True)
        program.go_on()
        assert not program.traced()
        poll(lambda: program.read_maps() == program.maps)
    left = [name for name in os.listdir(frame.path) if "image" in name and ".tmp-" not in name]
    assert left == []
    # And it can be checkpointed like any other.
    whole(program, image)
    program.go_on()
    assert program.read_maps() == program.maps
    assert killed > 0


def test_interrupted_in_order(frame):
    """SIGINT and SIGTERM take everything back."""
    program = Program(frame)
    image = frame.path / "image"
    moments = random.Random(SEED)
    length = min(whole(program, image) for _ in range(3))
    end = time.monotonic() + SECONDS / 3
    for i in range(30):
        if i >= 4 and time.monotonic() > end:
            break
        child = checkpoint(program, image)
        try:
            child.wait(moments.random() * length)
        except subprocess.TimeoutExpired:
            child.send_signal(15 if i % 2 else 2)
        _, said = child.communicate(timeout=LIMIT)
        if child.returncode != 0:
            # Before the command has blocked it, or after: it has ended, whatever it has said.
            assert not image.exists()
        shutil.rmtree(image, ignore_errors=True)
        program.go_on()
        assert program.read_maps() == program.maps
    assert [name for name in os.listdir(frame.path) if "image" in name] == []
