"""Tasks as rows: groups of rows are balanced as tasks are."""

import keras
import numpy as np
import pytest
from keras import layers

import mtl_keras as mtl
from conformance.balanced_cases import Ones

TASKS = 3
ROWS = 24
RATE = 0.1


def conditioned(one_hot=False):
    """One network for three tasks, told by an input which one; two outputs."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4,), name="x")
    task = (
        keras.Input((TASKS,), name="task")
        if one_hot
        else keras.Input((), name="task", dtype="int32")
    )
    context = mtl.layers.TaskEmbedding(TASKS, TASKS if one_hot else 5)(task)
    h = mtl.layers.FiLM()(layers.Dense(6, "tanh")(x), context)
    h = layers.BatchNormalization()(h)
    tasks = [mtl.BinaryTask("likes"), mtl.RegressionTask("stars", weight=0.5)]
    outputs = {t.name: t.build_head()(h) for t in tasks}
    model = mtl.MultiTaskModel({"x": x, "task": task}, outputs, tasks=tasks)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return model


def batch(one_hot=False):
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(TASKS), [4, 8, 12])
    x = {"x": rng.normal(size=(ROWS, 4)).astype("float32"), "task": ids.astype("int32")}
    if one_hot:
        x["task"] = np.eye(TASKS, dtype="float32")[ids]
    y = {
        "likes": rng.integers(0, 2, (ROWS, 1)).astype("float32"),
        "stars": rng.normal(size=(ROWS, 1)).astype("float32"),
    }
    y["likes"][::5] = np.nan
    return x, y, ids


def trained(y, sample_weight=None, one_hot=False, **options):
    """Weights before and after one step of SGD."""
    model = conditioned(one_hot)
    model.compile(keras.optimizers.SGD(RATE), **options)
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    x, _, _ = batch(one_hot)
    model.train_on_batch(x, y, sample_weight=sample_weight)
    after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables[: len(before)]]
    return before, after, model


def gradient(before, after):
    return np.concatenate([(b - a).ravel() / RATE for b, a in zip(before, after, strict=True)])


@pytest.fixture(scope="module")
def rows_of_tasks():
    """J from plain training: a step for each output and group, the others' labels missing."""
    x, y, ids = batch()
    model = conditioned()
    model.compile(keras.optimizers.SGD(RATE))
    start = model.get_weights()
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    rows = []
    for name in y:
        for group in range(TASKS):
            labels = {key: np.full_like(value, np.nan) for key, value in y.items()}
            labels[name][ids == group] = y[name][ids == group]
            model.set_weights(start)
            model.train_on_batch(x, labels)
            after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
            rows.append(gradient(before, after))
    return np.array(rows)


