"""TaskAdapter: each task its own bottleneck, after a layer or on the features."""

import keras
import numpy as np
import pytest

from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.task_adapter import TaskAdapter

IDS = np.array([0, 2, 1, 2], "int32")
ROWS = np.eye(3, dtype="float32")[IDS]


def draw(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def statement(weights, features, context):
    return np.stack(
        [
            h
            + np.tanh(h @ weights["down_kernel"][t] + weights["down_bias"][t])
            @ weights["up_kernel"][t]
            + weights["up_bias"][t]
            for h, t in zip(features, context, strict=True)
        ]
    )


CASES = [
    LayerCase(
        layer_class=TaskAdapter,
        config={"num_tasks": 3, "bottleneck": 2, "activation": "tanh"},
        inputs=(draw(4, 2, 5), IDS),
        masks=(np.array([[1, 1], [1, 0], [0, 1], [1, 1]], bool), None),
        expected=statement,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def arrays(*tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def trained(**arguments):
    """Any weights but the initial ones, at which an adapter does nothing."""
    layer = TaskAdapter(3, 2, activation="tanh", **arguments)
    layer(draw(4, 5), IDS)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize("features", [draw(4, 5), draw(4, 2, 5), draw(4, 2, 3, 5)])
def test_starts_as_the_identity(features):
    (outputs,) = arrays(TaskAdapter(3, 2)(features, IDS))
    np.testing.assert_array_equal(outputs, features)


def test_starts_as_the_layer_that_it_is_put_on():
    dense = keras.layers.Dense(6)
    outputs, plain = arrays(TaskAdapter(3, 2, layer=dense)(draw(4, 5), IDS), dense(draw(4, 5)))
    np.testing.assert_array_equal(outputs, plain)


def test_adapts_the_output_of_its_layer():
    dense = keras.layers.Dense(6, "relu", name="inner")
    layer = trained(layer=dense)
    weights = {w.path.removeprefix(f"{layer.name}/"): w.numpy() for w in layer.weights}
    assert weights["up_kernel"].shape == (3, 2, 6)
    assert "inner/kernel" in weights
    outputs, h = arrays(layer(draw(4, 5), IDS), dense(draw(4, 5)))
    # Float32 beside float32: the statement has the same rounding.
    np.testing.assert_allclose(outputs, statement(weights, h, IDS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 5), (4, 2, 3, 5)])
def test_dense_sequence_and_image_obey_one_equation(shape):
    layer = trained()
    weights = {w.name: w.numpy() for w in layer.weights}
    (outputs,) = arrays(layer(draw(*shape), IDS))
    expected = statement(weights, draw(*shape), IDS)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 5)])
def test_ids_and_one_hot_rows_agree(shape):
    layer = trained()
    by_id, by_column, by_row = arrays(
        *(layer(draw(*shape), context) for context in (IDS, IDS[:, None], ROWS))
    )
    np.testing.assert_array_equal(by_id, by_row)
    np.testing.assert_array_equal(by_id, by_column)


def test_a_soft_row_mixes_the_weights():
    layer = trained()
    share = np.array([[0.2, 0.5, 0.3]], "float32")
    mixed = {w.name: np.tensordot(share, w.numpy(), 1) for w in layer.weights}
    (outputs,) = arrays(layer(draw(1, 5), share))
    expected = statement(mixed, draw(1, 5), [0])
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_only_the_weights_of_the_task_are_trained():
    layer = trained()
    before = [w.numpy() for w in layer.weights]
    x, ids = keras.Input((5,)), keras.Input((), dtype="int32")
    model = keras.Model([x, ids], layer(x, ids))
    model.compile("sgd", "mse")
    model.train_on_batch([draw(4, 5), np.full(4, 1, "int32")], np.zeros((4, 5)))
    for old, new in zip(before, layer.weights, strict=True):
        moved = (old != new.numpy()).reshape(3, -1).any(1)
        np.testing.assert_array_equal(moved, [False, True, False])


def test_without_biases_there_are_two_stacks():
    layer = trained(use_bias=False)
    assert [w.name for w in layer.weights] == ["down_kernel", "up_kernel"]
    weights = {w.name: w.numpy() for w in layer.weights}
    (outputs,) = arrays(layer(draw(4, 5), IDS))
    expected = statement(
        weights | dict.fromkeys(("down_bias", "up_bias"), np.zeros(3)), draw(4, 5), IDS
    )
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_the_tasks_start_with_kernels_of_their_own_and_their_own_fan():
    layer = TaskAdapter(3, 16, kernel_initializer=keras.initializers.HeNormal(seed=0))
    layer.build((None, 64), (None,))
    down = layer.down_kernel.numpy()
    # 0.15 is five standard errors of a correlation of 1024 draws.
    assert (np.corrcoef(down.reshape(3, -1)) - np.eye(3)).max() < 0.15
    np.testing.assert_allclose(down.std((1, 2)), np.sqrt(2 / 64), rtol=0.1)  # 1024 draws each


def test_a_regularizer_reaches_both_kernels():
    layer = TaskAdapter(3, 2, kernel_regularizer="l2")
    layer.build((None, 5), (None,))
    assert [w.name for w in layer.weights if w.regularizer] == ["down_kernel", "up_kernel"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_tasks": 0}, "`num_tasks` must be .* Received: num_tasks=0"),
        ({"bottleneck": 0}, "`bottleneck` must be .* Received: bottleneck=0"),
        ({"layer": "dense"}, "`layer` must be .* Received: layer='dense'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TaskAdapter(**({"num_tasks": 2, "bottleneck": 2} | arguments))


def test_a_context_of_another_width_or_task_is_refused():
    with pytest.raises(ValueError, match=r"`context` must be as wide .*Received"):
        TaskAdapter(3, 2)(draw(4, 5), np.ones((4, 2), "float32"))
    with pytest.raises(ValueError, match=r"`context` must be ids .*Received"):
        TaskAdapter(3, 2)(draw(4, 5), np.full(4, 3, "int32"))
