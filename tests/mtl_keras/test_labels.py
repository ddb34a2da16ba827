import keras
import numpy as np
import pytest

from mtl_keras import LabelSpec
from mtl_keras.labels import Labels

NAN = float("nan")


def read(spec, labels, output_shape):
    found = spec.read(np.array(labels, "float32"), keras.ops.zeros(output_shape))
    return Labels(*map(keras.ops.convert_to_numpy, found))


def test_nan_is_missing_for_every_kind():
    for spec in (LabelSpec("real"), LabelSpec("probability"), LabelSpec("class", -1, 3)):
        shape = (3, 3) if spec.kind == "class" else (3,)
        labels = read(spec, [1.0, NAN, 0.0], shape)
        np.testing.assert_array_equal(labels.labelled, [True, False, True])
        np.testing.assert_array_equal(labels.values, [1.0, 0.0, 0.0])
        np.testing.assert_array_equal(labels.violations, [0, 0, 0])


def test_a_vector_is_missing_as_a_whole():
    given = [[0.0, 0.0], [0.0, 2.0], [NAN, 1.0], [np.inf, 1.0]]
    labels = read(LabelSpec("vector", missing_value=0), given, (4, 2))
    np.testing.assert_array_equal(labels.labelled, [False, True, False, False])
    np.testing.assert_array_equal(labels.values, [[0, 0], [0, 2], [0, 0], [0, 0]])
    assert labels.count == 1
    np.testing.assert_array_equal(labels.violations, [0, 0, 1])


def test_missing_value_is_missing_and_not_a_violation():
    labels = read(LabelSpec("probability", missing_value=-1), [-1.0, 0.0, 1.0], (3, 1))
    np.testing.assert_array_equal(labels.labelled[:, 0], [False, True, True])
    assert not np.any(labels.violations)


@pytest.mark.parametrize(
    ("spec", "labels", "violations"),
    [
        (LabelSpec("probability"), [-1.0, 1.5, 0.5, NAN], [1, 1, 0]),
        (LabelSpec("class", -1, 4), [-2.0, 4.0, 1.5, -1.0], [1, 1, 1]),
        (LabelSpec("real"), [np.inf, -np.inf, 1e30, NAN], [0, 0, 2]),
    ],
)
def test_labels_out_of_range_are_counted_and_taken_out(spec, labels, violations):
    shape = (4, spec.num_classes) if spec.num_classes else (4,)
    found = read(spec, labels, shape)
    np.testing.assert_array_equal(found.violations, violations)
    assert np.sum(found.labelled) == 4 - sum(violations) - 1
    assert np.isfinite(np.asarray(found.values)).all()


def test_a_trailing_axis_of_one_may_come_or_go():
    dense, classes = LabelSpec("real"), LabelSpec("class", -1, 3)
    assert read(dense, [1.0, 2.0], (2, 1)).values.shape == (2, 1)
    assert read(dense, [[1.0], [2.0]], (2, 1)).values.shape == (2, 1)
    assert read(classes, [[1.0], [2.0]], (2, 3)).values.shape == (2,)
    assert read(classes, [[1, 2, 0]], (1, 3, 3)).values.shape == (1, 3)


@pytest.mark.parametrize(
    ("spec", "labels", "output"),
    [
        (LabelSpec("real", task="price"), np.zeros((4, 3)), (4, 2)),
        (LabelSpec("class", -1, 3, task="price"), np.zeros((4, 3)), (4, 3)),
        (LabelSpec("real", task="price"), np.zeros((4,)), (4, 2)),
    ],
)
def test_labels_of_another_shape_are_refused_by_name(spec, labels, output):
    with pytest.raises(ValueError, match=r"'price'.*shape.*Received: labels of shape \(4"):
        spec.read(labels, keras.ops.zeros(output))


def test_masked_positions_are_missing():
    embedded = keras.layers.Embedding(5, 3, mask_zero=True)(np.array([[1, 2, 0]]))
    labels = LabelSpec("class", -1, 3).read(np.array([[0, 1, 2]]), embedded)
    np.testing.assert_array_equal(labels.labelled, [[True, True, False]])


def test_config_round_trip_keeps_nan():
    for spec in (LabelSpec("real", task="a"), LabelSpec("class", -1, 3)):
        copy = LabelSpec.from_config(spec.get_config())
        assert copy.get_config() == spec.get_config()
    assert np.isnan(LabelSpec.from_config(LabelSpec("real").get_config()).missing_value)


@pytest.mark.parametrize("arguments", [{"kind": "ordinal"}, {"kind": "class"}, {"num_classes": 3}])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="Received"):
        LabelSpec(**arguments)
