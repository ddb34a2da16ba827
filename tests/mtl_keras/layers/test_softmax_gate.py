"""SoftmaxGate: shares of all experts."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from conformance.mixture_statements import softmax
from mtl_keras.layers import SoftmaxGate

CASE = LayerCase(
    layer_class=SoftmaxGate,
    config={"num_experts": 3, "temperature": 0.5, "dropout": 0.4, "use_bias": True},
    inputs=(draw(6, 2, 5),),
    expected=lambda weights, x: softmax((x @ weights["kernel"] + weights["bias"]) / 0.5),
    training_differs=True,
)


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_conformance(check):
    LAYER_CHECKS[check](CASE)


def test_dropout_takes_experts_out_and_the_rest_still_sums_to_one():
    gate, x = SoftmaxGate(4, dropout=0.5, seed=1), draw(500, 3)
    kept = keras.ops.convert_to_numpy(gate(x, training=True))
    full = keras.ops.convert_to_numpy(gate(x, training=False))
    np.testing.assert_allclose(kept.sum(-1), 1, rtol=1e-5)
    # A sixteenth of the rows would lose all four experts and keeps them instead.
    assert (kept == 0).mean() == pytest.approx(0.5 * (1 - 1 / 8), abs=0.05)
    ratio = np.where(kept > 0, kept / full, np.nan)
    np.testing.assert_allclose(np.nanmax(ratio, -1), np.nanmin(ratio, -1), rtol=1e-4)


def test_a_low_temperature_chooses_one_expert():
    x = draw(5, 3)
    warm, cold = SoftmaxGate(4), SoftmaxGate(4, temperature=1e-3)
    best = keras.ops.convert_to_numpy(warm(x)).argmax(-1)
    cold.build((None, 3))
    cold.set_weights(warm.get_weights())
    np.testing.assert_allclose(keras.ops.convert_to_numpy(cold(x)), np.eye(4)[best], atol=1e-3)


def test_large_logits_are_safe_in_half_precision():
    gate = SoftmaxGate(3, dtype="mixed_float16", kernel_initializer="ones")
    weights = keras.ops.convert_to_numpy(keras.ops.cast(gate(draw(4, 8) * 100), "float32"))
    np.testing.assert_allclose(weights, 1 / 3, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_experts": 0}, "`num_experts`.*=0"),
        ({"num_experts": 2, "temperature": 0}, "`temperature`.*=0"),
        ({"num_experts": 2, "dropout": 1}, "`dropout`.*=1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxGate(**arguments)


def test_a_pattern_without_experts_cannot_be_built():
    with pytest.raises(ValueError, match=r"`num_experts` must be given.*None"):
        SoftmaxGate().build((None, 3))
