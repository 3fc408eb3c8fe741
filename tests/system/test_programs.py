# SPDX-License-Identifier: MIT
"""Unmodified programs, each checkpointed in the middle of its work, ended, restarted, and then shown to
go on correctly."""
import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess

import pytest
from conftest import PROGRAMS, Container, children_of, describe, fields_of, poll, tree_of


def out_and_back(frame, box, times=2):
    for i in range(times):
        before = describe(box.pid)
        box = frame.restart(box.checkpoint(f"image-{i}"))
        assert [row[:5] for row in describe(box.pid)] == [row[:5] for row in before]
    return box


def numbers(text):
    lines = text.split("\n")[:-1]
    assert lines == [str(i) for i in range(len(lines))]
    return len(lines)


def goes_on(frame, name="output", more=30):
    count = numbers(frame.text(name))
    poll(lambda: numbers(frame.text(name)) >= count + more)


def test_bash_with_traps_and_jobs(frame):
    script = """
        trap 'echo usr1' USR1; trap 'echo bye; exit 3' TERM
        sleep 100000 & job=$!
        (while :; do read -t 0.05 <> fifo; echo tick >> ticks; done) &
        mkfifo fifo2; echo ready
        while :; do wait $job; kill -0 $job 2>/dev/null || { echo "job ended"; sleep 100000 & job=$!; }; done"""
    os.mkfifo(frame.path / "fifo")
    box = frame.start(["bash", "-c", script])
    frame.wait_text("ready")
    frame.wait_lines(3, "ticks")
    box = out_and_back(frame, box)
    ticks = frame.text("ticks").count("\n")
    poll(lambda: frame.text("ticks").count("\n") > ticks + 3)
    box.signal(signal.SIGUSR1)
    frame.wait_text("usr1")
    sleeper = [p for p in children_of(box.pid) if fields_of(p)["Name"] == ["sleep"]][0]
    os.kill(sleeper, signal.SIGKILL)
    frame.wait_text("job ended")
    box.signal(signal.SIGTERM)
    frame.wait_text("bye")
    box.wait_gone()


PYTHON = """
import subprocess, threading, time, sys
lock = threading.Lock(); counts = [0] * 6; total = [0]
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
def work(i):
    while True:
        with lock:
            counts[i] += 1
            child.stdin.write(f"{total[0]}\\n"); child.stdin.flush()
            line = child.stdout.readline()
            assert line == f"{total[0]}\\n", line
            print(total[0], flush=True); total[0] += 1
        time.sleep(0.003)
threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
[t.start() for t in threads]
"""


def test_python_with_threads_and_a_subprocess(frame):
    box = frame.start(["/usr/bin/python3", "-u", "-c", PYTHON])
    frame.wait_lines(30)
    box = out_and_back(frame, box)
    goes_on(frame)
    assert len(os.listdir(f"/proc/{box.pid}/task")) == 7


def test_perl(frame):
    script = ('$| = 1; my %seen; $SIG{USR1} = sub { print STDERR "signal\\n" };'
              'for (my $i = 0; ; $i++) { $seen{$i} = "x" x ($i % 100); die if length $seen{$i} != $i % 100;'
              'print "$i\\n"; select undef, undef, undef, 0.003 }')
    box = frame.start(["perl", "-e", script])
    frame.wait_lines(20)
    out_and_back(frame, box)
    goes_on(frame)


def test_awk(frame):
    script = 'BEGIN { for (i = 0; ; i++) { sum[i] = i; if (i % 20000 == 0) { print i / 20000; fflush() }; delete sum[i] } }'
    box = frame.start(["gawk", script])
    frame.wait_lines(5)
    out_and_back(frame, box)
    goes_on(frame, more=5)


