"""What every rule of the loss level must do; a case makes the rule for a choice of tasks."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from conformance.compiled import compiled
from conformance.gradient_of import gradient_of
from conformance.loss_cases import RANDOM

# Sums of 40 float32 terms, exponentials of rounded numbers.
CLOSE = {"rtol": 2e-5, "atol": 1e-6}


def history(tasks, steps=6):
    """Losses (steps, tasks) of a usual size; JAX compiles each operation for each length."""
    return np.random.default_rng(0).uniform(0.1, 5.0, (steps, 40))[:, tasks].astype("float32")


def scales(tasks):
    """Losses (steps, tasks) from 1e-8 to 1e8: mixed, equal, at both ends, and negative."""
    draws = np.random.default_rng(tasks)
    sizes = 10.0 ** draws.uniform(-8, 8, (3, tasks))
    same = np.repeat([[1e-8], [1e8], [1.0], [-1e8]], tasks, axis=1)
    ends = np.where(np.arange(tasks) % 2, 1e-8, 1e8)[None]
    negative = sizes * np.sign(draws.uniform(-1, 1, sizes.shape))
    return np.concatenate([sizes, same, ends, negative]).astype("float32")


def run(rule, losses, method=None, first=0):
    """Weights, or what `method` returns, of steps in turn; an epoch has two steps."""
    rule.build(losses.shape[1])
    seen = []
    for step, row in enumerate(losses, first):
        seen.append(_numpy((method or rule.weights)(row)))
        if step % 2:
            rule.end_epoch()
    return np.stack(seen)


def totals(rule, losses):
    """Totals of steps in turn."""
    return run(rule, losses, rule.total)


def derivative(rule, losses):
    """d total / d losses by autodiff; the state stays."""
    rule.build(len(losses))

    def total(values):
        with keras.StatelessScope():
            return rule.total(values)

    return gradient_of(total, losses)


class LossBalancerSuite:
    """Test methods take `key` (name, what is special) and `make` from a parametrisation."""

    def test_order_of_tasks_does_not_matter(self, key, make):
        if key[0] in RANDOM:
            pytest.skip("random draws")
        order, losses = np.array([2, 0, 3, 1]), history(np.arange(4))
        expected, total = run(make(np.arange(4)), losses), totals(make(np.arange(4)), losses)
        np.testing.assert_allclose(run(make(order), losses[:, order]), expected[:, order], **CLOSE)
        np.testing.assert_allclose(totals(make(order), losses[:, order]), total, **CLOSE)

    def test_absent_tasks_take_no_part(self, key, make):
        tasks, kept = np.arange(4), np.array([0, 2, 3])
        losses = history(tasks)
        losses[:, 1] = 0.0
        rule, without = make(tasks), make(kept)
        weights = run(rule, losses)
        np.testing.assert_array_equal(weights[:, 1], 0.0)
        if key[0] in RANDOM:
            return
        np.testing.assert_allclose(weights[:, kept], run(without, losses[:, kept]), **CLOSE)
        np.testing.assert_allclose(
            totals(make(tasks), losses), totals(make(kept), losses[:, kept]), **CLOSE
        )
        for a, b in zip(rule.state.weights, without.state.weights, strict=True):
            a = _numpy(a)
            np.testing.assert_allclose(a[kept] if a.ndim else a, _numpy(b), **CLOSE)

    def test_task_that_comes_and_goes(self, key, make):
        tasks = np.arange(4)
        losses = history(tasks)
        losses[np.random.default_rng(5).random(losses.shape) < 0.4] = 0.0
        losses[3] = 0.0
        weights, total = run(make(tasks), losses), totals(make(tasks), losses)
        assert np.isfinite(weights).all()
        assert np.isfinite(total).all()
        np.testing.assert_array_equal(weights[losses == 0.0], 0.0)
        assert total[3] == 0.0

    def test_weights_are_the_derivative_of_the_total(self, key, make):
        rule, losses = make(np.arange(4)), history(np.arange(4), steps=5)
        losses[2, 0] = 0.0
        for step, row in enumerate(losses):
            expected = derivative(rule, row) if step % 2 == 0 else None
            actual = run(rule, row[None], first=step)[0]
            if expected is not None:
                np.testing.assert_allclose(actual, expected, **CLOSE)

    @pytest.mark.parametrize("count", [1, 40])
    def test_finite_at_every_scale(self, key, make, count):
        rule, losses = make(np.arange(count)), scales(count)
        assert np.isfinite(run(rule, losses)).all()
        assert np.isfinite(totals(make(np.arange(count)), losses)).all()
        assert np.isfinite(derivative(rule, losses[2])).all()
        for variable in rule.state.weights:
            assert np.isfinite(_numpy(variable)).all()

    @pytest.mark.parametrize("fault", [np.nan, np.inf])
    def test_state_waits_where_a_loss_is_not_finite(self, key, make, fault):
        """A step that a loss scaler skips leaves nothing behind but draws and a step count."""
        losses = history(np.arange(4), steps=3)
        losses[1, 2] = fault
        rule = make(np.arange(4))
        rule.weights(losses[0])
        before = [_numpy(variable) for variable in rule.state.weights]
        assert np.isnan(_numpy(rule.weights(losses[1]))).all()
        assert np.isnan(_numpy(rule.total(losses[1])))
        assert np.isnan(derivative(rule, losses[1])).any()
        if key[0] in RANDOM | {"scheduled_weights"}:
            return
        for variable, old in zip(rule.state.weights, before, strict=True):
            np.testing.assert_array_equal(_numpy(variable), old)

    def test_compiled_equals_eager(self, key, make):
        tasks = np.arange(4)
        rule, losses = make(tasks), history(tasks)
        rule.build(4)
        step = compiled(rule.weights)
        np.testing.assert_allclose(run(rule, losses, step), run(make(tasks), losses), **CLOSE)
        # Compilers fuse products and sums, and divide in other ways.
        assert np.isfinite(run(rule, scales(4), step)).all()

    def test_state_goes_on_after_saving(self, key, make, tmp_path):
        tasks = np.arange(4)
        losses = history(tasks)
        rule, resumed = make(tasks), make(tasks)
        expected = run(make(tasks), losses)
        run(rule, losses[:5])
        _Holder(rule).save_weights(tmp_path / "state.weights.h5")
        resumed.build(4)
        _Holder(resumed).load_weights(tmp_path / "state.weights.h5")
        np.testing.assert_allclose(run(resumed, losses[5:], first=5), expected[5:], **CLOSE)

    def test_config_makes_an_equal_rule(self, key, make):
        tasks = np.arange(4)
        rule = make(tasks)
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(rule)))
        copy = keras.saving.deserialize_keras_object(config)
        assert copy.get_config() == rule.get_config()
        losses = history(tasks)
        np.testing.assert_array_equal(run(copy, losses), run(rule, losses))

    def test_keeps_the_type_of_the_losses(self, key, make):
        losses = history(np.arange(4), steps=2)
        for dtype in ("float32", "float64"):
            tensor = ops.convert_to_tensor(losses.astype(dtype))
            rule = make(np.arange(4))
            weights, total = rule.weights(tensor[0]), rule.total(tensor[1])
            assert weights.dtype == total.dtype == tensor.dtype
            if key[0] not in RANDOM:  # Each type has draws of its own.
                expected = run(make(np.arange(4)), losses[:1])[0]
                np.testing.assert_allclose(_numpy(weights), expected, **CLOSE)

    def test_refuses_another_number_of_tasks(self, key, make):
        rule = make(np.arange(4))
        rule.build(4)
        with pytest.raises(ValueError, match="built for 4 tasks"):
            rule.total(np.ones(5, "float32"))


class _Holder(keras.Model):
    """Where a model keeps a rule's state."""

    def __init__(self, rule):
        super().__init__()
        self.balancer_state = rule.state
        self.built = True


def _numpy(value):
    return np.asarray(ops.convert_to_numpy(value))
