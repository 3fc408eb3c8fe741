# SPDX-License-Identifier: MIT
"""Nested pid, mount, uts and ipc namespaces; each state is looked at again after a second journey."""
import os
import pathlib
import subprocess

import pytest
from conftest import REPRISE, describe, fields_of, parents, poll, tree_of

IDLE = "while :; do sleep 1000 & wait; done"


def twice(frame, box, look):
    """Out and back, two times: what look(root) gives must stay what it was."""
    before = look(box.pid)
    for name in ("first", "second"):
        image = box.checkpoint(name)
        box = frame.restart(image)
        assert look(box.pid) == before
    return box


def mounts_of(pid):
    """(root, point, flags, propagation kinds, type) of every mount, without device numbers."""
    rows = []
    for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        words, kind = left.split(), right.split()[0]
        shared = sorted(w.split(":")[0] for w in words[6:])
        rows.append((words[3], words[4], words[5], shared, kind))
    return sorted(rows)


def names_of(root):
    try:
        return sorted(fields_of(p)["Name"][0] for p in tree_of(root))
    except OSError:
        return []


def wait_names(root, names):
    """Until exactly these run: whoever only prepares something has gone or has exec'd."""
    poll(lambda: names_of(root) == sorted(names))


def in_root(pid, path):
    return pathlib.Path(f"/proc/{pid}/root{path}")


def start_shell(frame, script, unshare):
    box = frame.start(["bash", "-c", f"{script}\necho ready\n{IDLE}"], unshare=unshare)
    frame.wait_text("ready")
    poll(lambda: "sleep" in names_of(box.pid))
    return box


FULL = ("--pid", "--mount", "--uts", "--mount-proc")


def test_nested_pid_namespaces(frame):
    inner = "unshare --pid --fork --kill-child bash -c 'sleep 1000 & sleep 1001; :'"
    middle = f"unshare --pid --fork --kill-child bash -c \"{inner} & sleep 1002; :\""
    box = frame.start(["bash", "-c", f"{middle} & sleep 1003; :"])
    wait_names(box.pid, ["bash"] * 3 + ["unshare"] * 2 + ["sleep"] * 4)
    levels = {len(fields_of(p)["NSpid"]) for p in tree_of(box.pid)}
    assert levels == {2, 3, 4}
    twice(frame, box, lambda pid: (describe(pid), parents(pid)))


@pytest.mark.parametrize("depth", [1, 5, 20, 31])
def test_depth(frame, depth):
    script = frame.path / "nest"
    script.write_text("if [ $1 -gt 0 ]; then unshare --pid --fork --kill-child bash $0 $(($1 - 1)) & fi\nsleep 1001; :\n")
    box = frame.start(["bash", str(script), str(depth)])
    wait_names(box.pid, ["bash"] * (depth + 1) + ["sleep"] * (depth + 1) + ["unshare"] * depth)
    twice(frame, box, describe)


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def test_member_whose_parent_is_outside(frame):
    box = start_shell(frame, "", ("--pid",))
    joined = subprocess.Popen(["nsenter", "--pid", "--target", str(box.pid), "sleep", "1004"],
                              stdin=subprocess.DEVNULL)
    try:
        def found():
            return [p for p in os.listdir("/proc") if p.isdigit() and command(p) == ["sleep", "1004"]
                    and fields_of(p)["NSpid"][-1] != p]
        poll(found)
        number = fields_of(found()[0])["NSpid"][-1]
        image = box.checkpoint()
        joined.wait(120)
        again = frame.restart(image)
        poll(lambda: [p for p in found() if fields_of(p)["NSpid"][-1] == number])
        again.kill()
        poll(lambda: not found())
    finally:
        joined.kill()
        joined.wait()


def test_where_children_of_each_thread_are_born(frame):
    box = frame.start([frame.program("exec_birthplaces")])
    frame.wait_text("ready\n")
    box = box.move()
    (frame.path / "go").touch()
    frame.wait_text("end\n")
    assert frame.text() == ("ready\nleader: child 1\nempty: child 1\ninhabited: child 2\n"
                            "dead: Cannot allocate memory\nhere: child here\nend\n")


def command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def test_host_and_domain_name(frame):
    box = start_shell(frame, "hostname inside; domainname inside.example 2>/dev/null || "
                             "echo inside.example > /proc/sys/kernel/domainname", FULL)

    def look(pid):
        return [frame.run(["nsenter", "--uts", "--target", str(pid), "cat", f"/proc/sys/kernel/{n}"]).stdout
                for n in ("hostname", "domainname")]
    assert look(box.pid) == ["inside\n", "inside.example\n"]
    twice(frame, box, look)


