"""`ServedModel`: a SavedModel in plain TensorFlow."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.serving.refusal import Refusal, shortly
from zoo.serving.signature import Signature
from zoo.serving.tensor_format import TensorFormat

DEFAULT = "serving_default"
_TELLING = 300  # Letters of a message of TensorFlow, which may repeat the request.


class ServedModel:
    """A SavedModel, loaded by TensorFlow alone, that answers by signature.

    Args:
        folder: of the SavedModel.
        name: that it is asked by.
        version: of it, a whole number.

    Raises:
        OSError: when there is no SavedModel.
        ValueError: when it has no signature.
    """

    def __init__(self, folder: str | os.PathLike, name: str, version: int = 1):
        import tensorflow as tf

        self.name = name
        self.version = version
        # The functions do not keep the variables that they read.
        self._loaded = tf.saved_model.load(os.fspath(folder))
        self.signatures = {
            name: _signature(name, function) for name, function in self._loaded.signatures.items()
        }
        if not self.signatures:
            raise ValueError(f"The SavedModel must have a signature. Received: none in '{folder}'")
        self._definitions = _definitions(Path(folder))

    def signature(self, name: Any = "") -> Signature:
        """The signature of this name; of none, `serving_default`.

        Raises:
            Refusal: 400 for another.
        """
        found = self.signatures.get(name or DEFAULT) if isinstance(name, str) else None
        if found is None:
            raise Refusal(
                400,
                f'"signature_name" must be one of {sorted(self.signatures)}. '
                f"Received: {shortly(name)}",
            )
        return found

    def ask(self, signature: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a signature.

        Args:
            signature: its name.
            arrays: input name to values, of the signature's dtypes and shapes.

        Raises:
            Refusal: 400 when the model says that it cannot take such values.
        """
        from tensorflow.errors import InvalidArgumentError

        try:
            return self.signatures[signature].function(arrays)
        except InvalidArgumentError as error:
            raise Refusal(400, f"The model cannot take this: {_first_line(error)}") from error

    def warm_up(self) -> None:
        """Asks every signature once: the first call of one takes longer than those that follow."""
        for name, signature in self.signatures.items():
            values = {own.name: _nothing(own) for own in signature.inputs.values()}
            if None not in values.values():
                try:
                    self.ask(name, {key: make() for key, make in values.items()})
                except Refusal:
                    # It is up to the model what it makes of zeros; it is warm anyway.
                    continue

    def status(self) -> dict[str, Any]:
        """As TensorFlow Serving's `GET /v1/models/NAME`."""
        fine = {"error_code": "OK", "error_message": ""}
        state = {"version": str(self.version), "state": "AVAILABLE", "status": fine}
        return {"model_version_status": [state]}

    def metadata(self) -> dict[str, Any]:
        """As TensorFlow Serving's `GET /v1/models/NAME/metadata`."""
        spec = {"name": self.name, "signature_name": "", "version": str(self.version)}
        signatures = {"signature_def": self._definitions}
        return {"model_spec": spec, "metadata": {"signature_def": signatures}}


def _signature(name, function):
    import tensorflow as tf

    specs = function.structured_input_signature[1]
    inputs = [TensorFormat.of(name, spec) for name, spec in specs.items()]
    outputs = [TensorFormat.of(name, spec) for name, spec in function.structured_outputs.items()]

    def answers(arrays):
        # `constant`, not the array: strings are arrays of objects, which a function refuses.
        tensors = {key: tf.constant(arrays[key], spec.dtype) for key, spec in specs.items()}
        return {key: value.numpy() for key, value in function(**tensors).items()}

    return Signature(name, inputs, outputs, answers)


def _nothing(own):
    """Makes a row of zeros; None where no shape is known."""
    if own.shape is None or not own.kind:
        return None
    shape = [1 if size is None else size for size in own.shape]
    return lambda: np.full(shape, b"" if own.kind == "string" else 0, own.dtype)


def _definitions(folder):
    """The signatures as they are written in the file, in the JSON of TensorFlow Serving."""
    from tensorflow.core.protobuf import saved_model_pb2

    content = (folder / "saved_model.pb").read_bytes()
    graphs = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    served = next(graph for graph in graphs if "serve" in graph.meta_info_def.tags)
    return {
        name: {
            "inputs": {key: _tensor_info(own) for key, own in definition.inputs.items()},
            "outputs": {key: _tensor_info(own) for key, own in definition.outputs.items()},
            "method_name": definition.method_name,
            "defaults": {},
        }
        for name, definition in sorted(served.signature_def.items())
        if not name.startswith("__")
    }


def _tensor_info(own):
    from tensorflow.core.framework import types_pb2

    shape = own.tensor_shape
    # JSON of protocol buffers writes whole numbers of 64 bits as texts.
    sizes = [{"size": str(axis.size), "name": axis.name} for axis in shape.dim]
    return {
        "dtype": types_pb2.DataType.Name(own.dtype),
        "tensor_shape": {"dim": sizes, "unknown_rank": shape.unknown_rank},
        "name": own.name,
    }


def _first_line(error):
    """What the model says, without where in its graph it says so."""
    about = ("Graph execution error", "Detected at node", "<stack traces", "[[{{node")
    lines = [line.strip() for line in str(error.message).splitlines()]
    telling = [line for line in lines if line and not line.startswith(about)]
    return telling[0][:_TELLING] if telling else "invalid argument"
