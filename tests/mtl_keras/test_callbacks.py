"""AutoLambdaUpdates: a fit in which the weights of the tasks learn."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops

import mtl_keras as mtl
from mtl_keras.callbacks import AutoLambdaUpdates

BACKEND = keras.backend.backend()
TASKS = ["primary", "helpful", "noise"]
DIRECTION = np.array([[1.0], [-1.0], [0.0], [0.0]])


def rows(count, seed, labelled=1.0):
    """One direction of x is behind "primary" and "helpful", nothing behind "noise"."""
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(count, 4)).astype("float32")
    y = {name: (x @ DIRECTION).astype("float32") for name in TASKS[:2]}
    y["noise"] = draws.normal(size=(count, 1)).astype("float32")
    y["primary"] = np.where(draws.random((count, 1)) < labelled, y["primary"], np.nan)
    return x, y


def network(rate=0.01, layers=(), **options):
    """A linear unit that all tasks read."""
    keras.utils.set_random_seed(0)
    x = h = keras.Input((4,), name="x")
    for layer in (keras.layers.Dense(1, name="trunk"), *layers):
        h = layer(h)
    tasks = [mtl.RegressionTask(name) for name in TASKS]
    model = mtl.MultiTaskModel(x, {t.name: t.build_head()(h) for t in tasks}, tasks=tasks)
    # Heads alike, and a trunk part of its way: noise pulls it back, the other tasks push it on.
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape) if "kernel" in variable.path else variable)
    model.get_layer("trunk").kernel.assign(0.4 * DIRECTION)
    # Compiling takes longer than these fits; eager steps on JAX take longer than compiling.
    options = {"optimizer": keras.optimizers.SGD(0.02), "run_eagerly": BACKEND != "jax"} | options
    model.compile(balancer=mtl.balancing.AutoLambda(rate), **options)
    return model


def fit(model, data, callback=None, **options):
    options = {"batch_size": 16, "shuffle": False, "verbose": 0} | options
    return model.fit(*data, callbacks=callback and [callback], **options).history


def weights(model):
    return ops.convert_to_numpy(model.balancer.task_weights)


def steps(model):
    """The updates that each task's weight has had."""
    return ops.convert_to_numpy(model.balancer.adam.steps).tolist()


def test_helpful_task_gains_and_noise_loses():
    train, validation = rows(256, 0, labelled=0.1), rows(256, 1)
    model = network(run_eagerly=False)
    updates = AutoLambdaUpdates(train, validation, ["primary"], batch_size=256, seed=0)
    fit(model, train, updates)
    _, helpful, noise = weights(model)
    # From 0.1; 0.26 and 0 with six seeds of the data.
    assert helpful > 0.2
    assert noise < 0.02


def test_nothing_but_the_weights_of_tasks_changes():
    data, validation = rows(64, 0), rows(64, 1)

    def build():
        layers = keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)
        # A rate that float32 rounds away.
        return network(1e-12, layers, run_eagerly=False)

    with_updates, without = build(), build()
    options = {"epochs": 2, "validation_data": validation}
    seen = fit(with_updates, data, AutoLambdaUpdates(data, validation), **options)
    assert seen == fit(without, data, **options)
    assert steps(with_updates) == [8.0, 8.0, 8.0]
    for a, b in zip(with_updates.layers, without.layers, strict=True):
        for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_updates_before_every_nth_batch():
    data, model, seen = rows(80, 0), network(), [0.0]
    for every in (1, 3, 100):
        fit(model, data, AutoLambdaUpdates(data, data, every=every))
        seen += steps(model)[:1]
    assert np.diff(seen).tolist() == [5, 2, 1]


def test_task_without_labels_waits():
    x, y = rows(32, 0)
    del y["helpful"]
    model = network()
    # It may be among the primary tasks, too.
    fit(model, rows(32, 1), AutoLambdaUpdates((x, y), (x, y)))
    assert steps(model) == [2.0, 0.0, 2.0]
    assert weights(model)[1] == np.float32(0.1)


class Batches(keras.utils.PyDataset):
    """Batches of 8 rows."""

    def __init__(self, data):
        super().__init__()
        self.data = data

    def __len__(self):
        return len(self.data[0]) // 8

    def __getitem__(self, index):
        chosen = slice(8 * index, 8 * index + 8)
        return keras.tree.map_structure(lambda array: array[chosen], self.data)


def tf_data(data):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices(data).batch(8)


