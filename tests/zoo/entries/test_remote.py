"""Entries at an address, from a real server on the loopback that misbehaves when told to."""

import hashlib
import io
import re
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from rich.console import Console

from zoo.entries import download
from zoo.entries.manifest import BadEntryError, check_files, read_manifest
from zoo.entries.remote import cache_folder, fetched

TRUNK = "trunk.weights.h5"
HEAD = "heads/income.weights.h5"
MANIFEST = "manifest.json"
LITTLE = 2**24  # Bytes that buffers on the way may swallow; "endless" sends four times as many.


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """The pauses before further tries, which are not made."""
    made = []
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=made.append))
    return made


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def digest(content):
    return hashlib.sha256(content).hexdigest()


def place_of(server, cache):
    """Where the cache keeps what comes from the server."""
    return cache / digest(server.url.encode())[:16]


def content_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def looks_complete(server, cache):
    """Whether any folder is there that an entry could be read from."""
    return any(place_of(server, cache).glob("[0-9a-f]*/manifest.json"))


def put_partial(server, cache, name, content):
    path = place_of(server, cache) / ".partial" / server.listed()[name]["sha256"]
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


# What a fetch gives.


def test_the_entry_arrives_whole_and_nothing_else_is_left(server, cache):
    folder = fetched(server.url, cache_dir=cache)
    assert content_of(folder) == server.content
    check_files(folder, read_manifest(folder))
    assert folder == place_of(server, cache) / digest(server.content[MANIFEST])
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, ".lock", ".latest"}


def test_an_address_may_end_with_a_slash_and_be_in_capitals(server, cache):
    address = server.url.replace("http://", "HTTP://") + "/"
    assert fetched(address, cache_dir=cache) == fetched(server.url, cache_dir=cache)


def test_two_addresses_do_not_meet_in_the_cache(server, cache):
    other = server.url + "/../entry"
    folders = {fetched(address, cache_dir=cache) for address in (server.url, other)}
    assert len(folders) == 2


def test_two_files_may_have_one_content(server, cache):
    server.content[HEAD] = server.content[TRUNK]
    server.publish_manifest(files=server.listed())
    assert content_of(fetched(server.url, cache_dir=cache)) == server.content


# Revisions.


def test_with_a_revision_the_cache_answers_without_the_network(server, cache, monkeypatch):
    revision = digest(server.content[MANIFEST])
    folder = fetched(server.url, revision, cache_dir=cache)

    def refuse(*args):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert fetched(server.url, revision, cache_dir=cache) == folder
    with pytest.raises(AssertionError, match="touched"):
        fetched(server.url, cache_dir=cache)


def test_without_a_revision_only_the_manifest_is_fetched_again(server, cache):
    folder = fetched(server.url, cache_dir=cache)
    server.requests.clear()
    assert fetched(server.url, cache_dir=cache) == folder
    assert server.requests == [(MANIFEST, 0)]


def test_a_new_revision_is_seen_and_the_old_one_stays(server, cache):
    old = digest(server.content[MANIFEST])
    content = dict(server.content)
    first = fetched(server.url, cache_dir=cache)
    new = server.publish(2)
    second = fetched(server.url, cache_dir=cache)
    assert second.name == new and content_of(second) == server.content
    assert fetched(server.url, old, cache_dir=cache) == first
    assert content_of(first) == content


def test_another_revision_than_asked_for_is_refused_with_both_digests(server, cache):
    old = digest(server.content[MANIFEST])
    new = server.publish(2)
    with pytest.raises(BadEntryError, match=f"{server.url}/manifest.*{old}.*Received.*{new}"):
        fetched(server.url, old, cache_dir=cache)
    assert server.requests == [(MANIFEST, 0)]
    assert not looks_complete(server, cache)


# Offline.


def test_offline_gives_what_the_address_had_last(server, cache):
    first = fetched(server.url, cache_dir=cache)
    original = server.content
    server.publish(2)
    second = fetched(server.url, cache_dir=cache)
    server.requests.clear()
    assert fetched(server.url, cache_dir=cache, offline=True) == second
    assert fetched(server.url, first.name, cache_dir=cache, offline=True) == first
    assert not server.requests
    # The publisher takes the second one back.
    server.content = original
    assert fetched(server.url, cache_dir=cache) == first
    assert fetched(server.url, cache_dir=cache, offline=True) == first


