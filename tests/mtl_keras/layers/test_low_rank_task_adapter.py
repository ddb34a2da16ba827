"""LowRankTaskAdapter: W x + b + (alpha / rank) B_t A_t x around a shared layer."""

import keras
import numpy as np
import pytest

from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.low_rank_task_adapter import LowRankTaskAdapter

IDS = np.array([0, 2, 1, 2], "int32")


def draw(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def statement(weights, features, context):
    """alpha = 3 and rank = 2, as in the case below."""
    kernel = weights["inner/kernel"] + 1.5 * np.einsum(
        "bt,tir,bs,sro->bio", context, weights["a_kernel"], context, weights["b_kernel"]
    )
    return np.tanh(np.einsum("bpi,bio->bpo", features, kernel) + weights["inner/bias"])


class CaseOfWrapper(LayerCase):
    """The layer inside gets the dtype under test, which the wrapper leaves to its owner."""

    def new_layer(self, **extra):
        inner = keras.layers.Dense(4, name="inner", dtype=extra.get("dtype"))
        return self.layer_class(inner, **self.config, **extra)


CASES = [
    CaseOfWrapper(
        layer_class=LowRankTaskAdapter,
        config={"num_tasks": 3, "rank": 2, "alpha": 3.0, "activation": "tanh"},
        # The last row is soft.
        inputs=(
            draw(4, 2, 5),
            np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0.2, 0.5, 0.3]], "float32"),
        ),
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


def trained(layer, shape, **arguments):
    adapter = LowRankTaskAdapter(layer, 3, 2, **arguments)
    adapter(draw(*shape), IDS)
    rng = np.random.default_rng(1)
    adapter.set_weights([rng.normal(0, 0.3, w.shape) for w in adapter.get_weights()])
    return adapter


@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 5), (4, 2, 3, 5)])
def test_starts_as_its_layer(shape):
    dense = keras.layers.Dense(6)
    adapter = LowRankTaskAdapter(dense, 3, 2)
    np.testing.assert_array_equal(*arrays(adapter(draw(*shape), IDS), dense(draw(*shape))))


@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 3, 5)])
@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (4.0, 2.0), (0.5, 0.25)])
def test_the_update_merges_into_the_kernel_of_a_task(shape, alpha, scale):
    adapter = trained(keras.layers.Dense(6), shape, alpha=alpha)
    (outputs,) = arrays(adapter(draw(*shape), np.full(4, 1, "int32")))
    update = adapter.a_kernel.numpy()[1] @ adapter.b_kernel.numpy()[1]
    kernel = adapter.layer.kernel.numpy() + scale * update
    expected = draw(*shape) @ kernel + adapter.layer.bias.numpy()
    # The factors one after the other, and not their product: other float32 roundings.
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


def test_the_rank_of_the_update_is_that_asked_for():
    adapter = trained(keras.layers.Dense(6, use_bias=False), (4, 5))
    change = arrays(adapter(np.eye(5, dtype="float32"), np.zeros(5, "int32")))[0]
    change = change - adapter.layer.kernel.numpy()
    # The third singular value is rounding, the second is not.
    singular = np.linalg.svd(change, compute_uv=False)
    assert singular[1] > 1e-2
    assert singular[2] < 1e-5


def test_ids_and_one_hot_rows_agree():
    adapter = trained(keras.layers.Dense(6), (4, 5))
    rows = np.eye(3, dtype="float32")[IDS]
    np.testing.assert_array_equal(*arrays(adapter(draw(4, 5), IDS), adapter(draw(4, 5), rows)))


def test_a_convolution_that_keeps_its_positions_is_adapted():
    conv = keras.layers.Conv1D(6, 3, padding="same")
    adapter = trained(conv, (4, 3, 5))
    outputs, plain = arrays(adapter(draw(4, 3, 5), IDS), conv(draw(4, 3, 5)))
    update = np.einsum("tir,tro->tio", adapter.a_kernel.numpy(), adapter.b_kernel.numpy())
    expected = plain + np.einsum("bpi,bio->bpo", draw(4, 3, 5), update[IDS])
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


def test_the_tasks_start_with_factors_of_their_own_and_their_own_fan():
    initializer = keras.initializers.HeNormal(seed=0)
    adapter = LowRankTaskAdapter(keras.layers.Dense(6), 3, 16, kernel_initializer=initializer)
    adapter.build((None, 64), (None,))
    factors = adapter.a_kernel.numpy()
    # 0.15 is five standard errors of a correlation of 1024 draws.
    assert (np.corrcoef(factors.reshape(3, -1)) - np.eye(3)).max() < 0.15
    np.testing.assert_allclose(factors.std((1, 2)), np.sqrt(2 / 64), rtol=0.1)  # 1024 draws each


def test_a_regularizer_reaches_both_factors_and_not_the_layer():
    adapter = LowRankTaskAdapter(keras.layers.Dense(6), 3, 2, kernel_regularizer="l2")
    adapter.build((None, 5), (None,))
    assert [w.name for w in adapter.weights if w.regularizer] == ["a_kernel", "b_kernel"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_tasks": 0}, "`num_tasks` must be .* Received: num_tasks=0"),
        ({"rank": 0}, "`rank` must be .* Received: rank=0"),
        ({"alpha": 0.0}, "`alpha` must be .* Received: alpha=0.0"),
        ({"layer": None}, "`layer` must be .* Received: layer=None"),
        (
            {"layer": keras.layers.Dense(6, "relu")},
            "`layer` must have no activation.* Received: .*relu",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    good = {"layer": keras.layers.Dense(6), "num_tasks": 2, "rank": 2}
    with pytest.raises(ValueError, match=message):
        LowRankTaskAdapter(**(good | arguments))


def test_a_layer_that_changes_the_positions_is_refused():
    adapter = LowRankTaskAdapter(keras.layers.Flatten(), 3, 2)
    with pytest.raises(ValueError, match=r"`layer` must keep every axis but the last. Received"):
        adapter(draw(4, 2, 5), IDS)


def test_a_context_of_another_width_or_task_is_refused():
    for context, message in [(np.ones((4, 2), "float32"), "wide"), (np.full(4, 3, "int32"), "ids")]:
        adapter = LowRankTaskAdapter(keras.layers.Dense(6), 3, 2)
        with pytest.raises(ValueError, match=f"`context` must be .*{message}.*Received"):
            adapter(draw(4, 5), context)