@pytest.mark.parametrize("kind", [Batches, tf_data], ids=["PyDataset", "tf.data"])
def test_streams_start_again_when_they_end(kind):
    x, y = rows(16, 0)
    weighted = x, y, {name: np.full(16, 0.5) for name in TASKS}
    model, expected = network(), network()
    fit(model, (x, y), AutoLambdaUpdates(kind(weighted), kind((x, y))), epochs=3)
    assert steps(model) == [3.0] * 3
    generator = (Batches(weighted)[i % 2] for i in range(3))
    arrays = (Batches((x, y))[i % 2] for i in range(3))
    fit(expected, (x, y), AutoLambdaUpdates(generator, arrays), epochs=3)
    np.testing.assert_allclose(weights(model), weights(expected), rtol=1e-6)


@pytest.mark.skipif(BACKEND == "jax", reason="state is Keras variables on every backend")
def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path):
    data = rows(8, 0)

    def train(model, epochs):
        fit(
            model, data, AutoLambdaUpdates(Batches(data), Batches(data), ["primary"]), epochs=epochs
        )

    whole, killed = network(), network()
    train(whole, 3)
    train(killed, 1)
    killed.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(weights(resumed), weights(killed))
    train(resumed, 2)
    for a, b in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), rtol=1e-6)


def test_weights_follow_a_change_of_the_learning_rate():
    """alpha is the optimizer's rate of the moment, also one that a schedule gives."""
    data, found = rows(8, 0), []
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.02, 0.0])
    for rate in (0.02, schedule):
        model = network(optimizer=keras.optimizers.SGD(rate))
        fit(model, data, AutoLambdaUpdates(Batches(data), Batches(data)), epochs=2)
        found.append(steps(model)[0])
    # Without a step nothing can be learned.
    assert found == [2.0, 1.0]


@pytest.mark.skipif(BACKEND == "jax", reason="half precision is slow to compile there")
def test_half_precision_does_not_overflow():
    """The loss scale is found for losses that are weighted; the validation losses are not."""
    data = rows(64, 0)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    fit(model, data, AutoLambdaUpdates(data, data))
    assert steps(model) == [4.0] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"primary": []}, "`primary` must be a list of names of tasks, or None. Received"),
        ({"primary": "noise"}, "`primary` must be a list of names of tasks, or None. Received"),
        ({"every": 0}, "`every` must be a whole number of at least 1. Received: every=0"),
        ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1. Received"),
    ],
)
def test_refuses_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AutoLambdaUpdates(None, None, **arguments)


def broken(data):
    data[0][5] = np.nan
    return data


@pytest.mark.parametrize(
    ("options", "train", "message"),
    [
        ({"primary": ["other"]}, rows(16, 0), r"`primary` must name tasks .* unknown task 'other'"),
        ({}, 3, "Data must be arrays .* or a stream of batches.* Received: int"),
        ({}, rows(0, 0), "The data set is empty"),
        ({}, (rows(4, 0)[0], rows(5, 0)[1]), r"Arrays must be of one length. .* \[4, 5\]"),
        ({}, iter([rows(16, 0)]), "The data set is empty"),
        ({}, (rows(16, 0)[0], {"other": np.ones(16)}), "must name tasks .* 'other'"),
        ({}, broken(rows(32, 0)), "gradient of the validation loss must be finite"),
    ],
)
def test_refuses_what_does_not_go_with_the_model(options, train, message):
    data = rows(48, 0)
    with pytest.raises(ValueError, match=message):
        fit(network(), data, AutoLambdaUpdates(train, data, **options))


def test_refuses_another_balancer():
    data, model = rows(16, 0), network()
    model.compile("sgd", balancer="sum")
    with pytest.raises(ValueError, match=r"balancer='auto_lambda'. .*: balancer=Sum\(\)"):
        fit(model, data, AutoLambdaUpdates(data, data))


def test_refuses_tasks_that_are_rows():
    data, model = rows(16, 0), network()
    model.compile("sgd", balancer="auto_lambda", row_tasks={"x": 4})
    with pytest.raises(ValueError, match=r"not rows. Received: 12 tasks of 3 outputs"):
        fit(model, data, AutoLambdaUpdates(data, data))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_refuses_replicas():
    model, updates = network(), AutoLambdaUpdates(rows(16, 0), rows(16, 0))
    two = SimpleNamespace(num_replicas_in_sync=2)
    updates.set_model(
        SimpleNamespace(balancer=model.balancer, tasks=model.tasks, distribute_strategy=two)
    )
    with pytest.raises(ValueError, match=r"without replicas of `tf.distribute`. Received: 2"):
        updates.on_train_begin()