def test_sqlite_in_a_transaction(frame):
    """The transaction that is open at the checkpoint is committed after the restart."""
    os.mkfifo(frame.path / "commands")
    database = frame.path / "db"
    box = frame.start(["bash", "-c", f"exec sqlite3 {database} <> commands"])
    with open(frame.path / "commands", "w") as commands:
        commands.write("create table t(n integer); begin; insert into t values (1);\n"
                       "insert into t values (2); select 'inside', count(*) from t;\n")
        commands.flush()
        frame.wait_text("inside|2")
    image = box.checkpoint()
    assert sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute(
        "select count(*) from t").fetchone() == (0,)
    box = frame.restart(image)
    with open(frame.path / "commands", "w") as commands:
        commands.write("insert into t values (3); commit; select 'after', sum(n) from t;\n")
        commands.flush()
        frame.wait_text("after|6")
        commands.write(".quit\n")
        commands.flush()
        box.wait_gone()
    assert sqlite3.connect(database).execute("select count(*), sum(n) from t").fetchone() == (3, 6)


def test_gzip_in_the_middle_of_a_large_file(frame):
    source = random.Random(5)
    data = b"".join(bytes(source.choices(b"abcdefgh \n", k=1 << 16)) for _ in range(32)) * 2
    (frame.path / "data").write_bytes(data)
    box = frame.start(["gzip", "-9", "-n", "-k", "data"])
    target = frame.path / "data.gz"
    poll(lambda: target.exists() and target.stat().st_size > 100000, pause=0.001)
    box = frame.restart(box.checkpoint())
    box.wait_gone()
    expected = frame.run(["bash", "-c", "gzip -9 -n -c data | sha256sum"], cwd=frame.path).stdout.split()[0]
    assert hashlib.sha256(target.read_bytes()).hexdigest() == expected
    assert gzip.decompress(target.read_bytes()) == data


def test_a_build_in_the_middle(frame):
    """make with two jobs and a jobserver, gcc and its parts: moved several times, and complete."""
    parts = 12
    for i in range(parts):
        body = "".join(f"int f{i}_{k}(int x) {{ return x * {k} + f{i}_{k - 1}(x) % 7; }}\n" for k in range(1, 60))
        (frame.path / f"part{i}.c").write_text(f"int f{i}_0(int x) {{ return x + {i}; }}\n{body}")
    calls = " + ".join(f"f{i}_59(1)" for i in range(parts))
    names = "".join(f"int f{i}_59(int);\n" for i in range(parts))
    (frame.path / "main.c").write_text(f'#include <stdio.h>\n{names}int main(void) {{ printf("%d\\n", {calls}); }}\n')
    objects = " ".join([f"part{i}.o" for i in range(parts)] + ["main.o"])
    (frame.path / "Makefile").write_text(f"CFLAGS = -O1\nresult: {objects}\n\tgcc -o $@ $^\n")
    box = frame.start(["make", "-j2", "result"])
    journeys = 0
    for done in range(2, parts - 2, 3):
        poll(lambda: len(list(frame.path.glob("*.o"))) >= done or not box.alive(), pause=0.005)
        if not box.alive():
            break
        box = frame.restart(box.checkpoint(f"image{done}"))
        journeys += 1
    box.wait_gone()
    assert journeys >= 2
    moved = frame.run([str(frame.path / "result")]).stdout
    frame.run(["make", "-B", "result"], cwd=frame.path)
    assert moved == frame.run([str(frame.path / "result")]).stdout and moved.strip()


def test_a_hundred_threads_under_mutexes_and_conditions(frame):
    box = frame.start([frame.program("prog_threads"), "100"])
    frame.wait_lines(20)
    assert len(os.listdir(f"/proc/{box.pid}/task")) == 101
    box = out_and_back(frame, box)
    goes_on(frame)
    assert len(os.listdir(f"/proc/{box.pid}/task")) == 101


def test_vector_registers_in_a_busy_loop(frame):
    """Every round computes the same sum in vector registers; a wrong one ends the program."""
    box = frame.start([frame.program("prog_vectors")])
    frame.wait_lines(10)
    box = out_and_back(frame, box, times=4)
    goes_on(frame)


