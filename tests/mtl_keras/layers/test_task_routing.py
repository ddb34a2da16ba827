"""TaskRouting: fixed binary masks that share what `sharing` says and deal out the rest."""

import keras
import numpy as np
import pytest

from conformance.gradient_of import gradient_of
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.task_routing import TaskRouting


def statement(weights, features, context):
    return features * weights["masks"][context][:, None]


CASES = [
    LayerCase(
        layer_class=TaskRouting,
        config={"num_tasks": 3, "sharing": 0.4},
        inputs=(
            np.random.default_rng(0).standard_normal((4, 2, 5)).astype("float32"),
            np.array([0, 2, 1, 2], "int32"),
        ),
        masks=(np.array([[1, 1], [1, 0], [0, 1], [1, 1]], bool), None),
        expected=statement,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def masks_of(num_tasks, channels, **arguments):
    layer = TaskRouting(num_tasks, **arguments)
    layer.build((None, channels), (None,))
    return layer.masks.numpy()


@pytest.mark.parametrize("sharing", [0, 0.25, 0.5, 1])
def test_shared_channels_are_open_to_all_tasks_and_the_others_to_one(sharing):
    masks = masks_of(3, 20, sharing=sharing)
    tasks_of_channel = masks.sum(0)
    assert set(np.unique(masks)) <= {0, 1}
    assert (tasks_of_channel == 3).sum() == 20 * sharing
    assert (tasks_of_channel == 1).sum() == 20 - 20 * sharing
    assert np.ptp(masks.sum(1)) <= 1  # the others are dealt out evenly


def test_without_sharing_the_tasks_split_the_channels():
    masks = masks_of(4, 4, sharing=0)
    np.testing.assert_array_equal(masks.sum(1), 1)
    np.testing.assert_array_equal(masks.sum(0), 1)


def test_full_sharing_is_the_identity():
    features = np.random.default_rng(0).standard_normal((3, 5)).astype("float32")
    outputs = TaskRouting(3, sharing=1)(features, np.array([0, 1, 2], "int32"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(outputs), features)


def test_a_seed_means_these_masks_on_every_backend():
    expected = [[1, 1, 1, 0, 1, 0], [0, 1, 1, 1, 0, 1]]
    np.testing.assert_array_equal(masks_of(2, 6, sharing=0.3, seed=4), expected)


def test_a_copy_draws_the_masks_of_the_seed():
    copy = TaskRouting.from_config(TaskRouting(3, seed=2).get_config())
    copy.build((None, 40), (None,))
    np.testing.assert_array_equal(copy.masks.numpy(), masks_of(3, 40, seed=2))


def test_seeds_differ_and_without_one_set_random_seed_rules():
    assert not np.array_equal(masks_of(3, 40, seed=0), masks_of(3, 40, seed=1))
    draws = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        draws.append([masks_of(3, 40), masks_of(3, 40)])
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(*draws[0])


def test_the_masks_are_weights_that_no_training_reaches():
    layer = TaskRouting(2)
    layer.build((None, 6), (None,))
    layer.trainable = True
    assert [w.path for w in layer.non_trainable_weights] == [f"{layer.name}/masks"]
    assert not layer.trainable_weights


def test_a_closed_channel_has_no_gradient():
    layer = TaskRouting(2, sharing=0.5, seed=1)
    ids = np.array([0, 1], "int32")
    found = gradient_of(lambda h: keras.ops.sum(keras.ops.square(layer(h, ids))), np.ones((2, 6)))
    np.testing.assert_array_equal(found, 2 * layer.masks.numpy())


def test_ids_and_one_hot_rows_agree():
    layer = TaskRouting(3, seed=0)
    features = np.ones((3, 2, 2, 8), "float32")
    by_id = layer(features, np.array([2, 0, 1], "int32"))
    by_row = layer(features, np.eye(3, dtype="float32")[[2, 0, 1]])
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (by_id, by_row)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_tasks": 0}, "`num_tasks` must be .* Received: num_tasks=0"),
        ({"num_tasks": 2, "sharing": 1.1}, "`sharing` must be .* Received: sharing=1.1"),
        ({"num_tasks": 2, "sharing": -0.1}, "`sharing` must be .* Received: sharing=-0.1"),
        ({"num_tasks": 2, "sharing": True}, "`sharing` must be .* Received: sharing=True"),
        ({"num_tasks": 2, "seed": -1}, "`seed` must be .* Received: seed=-1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TaskRouting(**arguments)


def test_a_task_without_a_channel_is_refused():
    with pytest.raises(ValueError, match=r"a channel for each task.*Received.*num_tasks=3"):
        masks_of(3, 2, sharing=0)


def test_a_context_of_another_width_or_task_is_refused():
    layer = TaskRouting(3)
    with pytest.raises(ValueError, match=r"`context` must be as wide .*Received"):
        layer(np.ones((2, 8), "float32"), np.ones((2, 4), "float32"))
    with pytest.raises(ValueError, match=r"`context` must be ids .*Received"):
        TaskRouting(3)(np.ones((2, 8), "float32"), np.array([0, 3], "int32"))