@pytest.mark.parametrize("one_hot", [False, True])
def test_ones_are_the_sum_of_the_group_means(one_hot):
    _, y, ids = batch()
    weight = {}
    for name, labels in y.items():
        labelled = ~np.isnan(labels[:, 0])
        sizes = np.array([np.sum(labelled & (ids == group)) for group in range(TASKS)])
        weight[name] = (labelled.sum() / sizes)[ids].astype("float32")
    plain = gradient(*trained(y, sample_weight=weight, one_hot=one_hot)[:2])
    options = {"row_tasks": {"task": TASKS}, "one_hot": one_hot}
    for balancer in (Ones(), "sum"):
        balanced = gradient(*trained(y, balancer=balancer, **options)[:2])
        np.testing.assert_allclose(balanced, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", ["mgda", "upgrad", "trimmed_mean"])
def test_a_step_is_the_rule_applied_to_the_groups(rule, rows_of_tasks):
    _, y, _ = batch()
    balancer = mtl.balancing.get(rule)
    if hasattr(balancer, "direction"):
        expected = keras.ops.convert_to_numpy(balancer.direction(rows_of_tasks))
    else:
        weights = balancer.weights(rows_of_tasks @ rows_of_tasks.T)
        expected = keras.ops.convert_to_numpy(weights) @ rows_of_tasks
    found = gradient(*trained(y, balancer=rule, row_tasks={"task": TASKS})[:2])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_group_without_rows_takes_no_part():
    seen = []

    class Recorder(Ones):
        def solve(self, gramian, present, losses):
            seen.append(keras.ops.convert_to_numpy(present).tolist())
            return super().solve(gramian, present, losses)

    if keras.backend.backend() == "jax":
        pytest.skip("JAX traces: there are no values to look at")
    _, y, ids = batch()
    y["stars"][ids == 1] = np.nan
    trained(y, balancer=Recorder(), row_tasks={"task": TASKS}, run_eagerly=True)
    assert seen == [[True, True, True, True, False, True]]


def test_the_report_is_that_of_the_tasks():
    _, y, _ = batch()
    logs = []
    for options in ({}, {"balancer": "mgda", "row_tasks": {"task": TASKS}}):
        model = conditioned()
        model.compile("sgd", **options)
        x, y, _ = batch()
        logs.append(model.train_on_batch(x, y, return_dict=True))
    for key in ("likes_loss", "stars_loss", "likes_labels", "likes_auc"):
        np.testing.assert_allclose(logs[1][key], logs[0][key], rtol=1e-5, err_msg=key)


def saturated(**options):
    x = keras.Input((1,), name="x")
    task = keras.Input((), name="task", dtype="int32")
    clicked = mtl.BinaryTask("clicked", weight=1.0 if options else 2.0)
    model = mtl.MultiTaskModel(
        {"x": x, "task": task}, {"clicked": clicked.build_head()(x)}, tasks=[clicked]
    )
    for variable in model.trainable_variables:
        variable.assign(np.full(variable.shape, 30.0))
    model.compile(keras.optimizers.SGD(1.0), **options)
    features = {"x": np.ones((2, 1), "float32"), "task": np.array([0, 1])}
    model.train_on_batch(features, {"clicked": np.array([[0.0], [1.0]])})
    return [keras.ops.convert_to_numpy(v).item() for v in model.trainable_variables]


def test_saturated_outputs_keep_their_gradient():
    # sigmoid(60) is 1 in float32: that a wrong label's gradient is 1 only the logits know.
    balanced = saturated(balancer=Ones(), row_tasks={"task": 2})
    np.testing.assert_allclose(balanced, saturated(), rtol=1e-6)
    if keras.backend.backend() == "tensorflow":
        # Elsewhere Keras keeps no logits, and the gradient is 0.
        np.testing.assert_allclose(balanced, [29.0, 29.0], rtol=1e-6)


def test_it_is_saved_with_the_model(tmp_path):
    _, y, _ = batch()
    _, _, model = trained(y, balancer="mgda", row_tasks={"task": TASKS})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x, y, _ = batch()
    for m in (model, loaded):
        m.train_on_batch(x, y)
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), rtol=1e-6
        )


def test_an_unknown_id_stops_the_fit():
    model = conditioned()
    model.compile("sgd", balancer="mgda", row_tasks={"task": 2})
    x, y, _ = batch()
    # Where a value is at hand, and in TensorFlow's graphs, at once; else by the loss.
    message = "ids in input 'task' that are not 0 to 1|`task` must be ids from 0 to 1"
    errors = [ValueError]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        errors.append(tf.errors.InvalidArgumentError)
    with pytest.raises(tuple(errors), match=message):
        model.fit(x, y, epochs=2, verbose=0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"row_tasks": {"tasks": 3}}, r"one of \['task', 'x'\]. Received: 'tasks'"),
        ({"row_tasks": {"task": 0}}, "1 task or more. Received"),
        ({"row_tasks": ["task"]}, "must name one input"),
        ({"row_tasks": {"x": 3}}, "must be as wide as there are tasks, 3"),
        ({"row_tasks": {"task": 3}, "balancer": None}, "needs a `balancer`"),
        ({"row_tasks": {"task": 3}, "scope": "representation"}, "goes with scope='shared'"),
    ],
    ids=str,
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        conditioned().compile(**({"balancer": "mgda"} | options))