def test_proc_of_its_own(frame):
    box = start_shell(frame, "", FULL)

    def look(pid):
        return sorted(p for p in os.listdir(in_root(pid, "/proc")) if p.isdigit())
    assert look(box.pid)[0] == "1"
    twice(frame, box, lambda pid: (look(pid), mounts_of(pid)))


def test_proc_sys_that_is_read_only(frame):
    """As container engines leave it; the numbers of the pid namespace are set all the same."""
    script = "echo 5000 > /proc/sys/kernel/pid_max; mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys"
    box = start_shell(frame, script, FULL)

    def look(pid):
        enter = ["nsenter", "-t", str(pid), "--pid", "--mount", "cat", "/proc/sys/kernel/pid_max"]
        return frame.run(enter).stdout, mounts_of(pid)
    twice(frame, box, look)


def test_tmpfs_with_files(frame):
    script = """
        mount -t tmpfs -o size=8m,mode=1777 none /mnt
        mkdir -p /mnt/a/b; echo text > /mnt/a/b/file; chmod 640 /mnt/a/b/file; chown 12:34 /mnt/a/b/file
        ln -s a/b/file /mnt/link; ln /mnt/a/b/file /mnt/hard; mkfifo /mnt/fifo; mknod /mnt/null c 1 3
        touch -d 2001-02-03 /mnt/a/b/file; truncate -s 1m /mnt/sparse; echo end >> /mnt/sparse
        chmod 751 /mnt/a; touch -d 2002-03-04 /mnt/a"""
    box = start_shell(frame, script, FULL)

    def look(pid):
        top, rows = in_root(pid, "/mnt"), []
        for path in sorted(top.rglob("*")):
            st = path.lstat()
            rows.append((str(path.relative_to(top)), oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink,
                         st.st_rdev, st.st_size if not path.is_dir() else 0, int(st.st_mtime),
                         os.readlink(path) if path.is_symlink() else
                         path.read_bytes() if path.is_file() else b""))
        return rows
    assert len(look(box.pid)) == 8
    again = twice(frame, box, look)
    hard, file = in_root(again.pid, "/mnt/hard").stat(), in_root(again.pid, "/mnt/a/b/file").stat()
    assert hard.st_ino == file.st_ino
    stat = os.statvfs(in_root(again.pid, "/mnt"))
    assert stat.f_blocks * stat.f_frsize == 8 << 20


def test_open_file_on_its_tmpfs(frame):
    script = """
        mount -t tmpfs none /mnt
        exec 7>>/mnt/log; cd /mnt
        (exec perl -e '$| = 1; $SIG{USR1} = sub { print "line\\n" }; sleep 1000 while 1' >&7) &"""
    box = start_shell(frame, script, FULL)
    poll(lambda: any("perl" in fields_of(p)["Name"] for p in tree_of(box.pid)))
    again = twice(frame, box, lambda pid: os.readlink(f"/proc/{pid}/cwd"))
    perl = [p for p in tree_of(again.pid) if "perl" in fields_of(p)["Name"]][0]
    poll(lambda: int(fields_of(perl)["SigCgt"][0], 16) & 1 << 9)
    os.kill(perl, 10)
    poll(lambda: in_root(again.pid, "/mnt/log").read_text() == "line\n")


def test_binds_and_flags(frame):
    (frame.path / "src").mkdir()
    (frame.path / "dst").mkdir()
    (frame.path / "src/file").write_text("x")
    script = f"""
        mount --bind {frame.path}/src {frame.path}/dst
        mount -o remount,bind,ro,nosuid,nodev {frame.path}/dst
        mount -t sysfs none /mnt"""
    box = start_shell(frame, script, FULL)
    before = [m for m in mounts_of(box.pid) if m[1].endswith("/dst")]
    assert before and "ro" in before[0][2]
    twice(frame, box, mounts_of)


def test_devpts_and_mqueue(frame):
    script = """
        mount -t tmpfs none /mnt; mkdir /mnt/pts /mnt/mq
        mount -t devpts -o newinstance,ptmxmode=0666 none /mnt/pts
        mount -t mqueue none /mnt/mq"""
    box = start_shell(frame, script, FULL + ("--ipc",))
    twice(frame, box, mounts_of)


def test_propagation(frame):
    script = """
        mount -t tmpfs none /mnt; mkdir /mnt/shared /mnt/private
        mount -t tmpfs none /mnt/shared; mount --make-shared /mnt/shared
        mount -t tmpfs none /mnt/private; mount --make-private /mnt/private"""
    box = start_shell(frame, script, FULL)
    twice(frame, box, mounts_of)


