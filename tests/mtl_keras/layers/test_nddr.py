"""NDDR projects all towers for each task, and starts as a weighted sum of them."""

import keras
import numpy as np
import pytest

from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.nddr import NDDR


def draw(*shape, seed=0):
    # Eighths, whose products and sums are exact in any order.
    return np.random.default_rng(seed).integers(-16, 16, shape).astype("float32") / 8


def towers(count, *shape):
    return tuple(draw(*shape, seed=seed) for seed in range(count))


def numpy(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def equation(weights, features):
    outputs = np.einsum("...i,iko->...ko", np.concatenate(features, -1), weights["kernel"])
    flat = outputs.reshape(*outputs.shape[:-2], -1)
    norm = {key: weights[f"normalization/{key}"] for key in NORMALIZATION}
    flat = (flat - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3)
    outputs = (flat * norm["gamma"] + norm["beta"]).reshape(outputs.shape)
    return tuple(np.moveaxis(np.maximum(outputs, 0), -2, 0))


NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")
MASKS = (
    np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool),
    np.array([[1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 0]], bool),
)
CASES = [
    LayerCase(
        layer_class=NDDR,
        config={"initial": 0.7},
        inputs=(towers(2, 4, 3, 5),),
        masks=(MASKS,),
        expected=equation,
        training_differs=True,
    )
]


def plain(**arguments):
    return NDDR(batch_normalization=False, activation=None, **arguments)


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 4), (2, 3, 5, 4)])
def test_it_starts_as_a_weighted_sum_of_the_towers(shape, count):
    features = towers(count, *shape)
    others = 0.1 / (count - 1) if count > 1 else 0
    own = 0.9 if count > 1 else 1.0
    for k, got in enumerate(numpy(plain()(features))):
        want = own * features[k] + others * (sum(features) - features[k])
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)  # sums of float32


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_identity_leaves_towers_alone(count):
    features = towers(count, 2, 3, 4)
    for got, want in zip(numpy(plain(initial=1.0)(features)), features, strict=True):
        np.testing.assert_array_equal(got, want)


def test_permuted_tasks_permute_the_outputs():
    features, order = towers(3, 2, 4), [2, 0, 1]
    kernel = draw(3, 4, 3, 4, seed=9)
    layers = plain(), plain()
    for layer in layers:
        layer.build(((None, 4),) * 3)
    layers[0].kernel.assign(kernel.reshape(12, 3, 4))
    layers[1].kernel.assign(kernel[order][:, :, order].reshape(12, 3, 4))
    want = numpy(layers[0](features))
    permuted = numpy(layers[1](tuple(features[k] for k in order)))
    np.testing.assert_array_equal(permuted, [want[k] for k in order])


def test_masked_positions_enter_no_batch_statistics():
    features, mask = towers(2, 4, 3, 5), MASKS[0] & MASKS[1]
    dirty = tuple(np.where(mask[..., None], x, 100).astype("float32") for x in features)
    clean, garbage = (numpy(NDDR()(x, mask=MASKS, training=True)) for x in (features, dirty))
    for a, b in zip(clean, garbage, strict=True):
        # Masked positions count as 0 in the sums: nothing but their order may differ.
        np.testing.assert_allclose(a[mask], b[mask], rtol=1e-5, atol=1e-6)


def test_a_mask_may_lack_inner_positions():
    images = towers(2, 4, 3, 2, 5)
    outputs = numpy(NDDR()(images, mask=MASKS, training=True))
    flat = tuple(np.concatenate([x[:, :, 0], x[:, :, 1]], 1) for x in images)
    want = numpy(NDDR()(flat, mask=tuple(np.tile(m, 2) for m in MASKS), training=True))
    for a, b in zip(outputs, want, strict=True):
        got = np.concatenate([a[:, :, 0], a[:, :, 1]], 1)
        np.testing.assert_allclose(got, b, rtol=1e-5, atol=1e-6)  # sums in another order


def test_a_regularizer_of_the_projections_is_in_the_losses():
    layer = plain(kernel_regularizer=keras.regularizers.L2(0.5), initial=1.0)
    layer.build(((None, 4),) * 2)
    assert float(layer.losses[0]) == 0.5 * 2 * 4


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`initial` must be.*Received: initial=2"):
        NDDR(initial=2)
    with pytest.raises(ValueError, match=r"`features` must be a tuple.*Received"):
        NDDR()((draw(2, 5), draw(2, 4)))
    layer = NDDR()
    layer(towers(2, 2, 5))
    with pytest.raises(ValueError, match=r"a tuple of 2 tensors.*Received: 3 tensors"):
        layer(towers(3, 2, 5))
