"""Towers are a tuple of equal shapes; their mixture is valid where all of them are."""

import keras
import numpy as np
import pytest

from mtl_keras.layers.towers import (
    checked_towers,
    joint_mask,
    mask_over_positions,
    mixed,
    own_and_others,
    tower_shape,
)


def test_equal_shapes_are_one_shape():
    assert tower_shape(((None, 3, 4), [None, 3, 4]), "features") == (None, 3, 4)
    assert tower_shape(((None, 3, 4), (2, None, 4)), "features", 2) == (None, 3, 4)


@pytest.mark.parametrize(
    "shapes",
    [
        (None, 4),
        (),
        ((None, 4), (None, 5)),
        ((None, 4), (None, 2, 4)),
        ((None, 2, 4), (None, 3, 4)),
        ((None, None), (None, None)),
        ((None,), (None,)),
    ],
)
def test_other_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match=r"`features` must be a tuple.*features of shape"):
        tower_shape(shapes, "features")


def test_another_number_is_refused():
    with pytest.raises(ValueError, match=r"`previous` must be a tuple of 3.*Received: 2 tensors"):
        tower_shape(((None, 4),) * 2, "previous", 3)
    tensors = (np.ones((2, 4)),) * 2
    with pytest.raises(ValueError, match=r"`features` must be a tuple of 3.*Received: 2 tensors"):
        checked_towers(tensors, 3, "features")
    with pytest.raises(ValueError, match=r"`features` must be.*one tensor of shape"):
        checked_towers(tensors[0], 2, "features")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shares_sum_to_one_with_the_own_on_the_diagonal(count):
    shares = own_and_others(count, 0.9)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.diag(shares), 1.0 if count == 1 else 0.9)


def test_rows_of_weights_mix_tensors():
    rng = np.random.default_rng(0)
    weights, tensors = rng.normal(size=(2, 3, 5)), rng.normal(size=(3, 4, 7, 5))
    got = mixed(weights, list(tensors))
    want = np.einsum("klc,lbtc->kbtc", weights, tensors)
    assert len(got) == 2
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_a_mixture_is_valid_where_all_parts_are():
    first, second = np.array([[1, 1, 0]], bool), np.array([[1, 0, 1]], bool)
    joint = joint_mask((first, None, second))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(joint), [[True, False, False]])
    assert joint_mask((first, first)) is first
    assert joint_mask(first) is first
    assert joint_mask((None, None)) is None


def test_a_mask_is_brought_to_the_positions():
    features = np.ones((2, 3, 4, 5))
    assert mask_over_positions(np.ones((2, 3), bool), features).shape == (2, 3, 1)
    assert mask_over_positions(None, features) is None
