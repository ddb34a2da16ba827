"""A client of exported models, run in a process where our packages cannot be imported.

    python -I client.py KIND FOLDER

For each model's folder in FOLDER it reads `input.npz` and writes `KIND.npz`: what the runtime
KIND answers, by signature and task. All but "tfsm" run without Keras too.
"""

import sys
from pathlib import Path

import numpy as np


class Without:
    """A finder that does not find some packages."""

    def __init__(self, finder, names):
        self.finder, self.names = finder, names

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            return None
        return self.finder.find_spec(name, path, target)


def tensorflow(folder, x):
    """Plain TensorFlow; every signature."""
    import tensorflow as tf

    for name, signature in tf.saved_model.load(str(folder / "saved_model")).signatures.items():
        if name == "examples":
            yield name, signature(examples=tf.constant([*map(example, rows(x))]))
            continue
        specs = signature.structured_input_signature[1]
        tensors = {key: tf.constant(x[key], spec.dtype) for key, spec in specs.items()}
        yield name, signature(**tensors)


def rows(x):
    """A dict a row."""
    count = len(next(iter(x.values())))
    return [{name: values[i] for name, values in x.items()} for i in range(count)]


def example(row):
    """A row as a serialized tf.Example."""
    import tensorflow as tf

    features = {}
    for name, value in row.items():
        value = np.asarray(value)
        if value.dtype.kind in "OUS":
            kept = tf.train.Feature(bytes_list={"value": [str(v).encode() for v in value.flat]})
        elif value.dtype.kind == "f":
            kept = tf.train.Feature(float_list={"value": value.ravel().tolist()})
        else:
            kept = tf.train.Feature(int64_list={"value": value.ravel().tolist()})
        features[name] = kept
    return tf.train.Example(features={"feature": features}).SerializeToString()


def tfsm(folder, x):
    """Keras's layer for SavedModels."""
    import keras

    tensors = {name: keras.ops.convert_to_tensor(values) for name, values in typed(x).items()}
    for name in ("serve", "first"):
        layer = keras.layers.TFSMLayer(str(folder / "saved_model"), call_endpoint=name)
        yield name, layer(tensors)


def typed(x):
    return {name: v.astype(str) if v.dtype.kind == "O" else v for name, v in x.items()}


def onnx(folder, x):
    """ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    tasks = [output.name for output in session.get_outputs()]
    given = {own.name: x[own.name] for own in session.get_inputs()}
    yield "serve", dict(zip(tasks, session.run(tasks, given), strict=True))


def litert(folder, x):
    """LiteRT's interpreter; every signature."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / "model.tflite"))
    for name, about in interpreter.get_signature_list().items():
        yield name, interpreter.get_signature_runner(name)(**{k: x[k] for k in about["inputs"]})


def openvino(folder, x):
    """OpenVINO's own format."""
    yield "serve", _openvino(folder / "model.xml", x)


def openvino_reader(folder, x):
    """OpenVINO, reading the SavedModel itself."""
    yield "serve", _openvino(folder / "numbers", x)


def _openvino(path, x):
    from openvino import Core

    model = Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answer = model({own.get_any_name(): x[own.get_any_name()] for own in model.inputs})
    return {own.get_any_name(): answer[own] for own in model.outputs}


KINDS = {own.__name__: own for own in (tensorflow, tfsm, onnx, litert, openvino, openvino_reader)}


def main(kind, folder):
    """Asks one runtime about every model."""
    absent = ["mtl_keras", "zoo"] if kind == "tfsm" else ["mtl_keras", "zoo", "keras"]
    sys.meta_path[:] = [Without(finder, absent) for finder in sys.meta_path]
    for model in sorted(Path(folder).iterdir()):
        # What reads no strings is given what the preprocessing made of them.
        name = "input.npz" if kind in ("tensorflow", "tfsm") else "numbers.npz"
        x = dict(np.load(model / name, allow_pickle=True))
        if kind == "tfsm" and not (model / "saved_model").exists():
            continue
        answers = {
            f"{signature}/{task}": np.asarray(value)
            for signature, outputs in KINDS[kind](model, x)
            for task, value in outputs.items()
        }
        np.savez(model / f"{kind}.npz", **answers)
    assert not set(absent) & set(sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
