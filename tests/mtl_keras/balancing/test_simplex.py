import keras
import numpy as np
import pytest
from scipy import optimize

from mtl_keras.balancing import simplex


def nearest(values):
    """The projection by an independent solver."""
    threshold = optimize.brentq(
        lambda t: np.maximum(values - t, 0).sum() - 1, values.max() - 1.001, values.max()
    )
    return np.maximum(values - threshold, 0)


@pytest.mark.parametrize("tasks", [1, 2, 5, 40])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_projection_is_nearest(tasks, scale):
    for seed in range(5):
        values = scale * np.random.default_rng(seed).normal(size=tasks)
        found = keras.ops.convert_to_numpy(
            simplex.project(keras.ops.convert_to_tensor(values), True)
        )
        # JAX has float32 alone.
        np.testing.assert_allclose(found, nearest(values), atol=2e-7 * max(scale, 5))


def test_tasks_that_take_no_part_get_nothing():
    values = keras.ops.convert_to_tensor([9.0, 0.5, 0.1, -9.0])
    present = keras.ops.convert_to_tensor([False, True, True, False])
    found = keras.ops.convert_to_numpy(simplex.project(values, present))
    np.testing.assert_allclose(found, [0.0, 0.7, 0.3, 0.0], atol=1e-6)


def test_ties_share():
    values = keras.ops.convert_to_tensor([2.0, 2.0, -1.0, 2.0])
    found = keras.ops.convert_to_numpy(simplex.project(values, True))
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 0.0, 1 / 3], atol=1e-6)


def test_kept_weights_go_on_among_those_present():
    kept = keras.ops.convert_to_tensor([0.5, 0.3, 0.2])
    present = keras.ops.convert_to_tensor([True, False, True])
    weights = simplex.among(kept, present)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weights), [5 / 7, 0, 2 / 7], rtol=1e-6)
    merged = keras.ops.convert_to_numpy(simplex.merge(weights, present, kept))
    np.testing.assert_allclose(merged, [0.5, 0.3, 0.2], rtol=1e-6)