@pytest.mark.parametrize("revision", [None, "0" * 64])
def test_offline_an_entry_that_is_not_there_is_told_how_to_get(server, cache, revision):
    remedy = rf"mtl-zoo prefetch {server.url}`.*revision={revision!r}"
    with pytest.raises(FileNotFoundError, match=remedy):
        fetched(server.url, revision, cache_dir=cache, offline=True)
    assert not server.requests and not cache.exists()


@pytest.mark.parametrize(
    ("variable", "argument", "expected"),
    [
        ("1", None, True),
        ("true", None, True),
        ("YES", None, True),
        ("0", None, False),
        ("", None, False),
        ("1", False, False),
        ("0", True, True),
    ],
)
def test_the_environment_may_say_offline(server, cache, monkeypatch, variable, argument, expected):
    fetched(server.url, cache_dir=cache)
    server.requests.clear()
    monkeypatch.setenv("MTL_ZOO_OFFLINE", variable)
    fetched(server.url, cache_dir=cache, offline=argument)
    assert bool(server.requests) is not expected


# The cache.


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.delenv("MTL_ZOO_CACHE", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "mtl-keras"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mtl-keras"
    monkeypatch.setenv("MTL_ZOO_CACHE", "~/ours")
    assert cache_folder() == tmp_path / "ours"
    assert cache_folder(tmp_path / "given") == tmp_path / "given"


def test_the_environment_names_the_cache(server, cache, monkeypatch):
    monkeypatch.setenv("MTL_ZOO_CACHE", str(cache))
    assert cache in fetched(server.url).parents


def test_a_cache_that_cannot_be_is_told(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=rf"MTL_ZOO_CACHE.*Received: .*{tmp_path / 'file'}"):
        fetched(server.url, cache_dir=tmp_path / "file")


@pytest.mark.parametrize("name", [MANIFEST, TRUNK, HEAD])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_entry_is_fetched_again(server, cache, name, damage):
    folder = fetched(server.url, cache_dir=cache)
    if damage == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(b"?" * len(server.content[name]))
    with pytest.raises((BadEntryError, FileNotFoundError), match=f"mtl-zoo prefetch {server.url}"):
        fetched(server.url, cache_dir=cache, offline=True)
    assert fetched(server.url, folder.name, cache_dir=cache) == folder
    assert content_of(folder) == server.content


def test_a_cached_manifest_that_is_valid_but_another_is_no_revision(server, cache):
    folder = fetched(server.url, cache_dir=cache)
    original = server.content[MANIFEST]
    server.publish_manifest(title="Another", files=server.listed())
    (folder / MANIFEST).write_bytes(server.content[MANIFEST])
    with pytest.raises(BadEntryError, match=r"manifest.json must have the SHA-256 of its folder"):
        fetched(server.url, folder.name, cache_dir=cache, offline=True)
    server.content[MANIFEST] = original
    assert content_of(fetched(server.url, folder.name, cache_dir=cache)) == server.content


# Downloads that break off.


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_breaks_is_taken_up_again(server, cache, reset):
    server.misbehave(TRUNK, sent=100_000, reset=reset)
    assert content_of(fetched(server.url, cache_dir=cache)) == server.content
    first, second = server.ranges(TRUNK)
    # A reset may throw away what was under way.
    assert first == 0 and (0 if reset else 50_000) <= second <= 100_000


def test_a_later_call_goes_on_where_one_ended(server, cache):
    server.misbehave(TRUNK, sent=50_000)
    server.misbehave(TRUNK, sent=0, times=3)
    with pytest.raises(ConnectionError, match=rf"{server.url}/{TRUNK} could not .* in 4 tries"):
        fetched(server.url, cache_dir=cache)
    assert not looks_complete(server, cache)
    server.requests.clear()
    assert content_of(fetched(server.url, cache_dir=cache)) == server.content
    assert server.requests[0] == (MANIFEST, 0)
    assert 0 < server.ranges(TRUNK)[0] <= 50_000 and len(server.ranges(TRUNK)) == 1
    # The first file was whole, and is not asked for again.
    assert server.ranges("architecture.json") == []


def test_a_partial_download_that_is_whole_needs_no_request(server, cache):
    put_partial(server, cache, TRUNK, server.content[TRUNK])
    assert content_of(fetched(server.url, cache_dir=cache)) == server.content
    assert server.ranges(TRUNK) == []


@pytest.mark.parametrize(
    "how",
    [
        {"ranges": False},
        {"status": 416},
        {"headers": {"Content-Range": None}},
        {"headers": {"Content-Range": "bytes 70000-199999/*"}},
    ],
    ids=["ignores it", "refuses it", "does not say", "no size"],
)
def test_whatever_the_server_does_with_a_range(server, cache, how):
    put_partial(server, cache, TRUNK, server.content[TRUNK][:70_000])
    server.misbehave(TRUNK, **how)
    assert content_of(fetched(server.url, cache_dir=cache)) == server.content
    assert server.ranges(TRUNK)[0] == 70_000


def test_a_range_that_begins_elsewhere_is_not_read(server, cache):
    put_partial(server, cache, TRUNK, server.content[TRUNK][:70_000])
    elsewhere = {"Content-Range": "bytes 1-199999/200000", "Content-Length": None}
    server.misbehave(TRUNK, headers=elsewhere, endless=True)
    assert content_of(fetched(server.url, cache_dir=cache)) == server.content
    assert server.ranges(TRUNK) == [70_000, 0]


@pytest.mark.parametrize("size", [70_000, 200_000, 300_000])
def test_a_wrong_partial_download_is_begun_anew(server, cache, size):
    put_partial(server, cache, TRUNK, bytes(size))
    assert content_of(fetched(server.url, cache_dir=cache)) == server.content
    assert server.ranges(TRUNK) == {70_000: [70_000, 0]}.get(size, [0])


def test_it_is_begun_anew_just_once(server, cache):
    partial = put_partial(server, cache, TRUNK, bytes(70_000))
    server.content[TRUNK] = bytes(200_000)
    with pytest.raises(BadEntryError, match=rf"{server.url}/{TRUNK} must have 200,000 bytes"):
        fetched(server.url, cache_dir=cache)
    assert server.ranges(TRUNK) == [70_000, 0]
    assert not partial.exists() and not looks_complete(server, cache)


# Content that is wrong.


def test_changed_content_is_refused(server, cache):
    expected = server.listed()[HEAD]["sha256"]
    server.content[HEAD] = b"?" * len(server.content[HEAD])
    found = digest(server.content[HEAD])
    with pytest.raises(BadEntryError, match=f"{server.url}/{HEAD}.*{expected}.*Received.*{found}"):
        fetched(server.url, cache_dir=cache)
    assert server.ranges(HEAD) == [0]
    assert not looks_complete(server, cache)
    with pytest.raises(FileNotFoundError):
        fetched(server.url, cache_dir=cache, offline=True)


@pytest.mark.parametrize("length", ["199999", "200001", "9" * 5000])
def test_another_size_is_refused_before_the_content_is_read(server, cache, length):
    server.misbehave(TRUNK, headers={"Content-Length": length})
    with pytest.raises(BadEntryError, match=f"200000 bytes.*Received: {length[:20]} bytes"):
        fetched(server.url, cache_dir=cache)
    assert not looks_complete(server, cache)


@pytest.mark.parametrize("name", [TRUNK, MANIFEST])
def test_a_file_without_end_is_cut_off(server, cache, name):
    server.misbehave(name, headers={"Content-Length": None}, endless=True)
    with pytest.raises(BadEntryError, match=f"{server.url}/{name} has more bytes"):
        fetched(server.url, cache_dir=cache)
    # A manifest may have 2^24 bytes itself.
    assert server.bytes_sent < 2 * LITTLE
    assert not looks_complete(server, cache)
    assert not list(cache.rglob(server.listed()[TRUNK]["sha256"]))


def test_a_file_that_is_always_cut_is_refused(server, cache):
    # Without a length, the end of the connection looks like the end of the file.
    how = {"headers": {"Content-Length": None}, "ranges": False, "sent": 100_000}
    server.misbehave(TRUNK, times=4, **how)
    with pytest.raises(ConnectionError, match=r"ended after 100,000 of 200,000 bytes"):
        fetched(server.url, cache_dir=cache)
    assert not looks_complete(server, cache)


def test_a_compressed_answer_is_refused(server, cache):
    server.misbehave(TRUNK, headers={"Content-Encoding": "gzip"})
    with pytest.raises(ConnectionError, match=rf"{TRUNK} must be sent as it is. Received: .*gzip"):
        fetched(server.url, cache_dir=cache)


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"\xff\xfe", b"{}"])
def test_a_manifest_that_is_none_is_refused(server, cache, content):
    server.content[MANIFEST] = content
    with pytest.raises(BadEntryError, match=f"manifest of {server.url}"):
        fetched(server.url, cache_dir=cache)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["../trunk.weights.h5", "/etc/passwd", "README.md", "heads/../x"])
