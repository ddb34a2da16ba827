"""Formats for other runtimes: ONNX, LiteRT and OpenVINO, each from a SavedModel on the way.

None of them holds strings. What a model makes of them is left out there, and written apart.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mtl_keras.export.part import Part
from mtl_keras.export.saved_model import write_saved_model

Signatures = Mapping[str, Sequence[str]]
OPSET = 18


def write_onnx(part: Part, path: Path, signatures: Signatures, batch_size: int | None) -> None:
    """One graph from the inputs to the outputs by name; needs `tf2onnx` and `onnx`."""
    import tensorflow as tf
    import tf2onnx

    specs = part.specs(batch_size)
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()]
    with _saved_model(part, signatures, batch_size) as folder:
        (name,) = signatures
        loaded = tf.saved_model.load(folder)
        signature = loaded.signatures[name]

        @tf.function(input_signature=specs, autograph=False)
        def function(*values):
            return signature(**{s.name: value for s, value in zip(specs, values, strict=True)})

        tf2onnx.convert.from_function(function, specs, opset=OPSET, output_path=os.fspath(path))


def write_litert(part: Part, path: Path, signatures: Signatures, batch_size: int | None) -> None:
    """All signatures in one file, of LiteRT's own operations."""
    import tensorflow as tf

    with _saved_model(part, signatures, batch_size) as folder:
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, list(signatures))
        if part.stored and part.stored.kind == "float16":
            # It widens half floats to constants, and makes the same half floats of them if asked.
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        path.write_bytes(converter.convert())


def write_openvino(part: Part, path: Path, signatures: Signatures, batch_size: int | None) -> None:
    """The graph, `.xml`, and beside it the weights, `.bin`; needs `openvino`."""
    import openvino

    with _saved_model(part, signatures, batch_size) as folder:
        openvino.save_model(openvino.convert_model(folder), path, compress_to_fp16=False)


@dataclass(frozen=True)
class Format:
    """A format of files.

    Args:
        name: what it is called in `export`, and the extra that installs its package.
        write: writes a part of a model to a path: the first of its files, others beside it.
        suffixes: of its files.
        package: that it needs.
        several: whether it holds several signatures.
        stored: the kinds of stored weights that it keeps small.
        tool: what makes weights small in it otherwise.
    """

    name: str
    write: Callable[[Part, Path, Signatures, int | None], None]
    suffixes: tuple[str, ...]
    package: str
    several: bool = False
    stored: tuple[str, ...] = ()
    tool: str = ""


PORTABLE = {
    own.name: own
    for own in (
        Format("onnx", write_onnx, (".onnx",), "tf2onnx", tool="onnxruntime.quantization"),
        Format("litert", write_litert, (".tflite",), "tensorflow", True, ("int8", "float16")),
        Format(
            "openvino",
            write_openvino,
            (".xml", ".bin"),
            "openvino",
            stored=("float16",),
            tool="nncf.compress_weights",
        ),
    )
}


@contextmanager
def _saved_model(part, signatures, batch_size) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(part, folder, signatures, batch_size)
        yield folder
