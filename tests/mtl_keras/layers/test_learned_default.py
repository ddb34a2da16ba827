"""LearnedDefault: known features pass, the others are one learned vector."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers import LearnedDefault

KNOWN = np.arange(12) % 3 > 0


def statement(weights, features, known):
    return np.where(known[:, None], features, weights["default"])


CASE = LayerCase(
    layer_class=LearnedDefault,
    config={"rate": 0.2, "seed": 1},
    inputs=(draw(12, 5), KNOWN),
    expected=statement,
    training_differs=True,
)


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_conformance(check):
    LAYER_CHECKS[check](CASE)


def test_training_hides_a_share_of_the_rows_and_scales_nothing():
    layer, x = LearnedDefault(0.1, seed=0), draw(10_000, 2) + 10
    y = keras.ops.convert_to_numpy(layer(x, np.ones(10_000), training=True))
    hidden = (y == 0).all(axis=1)
    # Six standard deviations of a share of 10,000 rows.
    assert abs(hidden.mean() - 0.1) < 6 * np.sqrt(0.1 * 0.9 / 10_000)
    np.testing.assert_array_equal(y[~hidden], x[~hidden])


def test_a_bad_rate_is_refused():
    with pytest.raises(ValueError, match=r"`rate`.*Received: rate=1"):
        LearnedDefault(1.0)