def test_a_manifest_cannot_name_other_files(server, cache, name):
    server.publish_manifest(files=server.listed() | {name: server.listed()[TRUNK]})
    with pytest.raises(BadEntryError, match=re.escape(name)):
        fetched(server.url, cache_dir=cache)
    assert server.requests == [(MANIFEST, 0)] and not cache.exists()


def test_what_the_manifest_does_not_list_is_not_fetched(server, cache):
    server.content["README.md"] = b"A card"
    assert "README.md" not in content_of(fetched(server.url, cache_dir=cache))


# Answers of the server.


@pytest.mark.parametrize("name", [MANIFEST, TRUNK])
def test_what_is_not_there_is_named(server, cache, name):
    del server.content[name]
    with pytest.raises(FileNotFoundError, match=f"{server.url}/{name}.* 404"):
        fetched(server.url, cache_dir=cache)
    assert server.ranges(name) == [0]
    assert not looks_complete(server, cache)


@pytest.mark.parametrize("name", [MANIFEST, TRUNK])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_error_that_passes_is_borne(server, cache, pauses, name, status):
    server.misbehave(name, status=status, times=2)
    assert content_of(fetched(server.url, cache_dir=cache)) == server.content
    assert server.ranges(name) == [0, 0, 0]
    assert pauses == [0.5, 1]


