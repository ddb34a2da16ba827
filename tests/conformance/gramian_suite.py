"""What every rule that sees the Gramian alone must pass, whatever its equation.

`PROMISES` says what else a rule promises: a new rule adds a row. Updates are J^T w in float64, so
that what is measured is the weights.
"""

import functools
import inspect
from typing import NamedTuple

import keras
import numpy as np
import pytest

from conformance.compiled import compiled
from conformance.jacobians import degenerate, harmless
from mtl_keras.balancing import get

ON_JAX, ON_TORCH = (keras.backend.backend() == name for name in ("jax", "torch"))


class Promise(NamedTuple):
    """What a rule promises beyond what all do.

    Attributes:
        order: another order of the tasks gives the same update; a rule that draws an order, or
            whose state starts with one, does not promise it.
        scale: scaling all gradients leaves the direction as it is.
        harmless: no update conflicts with a task's gradient.
        stationary: the update is 0 where a positive combination of the gradients is, to so
            many times the noise; 0: not promised.
        ratio: of the longest to the shortest gradient, up to which float32 keeps what all do.
    """

    order: bool = True
    scale: bool = True
    harmless: bool = False
    stationary: int = 0
    ratio: float = 1e3


PROMISES = {
    "aligned_mtl": Promise(ratio=30),
    "cagrad": Promise(),
    "config": Promise(),
    "cr_mogm": Promise(harmless=True, stationary=1),  # Around MGDA.
    "dualproj": Promise(harmless=True, stationary=1),
    "fairgrad": Promise(harmless=True),
    "gradnorm": Promise(),
    "gradvac": Promise(order=False),
    "imtl": Promise(),
    "imtl_g": Promise(),
    "krum": Promise(),
    "mgda": Promise(harmless=True, stationary=1),
    "modo": Promise(scale=False),
    "nash_mtl": Promise(harmless=True, stationary=10),
    "pcd": Promise(order=False),  # The first task is the primary one.
    "pcgrad": Promise(order=False),
    "sdmgrad": Promise(),
    "upgrad": Promise(harmless=True, stationary=1),
}

# The Gramian of float32 gradients says where they cancel to the root of its rounding: an update
# shorter than this part of what is summed is noise.
NOISE = {"float32": 2e-3, "float64": 1e-6}
# JAX has no float64 unless asked.
DTYPES = ["float32"] if ON_JAX else ["float32", "float64"]


def make(name):
    """The rule with its defaults; its draws are repeatable."""
    balancer = get(name)
    if "seed" in inspect.signature(type(balancer).__init__).parameters:
        return type(balancer).from_config({**balancer.get_config(), "seed": 3})
    return balancer


def losses_of(tasks):
    """Losses for the rules that need them."""
    return np.linspace(1.0, 2.0, tasks)


@functools.cache
def _prepared(name, tasks, dtype):
    # Compiled once for many tests; each starts from the state of a new rule.
    balancer = make(name)
    balancer.build(tasks, dtype)
    start = [keras.ops.convert_to_numpy(variable) for variable in balancer.state.variables]
    return balancer, compiled(balancer.weights), start


def weights(name, *jacobians, losses=None, dtype="float32", start_anew=True):
    """The compiled rule's weights for consecutive Jacobians; each from a new rule's state.

    Args:
        name: of the rule.
        *jacobians: (K, P), float64; their Gramians are rounded to `dtype`.
        losses: (K,), the same for all.
        dtype: of the Gramian.
        start_anew: False: one rule goes on from call to call.
    """
    tasks = len(jacobians[0])
    balancer, method, start = _prepared(name, tasks, dtype)
    losses = (losses_of(tasks) if losses is None else losses).astype(dtype)
    found = []
    for place, jacobian in enumerate(jacobians):
        if start_anew or not place:
            for variable, value in zip(balancer.state.variables, start, strict=True):
                variable.assign(value)
        found.append(method((jacobian @ jacobian.T).astype(dtype), losses))
    return np.stack(found).astype("float64")


def updates(name, *jacobians, **options):
    """J^T w for each Jacobian."""
    found = weights(name, *jacobians, **options)
    return np.stack([w @ j for w, j in zip(found, jacobians, strict=True)])


def lengths(jacobian):
    """The rows' norms."""
    return np.linalg.norm(jacobian, axis=1)


def summed(found, jacobian):
    """How long the update is when nothing cancels."""
    return np.abs(found) @ lengths(jacobian)


def worst_conflict(found, jacobian, noise):
    """The lowest cosine of a task's gradient and the update; 0 when the update is noise."""
    update, norms = found @ jacobian, lengths(jacobian)
    if np.linalg.norm(update) <= noise * summed(found, jacobian):
        return 0.0
    cosines = jacobian @ update / np.where(norms > 0, norms, 1.0) / np.linalg.norm(update)
    return min(0.0, cosines.min())


