"""Contexts are vectors or task ids; what is neither is refused, or NaN where a graph cannot."""

import keras
import numpy as np
import pytest

from mtl_keras.layers.context import context_vector, context_width, over_positions


def test_ids_become_one_hot_rows():
    for ids in (np.array([2, 0], "int32"), np.array([[2], [0]], "int64")):
        assert context_width(ids.shape, 3) == 3
        rows = keras.ops.convert_to_numpy(context_vector(ids, 3, "float32"))
        np.testing.assert_array_equal(rows, [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("num_tasks", [None, 3])
def test_vectors_pass_as_they_are(num_tasks):
    vectors = np.array([[0.5, 1, 2]], "float32")
    assert context_width(vectors.shape, num_tasks) == 3
    np.testing.assert_array_equal(context_vector(vectors, num_tasks, "float32"), vectors)


def test_integer_one_hot_rows_become_floats():
    rows = context_vector(np.array([[0, 1]], "int32"), 2, "float32")
    assert keras.backend.standardize_dtype(rows.dtype) == "float32"


@pytest.mark.parametrize("bad", [-1, 3])
def test_an_id_out_of_range_is_refused_eagerly(bad):
    with pytest.raises(ValueError, match=rf"`context` must be ids from 0 to 2.*Received.*{bad}"):
        context_vector(np.array([0, bad], "int32"), 3, "float32")


def test_an_id_out_of_range_stops_a_graph_or_gives_nan():
    class OneHot(keras.layers.Layer):
        def call(self, ids):
            return context_vector(ids, 3, self.compute_dtype)

    ids = keras.Input((), dtype="int32")
    model = keras.Model(ids, OneHot()(ids))
    try:
        found = model.predict(np.array([0, 3], "int32"), verbose=0)
    except Exception as error:
        assert "`context` must be ids from 0 to 2" in str(error)
    else:
        assert np.isnan(found[1]).all()
        assert np.isfinite(found[0]).all()


@pytest.mark.parametrize(
    ("shape", "num_tasks"),
    [((None,), None), ((None, 4), 3), ((None, None), None), ((None, 2, 3), 3)],
)
def test_other_shapes_are_refused(shape, num_tasks):
    with pytest.raises(ValueError, match="Received: context of shape"):
        context_width(shape, num_tasks)


def test_ids_must_be_integers():
    with pytest.raises(ValueError, match=r"`context` must be integers.*float32"):
        context_vector(np.array([0.0, 1.0], "float32"), 2, "float32")


def test_vectors_are_spread_over_positions():
    vectors = keras.ops.ones((2, 5))
    assert over_positions(vectors, keras.ops.ones((2, 7, 8, 3))).shape == (2, 1, 1, 5)
    assert over_positions(vectors, keras.ops.ones((2, 3))).shape == (2, 5)
