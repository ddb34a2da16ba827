"""DSelectKGate ends on at most k experts, whatever their number."""

import keras
import numpy as np
import pytest

from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.dselect_k_gate import DSelectKGate


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def smooth_step(t, gamma=1.0):
    cubic = -2 / gamma**3 * t**3 + 3 / (2 * gamma) * t + 0.5
    return np.where(t <= -gamma / 2, 0, np.where(t >= gamma / 2, 1, cubic))


def chosen(codes, num_experts, gamma=1.0):
    """r of each selector, by the powers of the paper: codes (..., k, bits)."""
    steps = smooth_step(codes, gamma)
    bits = [[(e >> j) & 1 for j in range(codes.shape[-1])] for e in range(num_experts)]
    return np.stack([np.prod(steps**b * (1 - steps) ** (1 - np.array(b)), -1) for b in bits], -1)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def equation(weights, features):
    codes = np.tensordot(features, weights["codes"], 1)
    shares = softmax(features @ weights["selectors"])
    gates = (shares[..., None] * chosen(codes, 5, gamma=0.8)).sum(-2)
    return gates / gates.sum(-1, keepdims=True)


MASK = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool)
CASES = [
    LayerCase(
        layer_class=DSelectKGate,
        config={"num_experts": 5, "k": 2, "gamma": 0.8},
        inputs=(draw(4, 3, 6),),
        masks=(MASK,),
        expected=equation,
    )
]


def static(num_experts, codes, selectors=None, **arguments):
    """A static gate with given codes (k, bits)."""
    codes = np.array(codes, "float32")
    gate = DSelectKGate(num_experts, k=len(codes), static=True, **arguments)
    gate.build((None, 3))
    gate.codes.assign(codes)
    if selectors is not None:
        gate.selectors.assign(selectors)
    return gate


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("is_static", [False, True])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("num_experts", [3, 8, 9])
def test_weights_sum_to_one(num_experts, k, is_static):
    gate = DSelectKGate(num_experts, k=k, static=is_static, code_initializer="random_normal")
    for shape in ((4, 6), (4, 2, 3, 6)):
        weights = numpy(gate(10 * draw(*shape)))
        assert weights.shape == (*shape[:-1], num_experts)
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)  # a sum in float32


def test_one_expert_has_it_all():
    gate = DSelectKGate(1)
    np.testing.assert_array_equal(numpy(gate(draw(2, 3, 4), training=True)), np.ones((2, 3, 1)))
    assert not gate.weights


@pytest.mark.parametrize("expert", range(5))
def test_codes_past_the_step_choose_one_expert(expert):
    code = [1.0 if (expert >> j) & 1 else -1.0 for j in range(3)]
    weights = numpy(static(5, [code])(draw(2, 3)))
    np.testing.assert_array_equal(weights, np.broadcast_to(np.eye(5)[expert], (2, 5)))


def test_selectors_share_by_softmax():
    gate = static(4, [[1, -1], [-1, 1]], selectors=[np.log(3), 0.0])
    np.testing.assert_allclose(numpy(gate(draw(1, 3))), [[0, 0.75, 0.25, 0]], rtol=1e-6)  # float32


def test_a_static_gate_is_the_equation_for_all_rows():
    codes, selectors = draw(2, 3, seed=1) / 4, draw(2, seed=2)
    gates = (softmax(selectors)[:, None] * chosen(codes.astype("float64"), 6)).sum(0)
    weights = numpy(static(6, codes, selectors)(draw(2, 4, 3)))
    want = np.broadcast_to(gates / gates.sum(), (2, 4, 6))
    np.testing.assert_allclose(weights, want, rtol=1e-5, atol=1e-6)  # float32


def test_codes_start_small_and_all_different():
    gate = DSelectKGate(8, k=2, gamma=0.5)
    gate.build((None, 3))
    codes = numpy(gate.codes)
    assert codes.shape == (3, 2, 3)
    assert np.abs(codes).max() <= 0.005
    assert np.unique(codes).size == codes.size


def test_a_narrower_step_chooses_sooner():
    wide, narrow = (numpy(static(2, [[0.2]], gamma=gamma)(draw(1, 3))) for gamma in (1.0, 0.4))
    assert 0 < wide[0, 0] < 1
    np.testing.assert_array_equal(narrow, [[0, 1]])


