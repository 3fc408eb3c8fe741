# SPDX-License-Identifier: MIT
"""Without privileges: users who checkpoint and restart what is theirs.

As root the tests become user 1000, without capabilities; elsewhere they are what they are.
"""
import ctypes
import fcntl
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
from conftest import LIMIT, PROGRAMS, REPRISE, ROOT, Frame, describe, exe_of, exists, fields_of, poll, tree_of
from test_killed_restart import settle
from test_memory import memory_program

USER = 1000
DROP = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all",
        "--bounding-set=-all"] if os.getuid() == 0 else []
OWN = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"]


def why_not():
    """Why this machine lets no user open a user namespace; None where it does."""
    done = subprocess.run([*DROP, *OWN, "true"], capture_output=True, text=True, cwd="/")
    return done.stderr.strip() if done.returncode else None


pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"no user namespaces for users: {why_not()}")


@pytest.fixture(scope="module")
def place():
    """A folder of the user's with the command, the tests and their programs in it."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="reprise-rootless-"))
    try:
        for folder in ("build", "tmp", "tests/system", "tests/programs"):
            (path / folder).mkdir(parents=True)
        shutil.copy(REPRISE, path / "build/reprise")
        for file in (ROOT / "tests/system").glob("*.py"):
            shutil.copy(file, path / "tests/system")
        for file in PROGRAMS.iterdir():
            if file.is_file():
                shutil.copy(file, path / "tests/programs")
        for one in (path, *path.rglob("*")):
            if DROP:
                os.chown(one, USER, USER)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def user(place):
    """A frame whose programs, and the command itself, are the user's."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="reprise-user-"))
    for one in (path, path / "output", path / "errors"):
        if one != path:
            one.touch()
        if DROP:
            os.chown(one, USER, USER)
    one = Frame(path)
    one.prefix, one.reprise = DROP, str(place / "build/reprise")
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(path, ignore_errors=True)


def as_user(place, command, **more):
    env = {"PATH": os.environ["PATH"], "HOME": str(place), "TMPDIR": str(place / "tmp"), "LC_ALL": "C.UTF-8",
           "REPRISE_BUILD": str(place / "build"), "REPRISE_LIMIT": str(LIMIT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*DROP, *command], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          cwd=str(place), env=env, timeout=LIMIT * 5, **more)


# Tests of the other files that have to hold just as well inside a user namespace of one's own, where the
# containers are nested ones: pids at every level, mounts, names, memory, descriptors, a plain tree.
INSIDE = """
test_namespaces.py::test_nested_pid_namespaces
test_namespaces.py::test_depth[5]
test_namespaces.py::test_host_and_domain_name
test_namespaces.py::test_proc_of_its_own
test_namespaces.py::test_open_file_on_its_tmpfs
test_namespaces.py::test_devpts_and_mqueue
test_namespaces.py::test_propagation
test_namespaces.py::test_unmounted_in_the_container
test_namespaces.py::test_nested_mount_namespaces
test_memory.py::test_kind[heap]
test_memory.py::test_kind[file_private]
test_memory.py::test_kind[file_shared]
test_memory.py::test_kind[file_deleted]
test_memory.py::test_deleted_executable
test_memory.py::test_changed_root
test_descriptors.py::test_program[fd_files]
test_descriptors.py::test_program[fd_pipes]
test_descriptors.py::test_program[fd_locks]
""".split()


@pytest.fixture(scope="module")
def inside(place):
    """The outcome of each of these tests, run by the user inside a user namespace."""
    done = as_user(place, [*OWN, "/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA",
                           "--tb=short", *(str(place / "tests/system" / name) for name in INSIDE)])
    lines = re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) (?:\S*/)?(test_\w+\.py::\S+)", done.stdout, re.M)
    found = {name: word for word, name in lines}
    return found, done.stdout + done.stderr


@pytest.mark.parametrize("name", INSIDE)
def test_in_a_user_namespace_of_ones_own(inside, name):
    found, text = inside
    assert found.get(name) == "PASSED", text[-4000:]


# ---- user namespaces in the tree ----

