# SPDX-License-Identifier: MIT
"""Without privileges: users who checkpoint and restart what is theirs.

As root the tests become user 1000, without capabilities; elsewhere they are what they are.
"""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest
from conftest import LIMIT, PROGRAMS, REPRISE, ROOT

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
