"""Penalties of soft sharing: values, gradients and proximal steps, against plain NumPy."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from conformance.gradient_of import gradient_of
from mtl_keras.sharing import CosineSharing, GroupSharing, L2Sharing, TraceNormSharing


def random(count=3, shape=(5, 4), seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def nuclear(matrix):
    return np.linalg.svd(matrix, compute_uv=False).sum()


def stacked(weights):
    return np.moveaxis(weights, 0, -1)


def unfold(tensor, axis):
    return np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)


def train_splits(tensor):
    shape = tensor.shape
    return [tensor.reshape(np.prod(shape[:j]), -1) for j in range(1, len(shape))]


def pairs(weights):
    return itertools.combinations(weights, 2)


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


# Each penalty beside the paper's expression for K weights, (K, ...).
PENALTIES = {
    "l2 to each other": (L2Sharing(), lambda w: sum(((a - b) ** 2).sum() for a, b in pairs(w))),
    "l2 to the mean": (L2Sharing(to="mean"), lambda w: ((w - w.mean(axis=0)) ** 2).sum()),
    "group of entries": (GroupSharing(), lambda w: np.sqrt((w**2).sum(axis=0)).sum()),
    "group of inputs": (
        GroupSharing(group="input"),
        lambda w: np.sqrt((w**2).sum(axis=(*range(w.ndim - 2), -1))).sum(),
    ),
    "cosine": (CosineSharing(), lambda w: sum(1 - cosine(a, b) for a, b in pairs(w))),
    "last axis": (TraceNormSharing(), lambda w: nuclear(unfold(stacked(w), -1))),
    "tucker": (
        TraceNormSharing(kind="tucker"),
        lambda w: sum(nuclear(unfold(stacked(w), k)) for k in range(w.ndim)),
    ),
    "tensor train": (
        TraceNormSharing(kind="tensor_train"),
        lambda w: sum(map(nuclear, train_splits(stacked(w)))),
    ),
}
WITH_STEP = [name for name, (penalty, _) in PENALTIES.items() if penalty.has_proximal_step]
# Those whose proximal step is exact: one matrix, or groups that do not overlap.
EXACT = [name for name in WITH_STEP if name not in ("tucker", "tensor train")]


def value(penalty, weights):
    return float(penalty.penalty(tuple(map(ops.convert_to_tensor, weights))))


def stepped(penalty, weights, amount):
    moved = penalty.proximal_step(tuple(map(ops.convert_to_tensor, weights)), amount)
    return np.stack([ops.convert_to_numpy(w) for w in moved])


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("count, shape", [(2, (5, 4)), (3, (2, 3, 4)), (6, (3, 2))], ids=str)
def test_value_is_that_of_the_paper(name, count, shape):
    penalty, statement = PENALTIES[name]
    weights = random(count, shape)
    assert value(penalty, weights) == pytest.approx(statement(weights.astype("float64")), rel=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_gradient_is_that_of_the_paper(name):
    penalty, statement = PENALTIES[name]
    weights = random()
    found = gradient_of(lambda w: penalty.penalty(tuple(ops.unstack(w, 3))), weights)
    expected = np.zeros(weights.shape)
    for index in np.ndindex(weights.shape):
        # Central differences in float64.
        step = np.zeros(weights.shape)
        step[index] = 1e-5
        expected[index] = (statement(weights + step) - statement(weights - step)) / 2e-5
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_tasks_may_come_in_any_order(name):
    weights = random()
    assert value(PENALTIES[name][0], weights[[2, 0, 1]]) == pytest.approx(
        value(PENALTIES[name][0], weights), rel=1e-5
    )


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scale(name, scale):
    weights = random()
    power = 2 if name.startswith("l2") else 0 if name == "cosine" else 1
    assert value(PENALTIES[name][0], scale * weights) == pytest.approx(
        scale**power * value(PENALTIES[name][0], weights), rel=1e-4
    )


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize(
    "weights",
    [
        np.zeros((3, 5, 4)),
        np.repeat(random(1), 3, axis=0),
        np.stack([random()[0], -random()[0], np.zeros((5, 4), "float32")]),
        # Three equal singular values.
        np.eye(60)[:3].reshape(3, 5, 12),
        random(1),
    ],
    ids=["zeros", "equal", "opposite and zero", "orthonormal", "one task"],
)
def test_degenerate_weights_have_a_finite_gradient(name, weights):
    penalty, statement = PENALTIES[name]
    weights = np.asarray(weights, "float32")
    found = gradient_of(lambda w: penalty.penalty(tuple(ops.unstack(w, len(weights)))), weights)
    assert np.isfinite(found).all()
    if name != "cosine":
        expected = statement(weights.astype("float64"))
        assert value(penalty, weights) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_cosine_with_a_zero_vector_is_zero():
    weights = np.stack([random()[0], np.zeros((5, 4), "float32")])
    assert value(CosineSharing(), weights) == 1.0


def test_the_subgradient_is_exact_where_towers_are_nearly_equal():
    """The second singular value is 1e-4 of the first: U V^T still has unit singular values."""
    base, apart = random(2, (40, 30))
    weights = np.stack([base + 1e-4 * apart, base - 1e-4 * apart])
    found = gradient_of(lambda w: TraceNormSharing().penalty(tuple(ops.unstack(w, 2))), weights)
    values = np.linalg.svd(found.reshape(2, -1).astype("float64"), compute_uv=False)
    # float32 weights know this singular value to 1e-3.
    np.testing.assert_allclose(values, 1.0, rtol=2e-3)


# -- proximal steps


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("amount", [0.0, 0.3, 30.0])
def test_the_proximal_step_minimises_its_objective(name, amount):
    penalty, statement = PENALTIES[name]
    weights = random().astype("float64")

    def objective(z):
        return amount * statement(z) + ((z - weights) ** 2).sum() / 2

    found = stepped(penalty, weights.astype("float32"), amount).astype("float64")
    least = objective(found)
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(50):
            other = found + size * rng.normal(size=weights.shape)
            assert objective(other) >= least - 1e-5 * (1 + abs(least))
    assert objective(weights) >= least - 1e-5


def test_l2_step_without_strength_is_no_step():
    weights = random()
    np.testing.assert_allclose(stepped(L2Sharing(), weights, 0.0), weights, rtol=1e-5, atol=1e-7)


def test_l2_step_with_decay():
    """min a sum_{s<t} |z_s - z_t|^2 + d sum |z_t|^2 + sum |z_t - w_t|^2 / 2, solved exactly."""
    weights, a, d, count = random(3, (1,))[:, 0].astype("float64"), 0.7, 0.2, 3
    laplacian = count * np.eye(count) - np.ones((count, count))
    expected = np.linalg.solve(2 * a * laplacian + (2 * d + 1) * np.eye(count), weights)
    found = L2Sharing().proximal_step(tuple(weights.astype("float32")), a, d)
    np.testing.assert_allclose([float(w) for w in found], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["last_axis", "tucker", "tensor_train"])
def test_thresholding_reaches_low_rank_exactly_and_raises_no_rank(kind):
    penalty = TraceNormSharing(kind=kind)
    weights = random(4, (6, 5))

    def ranks(w):
        tensor = stacked(w)
        matrices = {
            "last_axis": [unfold(tensor, -1)],
            "tucker": [unfold(tensor, k) for k in range(3)],
            "tensor_train": train_splits(tensor),
        }[kind]
        spectra = [np.linalg.svd(m, compute_uv=False) for m in matrices]
        return np.array([(s > 1e-5 * s[0]).sum() for s in spectra]), matrices

    before, matrices = ranks(weights)
    # Above the smallest singular value of the first matrix, below the largest.
    threshold = np.median(np.linalg.svd(matrices[0], compute_uv=False))
    after, _ = ranks(stepped(penalty, weights, float(threshold)))
    assert (after <= before).all() and after[0] < before[0]
    # A second, empty step leaves the ranks.
    again, _ = ranks(stepped(penalty, stepped(penalty, weights, float(threshold)), 0.0))
    np.testing.assert_array_equal(again, after)


def test_last_axis_thresholding_is_that_of_cai():
    weights = random(4, (6, 5))
    u, s, v = np.linalg.svd(unfold(stacked(weights), -1).astype("float64"), full_matrices=False)
    expected = (u * np.maximum(s - 4.0, 0)) @ v
    found = unfold(stacked(stepped(TraceNormSharing(), weights, 4.0)), -1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# -- arguments


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: L2Sharing(-1.0), r"`strength` must be .*Received: strength=-1.0"),
        (lambda: L2Sharing(float("nan")), r"`strength` must be .*Received: strength=nan"),
        (lambda: L2Sharing(decay=-1), r"`decay` must be .*Received: decay=-1"),
        (lambda: L2Sharing(to="zero"), r"`to` must be .*Received: to='zero'"),
        (lambda: GroupSharing(group="row"), r"`group` must be .*Received: group='row'"),
        (lambda: TraceNormSharing(kind="cp"), r"`kind` must be .*Received: kind='cp'"),
        (lambda: TraceNormSharing(every=0), r"`every` must be .*Received: every=0"),
        (lambda: CosineSharing(proximal=True), r"`proximal` needs .*Received: proximal=True"),
        (lambda: L2Sharing(towers="tower"), r"`towers` must be .*Received: towers='tower'"),
        (lambda: L2Sharing(exclude="("), r"`exclude` must hold .*Received: '\('"),
        (lambda: L2Sharing(layer_strengths={"a": -1}), r"layer_strengths.* must be .*Received"),
        (lambda: L2Sharing(name="loss"), r"`name` must be .*Received: name='loss'"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "penalty",
    [
        L2Sharing(
            keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5),
            to="mean",
            decay=0.01,
            towers=["{task}_tower", ("a", "b")],
            exclude=("bias",),
            layer_strengths={"tower_0": 2.0},
            proximal=True,
            name="pull",
        ),
        GroupSharing(0.5, group="input"),
        CosineSharing(0.5),
        TraceNormSharing(0.5, kind="tucker", every=4),
    ],
    ids=lambda penalty: type(penalty).__name__,
)
def test_config_round_trip(penalty):
    config = keras.saving.serialize_keras_object(penalty)
    revived = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(revived) == config
