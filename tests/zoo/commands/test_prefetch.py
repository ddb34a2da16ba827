"""Entries at an address, from a server on the loopback."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def address(entry, tmp_path, monkeypatch):
    """Where the entry is served; the cache is a new one."""
    monkeypatch.setenv("MTL_ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MTL_ZOO_OFFLINE", raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=entry.parent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/shop"
    server.shutdown()
    server.server_close()


def test_what_was_fetched_is_there_without_a_network(zoo_says, address, monkeypatch, entry):
    said = zoo_says("prefetch", address, "--json")
    manifest = (entry / "manifest.json").read_bytes()
    assert said.json["revision"] == hashlib.sha256(manifest).hexdigest()
    assert (Path(said.json["path"]) / "manifest.json").read_bytes() == manifest
    monkeypatch.setenv("MTL_ZOO_OFFLINE", "1")
    found = zoo_says("predict", address, "--json").json
    assert found == zoo_says("predict", entry, "--json").json


def test_the_place_is_shown_on_one_line(zoo_says, address):
    path = zoo_says("prefetch", address, "--json").json["path"]
    assert zoo_says("prefetch", address).out == f"{path}\n"


def test_another_revision_is_refused(mistake, address):
    message = mistake("prefetch", address, "--revision", "0" * 64)
    assert "the entry there is another one" in message


def test_what_is_no_address_is_refused(mistake):
    assert "`address` must be" in mistake("prefetch", "mmoe_census")