def steep(tasks, ratio, seed, size=None):
    """Independent rows whose norms are spread over `ratio`, in random order."""
    rng = np.random.default_rng(seed)
    norms = ratio ** np.linspace(0, 1, tasks)
    return rng.permutation(norms)[:, None] * rng.normal(size=(tasks, size or 2 * tasks))


def conflicting(tasks, seed):
    """Rows with norms of up to 1e6 : 1, the more opposed to each other the higher the draw."""
    rng = np.random.default_rng(seed)
    size = rng.integers(tasks, 3 * tasks + 1)
    rows = rng.normal(size=(tasks, size))
    # Rows that point away from a common direction, to and fro.
    rows += rng.choice([0.0, 1.0, 3.0]) * rng.normal(size=(tasks, 1)) * rng.normal(size=size)
    return rows * 10.0 ** rng.uniform(-rng.choice([0, 1.5, 3]), 0.0, size=(tasks, 1))


def stationary(tasks, seed):
    """Rows of which a positive combination is 0, and the same without the last."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(tasks - 1, 2 * tasks))
    return np.concatenate([rows, -rng.uniform(0.3, 1.0, size=(1, tasks - 1)) @ rows]), rows


def _only(name, promised):
    if not getattr(PROMISES[name], promised):
        pytest.skip("not promised")


class GramianSuite:
    """Inherit, and parametrise `name`."""

    @pytest.mark.parametrize("tasks", [1, 3, 40])
    def test_never_nan(self, name, tasks):
        for seed in range(2):
            jacobians = [*degenerate(tasks, seed=seed).values(), steep(tasks, 1e6, seed)]
            assert np.isfinite(weights(name, *jacobians)).all()
            # State does not spoil what comes later.
            assert np.isfinite(weights(name, *jacobians, start_anew=False)).all()

    def test_never_nan_in_float64(self, name):
        if ON_JAX:
            pytest.skip("JAX has no float64 unless asked")
        jacobians = [*degenerate(3).values(), *(scale * steep(3, 1e6, 0) for scale in (1e-8, 1e8))]
        assert np.isfinite(weights(name, *jacobians, dtype="float64")).all()

    def test_a_broken_gramian_gives_nan_and_leaves_no_trace(self, name):
        good = harmless(3)
        for value in (np.nan, np.inf):
            bad = good.copy()
            bad[1, 2] = value
            with np.errstate(invalid="ignore"):
                found = weights(name, good, bad, good, start_anew=False)
            assert np.isnan(found[1]).all()
            assert np.isfinite(found[2]).all()

    def test_order_of_tasks_does_not_matter(self, name):
        _only(name, "order")
        rng = np.random.default_rng(0)
        for tasks in (3, 40):
            order, losses = rng.permutation(tasks), losses_of(tasks)
            unequal = steep(tasks, PROMISES[name].ratio, 0)
            for jacobian in (harmless(tasks, 2 * tasks), unequal, harmless(tasks)):
                (found,) = updates(name, jacobian[order], losses=losses[order])
                (expected,) = updates(name, jacobian)
                size = summed(weights(name, jacobian)[0], jacobian)
                # Where more rows than dimensions cancel, rounding is all that is left.
                tolerance = 1e-4 if tasks <= jacobian.shape[1] else NOISE["float32"]
                np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * size)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_scaling_of_all_gradients_keeps_the_direction(self, name, dtype):
        _only(name, "scale")
        for jacobian in (harmless(3), steep(3, PROMISES[name].ratio, 0), harmless(40, 160)):
            scaled = [scale * jacobian for scale in (1.0, 1e-8, 1e-4, 1e4, 1e8)]
            found = updates(name, *scaled, dtype=dtype)
            directions = found / np.linalg.norm(found, axis=1, keepdims=True)
            np.testing.assert_allclose(directions, directions[:1].repeat(5, 0), rtol=0, atol=1e-5)

    def test_scaling_keeps_the_direction_of_degenerate_rows(self, name):
        _only(name, "scale")
        # A power of 2 rounds nothing: what noise there is stays the same.
        for jacobian in degenerate(3).values():
            found = weights(name, jacobian, 2.0**-20 * jacobian, 2.0**20 * jacobian)
            sizes = [summed(w, jacobian) or 1.0 for w in found]
            directions = [w @ jacobian / size for w, size in zip(found, sizes, strict=True)]
            atol = 1e-5 * lengths(jacobian).max() / (lengths(jacobian).max() or 1.0)
            np.testing.assert_allclose(directions[1:], [directions[0]] * 2, rtol=0, atol=atol)

    def test_zero_rows_take_no_part(self, name):
        losses = losses_of(40)
        # First, last, and where a pair would be split.
        for there in ([1, 2, 4], [0, 7, 39]):
            for jacobian in (harmless(3), steep(3, PROMISES[name].ratio, 0)):
                (expected,) = weights(name, jacobian, losses=losses[there])
                padded = np.zeros((40, jacobian.shape[1]))
                padded[there] = jacobian
                (found,) = weights(name, padded, losses=losses)
                assert not np.delete(found, there).any()
                # Rules that draw an order draw another one for another number.
                if PROMISES[name].order:
                    np.testing.assert_allclose(found[there], expected, rtol=1e-4, atol=1e-7)

    def test_no_gradient_gives_no_update(self, name):
        assert not weights(name, np.zeros((3, 4))).any()

    def test_one_task_is_followed(self, name):
        jacobian = harmless(1)
        (found,) = updates(name, jacobian)
        cosine = found @ jacobian[0] / np.linalg.norm(found) / np.linalg.norm(jacobian)
        np.testing.assert_allclose(cosine, 1.0, rtol=1e-6)

    @pytest.mark.parametrize("tasks", [3, 40])
    def test_no_update_conflicts(self, name, tasks, number=100):
        _only(name, "harmless")
        dtype = DTYPES[-1]
        # Rounding of a float32 Gramian moves an update by its noise (on JAX).
        tolerance = 1e-6 if dtype == "float64" else NOISE[dtype]
        number = number // 10 if tasks == 40 else number
        jacobians = [conflicting(tasks, seed) for seed in range(number)]
        found = weights(name, *jacobians, dtype=dtype)
        worst = [worst_conflict(w, j, NOISE[dtype]) for w, j in zip(found, jacobians, strict=True)]
        assert min(worst) >= -tolerance

    @pytest.mark.slow
    @pytest.mark.parametrize("tasks", [2, 3, 8, 40])
    def test_not_one_of_thousands_of_updates_conflicts(self, name, tasks):
        self.test_no_update_conflicts(name, tasks, number=3000)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("tasks", [3, 40])
    def test_no_update_conflicts_for_degenerate_rows(self, name, tasks, dtype):
        _only(name, "harmless")
        # Many are Pareto-stationary: who harms nobody gives 0.
        _only(name, "stationary")
        tolerance = 1e-6 if dtype == "float64" else NOISE[dtype]
        for kind, jacobian in degenerate(tasks).items():
            (found,) = weights(name, jacobian, dtype=dtype)
            assert worst_conflict(found, jacobian, NOISE[dtype]) >= -tolerance, kind

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_stationary_points_stay(self, name, dtype):
        _only(name, "stationary")
        for tasks in (3, 40):
            for seed in range(5):
                rows, before = stationary(tasks, seed)
                (found,) = updates(name, rows, dtype=dtype)
                (usual,) = updates(name, before, dtype=dtype)
                noise = PROMISES[name].stationary * NOISE[dtype]
                assert np.linalg.norm(found) <= noise * np.linalg.norm(usual)

    def test_compiled_equals_eager(self, name):
        if ON_JAX:
            pytest.skip("JAX compiles loops either way")
        jacobian = harmless(3)
        eager = make(name).weights((jacobian @ jacobian.T).astype("float32"), losses_of(3))
        (found,) = weights(name, jacobian)
        np.testing.assert_allclose(found, keras.ops.convert_to_numpy(eager), rtol=1e-4, atol=1e-6)

    def test_precision_follows_the_input(self, name):
        jacobian = harmless(3)
        gramian = jacobian @ jacobian.T
        narrow = _prepared(name, 3, "float32")[1](gramian.astype("float32"), losses_of(3))
        wide = _prepared(name, 3, DTYPES[-1])[1](gramian.astype(DTYPES[-1]), losses_of(3))
        assert (narrow.dtype, wide.dtype) == ("float32", DTYPES[-1])
        narrow, wide = (weights(name, jacobian, dtype=dtype) for dtype in ("float32", DTYPES[-1]))
        np.testing.assert_allclose(wide, narrow, rtol=1e-4, atol=1e-6)

    def test_float64_is_used_throughout(self, name):
        _only(name, "scale")
        if ON_JAX:
            pytest.skip("JAX has no float64 unless asked")
        jacobian = harmless(3)
        found = updates(name, jacobian, 3 * jacobian, dtype="float64")
        directions = found / np.linalg.norm(found, axis=1, keepdims=True)
        # float32 anywhere would leave errors of 1e-7.
        np.testing.assert_allclose(directions[1], directions[0], rtol=0, atol=1e-9)

    def test_config_round_trip(self, name):
        balancer = make(name)
        config = keras.saving.serialize_keras_object(balancer)
        again = keras.saving.deserialize_keras_object(config)
        assert type(again) is type(balancer)
        assert repr(again) == repr(balancer)

    def test_another_number_of_tasks_is_refused(self, name):
        balancer = make(name)
        balancer.build(3)
        with pytest.raises(ValueError, match="3 tasks"):
            balancer.weights(np.eye(2), losses_of(2))

    def test_losses_are_asked_for(self, name):
        balancer = make(name)
        if "losses" in balancer.needs:
            with pytest.raises(ValueError, match="needs `losses`"):
                balancer.weights(np.eye(3))
        elif not ON_JAX:  # Which would compile it once more.
            balancer.weights(np.eye(3))
