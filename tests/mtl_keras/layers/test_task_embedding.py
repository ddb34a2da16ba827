"""TaskEmbedding turns ids, one-hot rows and descriptors into context vectors."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.task_embedding import TaskEmbedding

CASES = [
    LayerCase(
        layer_class=TaskEmbedding,
        config={"units": 5, "num_tasks": 3},
        inputs=(np.array([2, 0, 1, 2], "int32"),),
        expected=lambda weights, ids: weights["embeddings"][ids],
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def test_mixtures_of_tasks_give_mixtures_of_rows():
    layer = TaskEmbedding(4, num_tasks=2)
    rows = arrays(layer(np.array([0, 1])))
    mixed = arrays(layer(np.array([[0.25, 0.75]], "float32")))
    np.testing.assert_allclose(mixed, 0.25 * rows[:1] + 0.75 * rows[1:], rtol=1e-6, atol=1e-7)


def test_one_hot_has_no_weights():
    layer = TaskEmbedding(num_tasks=3, mode="one_hot")
    np.testing.assert_array_equal(arrays(layer(np.array([[2], [0]]))), [[0, 0, 1], [1, 0, 0]])
    assert layer.units == 3
    assert not layer.weights


def test_mlp_maps_descriptors_and_starts_telling_them_apart():
    layer = TaskEmbedding(4, mode="mlp", hidden_units=(6,), activation="tanh")
    descriptors = np.random.default_rng(0).standard_normal((3, 5)).astype("float32")
    output = arrays(layer(descriptors))
    kernels = [arrays(w) for w in layer.weights if "kernel" in w.path]
    expected = np.tanh(descriptors @ kernels[0]) @ kernels[1]
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)
    assert np.unique(output.round(6), axis=0).shape == (3, 4)


def test_initializer_and_regularizer_reach_the_table():
    regularizer = keras.regularizers.L1(1.0)
    layer = TaskEmbedding(
        4, num_tasks=3, embeddings_initializer="ones", embeddings_regularizer=regularizer
    )
    layer.build((None,))
    assert arrays(sum(layer.losses)) == 12


@pytest.mark.parametrize("mode", ["one_hot", "mlp"])
def test_every_mode_is_restored_from_its_config(mode):
    layer = TaskEmbedding(3, num_tasks=3, mode=mode)
    twin = TaskEmbedding.from_config(layer.get_config())
    output = arrays(layer(np.array([0, 2])))
    twin.build((None,))
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(arrays(twin(np.array([0, 2]))), output)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("mode", {"mode": "random"}),
        ("units", {"units": 0}),
        ("units", {"units": None}),
        ("units", {"units": 4, "mode": "one_hot"}),
        ("num_tasks", {"num_tasks": 0}),
        ("num_tasks", {"num_tasks": None, "mode": "one_hot"}),
        ("hidden_units", {"hidden_units": 8, "mode": "mlp"}),
    ],
)
def test_bad_arguments_are_refused(argument, changes):
    received = f"Received: {argument}={changes[argument]!r}"
    with pytest.raises(ValueError, match=f"`{argument}` must be .*{received}"):
        TaskEmbedding(**({"units": 3, "num_tasks": 3} | changes))


@pytest.mark.parametrize("mode", ["learned", "one_hot", "mlp"])
def test_a_bad_context_is_refused(mode):
    with pytest.raises(ValueError, match=r"`context` must be as wide.*Received: context of shape"):
        TaskEmbedding(3, num_tasks=3, mode=mode)(np.ones((2, 2), "float32"))
    with pytest.raises(ValueError, match=r"`context` must be ids from 0 to 2.*Received"):
        TaskEmbedding(3, num_tasks=3, mode=mode)(np.array([0, 3]))
