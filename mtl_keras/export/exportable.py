"""What a model can be written as, for serving: the formats, and how their files appear."""

import importlib.util
import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras

from mtl_keras.atomic import atomic_output
from mtl_keras.checks import checked_choice
from mtl_keras.export.part import Part
from mtl_keras.export.portable import PORTABLE
from mtl_keras.export.saved_model import tasks_by_signature, write_saved_model
from mtl_keras.export.stored_weights import KINDS

SAVED_MODEL = "tf_saved_model"
FORMATS = (SAVED_MODEL, *PORTABLE)


class Exportable:
    """What a `MultiTaskModel` can be written as."""

    def export(
        self,
        filepath: str | os.PathLike,
        format: str = SAVED_MODEL,
        verbose: bool = False,
        *,
        tasks: Sequence[str] | None = None,
        signatures: str = "joint",
        batch_size: int | None = None,
        quantize: str | None = None,
        dtype: str = "float32",
        evaluate_on: Any = None,
    ) -> list[Path]:
        """Writes the model for serving; inputs and outputs bear their names.

        A SavedModel takes raw inputs, strings too. The other formats hold no strings: where the
        model reads some, the file takes what the preprocessing makes of them, a SavedModel
        beside it, `<filepath>.preprocessing`, gives that, and a warning says so.

        Args:
            filepath: new folder or file; it appears whole or not at all. Ends in ".onnx",
                ".tflite" or ".xml" where it is such a file.
            format: "tf_saved_model", "onnx", "litert" or "openvino".
            verbose: whether to print the signatures.
            tasks: names of the tasks to export; default all. What only others need is left out.
            signatures: "joint": one signature, all tasks: in a SavedModel `serve`, which is also
                `serving_default`, and `examples`, the same from serialized `tf.Example` (not
                where an input has more than one axis of unknown length). "per_task": one a task,
                named after it, that computes nothing else, the first also as `serving_default`.
                "both". Variables are stored once. ONNX and OpenVINO hold one: "joint".
            batch_size: rows of a request; default any number.
            quantize: "int8" stores weights of two axes and more as integers with a scale a line,
                in about a quarter of the bytes: kernels of stacked experts, convolutions and
                recurrent layers and embeddings too. They are computed with in float32. Not in
                ONNX and OpenVINO, which have tools of their own for it.
            dtype: "float16" stores them as half floats; not in ONNX.
            evaluate_on: with one of these two, data as `evaluate` takes them, such as a
                `tf.data.Dataset`: each task's metrics before and after are printed.

        Returns:
            What was written: the model first, then what lies beside it.

        Raises:
            FileExistsError: when `filepath`, or what would lie beside it, exists.
            OSError: when it cannot be written.
            ValueError: for an unknown format, task or signature, another suffix, and a backend
                that cannot export the format: PyTorch none, JAX none but the SavedModel.
            ImportError: when a package that the format needs is not installed.
        """
        checked_choice(format, "format", FORMATS)
        path, part = Path(filepath), Part.of(self, tasks)
        _check_backend(format)
        kind = _stored_kind(format, quantize, dtype)
        if kind:
            part = part.with_weights(kind)
            if evaluate_on is not None:
                print(_change(self, part.stored, evaluate_on))
        if format != SAVED_MODEL:
            return _write_portable(part, path, PORTABLE[format], signatures, batch_size)
        with atomic_output(path) as temporary:
            chosen = tasks_by_signature(part, signatures)
            write_saved_model(part, temporary, chosen, batch_size, verbose)
        return [path]

    def quantize(self, mode: str | None = None, config: Any = None, **options: Any) -> None:
        """`keras.Model.quantize`; says which kernels stay as they are, of experts for one.

        Keras quantises layers of its own. `export(..., quantize="int8")` covers all.
        """
        super().quantize(mode, config, **options)
        left = [variable.path for variable in self.weights if KINDS["int8"].takes(variable)]
        if left:
            warnings.warn(
                f"Keras has not quantised {in_short(left)}: export with `quantize` does.",
                stacklevel=2,
            )


