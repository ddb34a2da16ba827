import json

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from mtl_keras.tasks import RESERVED_NAMES, checked_tasks

ALL = [
    mtl.Task("a", kind="real", units=2, activation="relu", loss="huber"),
    mtl.BinaryTask("a", weight=0.5, class_weight={1: 10.0}, missing_value=-1),
    mtl.BinaryTask("a", loss=keras.losses.BinaryFocalCrossentropy(gamma=3.0), metrics=["auc"]),
    mtl.CategoricalTask("a", 3, metrics=["accuracy", "sparse_categorical_crossentropy"]),
    mtl.MultiLabelTask("a", 4, score="loss", direction="min", metrics=()),
    mtl.RegressionTask("a", 2, score="rmse", head=[8, 4]),
    mtl.TokenTask("a", 7, missing_value=0, head=keras.layers.Dense(7, name="template")),
    mtl.CategoricalTask("a", 3, positions=2),
    mtl.DirectionTask("a", 2, positions=1),
]


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_config_round_trips_through_json(task):
    text = json.dumps(keras.saving.serialize_keras_object(task))
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert copy == task
    assert type(copy) is type(task)
    assert copy.units == task.units
    assert np.array_equal(copy.missing_value, task.missing_value, equal_nan=True)


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_default_head_is_named_and_wide_as_the_task(task):
    head = task.build_head()
    shape = (2, 5, 6) if task.per_position else (2, 6)
    assert head.name == "a"
    assert head(keras.ops.ones(shape)).shape == (*shape[:-1], task.units)


def test_outputs_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        output = mtl.BinaryTask("a").build_head([4])(keras.ops.ones((2, 3)))
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(output.dtype) == "float32"


def test_a_head_template_is_copied_for_each_model():
    task = mtl.BinaryTask("a", head=keras.layers.Dense(1))
    first, second = task.build_head(), task.build_head()
    x = keras.ops.ones((2, 3))
    first(x), second(x)
    assert first.kernel is not second.kernel
    assert not np.array_equal(first.kernel, second.kernel)


def test_equal_tasks_do_not_share_metric_counts():
    task = mtl.BinaryTask("a", metrics=[mtl.MaskedAUC()], score="auc")
    first, second = task.masked_metrics()[0], task.masked_metrics()[0]
    first.update_state(np.array([0.0, 1.0]), np.array([[0.1], [0.9]]))
    assert np.isnan(float(second.result()))


@pytest.mark.parametrize(
    "name", ["", "a b", "1a", "class", "_a", "val_a", None, 3, *RESERVED_NAMES]
)
def test_names_that_cannot_be_used_everywhere_are_refused(name):
    with pytest.raises(ValueError, match=r"`name`.*Received"):
        mtl.BinaryTask(name)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("weight", -1.0),
        ("weight", float("nan")),
        ("weight", keras.Variable(1.0)),
        ("direction", "up"),
        ("score", "f1"),
        ("class_weight", {2: 1.0}),
        ("head", "abc"),
        ("head", [0]),
        ("head", []),
    ],
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=rf"`{argument}`.*Received"):
        mtl.BinaryTask("a", **{argument: value})


def test_positions_are_named():
    for positions in (3, True, None):
        with pytest.raises(ValueError, match=rf"`positions`.*Received: positions={positions}"):
            mtl.RegressionTask("a", positions=positions)


def test_a_direction_has_two_dimensions():
    with pytest.raises(ValueError, match=r"`dim`.*Received: dim=1"):
        mtl.DirectionTask("a", 1)


def test_widths_must_be_positive():
    with pytest.raises(ValueError, match=r"`units`.*Received: units=0"):
        mtl.RegressionTask("a", 0)


def test_tasks_have_different_names():
    with pytest.raises(ValueError, match=r"different names.*Received.*'a', 'a'"):
        checked_tasks([mtl.BinaryTask("a"), mtl.RegressionTask("a")])
    with pytest.raises(ValueError, match=r"`tasks`.*Received"):
        checked_tasks([])
    with pytest.raises(ValueError, match=r"`tasks`.*Received"):
        checked_tasks(["a"])
