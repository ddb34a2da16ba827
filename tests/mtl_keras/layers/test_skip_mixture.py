"""SkipMixture weighs the layers of a tower, most of all the last one."""

import keras
import numpy as np
import pytest

from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.skip_mixture import SkipMixture


def draw(*shape, seed=0):
    # Eighths, whose products and sums are exact in any order.
    return np.random.default_rng(seed).integers(-16, 16, shape).astype("float32") / 8


def layers(count, *shape):
    return tuple(draw(*shape, seed=seed) for seed in range(count))


MASKS = (
    np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool),
    np.array([[1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 0]], bool),
)
CASES = [
    LayerCase(
        layer_class=SkipMixture,
        config={"initial": 0.7},
        inputs=(layers(2, 4, 3, 5),),
        masks=(MASKS,),
        expected=lambda weights, features: np.tensordot(weights["mixing"], np.stack(features), 1),
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shares_start_with_the_last_layer_and_sum_to_one(count):
    layer = SkipMixture(initial=0.75)
    layer.build(((None, 6),) * count)
    mixing = keras.ops.convert_to_numpy(layer.mixing)
    assert mixing.shape == (count,)
    np.testing.assert_allclose(mixing.sum(), 1, rtol=1e-6)  # a sum in float32
    np.testing.assert_allclose(mixing[-1], 0.75 if count > 1 else 1, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_all_of_the_last_layer_is_the_last_layer(count):
    features = layers(count, 4, 6)
    output = keras.ops.convert_to_numpy(SkipMixture(initial=1)(features))
    np.testing.assert_array_equal(output, features[-1])


@pytest.mark.parametrize("initial", [-0.1, 1.1, None, "much"])
def test_other_shares_are_refused(initial):
    with pytest.raises(ValueError, match=r"`initial` must be .*Received: initial="):
        SkipMixture(initial=initial)


def test_layers_of_different_widths_are_refused():
    with pytest.raises(ValueError, match=r"`features` must be a tuple.*one shape"):
        SkipMixture()((draw(4, 3), draw(4, 5)))
