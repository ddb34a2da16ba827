"""TaskGate opens the branch of the task, and keeps the others out of outputs and gradients."""

import pathlib
import tempfile

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.task_gate import TaskGate

IDS = np.array([2, 0, 1, 2], "int32")


def draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


def statement(weights, features, ids):
    def branch(task, row):
        kernel, bias = (weights[f"branch_{task}/{name}"] for name in ("kernel", "bias"))
        return np.tanh(row @ kernel + bias)

    return np.stack([branch(task, row) for task, row in zip(ids, features, strict=True)])


CASES = [
    LayerCase(
        layer_class=TaskGate,
        config={"branches": keras.layers.Dense(2, "tanh"), "num_tasks": 3},
        inputs=(draw(4, 3, 5), IDS),
        masks=(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool), None),
        expected=statement,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def dense_branches(count=3):
    return tuple(keras.layers.Dense(2, "tanh", name=f"branch_{i}") for i in range(count))


@pytest.mark.parametrize("one_hot", [False, True])
def test_equals_separately_built_networks(one_hot):
    branches = dense_branches()
    features = draw(4, 5)
    alone = np.stack([arrays(branch(features)) for branch in branches])
    context = np.eye(3, dtype="float32")[IDS] if one_hot else IDS
    gated = arrays(TaskGate(branches)(features, context))
    np.testing.assert_allclose(gated, alone[IDS, np.arange(4)], rtol=1e-6)


def test_images_pass_branches_that_drop_positions():
    branches = tuple(
        keras.Sequential(
            [keras.layers.Conv2D(2, 2), keras.layers.GlobalAveragePooling2D()], name=f"net_{i}"
        )
        for i in range(3)
    )
    images = draw(4, 4, 4, 3)
    alone = np.stack([arrays(branch(images)) for branch in branches])
    gated = arrays(TaskGate(branches)(images, IDS))
    np.testing.assert_allclose(gated, alone[IDS, np.arange(4)], rtol=1e-5, atol=1e-6)


def model_of(gate, features, width=3):
    """A trunk of one identity layer, then the gate."""
    inputs = keras.Input(features.shape[1:])
    context = keras.Input((width,))
    trunk = keras.layers.Dense(
        features.shape[-1], use_bias=False, kernel_initializer="identity", name="trunk"
    )
    return keras.Model([inputs, context], gate(trunk(inputs), context))


def train_step(model, features, ids, width=3):
    """The weights before and after one step of gradient descent, by path."""
    model.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error", jit_compile=False)
    before = {w.path: arrays(w) for w in model.weights}
    context = np.eye(width, dtype="float32")[ids]
    targets = np.ones(model.compute_output_shape([features.shape, context.shape]))
    model.fit([features, context], targets, batch_size=len(ids), verbose=0)
    return before, {w.path: arrays(w) for w in model.weights}


def test_only_the_chosen_branch_receives_a_gradient():
    gate = TaskGate(keras.layers.Dense(2), num_tasks=3, name="gate")
    features = draw(4, 5)
    before, after = train_step(model_of(gate, features), features, np.array([1, 1, 1, 1]))
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert moved == {"trunk/kernel", "gate/branch_1/kernel", "gate/branch_1/bias"}


def log_branch(bias="ones"):
    # Minus infinity, of infinite slope, for rows of sum -1; or of sum 0, without bias.
    log = keras.layers.Lambda(lambda x: keras.ops.log(x))
    dense = keras.layers.Dense(2, kernel_initializer="ones", bias_initializer=bias)
    return keras.Sequential([dense, log], name="log")


@pytest.mark.parametrize("ids", [[0, 0, 1, 1], [0, 0, 0, 0]])
def test_infinity_of_a_branch_that_was_not_chosen_stays_out(ids):
    ids = np.array(ids)
    features = np.where(ids[:, None] == 1, np.abs(draw(4, 5)), [-1, 0, 0, 0, 0])
    gate = TaskGate((keras.layers.Dense(2, name="plain"), log_branch()), name="gate")
    model = model_of(gate, features, 2)
    assert np.isinf(arrays(gate.branches[1](features))[ids == 0]).all()
    before, after = train_step(model, features, ids, 2)
    for path, value in after.items():
        assert np.isfinite(value).all(), path
        trains = ids.any() or "/log/" not in path
        assert trains != np.array_equal(value, before[path]), path


def test_outputs_are_finite_where_even_zeros_give_infinity():
    gate = TaskGate((keras.layers.Dense(2), log_branch(bias="zeros")))
    assert np.isfinite(arrays(gate(draw(4, 5), np.zeros(4, "int32")))).all()


class MeanOfValid(keras.layers.Layer):
    def call(self, inputs, mask=None):
        if mask is None:
            return keras.ops.mean(inputs, 1)
        # Over no position this is 0 / 0, and so is its gradient.
        keep = keras.ops.expand_dims(keras.ops.cast(mask, inputs.dtype), -1)
        return keras.ops.sum(inputs * keep, 1) / keras.ops.sum(keep, 1)


def test_a_branch_that_no_row_chose_is_not_fully_masked():
    means = (keras.Sequential([keras.layers.Dense(2), MeanOfValid()], name=name) for name in "ab")
    gate = TaskGate(tuple(means))
    inputs, context = keras.Input((3, 5)), keras.Input((), dtype="int32")
    model = keras.Model([inputs, context], gate(keras.layers.Masking()(inputs), context))
    model.compile("sgd", loss="mean_squared_error", jit_compile=False)
    model.fit([draw(4, 3, 5), np.zeros(4, "int32")], np.ones((4, 2)), verbose=0)
    assert all(np.isfinite(arrays(weight)).all() for weight in model.weights)


def test_batch_normalization_in_a_branch_counts_its_own_rows():
    def branch(name):
        return keras.layers.BatchNormalization(momentum=0.0, name=name)

    gate = TaskGate((branch("first"), branch("second")))
    features, ids = draw(4, 5), np.array([0, 0, 1, 1])
    gate(features, ids, training=True)
    for index, branch in enumerate(gate.branches):
        own = features[ids == index]
        np.testing.assert_allclose(arrays(branch.moving_mean), own.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(arrays(branch.moving_variance), own.var(0), rtol=1e-5, atol=1e-6)


def test_soft_gate_mixes_by_softmax_of_scores_over_temperature():
    branches = dense_branches()
    features, scores = draw(4, 5), draw(4, 3)
    alone = np.stack([arrays(branch(features)) for branch in branches])
    shares = np.exp(scores / 0.7)
    shares /= shares.sum(-1, keepdims=True)
    mixed = arrays(TaskGate(branches, temperature=0.7)(features, scores))
    np.testing.assert_allclose(mixed, np.einsum("bj,jbu->bu", shares, alone), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_soft_gate_becomes_the_hard_gate_as_the_temperature_goes_to_zero(dtype):
    branches = dense_branches()
    features, scores = draw(4, 5), draw(4, 3)
    hard = arrays(TaskGate(branches, dtype=dtype)(features, scores)).astype("float32")
    # The last is small enough for scores over it to overflow in float16.
    gates = [TaskGate(branches, temperature=t, dtype=dtype) for t in (1.0, 0.1, 1e-5)]
    gaps = [np.abs(arrays(gate(features, scores)) - hard).max() for gate in gates]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == 0


def test_scores_receive_a_gradient_through_the_soft_gate():
    gate = TaskGate(dense_branches(), temperature=0.5)
    scores = keras.layers.Dense(3, name="scores")
    inputs = keras.Input((5,))
    model = keras.Model(inputs, gate(inputs, scores(inputs)))
    model.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error", jit_compile=False)
    before = arrays(scores.kernel)
    model.fit(draw(4, 5), np.ones((4, 2)), verbose=0)
    assert not np.array_equal(arrays(scores.kernel), before)


def test_copies_of_a_layer_draw_for_themselves_and_layers_of_a_tuple_are_used():
    gate = TaskGate(keras.layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(1)), 2)
    gate.build((None, 5), (None,))
    assert not np.allclose(*(arrays(branch.kernel) for branch in gate.branches))
    branches = dense_branches()
    assert all(a is b for a, b in zip(TaskGate(branches).branches, branches, strict=True))


def test_copies_of_a_composite_layer_are_restored_apart():
    net = keras.Sequential([keras.layers.Dense(3, "tanh"), keras.layers.Dense(2)])
    inputs, context = keras.Input((5,)), keras.Input((), dtype="int32")
    model = keras.Model([inputs, context], TaskGate(net, num_tasks=3)(inputs, context))
    features = draw(4, 5)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.keras")
        model.save(path)
        loaded = keras.saving.load_model(path)
    assert len(loaded.weights) == 12
    np.testing.assert_array_equal(arrays(loaded([features, IDS])), arrays(model([features, IDS])))


def test_a_tuple_of_branches_is_restored_from_its_config():
    gate = TaskGate(dense_branches(), temperature=0.5)
    twin = TaskGate.from_config(gate.get_config())
    features = draw(4, 5)
    output = arrays(gate(features, IDS))
    twin.build(features.shape, IDS.shape)
    twin.set_weights(gate.get_weights())
    assert [branch.name for branch in twin.branches] == ["branch_0", "branch_1", "branch_2"]
    np.testing.assert_array_equal(arrays(twin(features, IDS)), output)


def test_the_config_of_a_built_gate_serves_for_another_width():
    gate = TaskGate(dense_branches())
    gate(draw(4, 5), IDS)
    assert tuple(TaskGate.from_config(gate.get_config())(draw(4, 7), IDS).shape) == (4, 2)


def test_branches_that_take_a_mask_receive_that_of_their_rows():
    gate = TaskGate(tuple(keras.layers.GlobalAveragePooling1D(name=name) for name in "ab"))
    features = draw(2, 3, 5)
    mask = np.array([[1, 0, 0], [1, 1, 0]], bool)
    output = arrays(gate(features, np.array([0, 1]), features_mask=mask))
    np.testing.assert_allclose(output[0], features[0, 0], rtol=1e-6)
    np.testing.assert_allclose(output[1], features[1, :2].mean(0), rtol=1e-6, atol=1e-7)


def test_a_mask_ends_where_the_branches_drop_its_axis():
    embedded = keras.layers.Embedding(5, 4, mask_zero=True)(keras.Input((3,), dtype="int32"))
    context = keras.Input((), dtype="int32")
    keeps = TaskGate(keras.layers.Dense(2), num_tasks=2)
    drops = TaskGate(keras.layers.GlobalAveragePooling1D(), num_tasks=2)
    mask = keras.KerasTensor((None, 3), "bool")
    keeps(embedded, context)
    drops(embedded, context)
    assert keeps.compute_mask(embedded, mask) is mask
    assert drops.compute_mask(embedded, mask) is None


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("branches", {"branches": ()}),
        ("branches", {"branches": (keras.layers.Dense(2), 3)}),
        ("branches", {"branches": [keras.layers.Dense(2, name="a")] * 2}),
        ("num_tasks", {"branches": keras.layers.Dense(2)}),
        ("num_tasks", {"branches": (keras.layers.Dense(2),), "num_tasks": 2}),
        ("temperature", {"branches": keras.layers.Dense(2), "num_tasks": 2, "temperature": 0}),
    ],
)
def test_bad_arguments_are_refused(argument, arguments):
    with pytest.raises(ValueError, match=f"`{argument}` must .*Received: "):
        TaskGate(**arguments)


def test_branches_of_different_output_shapes_are_refused():
    gate = TaskGate((keras.layers.Dense(2), keras.layers.Dense(3)))
    with pytest.raises(ValueError, match=r"`branches` must have equal output shapes.*Received"):
        gate.build((None, 4), (None,))


def test_a_bad_context_is_refused():
    with pytest.raises(ValueError, match=r"`context` must be as wide.*Received: context of shape"):
        TaskGate(dense_branches())(draw(2, 4), draw(2, 2))
    with pytest.raises(ValueError, match=r"`context` must be ids from 0 to 2.*Received"):
        TaskGate(dense_branches())(draw(2, 4), np.array([0, 3]))


def test_an_id_out_of_range_stops_a_graph_or_gives_nan():
    ids = keras.Input((), dtype="int32")
    features = keras.Input((4,))
    model = keras.Model([features, ids], TaskGate(dense_branches())(features, ids))
    try:
        found = model.predict([draw(2, 4), np.array([0, 3], "int32")], verbose=0)
    except Exception as error:
        assert "`context` must be ids from 0 to 2" in str(error)
    else:
        assert np.isnan(found[1]).all()
        assert np.isfinite(found[0]).all()
