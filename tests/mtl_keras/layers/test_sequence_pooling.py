"""SequencePooling: sum, mean, last or attended position, of those that are not padding."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.sequence_pooling import SequencePooling

KINDS = ("sum", "mean", "last", "attention")


def draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


def attended(weights, x):
    hidden = np.tanh(x @ weights["hidden/kernel"] + weights["hidden/bias"])
    shares = np.exp(hidden @ weights["score/kernel"])
    return (shares * x).sum(axis=1) / shares.sum(axis=1)


STATEMENTS = {
    "sum": lambda weights, x: x.sum(axis=1),
    "mean": lambda weights, x: x.mean(axis=1),
    "last": lambda weights, x: x[:, -1],
    "attention": attended,
}
MASKS = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
CASES = [
    LayerCase(
        layer_class=SequencePooling,
        config={"kind": kind},
        inputs=(draw(4, 3, 5),),
        masks=(MASKS,),
        expected=STATEMENTS[kind],
        name=kind,
    )
    for kind in KINDS
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_positions_count_as_absent(kind):
    layer, x = SequencePooling(kind), draw(4, 3, 5)
    pooled = arrays(layer(x, mask=keras.ops.convert_to_tensor(MASKS)))
    for row, mask in enumerate(MASKS[:3]):
        alone = arrays(layer(x[row : row + 1, mask]))[0]
        np.testing.assert_allclose(pooled[row], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_alone_gives_zeros(kind):
    mask = keras.ops.convert_to_tensor(MASKS)
    pooled = arrays(SequencePooling(kind)(draw(4, 3, 5), mask=mask))
    np.testing.assert_array_equal(pooled[3], 0)


def test_long_texts_are_counted_exactly_in_half_precision():
    x = np.zeros((1, 3001, 1), "float32")
    x[:, -1] = 1
    assert arrays(SequencePooling("last", dtype="mixed_float16")(x)) == 1


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"`kind` must be one of .*Received: kind='max'"):
        SequencePooling("max")