def test_openssl(frame):
    """A digest over a large input, in the middle: the result is that of an undisturbed run."""
    with open(frame.path / "input", "wb") as f:
        f.truncate(400 << 20)
    box = frame.start(["bash", "-c", "openssl dgst -sha512 input; echo done"])
    poll(lambda: any(fields_of(p)["Name"] == ["openssl"] and position(p, frame) > 1 << 23
                     for p in tree_of(box.pid)), pause=0.001)
    box = frame.restart(box.checkpoint())
    frame.wait_text("done", seconds=600)
    expected = frame.run(["openssl", "dgst", "-sha512", str(frame.path / "input")]).stdout.split()[-1]
    assert frame.text().split("\n")[0].split()[-1] == expected


def position(pid, frame):
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{fd}") == str(frame.path / "input"):
                with open(f"/proc/{pid}/fdinfo/{fd}") as f:
                    return int(f.readline().split()[1])
    except OSError:  # it has just closed one
        pass
    return 0


def test_node_is_refused_with_what_it_needs(frame):
    """Its event loop is an epoll: said, before it is stopped."""
    node = shutil.which("node")
    box = frame.start([node, "-e", "setInterval(() => console.log('tick'), 50)"])
    frame.wait_lines(2)
    done = box.checkpoint(ok=False)
    assert done.returncode == 1 and "epoll" in done.stderr and done.stderr.count("\n") == 1
    count = frame.text().count("\n")
    frame.wait_lines(count + 3)


def test_a_tree_of_a_thousand(frame):
    box = frame.start([frame.program("prog_many"), "1000"], unshare=("--pid", "--mount", "--mount-proc"))
    frame.wait_text("ready")
    before = describe(box.pid)
    assert len(before) == 1001
    again = frame.restart(box.checkpoint())
    assert describe(again.pid) == before
    again.signal(signal.SIGUSR1)
    frame.wait_text("1000 answered")


def write_bundle(folder):
    """What `runc spec` gives, in the network and cgroup namespaces of the caller."""
    (folder / "rootfs").mkdir(parents=True)
    for name in ("bin", "tmp", "proc", "sys", "dev"):
        (folder / "rootfs" / name).mkdir()
    shutil.copy("/bin/busybox", folder / "rootfs" / "bin" / "busybox")
    for name in ("sh", "sleep"):
        os.symlink("busybox", folder / "rootfs" / "bin" / name)
    subprocess.run(["runc", "spec"], cwd=folder, check=True, timeout=60)
    config = json.loads((folder / "config.json").read_text())
    config["process"]["terminal"] = config["root"]["readonly"] = False
    config["process"]["args"] = [
        "/bin/sh", "-c", "i=0; while :; do echo $i >> /tmp/count; i=$((i+1)); sleep 0.02; done"]
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"]
                                     if n["type"] not in ("network", "cgroup")]
    (folder / "config.json").write_text(json.dumps(config))


def test_container_of_runc(frame):
    folder, name = frame.path / "bundle", f"reprise-{os.getpid()}"
    write_bundle(folder)
    runc = ["runc", "--root", str(frame.path / "runc")]
    try:
        with open(frame.path / "log", "w+") as log:
            done = subprocess.run([*runc, "run", "-d", "--pid-file", "pid", name], cwd=folder, timeout=60,
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            log.seek(0)
            if done.returncode:
                pytest.skip(f"runc starts no container here: {log.read().strip()}")
        box = Container(frame, int((folder / "pid").read_text()))
        frame.containers.append(box)
        poll(lambda: (folder / "rootfs/tmp/count").exists())
        for i in range(2):
            before = fields_of(box.pid)["NSpid"][1:]
            box = frame.restart(box.checkpoint(f"image-{i}"))
            assert fields_of(box.pid)["NSpid"][1:] == before == ["1"]
            goes_on(frame, "bundle/rootfs/tmp/count", more=10)
    finally:
        subprocess.run([*runc, "delete", "--force", name], timeout=60, capture_output=True)
