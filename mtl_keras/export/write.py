"""From a model to files: the format, what of the model, and how the files appear."""

import importlib.util
import os
import shutil
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import keras

from mtl_keras.atomic import atomic_output
from mtl_keras.checks import checked_choice
from mtl_keras.export import portable
from mtl_keras.export.part import Part
from mtl_keras.export.saved_model import tasks_by_signature, write_saved_model

SAVED_MODEL = "tf_saved_model"

# Format to writer, suffix, package that it needs, extra, and whether it holds several signatures.
_PORTABLE = {
    "onnx": (portable.write_onnx, ".onnx", "tf2onnx", "onnx", False),
    "litert": (portable.write_litert, ".tflite", "tensorflow", "", True),
    "openvino": (portable.write_openvino, ".xml", "openvino", "openvino", False),
}
FORMATS = (SAVED_MODEL, *_PORTABLE)


def write(
    model: keras.Model,
    path: str | os.PathLike,
    format: str = SAVED_MODEL,
    tasks: Sequence[str] | None = None,
    signatures: str = "joint",
    batch_size: int | None = None,
    verbose: bool = False,
) -> list[Path]:
    """Writes a model for serving; see `MultiTaskModel.export`.

    Returns:
        What was written: the model first.
    """
    checked_choice(format, "format", FORMATS)
    path, part = Path(path), Part.of(model, tasks)
    _check_backend(format)
    if format != SAVED_MODEL:
        return _write_portable(part, path, format, signatures, batch_size)
    named = tasks_by_signature(part, signatures)
    with atomic_output(path) as temporary:
        write_saved_model(part, temporary, named, batch_size, verbose)
    return [path]


def _write_portable(part, path, format, signatures, batch_size):
    writer, suffix, package, extra, several = _PORTABLE[format]
    _check_installed(format, package, extra)
    if path.suffix != suffix:
        raise ValueError(f"`filepath` of '{format}' must end in '{suffix}'. Received: {path}")
    if signatures != "joint" and not several:
        raise ValueError(
            f"`signatures` must be 'joint' for '{format}', a file of which holds one graph: "
            f"export each task by itself, tasks=['name']. Received: signatures={signatures!r}"
        )
    before = None
    if part.takes_strings:
        before, part = part.without_strings()
    named = tasks_by_signature(part, signatures, "serving_default")
    beside = path.with_name(f"{path.name}.preprocessing")
    with ExitStack() as outputs:
        # What is entered last appears first: the model, once all else is there.
        temporary = outputs.enter_context(atomic_output(path))
        written = [path]
        if before is not None:
            folder = outputs.enter_context(atomic_output(beside))
            write_saved_model(before, folder, tasks_by_signature(before, "joint"), batch_size)
            written.append(beside)
        if format == "openvino":
            weights = outputs.enter_context(atomic_output(path.with_suffix(".bin")))
            written.append(path.with_suffix(".bin"))
        writer(part, temporary, named, batch_size)
        if format == "openvino":
            shutil.move(temporary.with_suffix(".bin"), weights)
    if before is not None:
        warnings.warn(
            f"'{format}' holds no strings: '{path}' takes {sorted(part.inputs)}, which the "
            f"SavedModel '{beside}' makes of {_listed(before.inputs)}.",
            stacklevel=4,
        )
    return written


def _check_backend(format):
    backend = keras.backend.backend()
    needed = ("tensorflow", "jax") if format == SAVED_MODEL else ("tensorflow",)
    if backend not in needed:
        raise ValueError(
            f"`format` '{format}' needs the backend {' or '.join(needed)}: save the model "
            f"(`.keras`) and export it there. Received: format={format!r} on {backend}"
        )


def _check_installed(format, package, extra):
    if importlib.util.find_spec(package) is None:
        raise ImportError(
            f"The format '{format}' needs the package {package}: "
            f"pip install 'mtl-keras[{extra}]'. Received: format={format!r} without it"
        )


def _listed(inputs):
    names = sorted(inputs)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