def test_an_error_that_stays_is_told(server, cache):
    server.misbehave(TRUNK, status=500, times=4)
    with pytest.raises(ConnectionError, match=rf"{server.url}/{TRUNK} .* in 4 tries .* 500"):
        fetched(server.url, cache_dir=cache)
    assert not looks_complete(server, cache)


def test_an_error_that_will_stay_is_not_tried_again(server, cache):
    server.misbehave(TRUNK, status=403)
    with pytest.raises(ConnectionError, match=rf"{server.url}/{TRUNK} .* 403"):
        fetched(server.url, cache_dir=cache)
    assert server.ranges(TRUNK) == [0]


def test_a_server_that_falls_silent_is_lost(server, cache, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", (5, 0.2))
    server.misbehave(TRUNK, sent=100_000, hold=threading.Event())
    assert content_of(fetched(server.url, cache_dir=cache)) == server.content
    assert 0 < server.ranges(TRUNK)[1] <= 100_000


def test_no_server_is_told(cache, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/entry"
    with pytest.raises(ConnectionError, match=f"{url}/manifest.json could not be fetched"):
        fetched(url, cache_dir=cache)
    assert not cache.exists()


def test_what_the_cache_has_is_told_when_the_server_is_lost(server, cache):
    folder = fetched(server.url, cache_dir=cache)
    server.misbehave(MANIFEST, status=503, times=8)
    with pytest.raises(ConnectionError, match=r"503.*MTL_ZOO_OFFLINE=1"):
        fetched(server.url, cache_dir=cache)
    with pytest.raises(ConnectionError) as caught:
        fetched(server.url, "0" * 64, cache_dir=cache)
    assert "OFFLINE" not in str(caught.value)
    assert fetched(server.url, cache_dir=cache, offline=True) == folder


@pytest.mark.parametrize("host", ["a..b", "%zz"])
def test_a_host_that_cannot_be_is_told_at_once(cache, pauses, host):
    with pytest.raises(ConnectionError, match=rf"http://{host}/entry.* could not be fetched"):
        fetched(f"http://{host}/entry", cache_dir=cache)
    assert not pauses


# Redirects.


def test_a_redirect_is_followed_without_reading_what_comes_with_it(server, cache):
    server.content["moved"] = server.content[TRUNK]
    how = {"Location": "/entry/moved", "Content-Length": None}
    server.misbehave(TRUNK, status=302, headers=how, endless=True)
    folder = fetched(server.url, cache_dir=cache)
    assert (folder / TRUNK).read_bytes() == server.content[TRUNK]
    assert server.bytes_sent < LITTLE


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://["])
@pytest.mark.parametrize("name", [MANIFEST, TRUNK])
def test_a_redirect_elsewhere_is_refused(server, cache, name, location):
    server.misbehave(name, status=302, headers={"Location": location})
    told = rf"{server.url}/{name} must not lead .*Received: a redirect to {re.escape(location)}"
    with pytest.raises(ConnectionError, match=told):
        fetched(server.url, cache_dir=cache)
    assert not looks_complete(server, cache)


def test_a_redirect_must_not_drop_the_encryption(cache, monkeypatch):
    answer = requests.Response()
    answer.status_code, answer.raw = 302, io.BytesIO()
    answer.headers["Location"] = "http://example.org/manifest.json"
    monkeypatch.setattr(requests.Session, "get", lambda *args, **kwargs: answer)
    with pytest.raises(ConnectionError, match=r"must not lead to anything but https\. "):
        fetched("https://example.org/entry", cache_dir=cache)


def test_redirects_in_a_circle_end(server, cache):
    server.misbehave(MANIFEST, status=302, headers={"Location": MANIFEST}, times=100)
    with pytest.raises(ConnectionError, match="redirected more than 5 times"):
        fetched(server.url, cache_dir=cache)


# Arguments, and what a person sees.


@pytest.mark.parametrize(
    "address",
    [
        "some/folder",
        "/some/folder",
        "file:///some/folder",
        "ftp://example.org/entry",
        "//example.org/entry",
        "http://",
        "http:///entry",
        "http://example.org:99999/entry",
        "http://[example.org/entry",
        "http://example.org/an entry",
        "http://example.org/entry\n",
        "http://example.org/entry?token=1",
        "http://example.org/entry#1",
        "",
        None,
        Path("http://example.org/entry"),
    ],
)
def test_an_address_that_is_none_is_refused(address, cache):
    with pytest.raises(ValueError, match=r"`address` must be.*Received: address="):
        fetched(address, cache_dir=cache)


def test_credentials_are_refused_and_not_repeated(cache):
    with pytest.raises(ValueError, match="without credentials") as caught:
        fetched("https://somebody:secret@example.org/entry", cache_dir=cache)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("revision", ["main", "A" * 64, "0" * 63, "0" * 64 + "\n", ".." * 32])
def test_a_revision_that_is_none_is_refused(revision, cache):
    with pytest.raises(ValueError, match=r"`revision` must be.*Received: revision="):
        fetched("http://example.org/entry", revision, cache_dir=cache)


def test_a_bar_is_shown_to_who_looks_at_one(server, cache):
    texts = {}
    for name, terminal in {"first": True, "again": True, "to a file": False}.items():
        texts[name] = io.StringIO()
        console = Console(file=texts[name], force_terminal=terminal, width=200)
        fetched(server.url, cache_dir=cache / str(terminal), console=console)
    assert f"Fetching {server.url}" in texts["first"].getvalue()
    assert "203.0/203.0 kB" in texts["first"].getvalue()
    assert texts["again"].getvalue() == texts["to a file"].getvalue() == ""


def test_the_note_of_the_last_revision_may_be_damaged(server, cache):
    folder = fetched(server.url, cache_dir=cache)
    (folder.parent / ".latest").write_bytes(b"\xff../..")
    with pytest.raises(FileNotFoundError, match="mtl-zoo prefetch"):
        fetched(server.url, cache_dir=cache, offline=True)
    fetched(server.url, cache_dir=cache)
    assert fetched(server.url, cache_dir=cache, offline=True) == folder