def _write_portable(part, path, format, signatures, batch_size):
    _check_installed(format)
    if path.suffix != format.suffixes[0]:
        raise ValueError(
            f"`filepath` of '{format.name}' must end in '{format.suffixes[0]}'. Received: {path}"
        )
    if signatures != "joint" and not format.several:
        raise ValueError(
            f"`signatures` must be 'joint' for '{format.name}', a file of which holds one graph: "
            f"export each task by itself, tasks=['name']. Received: signatures={signatures!r}"
        )
    files = [path.with_suffix(suffix) for suffix in format.suffixes]
    if not part.takes_strings:
        _write_files(part, files, format, signatures, batch_size)
        return files
    before, rest = part.without_strings()
    beside = path.with_name(f"{path.name}.preprocessing")
    with atomic_output(beside) as temporary:
        write_saved_model(before, temporary, tasks_by_signature(before, "joint"), batch_size)
        _write_files(rest, files, format, signatures, batch_size)
    warnings.warn(
        f"'{format.name}' holds no strings: '{path}' takes {sorted(rest.inputs)}, which the "
        f"SavedModel '{beside}' makes of {in_short(before.inputs)}.",
        stacklevel=3,
    )
    return [*files, beside]


def _write_files(part, files, format, signatures, batch_size):
    named = tasks_by_signature(part, signatures, "serving_default")
    with ExitStack() as outputs:
        # What is entered last appears first: the model, once all else is there.
        places = [outputs.enter_context(atomic_output(file)) for file in files]
        format.write(part, places[0], named, batch_size)
        for file, place in zip(files[1:], places[1:], strict=True):
            os.replace(places[0].with_name(file.name), place)


def _stored_kind(format, quantize, dtype):
    """How weights shall be stored; None as they are."""
    checked_choice(quantize, "quantize", (None, "int8"))
    checked_choice(dtype, "dtype", ("float32", "float16"))
    kind = dtype if dtype != "float32" else quantize
    if quantize and dtype != "float32":
        raise ValueError(
            "Give `quantize` or `dtype`: weights are stored as one of them. "
            f"Received: quantize={quantize!r}, dtype={dtype!r}"
        )
    held = PORTABLE[format].stored if format in PORTABLE else tuple(KINDS)
    if kind and kind not in held:
        raise ValueError(
            f"`format` '{format}' keeps no {kind} here: export float32, and make it small by "
            f"{PORTABLE[format].tool}. Received: quantize={quantize!r}, dtype={dtype!r}"
        )
    if kind and keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`quantize` and `dtype` need the backend tensorflow: save the model (`.keras`) and "
            f"export it there. Received: {kind!r} on {keras.backend.backend()}"
        )
    return kind


def _change(model, stored, data):
    """What storing does to each metric, as a table."""
    given = data if isinstance(data, (list, tuple)) else (data,)
    x, y, weights = keras.utils.unpack_x_y_sample_weight(tuple(given))

    def evaluated():
        return model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)

    before = evaluated()
    with stored.in_place():
        after = evaluated()
    width = max(map(len, before))
    lines = [f"{'':{width}}    float32  {stored.kind:>9}     change"]
    for name, value in before.items():
        if not name.endswith("_labels"):
            change = after[name] - value
            lines.append(f"{name:{width}}  {value:9.5f}  {after[name]:9.5f}  {change:+9.5f}")
    return "\n".join(lines)


def _check_backend(format):
    backend = keras.backend.backend()
    needed = ("tensorflow", "jax") if format == SAVED_MODEL else ("tensorflow",)
    if backend not in needed:
        raise ValueError(
            f"`format` '{format}' needs the backend {' or '.join(needed)}: save the model "
            f"(`.keras`) and export it there. Received: format={format!r} on {backend}"
        )


def _check_installed(format):
    if importlib.util.find_spec(format.package) is None:
        raise ImportError(
            f"The format '{format.name}' needs the package {format.package}: pip install "
            f"'mtl-keras[{format.name}]'. Received: format={format.name!r} without it"
        )


def in_short(names: Iterable[str]) -> str:
    """The first five names, in words, and how many more there are.

    >>> in_short("gfedcba")
    'a, b, c, d, e and 2 more'
    """
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
