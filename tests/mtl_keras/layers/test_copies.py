"""Copies draw for themselves, with the spread that the initializer promises for one kernel."""

import keras
import numpy as np
import pytest

from mtl_keras.layers import CustomizedGateControl, Experts
from mtl_keras.layers.copies import (
    StackedInitializer,
    independent_initializer,
    independent_layer,
)

INITIALIZERS = {
    "name": lambda: "glorot_uniform",
    "object": keras.initializers.GlorotUniform,
    "seeded object": lambda: keras.initializers.GlorotUniform(seed=3),
    "seed generator": lambda: keras.initializers.GlorotUniform(keras.random.SeedGenerator(3)),
    "function": lambda: lambda shape, dtype=None: keras.random.normal(shape, 0.0, 0.1, dtype),
}


@pytest.mark.parametrize("make", INITIALIZERS.values(), ids=INITIALIZERS.keys())
def test_stacked_kernels_are_drawn_each_on_its_own(make):
    keras.utils.set_random_seed(0)
    stack = keras.ops.convert_to_numpy(StackedInitializer(make(), 1)((40, 3, 30)))
    assert stack.shape == (40, 3, 30)
    flat = stack.transpose(1, 0, 2).reshape(3, -1)
    correlation = np.corrcoef(flat) - np.eye(3)
    assert np.abs(correlation).max() < 0.15  # 4 standard errors of 1200 draws


def test_the_fan_is_that_of_one_kernel():
    stack = keras.ops.convert_to_numpy(StackedInitializer("glorot_uniform", 0)((8, 64, 32)))
    expected = np.sqrt(2 / (64 + 32))
    np.testing.assert_allclose(stack.std((1, 2)), expected, rtol=0.05)  # 2048 draws each


def test_a_seed_repeats_the_stack_and_the_index_tells_stacks_apart():
    draw = [
        keras.ops.convert_to_numpy(
            StackedInitializer(keras.initializers.HeNormal(seed=5), 1, *index)((4, 2, 3))
        )
        for index in ((), (), (1,))
    ]
    np.testing.assert_array_equal(draw[0], draw[1])
    assert not np.allclose(draw[0], draw[2])


def test_copies_of_a_seeded_initializer_differ_from_each_other():
    seeded = keras.initializers.RandomNormal(seed=0)
    draws = [independent_initializer(seeded, i)((2, 2)) for i in range(2)]
    assert not np.allclose(*map(keras.ops.convert_to_numpy, draws))


def test_copies_of_a_layer_keep_its_arguments_and_draw_for_themselves():
    dense = keras.layers.Dense(3, "tanh", kernel_initializer=keras.initializers.HeNormal(seed=1))
    copies = [independent_layer(dense, i, name=f"copy_{i}") for i in range(2)]
    for copy in copies:
        copy.build((None, 4))
        assert copy.units == 3
        assert copy.activation is dense.activation
    first, second = (keras.ops.convert_to_numpy(copy.kernel) for copy in copies)
    assert not np.allclose(first, second)
    assert not dense.built
    assert [copy.name for copy in copies] == ["copy_0", "copy_1"]


def test_copies_of_a_composite_stay_apart_through_saving(tmp_path):
    inputs = keras.Input((4,))
    pattern = keras.Sequential([keras.layers.Dense(3, "tanh"), keras.layers.Dense(2)])
    experts = Experts(1, expert=pattern)
    outputs = CustomizedGateControl(4, experts, experts)(inputs)
    model = keras.Model(inputs, keras.layers.Concatenate()(outputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == len(model.weights) == 5 * 4 + 4
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    # The same operations in a new object.
    np.testing.assert_allclose(loaded.predict(x), model.predict(x), rtol=1e-6, atol=1e-7)
