"""`mtl-zoo serve NAME`: a model behind HTTP, with TensorFlow Serving's REST predict API."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from zoo import registry
from zoo.commands.output import answer, standard_error
from zoo.commands.quiet_start import quiet_start
from zoo.serving.limits import Limits
from zoo.serving.saved_model_folder import saved_model_folder


def run(options: Any) -> None:
    """Serves until SIGTERM or SIGINT; then answers what was accepted, and returns.

    Raises:
        ImportError: when the extra `serve` is not installed.
        ValueError: for an unknown name, limits that cannot be, and an entry that cannot be
            exported.
        OSError: for an address that is taken, and as `zoo.load`.
        RuntimeError: when the entry could not be exported.
    """
    _check_installed()
    limits = Limits(
        **{field.name: getattr(options, field.name) for field in dataclasses.fields(Limits)}
    )
    found = _found(options.name)
    # These import the extra.
    from zoo.serving.server import Server, bound

    with bound(options.host, options.port) as socket, _saved_model(options.name, found) as place:
        model = _loaded(*place)
        ready = lambda: _say(options, model, socket.getsockname())  # noqa: E731
        Server(model, limits, ready).run([socket])


def _check_installed():
    missing = [own for own in ("starlette", "uvicorn") if importlib.util.find_spec(own) is None]
    if missing:
        raise ImportError(
            "`mtl-zoo serve` needs starlette and uvicorn: pip install 'mtl-keras[serve]'. "
            f"Received: no {' and no '.join(missing)}"
        )


def _found(name):
    """A SavedModel's place; None for an entry, which is there."""
    found = None if name in registry.list_models() else saved_model_folder(name)
    if found is None:
        # An entry that is not there is a mistake of the user's: now, not in a minute.
        registry.manifest_of(name)
    return found


@contextmanager
def _saved_model(name, found):
    if found is not None:
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="mtl-zoo-serve-") as folder:
        with standard_error().status(f"Exporting {name}"):
            _export(name, f"{folder}/1")
        yield Path(folder, "1"), _last_part(name), 1


def _export(name, path):
    """Exports an entry in another process: on TensorFlow, and without a second model here."""
    process = subprocess.run(
        [sys.executable, "-m", "zoo", "export", name, path, "--signatures", "both", "--json"],
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["it ended without a reason"]
        reason = lines[-1].removeprefix("mtl-zoo: error: ")
        raise RuntimeError(f"'{name}' could not be exported: {reason}")


def _last_part(name):
    path = urlsplit(name).path if "://" in name else os.path.abspath(name)
    return path.rstrip("/").rpartition("/")[2]


def _loaded(folder, name, version):
    from zoo.serving.served_model import ServedModel

    # TensorFlow imports Keras where it is installed, and that the backend.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_start():
        model = ServedModel(folder, name, version)
        model.warm_up()
    return model


def _say(options, model, address):
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    url = f"http://{host}:{address[1]}/v1/models/{quote(model.name)}"
    signatures = sorted(model.signatures)
    answer(
        options,
        {"url": url, "name": model.name, "version": model.version, "signatures": signatures},
        f"Serving {url} (signatures: {', '.join(signatures)})",
    )
