"""The generator maps contexts to vectors, and starts at zero unless told otherwise."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.generator import ContextGenerator


def statement(weights, context):
    hidden = np.tanh(context @ weights["hidden_0/kernel"] + weights["hidden_0/bias"])
    hidden = np.tanh(hidden @ weights["hidden_1/kernel"] + weights["hidden_1/bias"])
    return hidden @ weights["out/kernel"] + weights["out/bias"]


CASES = [
    LayerCase(
        layer_class=ContextGenerator,
        config={"units": 4, "hidden_units": (5, 5), "activation": "tanh"},
        inputs=(np.random.default_rng(0).standard_normal((4, 5)).astype("float32"),),
        expected=statement,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("hidden_units", [(), (6,)])
def test_starts_at_zero(hidden_units):
    generator = ContextGenerator(4, num_tasks=3, hidden_units=hidden_units)
    np.testing.assert_array_equal(arrays(generator(np.array([0, 1, 2]))), np.zeros((3, 4)))


def test_kernels_drawn_from_one_initializer_differ():
    shared = keras.initializers.GlorotUniform(seed=1)
    generator = ContextGenerator(
        5, hidden_units=(5, 5), kernel_initializer=shared, output_initializer=shared
    )
    generator.build((None, 5))
    kernels = [dense.kernel for dense in (*generator.hidden, generator.out)]
    flat = [arrays(kernel).tobytes() for kernel in kernels]
    assert len(set(flat)) == 3


@pytest.mark.parametrize(
    ("argument", "value"),
    [("units", 0), ("num_tasks", 0), ("hidden_units", (4, 0)), ("hidden_units", 4)],
)
def test_bad_arguments_are_refused(argument, value):
    received = value[1] if isinstance(value, tuple) else value
    with pytest.raises(ValueError, match=f"`{argument}` must be .*Received: {argument}={received}"):
        ContextGenerator(**({"units": 4} | {argument: value}))