def test_unmounted_in_the_container(frame):
    script = "mount -t tmpfs none /mnt; mkdir /mnt/x; mount -t tmpfs none /mnt/x; umount /mnt/x"
    box = start_shell(frame, script, FULL)
    twice(frame, box, mounts_of)


def test_pivoted_root(frame):
    root = frame.path / "root"
    for name in ("proc", "usr", "tmp", "old", "etc", "dev"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        os.symlink(f"usr/{name}", root / name)
    script = f"""
        mount --make-rprivate /
        mount --bind {root} {root}
        mount --bind /usr {root}/usr
        mount --bind /etc {root}/etc
        mount --bind /dev {root}/dev
        mount -t tmpfs none {root}/tmp; echo text > {root}/tmp/file
        cd {root}; pivot_root . old; umount -l /old
        mount -t proc proc /proc"""
    box = start_shell(frame, script, FULL)
    assert in_root(box.pid, "/tmp/file").read_text() == "text\n"
    again = twice(frame, box, lambda pid: (mounts_of(pid), describe(pid), in_root(pid, "/tmp/file").read_text()))
    assert not in_root(again.pid, "/root").exists()


def test_chroot(frame):
    root = frame.path / "root"
    (root / "usr").mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        os.symlink(f"usr/{name}", root / name)
    box = start_shell(frame, f"mount --bind /usr {root}/usr; chroot {root} /usr/bin/sleep 1005 &", FULL)
    poll(lambda: any(os.readlink(f"/proc/{p}/root") != "/" and command(p) == ["/usr/bin/sleep", "1005"]
                     for p in tree_of(box.pid)))
    twice(frame, box, lambda pid: sorted((os.readlink(f"/proc/{p}/root"), os.readlink(f"/proc/{p}/cwd"))
                                         for p in tree_of(pid)))


def test_nested_mount_namespaces(frame):
    inner = ("mount -t tmpfs none /mnt; echo inner > /mnt/file; hostname inner; sleep 1006")
    script = (f"mount -t tmpfs none /mnt; echo outer > /mnt/file; hostname outer\n"
              f"unshare --pid --mount --uts --fork --mount-proc bash -c {quoted(inner)} &")
    box = start_shell(frame, script, FULL)
    poll(lambda: any(command(p) == ["sleep", "1006"] for p in tree_of(box.pid)))

    def look(pid):
        return sorted((fields_of(p)["NSpid"][1:], in_root(p, "/mnt/file").read_text(), mounts_of(p))
                      for p in tree_of(pid))
    assert {row[1] for row in look(box.pid)} == {"outer\n", "inner\n"}
    twice(frame, box, lambda pid: (look(pid), describe(pid)))


def test_empty_ipc_namespace(frame):
    box = start_shell(frame, "", FULL + ("--ipc",))
    own = os.stat("/proc/self/ns/ipc").st_ino
    again = twice(frame, box, lambda pid: os.stat(f"/proc/{pid}/ns/ipc").st_ino == own)
    assert os.stat(f"/proc/{again.pid}/ns/ipc").st_ino != own


def test_refusals_are_said_at_once_and_nothing_is_stopped(frame):
    script = "ipcmk -M 4096 >/dev/null; exec 5<>/dev/tcp/127.0.0.1/1 || :"
    box = start_shell(frame, script, FULL + ("--ipc", "--net"))
    done = box.checkpoint(ok=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    for text in ("System V shared memory", "network namespace"):
        assert text in done.stderr
    assert box.alive() and not (frame.path / "image").exists()
    assert all(fields_of(p)["State"][0] in "SR" for p in tree_of(box.pid))


def test_unknown_file_system_is_refused(frame):
    for name in ("lower", "upper", "work"):
        (frame.path / name).mkdir()
    script = (f"mount -t tmpfs none /mnt; mkdir /mnt/u /mnt/w; mount -t overlay none -o "
              f"lowerdir={frame.path}/lower,upperdir=/mnt/u,workdir=/mnt/w {frame.path}/work")
    box = start_shell(frame, script, FULL)
    done = box.checkpoint(ok=False)
    assert done.returncode == 1 and "overlay" in done.stderr


def test_failed_restart_leaves_nothing(frame):
    box = start_shell(frame, f"mount -t tmpfs none /mnt; exec 6<{frame.path}/gone", FULL) \
        if (frame.path / "gone").write_text("x") else None
    image = box.checkpoint()
    (frame.path / "gone").unlink()
    before = pathlib.Path("/proc/self/mountinfo").read_text()
    done = frame.restart(image, ok=False)
    assert done.returncode == 1 and f"{frame.path}/gone" in done.stderr
    assert pathlib.Path("/proc/self/mountinfo").read_text() == before
    assert frame.run([REPRISE, "show", str(image)]).stdout
