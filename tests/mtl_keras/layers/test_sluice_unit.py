"""SluiceUnit mixes the subspaces of all towers, and can push them apart."""

import keras
import numpy as np
import pytest

from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.cross_stitch import CrossStitch
from mtl_keras.layers.sluice_unit import SluiceUnit


def draw(*shape, seed=0):
    # Eighths, whose products and sums are exact in any order.
    return np.random.default_rng(seed).integers(-16, 16, shape).astype("float32") / 8


def towers(count, *shape):
    return tuple(draw(*shape, seed=seed) for seed in range(count))


def numpy(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def equation(weights, features):
    """For two subspaces: towers as rows of halves, (..., 2 K, C / 2), times alpha."""
    stacked = np.stack(features, -2)
    halves = stacked.reshape(*stacked.shape[:-2], -1, stacked.shape[-1] // 2)
    outputs = (weights["mixing"] @ halves).reshape(stacked.shape)
    return tuple(np.moveaxis(outputs, -2, 0))


MASKS = (
    np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool),
    np.array([[1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 0]], bool),
)
CASES = [
    LayerCase(
        layer_class=SluiceUnit,
        config={"subspaces": 2, "initial": 0.7, "orthogonality": 0.1},
        inputs=(towers(2, 4, 3, 6),),
        masks=(MASKS,),
        expected=equation,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rows_start_at_one_with_nine_tenths_of_their_own(count):
    layer = SluiceUnit(subspaces=3)
    layer.build(((None, 6),) * count)
    mixing = keras.ops.convert_to_numpy(layer.mixing)
    assert mixing.shape == (3 * count, 3 * count)
    np.testing.assert_allclose(mixing.sum(1), 1, rtol=1e-6)  # a sum in float32
    np.testing.assert_allclose(np.diag(mixing), 0.9, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 4), (2, 3, 5, 4)])
def test_the_identity_leaves_towers_alone(shape, count):
    features = towers(count, *shape)
    for got, want in zip(numpy(SluiceUnit(initial=1.0)(features)), features, strict=True):
        np.testing.assert_array_equal(got, want)


def test_one_subspace_is_a_cross_stitch_without_channels():
    features = towers(3, 2, 4, 4)
    stitch = CrossStitch(initial=0.75, per_channel=False)
    unit = SluiceUnit(subspaces=1, initial=0.75)
    np.testing.assert_array_equal(numpy(unit(features)), numpy(stitch(features)))


def test_permuted_tasks_permute_the_outputs():
    features, alpha, order = towers(3, 2, 4), draw(6, 6, seed=9), [2, 0, 1]
    rows = [2 * k + g for k in order for g in range(2)]
    layers = SluiceUnit(), SluiceUnit()
    for layer in layers:
        layer.build(((None, 4),) * 3)
    layers[0].mixing.assign(alpha)
    layers[1].mixing.assign(alpha[rows][:, rows])
    plain = numpy(layers[0](features))
    permuted = numpy(layers[1](tuple(features[k] for k in order)))
    np.testing.assert_array_equal(permuted, [plain[k] for k in order])


def overlap(features, subspaces):
    """sum over g < h of ||mean of h_g h_h^T||_F^2 for rows of features."""
    parts = np.split(features.reshape(-1, features.shape[-1]), subspaces, axis=-1)
    moments = [parts[g].T @ parts[h] / len(parts[g]) for g in range(subspaces) for h in range(g)]
    return sum(np.square(moment).sum() for moment in moments)


@pytest.mark.parametrize("subspaces", [1, 2, 3])
def test_the_penalty_is_the_overlap_of_subspaces(subspaces):
    layer = SluiceUnit(subspaces, orthogonality=0.5)
    features = towers(2, 4, 3, 6)
    layer(features, training=True)
    want = sum(overlap(x, subspaces) for x in features)
    (loss,) = map(float, layer.losses)
    np.testing.assert_allclose(loss, 0.5 * want, rtol=1e-5, atol=1e-6)  # sums of float32
    (metric,) = layer.metrics
    assert metric.name == f"{layer.path}_orthogonality_loss"
    np.testing.assert_allclose(float(metric.result()), want, rtol=1e-5, atol=1e-6)


def test_orthogonal_subspaces_are_free():
    features = np.eye(4, dtype="float32")
    layer = SluiceUnit(orthogonality=1.0)
    layer((features,), training=True)
    assert float(layer.losses[0]) == 0
    layer((np.ones((4, 4), "float32"),), training=True)
    assert float(layer.losses[0]) == 4


def test_masked_positions_are_not_penalised():
    layer = SluiceUnit(orthogonality=1.0)
    features, mask = draw(4, 3, 6), MASKS[0]
    layer((features,), mask=(mask,), training=True)
    want = overlap(features[mask], 2)
    np.testing.assert_allclose(float(layer.losses[0]), want, rtol=1e-5)  # sums of float32


def test_the_penalty_is_added_in_training_only():
    layer = SluiceUnit(orthogonality=1.0)
    layer(towers(2, 4, 6), training=False)
    assert not layer.losses
    assert np.isnan(float(layer.metrics[0].result()))
    layer = SluiceUnit()
    layer(towers(2, 4, 6), training=True)
    assert not layer.losses


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subspaces": 0}, r"`subspaces` must be.*Received: subspaces=0"),
        ({"initial": -1}, r"`initial` must be.*Received: initial=-1"),
        ({"orthogonality": -1}, r"`orthogonality` must be.*Received: orthogonality=-1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SluiceUnit(**arguments)


def test_wrong_towers_are_refused():
    with pytest.raises(ValueError, match=r"`subspaces` must divide the channels, 5.*subspaces=2"):
        SluiceUnit()(towers(2, 4, 5))
    layer = SluiceUnit()
    layer(towers(2, 4, 6))
    with pytest.raises(ValueError, match=r"a tuple of 2 tensors.*Received: 1 tensors"):
        layer(towers(1, 4, 6))
