"""Mistakes of who starts a server; what it does is tested in `tests/zoo/serving/`."""

import importlib.util
import socket
import subprocess

import pytest

from zoo import cli


def test_an_unknown_name_is_told_before_anything_is_loaded(mistake):
    message = mistake("serve", "mmoe_censsu")
    assert "Received: name='mmoe_censsu'; did you mean 'mmoe_census'?" in message
    assert "'./nothing'" in mistake("serve", "nothing")
    assert "Received: 'nothing'" in mistake("serve", "./nothing")


def test_an_address_that_is_taken_is_told_before_anything_is_loaded(mistake, entry):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = mistake("serve", entry, "--port", port)
    assert f"Received: host='127.0.0.1', port={port}" in message
    assert "Received: host='no such host'" in mistake("serve", entry, "--host", "no such host")


def test_limits_that_contradict_each_other(mistake, entry):
    message = mistake("serve", entry, "--max-waiting", "10")
    assert "Received: max_waiting=10, max_rows=1024" in message


def test_an_entry_that_cannot_be_exported(mistake, entry, monkeypatch):
    def failed(command, **options):
        said = "a warning of a library\nmtl-zoo: error: it is damaged\n"
        return subprocess.CompletedProcess(command, 1, stderr=said)

    monkeypatch.setattr(subprocess, "run", failed)
    message = mistake("serve", entry, "--port", "0")
    assert f"'{entry}' could not be exported: it is damaged\n" in message


def test_without_the_extra_it_says_what_to_install(mistake, entry, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else found(name)
    )
    message = mistake("serve", entry)
    assert "pip install 'mtl-keras[serve]'. Received: no uvicorn" in message


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--port", "65536", "must be an integer, 0 to 65535. Received: 65536"),
        ("--port", "http", "must be an integer, 0 to 65535. Received: http"),
        ("--max-rows", "0", "must be an integer, 1 or more. Received: 0"),
        ("--timeout", "0", "must be a number, above 0. Received: 0"),
        ("--timeout", "nan", "must be a number, above 0. Received: nan"),
        ("--batch-wait-ms", "-1", "must be a number, 0 or more. Received: -1"),
    ],
)
def test_limits_that_cannot_be_are_wrong_usage(flag, value, said, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", "any", f"{flag}={value}"])
    assert stop.value.code == 2
    assert f"argument {flag}: {said}" in capsys.readouterr().err
