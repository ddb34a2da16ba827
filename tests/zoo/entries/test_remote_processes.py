"""Several processes that fill one cache, and processes that are killed while they do."""

import subprocess
import sys
import threading
import time

import pytest

TRUNK = "trunk.weights.h5"
FETCH = (
    "import sys; from zoo.entries.remote import fetched; "
    "print(fetched(sys.argv[1], cache_dir=sys.argv[2]))"
)
PATIENCE = 30  # Seconds; a busy machine starts a process slowly.


@pytest.fixture
def start(server, tmp_path):
    """Starts a process that fetches the entry; what still runs in the end is killed."""
    processes = []

    def started():
        command = [sys.executable, "-c", FETCH, server.url, str(tmp_path)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)
    return found


def partial_size(server, tmp_path):
    """Bytes of the trunk that a process has written so far."""
    return sum(
        path.stat().st_size
        for path in tmp_path.rglob(".partial/" + server.listed()[TRUNK]["sha256"])
    )


def test_one_fetches_while_the_other_waits_and_says_so(server, start, tmp_path):
    slow = threading.Event()
    server.misbehave(TRUNK, sent=50_000, hold=slow)
    first = start()
    until(lambda: partial_size(server, tmp_path))
    second = start()
    said = second.stderr.readline()
    assert said.strip() == f"Waiting for another process that fetches {server.url}"
    slow.set()
    folders = {process.communicate(timeout=PATIENCE)[0] for process in (first, second)}
    assert first.returncode == second.returncode == 0
    assert len(folders) == 1
    names = [name for name, _ in server.requests]
    assert sorted(names) == sorted([*server.content, "manifest.json"])


def test_processes_that_start_together_all_get_it(server, start, tmp_path):
    processes = [start() for _ in range(3)]
    folders = {process.communicate(timeout=PATIENCE)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(folders) == 1
    assert server.ranges(TRUNK) == [0]


def test_after_a_kill_another_process_goes_on_where_it_ended(server, start, tmp_path):
    never = threading.Event()
    server.misbehave(TRUNK, sent=100_000, hold=never)
    first = start()
    until(lambda: partial_size(server, tmp_path))
    second = start()
    # It waits for the lock, which goes with the process that is killed.
    assert "Waiting" in second.stderr.readline()
    had = partial_size(server, tmp_path)
    first.kill()
    folder, errors = second.communicate(timeout=PATIENCE)
    never.set()
    assert second.returncode == 0, errors
    assert server.ranges(TRUNK) == [0, had]
    assert had > 0
    found = {name: (tmp_path / folder.strip() / name).read_bytes() for name in server.content}
    assert found == server.content


def test_a_kill_leaves_nothing_that_looks_complete(server, start, tmp_path):
    never = threading.Event()
    server.misbehave(TRUNK, sent=100_000, hold=never)
    process = start()
    until(lambda: partial_size(server, tmp_path))
    process.kill()
    process.wait()
    never.set()
    assert not list(tmp_path.glob("*/[0-9a-f]*"))
    assert not list(tmp_path.glob("*/.latest"))


def test_what_a_fetch_needs_is_imported_late():
    heavy = "{'filelock', 'jsonschema', 'keras', 'requests', 'rich', 'tensorflow'}"
    code = f"import sys, zoo, zoo.entries.remote; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
