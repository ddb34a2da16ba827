"""FiLM scales and shifts every channel as the context says, and starts as the identity."""

import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.film import FiLM


def draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


def statement(weights, features, context):
    hidden = np.tanh(
        context @ weights["generator/hidden_0/kernel"] + weights["generator/hidden_0/bias"]
    )
    out = hidden @ weights["generator/out/kernel"] + weights["generator/out/bias"]
    gamma, beta = 1 + out[:, None, :5], out[:, None, 5:]
    return gamma * features + beta


CASES = [
    LayerCase(
        layer_class=FiLM,
        config={"hidden_units": (6,), "activation": "tanh"},
        inputs=(draw(4, 3, 5), draw(4, 2)),
        masks=(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool), None),
        expected=statement,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4), (3, 2, 2, 4)])
@pytest.mark.parametrize("hidden_units", [(), (6,)])
def test_starts_as_the_identity_for_every_context(shape, hidden_units):
    features = draw(*shape)
    output = arrays(FiLM(hidden_units=hidden_units)(features, draw(3, 2)))
    np.testing.assert_array_equal(output, features)


def test_linear_film_of_ids_is_a_table_of_scales_and_shifts():
    layer = FiLM(num_tasks=2)
    images = draw(3, 2, 2, 2)
    layer.build(images.shape, (3,))
    # A row a task: changes of the two scales, then the two shifts.
    layer.generator.out.kernel.assign([[1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 5.0, 6.0]])
    output = arrays(layer(images, np.array([1, 0, 1])))
    np.testing.assert_allclose(output[0], images[0] * [1, 0] + [5, 6], rtol=1e-6)
    np.testing.assert_allclose(output[1], images[1] * [2, 3] + [3, 4], rtol=1e-6)


def test_the_regularizer_is_zero_at_the_identity():
    layer = FiLM(num_tasks=2, kernel_regularizer="l2")
    layer(draw(2, 3), np.array([0, 1]))
    assert arrays(sum(layer.losses)) == 0
    layer.generator.out.kernel.assign(np.ones((2, 6)))
    assert arrays(sum(layer.losses)) == pytest.approx(0.12)


@pytest.mark.parametrize(("argument", "value"), [("num_tasks", 0), ("hidden_units", 3)])
def test_bad_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .*Received: {argument}={value}"):
        FiLM(**{argument: value})


def test_a_bad_context_is_refused():
    with pytest.raises(ValueError, match=r"`context` must be as wide.*Received: context of shape"):
        FiLM(num_tasks=3)(draw(2, 4), draw(2, 2))
    with pytest.raises(ValueError, match=r"`context` must be ids from 0 to 2.*Received"):
        FiLM(num_tasks=3)(draw(2, 4), np.array([0, 3]))
