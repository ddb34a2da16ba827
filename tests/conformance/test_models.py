"""Every builder passes the model suite, with one task and with all kinds of tasks."""

import functools

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from conformance.builder_cases import ROWS, labels_of
from conformance.model_suite import MODEL_CHECKS, ModelCase


def all_kinds():
    return [
        mtl.BinaryTask("clicked"),
        mtl.CategoricalTask("shop", 3, class_weight={0: 2.0}),
        mtl.MultiLabelTask("tags", 4),
        mtl.RegressionTask("price", 2, weight=0.5),
    ]


def numeric_case(tasks, **options):
    x = np.random.default_rng(0).normal(size=(ROWS, 6)).astype("float32")
    y = {task.name: labels_of(task, x) for task in tasks}
    build = functools.partial(zoo.shared_trunk, tasks, 6, trunk=[16, 8], **options)
    return ModelCase(build, x, y)


def features_case():
    rng = np.random.default_rng(0)
    x = {
        "age": rng.normal(40, 10, ROWS).astype("float32"),
        "photo": rng.integers(0, 255, (ROWS, 4, 4, 3)).astype("float32"),
        "region": rng.integers(0, 5, ROWS),
    }
    inputs = {
        "age": zoo.features.Numeric(mean=40.0, variance=100.0),
        "photo": zoo.features.Image((4, 4, 3)),
        "region": zoo.features.Categorical(num_categories=5),
    }
    flat = np.stack([x["age"] - 40, x["region"] - 2.0], axis=1).astype("float32")
    tasks = all_kinds()
    y = {task.name: labels_of(task, flat) for task in tasks}
    return ModelCase(functools.partial(zoo.shared_trunk, tasks, inputs, trunk=[16]), x, y)


def sequence_case():
    rng = np.random.default_rng(0)
    tasks = [mtl.TokenTask("tag", 5), mtl.BinaryTask("sentiment")]
    ids = rng.integers(1, 20, (ROWS, 7))
    y = {"tag": ids % 5, "sentiment": (ids[:, 0] > 10).astype("float32")}

    def build(**options):
        words = keras.Input((7,), dtype="int32", name="words")
        trunk = keras.Sequential(
            [keras.layers.Embedding(20, 8), keras.layers.Conv1D(8, 3, padding="same")],
            name="trunk",
        )
        return zoo.shared_trunk(tasks, words, trunk, **options)

    return ModelCase(build, ids, y)


CASES = {
    "one task": functools.partial(numeric_case, [mtl.BinaryTask("clicked")]),
    "two tasks": functools.partial(
        numeric_case, [mtl.BinaryTask("clicked"), mtl.RegressionTask("price")], head=[4]
    ),
    "balanced": functools.partial(
        numeric_case, [mtl.BinaryTask("clicked"), mtl.RegressionTask("price")], balancer="gradnorm"
    ),
    "all kinds, named features": features_case,
    "sequence": sequence_case,
}


# One task is the builders' suite's too.
@pytest.mark.parametrize("check", MODEL_CHECKS)
@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow) if c == "one task" else c for c in CASES]
)
def test_shared_trunk(case, check):
    MODEL_CHECKS[check](CASES[case]())
