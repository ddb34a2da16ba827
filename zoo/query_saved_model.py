"""Asks an exported SavedModel for predictions with plain TensorFlow, as a serving host does.

Run as a file, in a process of its own, it does not import `mtl_keras`:

    python query_saved_model.py SAVED_MODEL_DIR < request.json

The request is a JSON object from input name to a list of raw values, one a row. The answer is
a JSON object: `outputs` from task to list, `imported` the packages of ours that were loaded.
"""

import json
import os
import subprocess
import sys


def query(folder: str, request: dict) -> dict:
    """The outputs of the default signature for raw inputs.

    Args:
        folder: the SavedModel.
        request: input name to values, one a row.

    Raises:
        ValueError: when inputs are missing or unknown.
    """
    import tensorflow as tf

    signature = tf.saved_model.load(folder).signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    if set(specs) != set(request):
        raise ValueError(
            f"The request must have the inputs {sorted(specs)}. Received: {sorted(request)}"
        )
    tensors = {name: tf.constant(request[name], spec.dtype) for name, spec in specs.items()}
    return {name: value.numpy().tolist() for name, value in signature(**tensors).items()}


def ask_new_process(folder: str | os.PathLike, request: dict) -> dict:
    """What this file answers, run in a process that has nothing but what is installed.

    Args:
        folder: the SavedModel.
        request: input name to values, one a row.

    Raises:
        RuntimeError: when it fails; with what it says.
    """
    process = subprocess.run(
        # -I: nothing from this folder or its environment.
        [sys.executable, "-I", __file__, os.fspath(folder)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if process.returncode:
        raise RuntimeError(f"The exported model could not be asked:\n{process.stderr}")
    return json.loads(process.stdout)


if __name__ == "__main__":
    outputs = query(sys.argv[1], json.load(sys.stdin))
    imported = sorted({"mtl_keras", "zoo"} & set(sys.modules))
    json.dump({"outputs": outputs, "imported": imported}, sys.stdout)
