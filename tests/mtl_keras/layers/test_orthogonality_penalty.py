"""OrthogonalityPenalty adds what two encoders have in common to the loss."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.orthogonality_penalty import OrthogonalityPenalty

SUMS = {"rtol": 1e-5, "atol": 1e-6}  # of float32 products


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


MASK = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool)
DEAD = {"dead_gradients": ("float input 1",), "expected": lambda weights, x, *others: x}
CASES = [
    LayerCase(
        layer_class=OrthogonalityPenalty,
        config={"strength": 0.5},
        inputs=(draw(4, 3, 5), draw(4, 3, 2, seed=1)),
        masks=(MASK, MASK),
        name="positions",
        **DEAD,
    ),
    LayerCase(
        layer_class=OrthogonalityPenalty,
        config={"strength": 0.5, "num_tasks": 3},
        inputs=(draw(4, 5), draw(4, 2, seed=1), np.array([2, 0, 2, 1], "int32")),
        name="rows",
        **DEAD,
    ),
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def overlap(s, h):
    return np.square(s.T @ h / max(len(s), 1)).sum()


def added(layer, *inputs, **masks):
    layer(*inputs, training=True, **masks)
    (loss,) = layer.losses
    return float(loss)


@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 2, 3)])
def test_the_penalty_is_the_squared_norm_of_the_products(shape):
    s, h = draw(*shape, 4), draw(*shape, 2, seed=1)
    layer = OrthogonalityPenalty(0.5)
    expected = overlap(s.reshape(-1, 4), h.reshape(-1, 2))
    np.testing.assert_allclose(added(layer, s, h), 0.5 * expected, **SUMS)
    (metric,) = layer.metrics
    assert metric.name == f"{layer.path}_loss"
    np.testing.assert_allclose(float(metric.result()), expected, **SUMS)


def test_orthogonal_features_are_free():
    columns = np.linalg.qr(draw(6, 6))[0].astype("float32")
    np.testing.assert_allclose(
        added(OrthogonalityPenalty(1.0), columns[:, :3], columns[:, 3:]), 0, atol=1e-12
    )


@pytest.mark.parametrize("rank", [2, 3])
def test_tasks_are_penalised_each_over_its_rows(rank):
    shape = (6, 3)[: rank - 1]
    s, h, ids = draw(*shape, 4), draw(*shape, 2, seed=1), np.array([2, 0, 2, 2, 0, 2])
    expected = sum(
        overlap(s[ids == k].reshape(-1, 4), h[ids == k].reshape(-1, 2)) for k in range(3)
    )
    layer = OrthogonalityPenalty(1.0, num_tasks=3)
    np.testing.assert_allclose(added(layer, s, h, ids), expected, **SUMS)
    np.testing.assert_allclose(added(layer, s, h, np.eye(3)[ids]), expected, **SUMS)


def test_masked_positions_do_not_count():
    s, h, ids = draw(4, 3, 5), draw(4, 3, 2, seed=1), np.array([0, 1, 1, 0])
    masks = {"features_mask": MASK, "others_mask": MASK}
    dirty = np.where(MASK[..., None], s, np.nan)
    layer = OrthogonalityPenalty(1.0)
    np.testing.assert_allclose(added(layer, dirty, h, **masks), overlap(s[MASK], h[MASK]), **SUMS)
    layer = OrthogonalityPenalty(1.0, num_tasks=2)
    rows = [MASK & (ids == k)[:, None] for k in range(2)]
    expected = sum(overlap(s[mine], h[mine]) for mine in rows)
    np.testing.assert_allclose(added(layer, s, h, ids, **masks), expected, **SUMS)


def test_both_encoders_are_pushed():
    inputs = keras.Input((3,))
    s = keras.layers.Dense(4, name="s")(inputs)
    h = keras.layers.Dense(2, name="h")(inputs)
    model = keras.Model(inputs, OrthogonalityPenalty(1.0)(s, h))
    model.compile("sgd", "mse")
    before = model.get_layer("h").get_weights()[0]
    model.train_on_batch(draw(8, 3), np.zeros((8, 4)))
    assert (model.get_layer("h").get_weights()[0] != before).all()


def test_half_precision_does_not_overflow():
    big = np.full((256, 4), 100.0, "float32")
    loss = added(OrthogonalityPenalty(1.0, dtype="mixed_float16"), big, big)
    np.testing.assert_allclose(loss, 16 * 1e8, rtol=1e-3)


def test_nothing_is_added_outside_of_training():
    layer = OrthogonalityPenalty(1.0)
    np.testing.assert_array_equal(arrays(layer(draw(4, 3), draw(4, 2))), draw(4, 3))
    assert not layer.losses
    assert np.isnan(float(layer.metrics[0].result()))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"strength": 0}, r"`strength` must be .*Received: strength=0"),
        ({"strength": 1.0, "num_tasks": 0}, r"`num_tasks` must be .*Received: num_tasks=0"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        OrthogonalityPenalty(**arguments)


def test_bad_inputs_are_refused():
    with pytest.raises(ValueError, match=r"`features` and `others` must be .*Received: shapes"):
        OrthogonalityPenalty(1.0)(draw(4, 3), draw(4, 2, 3))
    with pytest.raises(ValueError, match=r"`num_tasks` must be given"):
        OrthogonalityPenalty(1.0)(draw(4, 3), draw(4, 2), np.zeros(4, int))