NS_GET_USERNS, NS_GET_PARENT, NS_GET_OWNER_UID = 0xb701, 0xb702, 0xb704
IDLE = "while :; do sleep 1000 & wait; done"
PLAIN = ("--pid", "--mount", "--uts", "--mount-proc")
SANDBOX = "unshare --user --map-root-user --pid --fork --mount --uts --mount-proc --kill-child"


def owner_of(fd, request=NS_GET_USERNS):
    try:
        return fcntl.ioctl(fd, request)
    except PermissionError:
        return None


def look(root):
    """Each task: its pids inside, names, ids, and who owns its namespaces, all without inode numbers."""
    seen, rows = {}, []

    def label(fd, close=True):
        if fd is None:
            return "outside"
        inode = os.fstat(fd).st_ino
        if close:
            os.close(fd)
        if inode == os.stat("/proc/self/ns/user").st_ino:
            return "own"
        return seen.setdefault(inode, len(seen))

    for pid in sorted(tree_of(root), key=lambda p: fields_of(p)["NSpid"][1:]):
        f = fields_of(pid)
        row = [f["NSpid"][1:], f["NSpgid"][1:], f["NSsid"][1:], f["Name"], f["Uid"], f["Gid"], f.get("Groups"),
               [f[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")]]
        user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        row.append(label(user, close=False))
        if row[-1] != "own":
            row.append(label(owner_of(user, NS_GET_PARENT)))
            uid = ctypes.c_uint()
            fcntl.ioctl(user, NS_GET_OWNER_UID, uid)
            row.append(uid.value)
            row += [pathlib.Path(f"/proc/{pid}/{n}").read_text().split() for n in ("uid_map", "gid_map", "setgroups")]
        os.close(user)
        for name in ("pid", "mnt", "uts", "ipc"):
            fd = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)
            row.append((name, label(owner_of(fd))))
            os.close(fd)
        host = subprocess.run(["nsenter", "--uts", "--user", "--preserve-credentials", "-t", str(pid), "hostname"]
                              if row[8] != "own" else ["nsenter", "--uts", "-t", str(pid), "hostname"],
                              capture_output=True, text=True)
        rows.append((row, host.stdout))
    return rows


def names_of(root):
    try:
        return sorted(fields_of(p)["Name"][0] for p in tree_of(root))
    except OSError:
        return []


def twice(frame, box, names):
    """Out and back, two times: all that look() sees stays as it was."""
    poll(lambda: names_of(box.pid) == sorted(names))
    before = look(box.pid)
    for name in ("first", "second"):
        box = frame.restart(box.checkpoint(name))
        poll(lambda: names_of(box.pid) == sorted(names))
        assert look(box.pid) == before
    return box, before


as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


@as_root
def test_a_sandbox_in_a_container(frame):
    """unshare(1) is in the user namespace itself, and makes a pid namespace there."""
    box = frame.start(["bash", "-c", f"{SANDBOX} bash -c 'hostname within; sleep 1000 & {IDLE}' & {IDLE}"],
                      unshare=PLAIN)
    again, rows = twice(frame, box, ["bash"] * 2 + ["sleep"] * 3 + ["unshare"])
    inner = [row for row, _ in rows if len(row[0]) == 2]
    assert len(inner) == 3 and all(row[8] == 0 for row in inner)
    assert ["within\n"] * 3 == [host for row, host in rows if len(row[0]) == 2]


@as_root
def test_a_user_namespace_without_a_pid_namespace(frame):
    box = frame.start(["bash", "-c", f"unshare --user --map-root-user bash -c 'sleep 1000 & {IDLE}' & {IDLE}"],
                      unshare=PLAIN)
    twice(frame, box, ["bash"] * 2 + ["sleep"] * 3)


@as_root
def test_user_namespaces_in_each_other(frame):
    inner = "unshare --user --map-root-user --uts bash -c 'hostname third; sleep 1000 & wait; :'"
    middle = f"{SANDBOX} bash -c \"hostname second; {inner} & sleep 1000 & wait; :\""
    box = frame.start(["bash", "-c", f"{middle} & sleep 1000 & wait; :"], unshare=PLAIN)
    twice(frame, box, ["bash"] * 3 + ["sleep"] * 3 + ["unshare"])


@as_root
@pytest.mark.parametrize("words", [["0 0 1", "0 0 1"], ["0 100000 65536", "0 200000 10\n10 300000 5"],
                                   ["0 1000 1\n5 2000 3", "0 1000 1", "1000"]],
                         ids=["one", "many", "other-owner"])
def test_born_with_its_pid_namespace(frame, words):
    """clone(CLONE_NEWUSER | CLONE_NEWPID): the parent stays outside of both."""
    box = frame.start(["bash", "-c", f"{frame.program('born')} \"$@\" & {IDLE}", "bash", *words], unshare=PLAIN)
    frame.wait_text("ready")
    again, rows = twice(frame, box, ["bash", "sleep", "parent", "child", "grandchild"])
    child = [row for row, _ in rows if row[3] == ["child"]][0]
    assert child[10] == (int(words[2]) if len(words) > 2 else 0)


@as_root
def test_the_root_is_in_a_user_namespace(frame):
    box = frame.start(["bash", "-c", f"hostname top; sleep 1000 & {IDLE}"],
                      unshare=("--user", "--map-root-user", *PLAIN))
    twice(frame, box, ["bash", "sleep", "sleep"])


@as_root
def test_a_users_sandbox_in_roots_container(frame):
    os.chmod(frame.path, 0o777)
    box = frame.start(["bash", "-c", f"setpriv --reuid 1000 --regid 1000 --groups 1000,1234 {SANDBOX} bash -c "
                       f"'mount -t tmpfs none /mnt; echo text > /mnt/file; cd /mnt; {IDLE}' & {IDLE}"], unshare=PLAIN)
    again, rows = twice(frame, box, ["bash"] * 2 + ["sleep"] * 2 + ["unshare"])
    inner = [p for p in tree_of(again.pid) if len(fields_of(p)["NSpid"]) == 3][0]
    file = pathlib.Path(f"/proc/{inner}/root/mnt/file")
    assert file.read_text() == "text\n" and file.stat().st_uid == 1000


# ---- the user outside: the first user namespace is made by reprise itself ----

OUTSIDE = ("--user", "--map-root-user", *PLAIN)


def test_from_outside(user):
    box = user.start(["bash", "-c", f"hostname top; mount -t tmpfs none /mnt; cd /mnt; echo text > file;"
                                    f"sleep 1000 & {IDLE}"], unshare=OUTSIDE)
    again, rows = twice(user, box, ["bash", "sleep", "sleep"])
    assert rows[0][0][0] == ["1"] and rows[0][0][11] == ["0", str(fields_of(again.pid)["Uid"][0]), "1"]
    assert pathlib.Path(f"/proc/{again.pid}/cwd/file").read_text() == "text\n"


def test_from_outside_deeper(user):
    inner = "unshare --pid --fork --mount-proc --kill-child bash -c 'sleep 1000 & wait; :'"
    box = user.start(["bash", "-c", f"{inner} & {inner} & sleep 1000 & wait; :"], unshare=OUTSIDE)
    twice(user, box, ["bash"] * 3 + ["sleep"] * 3 + ["unshare"] * 2)


def test_from_outside_with_a_sandbox_inside(user):
    box = user.start(["bash", "-c", f"{SANDBOX} bash -c 'hostname within; sleep 1000 & {IDLE}' & {IDLE}"],
                     unshare=OUTSIDE)
    twice(user, box, ["bash"] * 2 + ["sleep"] * 3 + ["unshare"])


def test_from_outside_born_inside(user):
    shutil.copy(user.program("born"), user.path)
    box = user.start(["bash", "-c", f"echo deny > /proc/self/setgroups; {user.path}/born '0 0 1' '0 0 1' & {IDLE}"],
                     unshare=OUTSIDE)
    user.wait_text("ready")
    twice(user, box, ["bash", "sleep", "parent", "child", "grandchild"])


@pytest.mark.parametrize("kind", ["heap", "file_private", "file_shared", "file_deleted", "many"])
def test_memory_from_outside(user, kind):
    shutil.copy(memory_program(user), user.path / "memory")
    box = user.start([user.path / "memory", kind], unshare=OUTSIDE)
    user.wait_text("ready\n")
    again = user.restart(box.checkpoint())
    again.signal(signal.SIGUSR1)
    poll(lambda: user.text().endswith(("good\n", "bad\n")))
    assert user.text() == "ready\ngood\n"


def test_what_is_not_the_users_is_said_before_anything_ends(user):
    """A file that was opened by somebody else and that the user may not write to."""
    if DROP:
        os.chown(user.path / "output", 0, 0)
    os.chmod(user.path / "output", 0o444)
    box = user.start(["sleep", "1000"], unshare=OUTSIDE)
    done = box.checkpoint(ok=False)
    assert done.returncode == 1 and "output cannot be opened for writing: Permission denied" in done.stderr
    assert not (user.path / "image").exists() and box.alive()


def test_memfd_that_a_descriptor_leads_to(user):
    """It is mapped by two, and open in one of them."""
    script = """if 1:
        import mmap, os, signal, time
        fd = os.memfd_create("shared"); os.ftruncate(fd, 8192); memory = mmap.mmap(fd, 8192); memory[:4] = b"kept"
        if os.fork() == 0:
            os.close(fd)
            while memory[4096] == 0: time.sleep(0.01)
            memory[4096] += 1; os._exit(0)
        def told(*_): memory[4096] = 7; os.wait(); print(memory[:4] + memory[4096:4097], os.pread(fd, 1, 4096), flush=True)
        signal.signal(signal.SIGUSR1, told); print("ready", flush=True)
        while True: time.sleep(1000)"""
    box = user.start(["python3", "-c", script], unshare=OUTSIDE)
    user.wait_text("ready\n")
    again = user.restart(box.checkpoint())
    again.signal(signal.SIGUSR1)
    user.wait_lines(2)
    assert user.text() == "ready\n" + repr(b"kept\x08") + " " + repr(b"\x08") + "\n"


def test_shared_memory_is_refused_where_it_cannot_be_opened(user):
    shutil.copy(memory_program(user), user.path / "memory")
    box = user.start([user.path / "memory", "shared_anonymous"], unshare=OUTSIDE)
    user.wait_text("ready\n")
    done = box.checkpoint(ok=False)
    assert "is shared memory, which takes CAP_CHECKPOINT_RESTORE" in done.stderr and "survey" in done.stderr
    assert box.alive()


# ---- some capabilities, none ----

def with_capabilities(names):
    """As the user with these capabilities; as root they are kept over the change of users."""
    words = ",".join(["-all", *(f"+{name}" for name in names)])
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", f"--inh-caps={words}",
            f"--ambient-caps={words}"]


def start_plain(user):
    box = user.plain(["sleep", "1000"])
    poll(lambda: exe_of(box.pid).endswith("/sleep"))
    return box


@as_root
def test_a_plain_tree_without_capabilities_is_not_ended(user):
    user.prefix = with_capabilities([])
    box = start_plain(user)
    done = box.checkpoint(ok=False)
    assert done.returncode == 1 and box.alive() and not (user.path / "image").exists()
    assert "choosing pids outside of a user namespace of the tree takes CAP_CHECKPOINT_RESTORE" in done.stderr


@as_root
@pytest.mark.parametrize("names", [["checkpoint_restore"], ["checkpoint_restore", "sys_ptrace"]], ids=len)
def test_a_plain_tree_with_checkpoint_restore(user, names):
    user.prefix = with_capabilities(names)
    box = start_plain(user)
    number = box.pid
    image = box.checkpoint()
    done = user.restart(image, ok=False)
    assert done.returncode == 1 and "--host-clocks leaves them as the host has them" in done.stderr
    assert not exists(number)
    again = user.restart(image, extra=["--host-clocks"])
    assert again.pid == number and fields_of(number)["Name"] == ["sleep"]


@as_root
def test_shared_memory_with_checkpoint_restore(user):
    user.prefix = with_capabilities(["checkpoint_restore"])
    shutil.copy(memory_program(user), user.path / "memory")
    box = user.plain([user.path / "memory", "shared_anonymous"])
    user.wait_text("ready\n")
    again = user.restart(box.checkpoint(), extra=["--host-clocks"])
    again.signal(signal.SIGUSR1)
    poll(lambda: user.text().endswith(("good\n", "bad\n")))
    assert user.text() == "ready\ngood\n"


@as_root
def test_a_container_with_checkpoint_restore_alone_is_not_ended(user):
    """It is root's namespaces that it would take more for."""
    user.prefix = ()
    box = user.start(["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "sleep", "1000"])
    poll(lambda: exe_of(box.pid).endswith("/sleep"))
    user.prefix = with_capabilities(["checkpoint_restore"])
    done = box.checkpoint(ok=False)
    assert done.returncode == 1 and box.alive() and not (user.path / "image").exists()


def verdict(text):
    """The lines of reprise check that say which trees: yes or no, in this order."""
    names = ("any tree below", "plain trees of this user", "containers in user namespaces")
    return [line.split()[0] for name in names for line in text.splitlines() if name in line]


@as_root
@pytest.mark.parametrize("words, wanted", [
    ([], ["yes", "yes", "yes"]),
    (with_capabilities([]), ["no", "no", "yes"]),
    ([*with_capabilities([]), "unshare", "--user", "--map-root-user"], ["yes", "yes", "yes"]),
    (with_capabilities(["checkpoint_restore"]), ["no", "yes", "yes"]),
], ids=["root", "nothing", "root-of-a-user-namespace", "checkpoint_restore"])
def test_check_says_what_is_possible(place, words, wanted):
    done = subprocess.run([*words, str(place / "build/reprise"), "check"], capture_output=True, text=True, cwd="/")
    assert verdict(done.stdout) == wanted, done.stdout
    assert done.returncode == 0, done.stdout


def test_a_user_namespace_without_ids_is_refused(user):
    box = user.start(["sleep", "1000"], unshare=("--user", "--pid"))
    done = box.checkpoint(ok=False)
    assert "it is in a user namespace without ids" in done.stderr and box.alive()


def test_a_sandbox_in_a_container_inside_a_user_namespace(place):
    """All of it in there: outside of the container groups cannot be set either."""
    script = f"""
        setsid unshare --pid --fork --mount --uts --mount-proc --kill-child bash -c '{SANDBOX} sleep 1001 & sleep 1002; :' \\
            </dev/null >/dev/null 2>&1 &
        until pgrep -f '^sleep 1001' && pgrep -f '^sleep 1002'; do sleep 0.01; done >/dev/null
        look() {{ for n in 1001 1002; do p=$(pgrep -f "^sleep $n"); cat /proc/$p/uid_map
            sed -n -E 's/^NSpid:.[0-9]+//p; /^(Cap|Uid)/p' /proc/$p/status; done; }}
        look >before
        build/reprise checkpoint --stop $(pgrep -P $!) image || exit
        build/reprise restart -d image >root || exit
        look >after; kill -9 $(cat root)
        cmp before after && [ $(grep -c CapEff before) = 2 ] && echo same"""
    done = as_user(place, [*OWN, "timeout", str(int(LIMIT)), "bash", "-c", script])
    assert done.stdout.endswith("same\n"), done.stdout + done.stderr


def test_a_killed_restart_leaves_nothing(user):
    """The twins in the user namespaces end too."""
    box = user.start(["bash", "-c", f"{SANDBOX} bash -c 'sleep 1000 & wait; :' & sleep 1000 & wait; :"], unshare=OUTSIDE)
    poll(lambda: names_of(box.pid) == sorted(["bash"] * 2 + ["sleep"] * 2 + ["unshare"]))
    wanted, image = describe(box.pid), box.checkpoint()
    for moment in range(40):
        child = subprocess.Popen([*DROP, user.reprise, "restart", "-d", str(image)], cwd=str(user.path),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 start_new_session=True)
        time.sleep(moment * 0.0005)
        child.kill()
        child.wait()
        settle(user.path, wanted)
