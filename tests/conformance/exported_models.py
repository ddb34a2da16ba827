"""Small models of several builders with raw inputs of every kind, written for clients."""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import mtl_keras as mtl
import zoo
from mtl_keras.export.part import Part
from mtl_keras.export.saved_model import tasks_by_signature, write_saved_model
from zoo.features import Categorical, Image, Numeric, Text

ROWS = 5
FILES = {
    "tf_saved_model": "saved_model",
    "onnx": "model.onnx",
    "litert": "model.tflite",
    "openvino": "model.xml",
}
WORDS = ("good", "bad", "film", "i", "like", "it")


@dataclasses.dataclass(frozen=True)
class ExportCase:
    """A model and rows of its input.

    Args:
        build: makes the model.
        x: input name to rows.
    """

    build: Callable[[], mtl.MultiTaskModel]
    x: dict[str, Any]

    def model(self):
        """The model, with weights that are all different from zero."""
        keras.utils.set_random_seed(0)
        model, rng = self.build(), np.random.default_rng(1)
        for weight in model.trainable_weights:
            value = keras.ops.convert_to_numpy(weight)
            weight.assign(value + rng.uniform(-0.2, 0.2, weight.shape))
        return model


def tasks(count=3):
    return [
        mtl.BinaryTask("first"),
        mtl.RegressionTask("second", 2),
        mtl.CategoricalTask("third", 3),
        *(mtl.BinaryTask(f"task_{i}") for i in range(3, count)),
    ][:count]


def shop():
    """Strings, numbers and ids side by side."""
    rng = np.random.default_rng(0)
    features = {
        "age": Numeric(mean=40.0, variance=100.0),
        "job": Categorical(("cook", "nurse")),
        "shop": Categorical(num_categories=4),
        "seen": Numeric(mean=0.0, variance=1.0, shape=(3,)),
    }
    x = {
        "age": rng.normal(40, 10, ROWS).astype("float32"),
        "job": np.array(["cook", "nurse", "poet", "cook", ""], object),
        "shop": rng.integers(0, 4, ROWS),
        "seen": rng.normal(size=(ROWS, 3)).astype("float32"),
    }
    return features, x


def strings(builder, **options):
    features, x = shop()
    return ExportCase(lambda: builder(tasks(), features, **options), x)


def texts():
    own = [mtl.TokenTask("first", 4), mtl.BinaryTask("second"), mtl.CategoricalTask("third", 3)]
    text = Text(WORDS, max_tokens=8, sequence_length=6)
    said = ["I like it", "bad film", "", "good good unknown film i like it not", "it"]
    build = lambda: zoo.joint_text(own, {"text": text}, encoder="cnn", embedding=8, units=6)  # noqa: E731
    return ExportCase(build, {"text": np.array(said, object)})


def images():
    trunk = [
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.GlobalAveragePooling2D(),
    ]
    x = np.random.default_rng(0).integers(0, 256, (ROWS, 6, 6, 1)).astype("float32")
    build = lambda: zoo.shared_trunk(  # noqa: E731
        tasks(), {"image": Image((6, 6, 1))}, keras.Sequential(trunk), dropout=0.3
    )
    return ExportCase(build, {"image": x})


def rows_of_tasks():
    x = {"features": np.random.default_rng(0).normal(size=(ROWS, 4)).astype("float32")}
    build = lambda: zoo.task_conditioned(  # noqa: E731
        tasks(), 4, [8], row_input="whose", num_row_tasks=3
    )
    return ExportCase(build, x | {"whose": np.array([0, 1, 2, 1, 0], "int32")})


def molecules():
    rng = np.random.default_rng(0)
    x = {"numbers": np.array([[8, 1, 1, 0]] * ROWS, "int32")}
    x["positions"] = rng.normal(size=(ROWS, 4, 3)).astype("float32")
    build = lambda: zoo.joint_molecule(tasks(), 4, units=6, num_layers=1, num_basis=4)  # noqa: E731
    return ExportCase(build, x)


EXPERTS = {"experts": 2, "expert_units": [6], "towers": [4]}
CASES = {
    "images": images(),
    "mixture_with_strings": strings(zoo.multi_gate_mixture_of_experts, **EXPERTS),
    "molecules": molecules(),
    "extraction_with_strings": strings(zoo.progressive_layered_extraction, **EXPERTS),
    "rows_of_tasks": rows_of_tasks(),
    "soft_sharing_with_strings": strings(zoo.soft_sharing, towers=[6]),
    "texts": texts(),
}


def write_case(case: ExportCase, folder: Path) -> list[str]:
    """Writes a model in every format, its input and its answer; returns what was refused."""
    folder.mkdir()
    model = case.model()
    np.savez(folder / "input.npz", **case.x)
    np.savez(folder / "expected.npz", **model.predict(case.x, verbose=0))
    refused = []
    for format, file in FILES.items():
        several = "both" if format in ("tf_saved_model", "litert") else "joint"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.export(folder / file, format, signatures=several)
        except ValueError:
            refused.append(format)
    _write_numbers(Part.of(model), case.x, folder)
    return refused


def _write_numbers(part, x, folder):
    """The inputs of formats without strings, and the SavedModel that OpenVINO reads."""
    numbers = dict(x)
    if part.takes_strings:
        before, part = part.without_strings()
        made = before({name: keras.ops.convert_to_tensor(x[name]) for name in before.inputs})
        numbers |= {name: keras.ops.convert_to_numpy(value) for name, value in made.items()}
    typed = {name: numbers[name].astype(own.dtype) for name, own in part.inputs.items()}
    np.savez(folder / "numbers.npz", **typed)
    if keras.backend.backend() != "torch":
        write_saved_model(part, folder / "numbers", tasks_by_signature(part, "joint"))


def operations(signature: Any) -> list[str]:
    """What a signature of a SavedModel runs, one name an operation."""
    graph = signature.graph.as_graph_def()
    functions = {own.signature.name: own for own in graph.library.function}
    found, waiting = [], list(graph.node)
    while waiting:
        node = waiting.pop()
        found.append(node.op)
        called = node.attr["f"].func.name if "f" in node.attr else ""
        waiting.extend(functions[called].node_def if called in functions else ())
    return found
