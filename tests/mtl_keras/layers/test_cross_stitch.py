"""CrossStitch mixes each channel over the tasks, and starts close to no mixing."""

import keras
import numpy as np
import pytest

from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.cross_stitch import CrossStitch


def draw(*shape, seed=0):
    # Eighths, whose products and sums are exact in any order.
    return np.random.default_rng(seed).integers(-16, 16, shape).astype("float32") / 8


def towers(count, *shape):
    return tuple(draw(*shape, seed=seed) for seed in range(count))


def numpy(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def equation(weights, features):
    return tuple(np.einsum("klc,l...c->k...c", weights["mixing"], np.stack(features)))


MASKS = (
    np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool),
    np.array([[1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 0]], bool),
    np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 0]], bool),
)
CASES = [
    LayerCase(
        layer_class=CrossStitch,
        config={"initial": 0.8},
        inputs=(towers(3, 4, 3, 5),),
        masks=(MASKS,),
        expected=equation,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_rows_start_at_one_with_nine_tenths_of_their_own(count, per_channel):
    layer = CrossStitch(per_channel=per_channel)
    layer.build(((None, 5),) * count)
    mixing = keras.ops.convert_to_numpy(layer.mixing)
    assert mixing.shape == (count, count, 5 if per_channel else 1)
    np.testing.assert_allclose(mixing.sum(1), 1, rtol=1e-6)  # a sum in float32
    own = mixing[range(count), range(count)]
    np.testing.assert_allclose(own, 1.0 if count == 1 else 0.9, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5), (2, 4, 3, 5)])
def test_the_identity_leaves_towers_alone(shape, count):
    features = towers(count, *shape)
    for got, want in zip(numpy(CrossStitch(initial=1.0)(features)), features, strict=True):
        np.testing.assert_array_equal(got, want)


def test_one_number_for_all_channels():
    layer = CrossStitch(per_channel=False)
    features = towers(2, 2, 4, 3, 5)
    layer.build(tuple(x.shape for x in features))
    alpha = draw(2, 2, 1, seed=9)
    layer.mixing.assign(alpha)
    want = np.einsum("kl,lbhwc->kbhwc", alpha[..., 0], np.stack(features))
    np.testing.assert_array_equal(numpy(layer(features)), want)


def test_permuted_tasks_permute_the_outputs():
    features, alpha, order = towers(3, 2, 5), draw(3, 3, 5, seed=9), [2, 0, 1]
    layers = CrossStitch(), CrossStitch()
    for layer in layers:
        layer.build(((None, 5),) * 3)
    layers[0].mixing.assign(alpha)
    layers[1].mixing.assign(alpha[order][:, order])
    plain = numpy(layers[0](features))
    permuted = numpy(layers[1](tuple(features[k] for k in order)))
    np.testing.assert_array_equal(permuted, [plain[k] for k in order])


def test_a_regularizer_of_alpha_is_in_the_losses():
    layer = CrossStitch(regularizer=keras.regularizers.L2(0.5), initial=1.0)
    layer.build(((None, 4),) * 2)
    assert float(layer.losses[0]) == 0.5 * 2 * 4


def test_a_wrong_share_is_refused():
    with pytest.raises(ValueError, match=r"`initial` must be.*Received: initial=2"):
        CrossStitch(initial=2)


def test_wrong_towers_are_refused():
    with pytest.raises(ValueError, match=r"`features` must be a tuple.*Received"):
        CrossStitch()(draw(2, 5))
    with pytest.raises(ValueError, match=r"`features` must be a tuple.*Received"):
        CrossStitch()((draw(2, 5), draw(2, 4)))
    layer = CrossStitch()
    layer(towers(2, 2, 5))
    with pytest.raises(ValueError, match=r"a tuple of 2 tensors.*Received: 3 tensors"):
        layer(towers(3, 2, 5))
