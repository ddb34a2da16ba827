"""A step of `fit` with any rule is the step that NumPy takes with K separate gradients."""

import keras
import numpy as np
import pytest

from conformance import two_layer_network as network
from mtl_keras import balancing

BACKEND = keras.backend.backend()

# Rules that cannot be made from their name alone.
ARGUMENTS = {
    "static_weights": lambda: balancing.StaticWeights([0.5, 2.0, 1.0]),
    "scheduled_weights": lambda: balancing.ScheduledWeights([0, 4], [[1, 2, 3], [3, 2, 1]]),
}
RULES = [info.name for info in balancing.available()]


def make(name):
    return ARGUMENTS.get(name, lambda: balancing.get(name))()


def by_hand(model, balancer, x, y):
    """Trunk and head variables after one step, with the rule applied to NumPy's gradients."""
    trunk, heads = network.read(model)
    losses, jacobian, own = network.losses_and_gradients(trunk, heads, x, y)
    jacobian = jacobian.astype("float32")
    losses = losses.astype("float32")
    scale = np.ones(len(losses))
    if balancer.family == "loss":
        # Loss-level weights meet the heads too: the loss itself is weighted.
        scale = as_numpy(balancer.weights(losses))
        update = scale @ jacobian
    elif balancer.family == "gramian":
        update = (
            as_numpy(balancer.weights(gramian(trunk, heads, x, y, balancer), losses)) @ jacobian
        )
    else:
        update = as_numpy(balancer.direction(jacobian, losses))
    position = 0
    for i, value in enumerate(trunk):
        part = update[position : position + value.size].reshape(value.shape)
        trunk[i] = value - network.LEARNING_RATE * part
        position += value.size
    for weight, name in zip(scale, network.TASKS, strict=True):
        heads[name] = [
            value - network.LEARNING_RATE * weight * gradient
            for value, gradient in zip(heads[name], own[name], strict=True)
        ]
    return trunk, heads


def gramian(trunk, heads, x, y, balancer):
    halves = (None, None) if balancer.samples == 1 else (0, 1)
    first, second = (
        network.losses_and_gradients(trunk, heads, x, y, half)[1] * (1 if half is None else 2)
        for half in halves
    )
    return (first @ second.T).astype("float32")


def as_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor).astype("float64")


def assert_close(found, expected):
    # 1e-5 of the largest entry: float32 in the model, float64 by hand.
    for a, b in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("rule", RULES)
def test_two_steps_of_fit(rule):
    x, y = network.data()
    # XLA compiles for longer than these steps take; JAX has no other way.
    model = network.keras_model(make(rule), jit_compile="auto" if BACKEND == "jax" else False)
    hand = make(rule)
    hand.build(*build_arguments(model, hand))
    hand.state.set_weights(model.balancer.state.get_weights())
    for _ in range(2):
        expected = by_hand(model, hand, x, y)
        model.fit(x, y, batch_size=len(x), epochs=1, shuffle=False, verbose=0)
        assert_close(network.read(model), expected)
        hand.end_epoch()
        # What the optimizer trains, it has trained.
        for own, trained in zip(*trainable(hand, model.balancer), strict=True):
            assert np.abs(as_numpy(own) - as_numpy(trained)).max() > 1e-4
            # A copy: JAX gives the memory of a step's state to the next one.
            own.assign(as_numpy(trained))


def trainable(*balancers):
    return [balancer.state.trainable_variables for balancer in balancers]


def build_arguments(model, balancer):
    if balancer.family != "jacobian":
        return (len(model.tasks),)
    return len(model.tasks), "float32", sum(v.size for v in network.read(model)[0])


def has_state(name):
    balancer = make(name)
    balancer.build(*build_arguments(network.keras_model(None), balancer))
    return bool(balancer.state.variables)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="state is Keras variables on every backend")
@pytest.mark.parametrize("rule", [name for name in RULES if has_state(name)])
def test_a_killed_training_goes_on_as_if_it_had_not_been(rule, tmp_path):
    x, y = network.data()

    def steps(model, count):
        for _ in range(count):
            model.train_on_batch(x, y)
            model.balancer.end_epoch()

    def start():
        # For the rules that draw numbers.
        keras.utils.set_random_seed(0)
        return network.keras_model(make(rule), run_eagerly=True)

    whole, killed = start(), start()
    steps(whole, 4)
    steps(killed, 2)
    killed.save(tmp_path / "checkpoint.keras")
    resumed = keras.saving.load_model(tmp_path / "checkpoint.keras")
    steps(resumed, 2)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