def test_selectors_that_all_miss_give_equal_weights():
    # Codes 5 to 7 are of no expert.
    gate = static(5, [[1, 1, 1]])
    np.testing.assert_allclose(numpy(gate(draw(2, 3), training=True)), np.full((2, 5), 0.2))
    assert np.isfinite([float(loss) for loss in gate.losses]).all()


def test_a_selector_that_misses_leaves_its_share_to_the_others():
    gate = static(5, [[1, 1, 1], [-1, -1, -1]], selectors=[2.0, 0.0])
    np.testing.assert_allclose(numpy(gate(draw(1, 3))), [[1, 0, 0, 0, 0]], rtol=1e-6)  # float32


@pytest.mark.parametrize("num_experts", [4, 5])
def test_losses_are_means_over_unmasked_rows(num_experts):
    features = draw(4, 3, 6)
    gate = DSelectKGate(
        num_experts, k=2, entropy_weight=0.5, reachability_weight=0.25,
        code_initializer=keras.initializers.RandomNormal(stddev=0.1),
    )  # fmt: skip
    gate(features, mask=MASK, training=True)
    r = chosen(np.tensordot(features, numpy(gate.codes), 1).astype("float64"), num_experts)
    entropy = -(r * np.log(r + 1e-6)).sum((-2, -1))[MASK].mean()
    reach = (1 / r.sum(-1) - 1).sum(-1)[MASK].mean()
    want = {"entropy_loss": entropy}
    if num_experts == 5:
        want["reachability_loss"] = reach
    weights = {"entropy_loss": 0.5, "reachability_loss": 0.25}
    got = {metric.name.removeprefix(f"{gate.path}_"): metric.result() for metric in gate.metrics}
    assert list(got) == list(want)
    np.testing.assert_allclose(
        [float(value) for value in got.values()], list(want.values()), rtol=1e-4
    )  # logarithms in float32
    np.testing.assert_allclose(
        [float(loss) for loss in gate.losses], [weights[n] * v for n, v in want.items()], rtol=1e-4
    )


def test_a_static_gate_has_losses_without_rows():
    codes = draw(1, 3, seed=1) / 4
    gate = static(6, codes, entropy_weight=1.0)
    gate(draw(4, 3), training=True)
    r = chosen(codes.astype("float64"), 6)
    want = [-(r * np.log(r + 1e-6)).sum(), 1 / r.sum() - 1]
    got = [float(loss) for loss in gate.losses]
    np.testing.assert_allclose(got, want, rtol=1e-4)  # logarithms in float32


def test_losses_are_added_in_training_only():
    gate = DSelectKGate(5)
    gate(draw(4, 3), training=False)
    assert not gate.losses
    assert all(np.isnan(float(metric.result())) for metric in gate.metrics)
    gate = DSelectKGate(5, entropy_weight=0, reachability_weight=0)
    gate(draw(4, 3), training=True)
    assert not gate.losses


def test_training_ends_on_one_expert_away_from_the_codes_of_none():
    keras.utils.set_random_seed(0)
    gate = DSelectKGate(5, static=True, entropy_weight=0.01)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, gate(inputs))
    model.compile(keras.optimizers.Adam(0.02), keras.losses.MeanSquaredError())
    rows = np.ones((100, 3))
    model.fit(rows, np.tile(np.eye(5)[3], (100, 1)), batch_size=1, verbose=0)
    np.testing.assert_array_equal(model.predict(rows[:1], verbose=0), [[0, 0, 0, 1, 0]])


def test_a_pattern_is_copied_for_experts():
    gate = DSelectKGate(k=2, gamma=0.5).for_experts(6, 1, name="gate_1")
    assert (gate.num_experts, gate.k, gate.gamma, gate.name) == (6, 2, 0.5, "gate_1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_experts": 0}, r"`num_experts` must be.*Received: num_experts=0"),
        ({"k": 0}, r"`k` must be.*Received: k=0"),
        ({"num_experts": 2, "k": 3}, r"`k` must not be above `num_experts`, 2. Received: k=3"),
        ({"gamma": 0}, r"`gamma` must be.*Received: gamma=0"),
        ({"entropy_weight": -1}, r"`entropy_weight` must be.*Received: entropy_weight=-1"),
        ({"reachability_weight": -1}, r"`reachability_weight` must be.*reachability_weight=-1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DSelectKGate(**arguments)


def test_a_pattern_cannot_be_called():
    with pytest.raises(ValueError, match=r"`num_experts` must be given"):
        DSelectKGate()(draw(2, 3))
