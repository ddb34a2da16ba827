"""The Gramian read from dense layers' inputs and output gradients is that of the K gradients."""

import keras
import numpy as np
import pytest
from keras import layers

import mtl_keras as mtl
from conformance.balanced_cases import data, multi_task
from mtl_keras.gradients.dense_layers import DenseLayers
from mtl_keras.gradients.graph import SharedGraph

ROWS = 4
WIDE = 60
FACTORS = np.array([[1, 2], [3, 4]], "float32")


def plain():
    x = keras.Input((5,))
    h = layers.Dense(WIDE, "tanh")(x)
    h = layers.Dropout(0.0)(layers.BatchNormalization()(h))
    return multi_task(x, layers.Dense(WIDE, "relu", use_bias=False)(h))


def nested():
    x = keras.Input((5,))
    h = keras.Sequential([layers.Dense(WIDE, "tanh"), layers.Dense(WIDE)])(x)
    y = keras.Input((WIDE,))
    inner = keras.Model(y, layers.Dense(WIDE, "gelu")(y))
    return multi_task(x, inner(h))


def positions():
    x = keras.Input((3, 5))
    h = layers.Dense(WIDE, "tanh")(layers.Dense(WIDE, "tanh")(x))
    return multi_task(x, layers.GlobalAveragePooling1D()(h))


def called_twice():
    x = keras.Input((5,))
    layer = layers.Dense(WIDE, "tanh")
    h = layers.Dense(WIDE)(x)
    return multi_task(x, {"a": layer(layer(h)), "b": layer(h)})


def beside_others():
    x = keras.Input((5,), dtype="int32")
    h = layers.Flatten()(layers.Embedding(7, 4)(x))
    h = layers.Dense(WIDE, "tanh")(layers.Dense(WIDE, "tanh")(h))
    return multi_task(x, h)


def part_frozen():
    x = keras.Input((5,))
    frozen = layers.Dense(WIDE, "tanh")
    h = layers.Dense(WIDE)(frozen(layers.Dense(WIDE, "tanh")(x)))
    model = multi_task(x, h)
    frozen.kernel.trainable = False
    return model


CASES = [plain, nested, positions, called_twice, beside_others, part_frozen]


@keras.saving.register_keras_serializable(package="tests")
class Probing(mtl.balancing.GramianBalancer):
    """Weights that differ with every entry of G."""

    def solve(self, gramian, present, losses):
        shares = gramian / keras.ops.sum(keras.ops.diagonal(gramian))
        return 0.1 + keras.ops.sum(shares * keras.ops.convert_to_tensor(FACTORS), axis=1)


def trained(case, rows=ROWS, forced=None, monkeypatch=None, steps=2, **options):
    if forced is not None:
        monkeypatch.setattr(DenseLayers, "rows_limit", lambda *_: forced)
    keras.utils.set_random_seed(0)
    model = case()
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    model.compile(**({"optimizer": keras.optimizers.SGD(0.05), "balancer": Probing()} | options))
    x, y = data(model, rows)
    model.fit(x, y, epochs=steps, batch_size=rows, shuffle=False, verbose=0)
    return model, [keras.ops.convert_to_numpy(v) for v in model.weights]


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_the_task_gradients(case, monkeypatch):
    model, by_layers = trained(case, forced=1000, monkeypatch=monkeypatch)
    assert model._balanced_step._dense.calls
    _, by_rows = trained(case, forced=0, monkeypatch=monkeypatch)
    for a, b in zip(by_layers, by_rows, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"balancer_every": 2}], ids=str)
def test_in_other_steps(options, monkeypatch):
    _, by_layers = trained(plain, forced=1000, monkeypatch=monkeypatch, steps=3, **options)
    _, by_rows = trained(plain, forced=0, monkeypatch=monkeypatch, steps=3, **options)
    for a, b in zip(by_layers, by_rows, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_with_loss_scaling(monkeypatch):
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        _, by_layers = trained(plain, forced=1000, monkeypatch=monkeypatch)
        _, by_rows = trained(plain, forced=0, monkeypatch=monkeypatch)
    finally:
        keras.config.set_dtype_policy(before)
    for a, b in zip(by_layers, by_rows, strict=True):
        # 2^-11 a product in float16; here each row is rounded before G, there it never is.
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=5e-3)


def found_in(model):
    graph = SharedGraph(model.inputs, model.output, model.trainable_variables)
    return DenseLayers(graph, model.inputs), graph


def test_layers_leave_no_trace():
    model = plain()
    found_in(model)
    for layer in model.layers:
        assert "call" not in vars(layer)


def test_the_limit_is_where_multiplications_are_equal():
    x = keras.Input((512,))
    h = layers.Dense(512, "relu")(layers.Dense(512, "relu")(x))
    dense, graph = found_in(multi_task(x, h))
    for tasks in (2, 8, 40):
        rows = dense.rows_limit(tasks, graph.shared)

        def by_layers(rows, tasks=tasks, n=512):
            products = rows * rows * n + tasks * rows * rows * n + tasks**2 * rows * n
            return products + 2 * rows * n * n

        def by_rows(rows, tasks=tasks, n=512):
            return tasks * rows * n * n + tasks**2 * n * n

        assert by_layers(rows) <= by_rows(rows)
        assert by_layers(rows + 1) > by_rows(rows + 1)


def test_weights_that_are_used_elsewhere_are_left_to_the_rows():
    @keras.saving.register_keras_serializable(package="tests")
    class Tied(layers.Layer):
        def __init__(self, dense):
            super().__init__()
            self.dense = dense

        def call(self, features):
            return keras.ops.matmul(features, keras.ops.transpose(self.dense.kernel))

    x = keras.Input((5,))
    encode = layers.Dense(WIDE, "tanh")
    h = layers.Dense(WIDE)(Tied(encode)(encode(x)))
    dense, _ = found_in(multi_task(x, h))
    assert [call.layer is encode for call in dense.calls] == [False]


def test_rows_folded_into_the_batch_are_left_to_the_rows():
    x = keras.Input((3, 5))
    h = layers.Dense(WIDE)(keras.ops.reshape(x, (-1, 5)))
    h = layers.Dense(WIDE)(keras.ops.reshape(h, (-1, 3 * WIDE)))
    dense, _ = found_in(multi_task(x, h))
    assert len(dense.calls) == 1


def test_a_trunk_of_other_layers_takes_the_rows():
    x = keras.Input((28, 28, 1))
    h = layers.Flatten()(layers.Conv2D(64, 9, strides=9)(x))
    dense, graph = found_in(multi_task(x, layers.Dense(4)(h)))
    assert dense.rows_limit(8, graph.shared) == 0
