"""What every rule that needs the gradients themselves must pass, whatever its equation.

A rule is made anew for each test from its name, with a seed where it takes one.
"""

import inspect

import keras
import numpy as np
import pytest

from conformance.compiled import compiled
from conformance.jacobians import degenerate, harmless
from mtl_keras.balancing import get

# What scaling all gradients does to a direction: the same scaling, unless the paper's step is in
# units of the gradients. Such rules say so in their docstrings.
NOT_SCALED_ALONG = {"moco"}

# Rounding of float32 in sums of at most 40 terms, of similar size.
CLOSE = {"rtol": 2e-4, "atol": 2e-6}


def make(name, **changes):
    """The rule with its defaults; its draws are repeatable."""
    balancer = get(name)
    if "seed" in inspect.signature(type(balancer).__init__).parameters:
        changes = {"seed": 3, **changes}
    return type(balancer).from_config({**balancer.get_config(), **changes})


def steps(balancer, jacobians, losses=None, dtype="float32", compile_it=False):
    """Directions of consecutive calls."""
    tasks, size = jacobians[0].shape
    losses = np.linspace(1.0, 2.0, tasks) if losses is None else losses
    balancer.build(tasks, dtype, size)
    method = compiled(balancer.direction) if compile_it else balancer.direction
    found = [method(j.astype(dtype), losses.astype(dtype)) for j in jacobians]
    return np.stack([keras.ops.convert_to_numpy(direction) for direction in found])


def three(tasks):
    """Jacobians of three steps, to see what state does."""
    return [harmless(tasks, seed=seed) for seed in range(3)]


class JacobianSuite:
    """Inherit, and parametrise `name`."""

    @pytest.mark.parametrize("tasks", [1, 2, 3, 8, 40])
    def test_never_nan(self, name, tasks):
        balancer = make(name)
        for seed in range(2):
            found = steps(
                balancer, [*degenerate(tasks, seed=seed).values(), *three(tasks)], compile_it=True
            )
            assert np.isfinite(found).all()

    def test_zero_rows_give_zero(self, name):
        assert not steps(make(name), [np.zeros((3, 7))]).any()

    def test_order_of_tasks_does_not_matter(self, name):
        order, losses = [2, 0, 1], np.linspace(1.0, 2.0, 3)
        expected = steps(make(name), three(3), losses)
        found = steps(make(name), [j[order] for j in three(3)], losses[order])
        np.testing.assert_allclose(found, expected, **CLOSE)

    @pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e8])
    def test_scaling_of_all_gradients_scales_the_direction(self, name, scale):
        if name in NOT_SCALED_ALONG:
            pytest.skip("its steps are in units of the gradients")
        expected = steps(make(name), three(3))
        found = steps(make(name), [scale * j for j in three(3)])
        np.testing.assert_allclose(found / scale, expected, **CLOSE)

    @pytest.mark.parametrize("place", [0, 2, 3])
    def test_a_zero_row_takes_no_part(self, name, place):
        losses = np.linspace(1.0, 2.0, 3)
        expected = steps(make(name), three(3), losses)
        padded = [np.insert(j, place, 0.0, axis=0) for j in three(3)]
        found = steps(make(name), padded, np.insert(losses, place, 5.0))
        np.testing.assert_allclose(found, expected, **CLOSE)

    def test_a_task_may_come_late(self, name):
        late = [np.insert(j, 1, 0.0, axis=0) for j in three(2)]
        balancer = make(name)
        steps(balancer, late)
        assert np.isfinite(steps(balancer, three(3), compile_it=True)).all()

    def test_one_task_is_followed(self, name):
        jacobian = harmless(1)
        found = steps(make(name), [jacobian])[0]
        cosine = found @ jacobian[0] / np.linalg.norm(found) / np.linalg.norm(jacobian)
        np.testing.assert_allclose(cosine, 1.0, rtol=1e-6)

    def test_precision_follows_the_input(self, name):
        narrow = steps(make(name), three(3))
        wide = steps(make(name), three(3), dtype="float64")
        assert narrow.dtype == "float32"
        # JAX has no float64 unless asked.
        assert wide.dtype == ("float32" if keras.backend.backend() == "jax" else "float64")
        np.testing.assert_allclose(wide, narrow, **CLOSE)

    def test_float64_is_used_throughout(self, name):
        if keras.backend.backend() == "jax":
            pytest.skip("JAX has no float64 unless asked")
        if name in NOT_SCALED_ALONG:
            pytest.skip("its steps are in units of the gradients")
        expected = steps(make(name), three(3), dtype="float64")
        found = steps(make(name), [3 * j for j in three(3)], dtype="float64")
        # float32 anywhere would leave errors of 1e-7.
        np.testing.assert_allclose(found / 3, expected, rtol=1e-12, atol=1e-13)

    def test_compiled_equals_eager(self, name):
        eager = steps(make(name), three(3))
        np.testing.assert_allclose(steps(make(name), three(3), compile_it=True), eager, **CLOSE)

    def test_variables_hold_all_state(self, name):
        balancer, other = make(name), make(name)
        steps(balancer, three(3))
        steps(other, [harmless(3, seed=9)])
        for old, new in zip(other.state.variables, balancer.state.variables, strict=True):
            old.assign(new.value)
        np.testing.assert_array_equal(steps(other, three(3)), steps(balancer, three(3)))

    def test_an_overflow_leaves_no_trace(self, name):
        balancer = make(name)
        steps(balancer, three(3))
        # Random numbers may go on; what is learned may not.
        learned = [v for v in balancer.state.variables if v.name != "draws"]
        before = [keras.ops.convert_to_numpy(variable).copy() for variable in learned]
        broken = harmless(3)
        broken[1, 2] = np.inf
        assert np.isnan(steps(balancer, [broken])).all()
        for variable, value in zip(learned, before, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)

    def test_repeats(self, name):
        np.testing.assert_array_equal(steps(make(name), three(3)), steps(make(name), three(3)))

    def test_config_round_trip(self, name):
        balancer = make(name)
        config = keras.saving.serialize_keras_object(balancer)
        again = keras.saving.deserialize_keras_object(config)
        assert type(again) is type(balancer) and again.get_config() == balancer.get_config()
        np.testing.assert_array_equal(steps(again, three(3)), steps(balancer, three(3)))

    def test_another_size_is_refused(self, name):
        balancer = make(name)
        steps(balancer, three(3))
        with pytest.raises(ValueError, match="3 tasks"):
            steps(balancer, three(2))
        if balancer.keeps_rows:
            with pytest.raises(ValueError, match="entries"):
                steps(balancer, [harmless(3, size=4)])
            with pytest.raises(ValueError, match=r"`size` must be .* Received: size=None"):
                make(name).build(3)
        else:
            steps(balancer, [harmless(3, size=4)])

    def test_losses_are_asked_for(self, name):
        balancer = make(name)
        if "losses" in balancer.needs:
            with pytest.raises(ValueError, match="needs `losses`"):
                balancer.direction(harmless(3))
        else:
            balancer.direction(harmless(3))
