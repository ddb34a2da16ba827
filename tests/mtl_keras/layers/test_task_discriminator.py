"""TaskDiscriminator learns whose a row is, and its features learn not to show it."""

import keras
import numpy as np
import pytest

from conformance.gradient_of import gradient_of
from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.task_discriminator import TaskDiscriminator

SUMS = {"rtol": 1e-5, "atol": 1e-6}  # of float32 products


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


MASK = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool)
CASES = [
    LayerCase(
        layer_class=TaskDiscriminator,
        config={"num_tasks": 3, "strength": 0.5, "hidden_units": (4,), "activation": "tanh"},
        inputs=(draw(4, 3, 5), np.array([2, 0, 2, 1], "int32")),
        masks=(MASK, None),
        expected=lambda weights, x, ids: x,
        # It reads the features while training only.
        dead_gradients=("hidden_0/kernel", "hidden_0/bias", "out/kernel", "out/bias"),
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def cross_entropy(layer, x, ids):
    """By row or position; and whether the largest logit is the task's."""
    for i, dense in enumerate(layer.classifier):
        kernel, bias = dense.get_weights()
        x = x @ kernel + bias
        x = np.tanh(x) if i + 1 < len(layer.classifier) else x
    shares = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    ids = np.broadcast_to(ids.reshape(-1, *[1] * (x.ndim - 2)), x.shape[:-1])
    own = np.take_along_axis(shares, ids[..., None], -1)[..., 0]
    return -np.log(own), x.argmax(-1) == ids


IDS = np.array([2, 0, 2, 1])


@pytest.mark.parametrize("hidden_units", [(), (4, 3)])
@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_the_loss_is_the_cross_entropy_of_the_task(shape, hidden_units):
    x = draw(*shape, 5)
    layer = TaskDiscriminator(3, 0.5, hidden_units=hidden_units, activation="tanh")
    layer(x, IDS, training=True)
    losses, hits = cross_entropy(layer, x, IDS)
    np.testing.assert_allclose(float(layer.losses[0]), 0.5 * losses.mean(), **SUMS)
    reported = {metric.name: float(metric.result()) for metric in layer.metrics}
    assert reported[f"{layer.path}_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert reported[f"{layer.path}_accuracy"] == pytest.approx(hits.mean(), rel=1e-6)


def test_masked_positions_do_not_count():
    x = draw(4, 3, 5)
    layer = TaskDiscriminator(3, activation="tanh")
    layer(x, np.eye(3)[IDS], features_mask=MASK, training=True)
    losses, hits = cross_entropy(layer, x, IDS)
    np.testing.assert_allclose(float(layer.losses[0]), losses[MASK].mean(), **SUMS)
    assert float(layer.accuracy_tracker.result()) == pytest.approx(hits[MASK].mean(), rel=1e-6)


def test_features_climb_where_the_classifier_descends():
    x, strength = draw(4, 5), 0.5
    layer = TaskDiscriminator(3, strength)
    layer(x, IDS)
    kernel, bias = layer.classifier[0].get_weights()

    def loss(x):
        layer(x, IDS, training=True)
        return layer.losses[-1]

    logits = x @ kernel + bias
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    plain = (shares - np.eye(3)[IDS]) @ kernel.T / len(x)
    np.testing.assert_allclose(arrays(gradient_of(loss, x)), -strength * plain, **SUMS)


@pytest.mark.parametrize("trained", ["classifier", "encoder"])
def test_the_classifier_learns_the_task_and_the_encoder_unlearns_it(trained):
    keras.utils.set_random_seed(0)
    ids = np.arange(64) % 2
    x = np.stack([np.where(ids, 1.0, -1.0), draw(64)], 1).astype("float32")
    inputs, tasks = keras.Input((2,)), keras.Input((), dtype="int32")
    encoder = keras.layers.Dense(2, use_bias=False, trainable=trained == "encoder")
    layer = TaskDiscriminator(2)
    layer.trainable = trained == "classifier"
    model = keras.Model([inputs, tasks], layer(encoder(inputs), tasks))
    model.compile(keras.optimizers.SGD(0.1), lambda y, features: 0.0 * features[:, 0])
    before = cross_entropy(layer, arrays(encoder(x)), ids)[0].mean()
    model.fit([x, ids], x, epochs=5, batch_size=64, verbose=0)
    after = cross_entropy(layer, arrays(encoder(x)), ids)[0].mean()
    assert after < before - 0.01 if trained == "classifier" else after > before + 0.01


def test_nothing_is_added_outside_of_training():
    layer = TaskDiscriminator(3)
    np.testing.assert_array_equal(arrays(layer(draw(4, 5), IDS)), draw(4, 5))
    assert not layer.losses
    assert all(np.isnan(float(metric.result())) for metric in layer.metrics)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_tasks": 0}, r"`num_tasks` must be .*Received: num_tasks=0"),
        ({"strength": 0}, r"`strength` must be .*Received: strength=0"),
        ({"hidden_units": 3}, r"`hidden_units` must be .*Received: hidden_units=3"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TaskDiscriminator(**({"num_tasks": 3} | arguments))


def test_an_id_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"`context` must be ids from 0 to 2"):
        TaskDiscriminator(3)(draw(4, 5), IDS + 1, training=True)
