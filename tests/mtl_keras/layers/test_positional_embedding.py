"""PositionalEmbedding adds waves to token vectors, at any length."""

import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.positional_embedding import PositionalEmbedding


def statement(weights, ids):
    (table,) = weights.values()
    width, waves = table.shape[1], np.zeros((ids.shape[1], table.shape[1]))
    for t in range(ids.shape[1]):
        for i in range(width // 2):
            angle = t / 10_000 ** (2 * i / width)
            waves[t, 2 * i], waves[t, 2 * i + 1] = np.sin(angle), np.cos(angle)
    return np.sqrt(width) * table[ids] + waves


IDS = np.random.default_rng(0).integers(0, 7, (4, 5)).astype("int32")
CASES = [
    LayerCase(
        layer_class=PositionalEmbedding,
        config={"input_dim": 7, "output_dim": 6},
        inputs=(IDS,),
        expected=statement,
        exempt={"masks": "ids come without a mask; with mask_zero the layer makes one"},
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def test_a_position_does_not_depend_on_the_length():
    layer = PositionalEmbedding(7, 6)
    np.testing.assert_array_equal(arrays(layer(IDS))[:, :3], arrays(layer(IDS[:, :3])))


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match=r"`output_dim` must be even.*Received: output_dim=5"):
        PositionalEmbedding(7, 5)
