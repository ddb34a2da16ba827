"""`official`: finds the publishers' files; `no_network`: refuses any connection."""

import os
import socket
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def official():
    """From the name of a folder of official files to its path, where there is one."""

    def find(folder):
        fallback = Path(__file__).parents[3].parent / "shared" / "data"
        root = Path(os.environ.get("MTL_KERAS_DATA", fallback)) / folder
        if not root.is_dir():
            pytest.skip(f"no official files of {folder}; MTL_KERAS_DATA names where folders lie")
        return root

    return find


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
