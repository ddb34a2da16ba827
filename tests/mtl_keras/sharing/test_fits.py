"""Soft sharing in a fit: logs, schedules, limits, steps of its own, with and without balancer."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from mtl_keras import sharing
from mtl_keras.sharing import CosineSharing, GroupSharing, L2Sharing, TraceNormSharing

ROWS = 48


def data():
    x = np.random.default_rng(0).normal(size=(ROWS, 6)).astype("float32")
    return x, {"clicked": (x[:, 0] > 0).astype("float32"), "price": x[:, 1].copy()}


def pair(penalty, towers=(8, 4), **options):
    """Two towers with the same draws, whatever the penalty."""
    keras.utils.set_random_seed(0)
    tasks = [mtl.BinaryTask("clicked"), mtl.RegressionTask("price")]
    options = {"optimizer": keras.optimizers.SGD(0.1)} | options
    return zoo.soft_sharing(tasks, 6, towers, sharing=penalty, **options)


def towers(model):
    return [model.get_layer(f"{task}_tower").get_weights() for task in ("clicked", "price")]


def by_path(model):
    return list(zip(*towers(model), strict=True))


def apart(model):
    return max(np.abs(a - b).max() for a, b in by_path(model))


def fit(model, epochs=1, **options):
    return model.fit(*data(), batch_size=16, epochs=epochs, shuffle=False, verbose=0, **options)


def assert_equal_weights(first, second, rtol=1e-5):
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


def distance(model):
    return sum(((a - b) ** 2).sum() for a, b in by_path(model))


# -- what is minimised and reported


def test_the_penalty_is_in_the_loss_and_under_its_name():
    model = pair([L2Sharing(0.5), CosineSharing(0.25, name="angle")])
    expected = 0.5 * distance(model)
    logs = model.test_on_batch(*data(), return_dict=True)
    assert logs["l2_sharing"] == pytest.approx(expected, rel=1e-5)
    tasks = logs["clicked_loss"] + logs["price_loss"]
    assert logs["loss"] == pytest.approx(tasks + logs["l2_sharing"] + logs["angle"], rel=1e-5)
    history = fit(pair(L2Sharing(0.5)), validation_data=data()).history
    assert {"l2_sharing", "val_l2_sharing"} <= set(history)


@pytest.mark.parametrize("balancer", [None, "upgrad"])
def test_a_step_adds_the_gradient_of_the_penalty(balancer):
    """w - 0.1 (gradient of the tasks + 2 strength (w_t - w_s)), for towers alone and balanced."""
    plain, soft = pair([], balancer=balancer), pair(L2Sharing(0.5), balancer=balancer)
    before = towers(soft)
    plain.train_on_batch(*data()), soft.train_on_batch(*data())
    for t in (0, 1):
        for own, other, free, found in zip(
            before[t], before[1 - t], towers(plain)[t], towers(soft)[t], strict=True
        ):
            expected = free - 0.1 * 2 * 0.5 * (own - other)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_beside_a_balanced_trunk_nobody_balances_the_penalty():
    plain, soft = (pair(p, share=0.5, balancer="pcgrad") for p in ([], L2Sharing(0.5)))
    plain.train_on_batch(*data()), soft.train_on_batch(*data())
    trunks = [model.get_layer("trunk").get_weights() for model in (plain, soft)]
    for a, b in zip(*trunks, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert apart(soft) < apart(plain)


def test_exclude_and_layer_strengths():
    penalty = L2Sharing(1.0, exclude=("bias",), layer_strengths={"tower_1": 3.0})
    model = pair(penalty)
    model.get_layer("clicked_tower").layers[0].bias.assign(np.ones(8))
    (first, _, second, _), (first_other, _, second_other, _) = towers(model)
    expected = ((first - first_other) ** 2).sum() + 3 * ((second - second_other) ** 2).sum()
    logs = model.test_on_batch(*data(), return_dict=True)
    assert logs["l2_sharing"] == pytest.approx(expected, rel=1e-5)


def test_heads_can_be_drawn_together_too():
    model = pair(L2Sharing(1.0, towers=["{task}_tower", "{task}"]))
    heads = [model.get_layer(task).get_weights() for task in ("clicked", "price")]
    expected = distance(model) + sum(((a - b) ** 2).sum() for a, b in zip(*heads, strict=True))
    logs = model.test_on_batch(*data(), return_dict=True)
    assert logs["l2_sharing"] == pytest.approx(expected, rel=1e-5)


def test_the_strength_may_be_a_schedule_which_a_loaded_model_goes_on_with(tmp_path):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1, 3], [0.0, 1.0, 10.0])
    model = pair(L2Sharing(schedule, to="mean"), optimizer=keras.optimizers.SGD(0.0))
    expected = 0.5 * distance(model)
    strengths = []
    for step in range(5):
        if step == 2:
            model.save(tmp_path / "model.keras")
            model = keras.saving.load_model(tmp_path / "model.keras")
        strengths.append(model.train_on_batch(*data(), return_dict=True)["l2_sharing"] / expected)
        model.reset_metrics()
    assert strengths == pytest.approx([0, 0, 1, 1, 10], rel=1e-4)


# -- limits


def test_without_strength_towers_are_separate_models_step_for_step():
    keras.utils.set_random_seed(0)
    tasks = [mtl.BinaryTask("clicked"), mtl.RegressionTask("price")]
    separate = zoo.single_task(tasks, 6, (8, 4), optimizer=keras.optimizers.SGD(0.1))
    soft = pair(L2Sharing(0.0))
    for _ in range(4):
        separate.train_on_batch(*data()), soft.train_on_batch(*data())
        assert_equal_weights(separate, soft, rtol=0)


def test_at_a_very_large_strength_towers_agree_by_the_gradient():
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 300)
    model = pair(L2Sharing(1e4), optimizer=keras.optimizers.Adam(schedule))
    assert apart(model) > 0.5
    x, y = data()
    y = {task: np.tile(labels, 100) for task, labels in y.items()}
    model.fit(np.tile(x, (100, 1)), y, batch_size=16, shuffle=False, verbose=0)
    assert apart(model) < 1e-3


def test_at_a_very_large_strength_towers_agree_after_one_proximal_step():
    model = pair(L2Sharing(1e6, proximal=True))
    model.train_on_batch(*data())
    assert apart(model) < 1e-3


# -- steps of their own


@pytest.mark.parametrize("balancer", [None, "upgrad"])
def test_the_proximal_step_follows_the_update(balancer):
    plain = pair([], balancer=balancer)
    soft = pair(TraceNormSharing(5.0, proximal=True), balancer=balancer)
    plain.train_on_batch(*data()), soft.train_on_batch(*data())
    for free, found in zip(by_path(plain), by_path(soft), strict=True):
        matrix = np.stack([w.ravel() for w in free])
        u, s, v = np.linalg.svd(matrix, full_matrices=False)
        # The threshold is learning rate times strength.
        expected = (u * np.maximum(s - 0.1 * 5.0, 0)) @ v
        np.testing.assert_allclose(
            np.stack([w.ravel() for w in found]), expected, rtol=1e-4, atol=1e-5
        )


def test_thresholding_in_a_fit_reaches_rank_one():
    penalty = TraceNormSharing(3.0, proximal=True, exclude=("bias",))
    model = pair(penalty, optimizer=keras.optimizers.SGD(0.05))
    assert set(penalty.ranks(model).values()) == {(2,)}
    before = penalty.effective_ranks(model)
    fit(model, epochs=8)
    assert set(penalty.ranks(model).values()) <= {(1,), (0,)}
    after = penalty.effective_ranks(model)
    assert all(after[path] < before[path] for path in before)


def test_group_sharing_selects_the_same_inputs():
    penalty = GroupSharing(0.4, group="input", proximal=True, exclude=("bias", "tower_1"))
    model = pair(penalty)
    fit(model, epochs=15)
    zero = [(weights[0] == 0).all(axis=1) for weights in towers(model)]
    np.testing.assert_array_equal(*zero)
    # Inputs 0 and 1 are what the labels are made of.
    assert zero[0][2:].any() and not zero[0][:2].any()


def test_a_subgradient_is_used_again_between():
    """With `every` 3 and frozen weights but one, steps 1 and 2 see the subgradient of step 0."""
    every, always = (
        pair(TraceNormSharing(1.0, every=n), optimizer=keras.optimizers.SGD(0.0)) for n in (3, 1)
    )
    found = []
    for step in range(4):
        values = []
        for model in (every, always):
            values.append(model.train_on_batch(*data(), return_dict=True)["trace_norm_sharing"])
            model.reset_metrics()
            kernel = model.get_layer("price_tower").layers[0].kernel
            if step == 0:
                kernel.assign(-2.0 * keras.ops.convert_to_tensor(kernel))
        found.append(values)
    first, second, third, fourth = found
    assert first[0] == pytest.approx(first[1], rel=1e-5)
    # An old subgradient gives a lower bound.
    assert second[0] < 0.9 * second[1] and third[0] == pytest.approx(second[0], rel=1e-5)
    assert fourth[0] == pytest.approx(fourth[1], rel=1e-5)


def test_proximal_steps_every_n_th_step():
    model = pair(TraceNormSharing(1e6, proximal=True, every=2))
    model.train_on_batch(*data())
    assert apart(model) > 0.1
    model.train_on_batch(*data())
    assert all((w == 0).all() for weights in towers(model) for w in weights)


def test_a_step_every_n_th_time_is_n_times_as_long():
    penalty = TraceNormSharing(0.2, proximal=True, every=3)
    model, plain = pair(penalty), pair([])
    for _ in range(3):
        model.train_on_batch(*data())
        plain.train_on_batch(*data())
    expected = [penalty.updated(weights, 1.0, 0, 3 * 0.1) for weights in by_path(plain)]
    for found, wanted in zip(by_path(model), expected, strict=True):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, keras.ops.convert_to_numpy(b), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = pair([L2Sharing(0.1), TraceNormSharing(0.1, proximal=True, every=2)])
        before = apart(model)
        history = fit(model, epochs=3).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(history["loss"]).all() and apart(model) < before


def test_effective_ranks_are_logged():
    penalty = TraceNormSharing(3.0, proximal=True, exclude=("bias",))
    model = pair(penalty, optimizer=keras.optimizers.SGD(0.05))
    history = fit(model, epochs=3, callbacks=[mtl.callbacks.EffectiveRanks()]).history
    for path, (rank,) in penalty.effective_ranks(model).items():
        logged = history[f"{path.replace('/', '_')}_rank"]
        assert logged[-1] == pytest.approx(rank) and logged[-1] < logged[0]
    with pytest.raises(ValueError, match=r"EffectiveRanks needs .*Received: sharing=None"):
        fit(pair(L2Sharing()), callbacks=[mtl.callbacks.EffectiveRanks()])


def test_effective_rank_of_known_spectra():
    model = pair([], towers=(2,))
    layers = [model.get_layer(f"{task}_tower").layers[0] for task in ("clicked", "price")]
    shape = layers[0].kernel.shape
    one, other = np.zeros(shape), np.zeros(shape)
    one[0], other[1] = 1.0, 1.0
    for kernels, expected in (((one, one), 1.0), ((one, other), 2.0), ((0 * one, 0 * one), 0.0)):
        for layer, kernel in zip(layers, kernels, strict=True):
            layer.kernel.assign(kernel)
        (rank,) = TraceNormSharing().effective_ranks(model)["tower_0/kernel"]
        assert rank == pytest.approx(expected, abs=1e-6)


# -- what is refused


@pytest.mark.parametrize(
    "penalty, message",
    [
        ("l2", r"`sharing` must be .*Received: sharing='l2'"),
        ([L2Sharing(), L2Sharing()], r"different names.*Received: \['l2_sharing', 'l2_sharing'\]"),
        (L2Sharing(towers="{task}_net"), r"`towers` must name layers .*'clicked_net'"),
        (L2Sharing(towers=("clicked_tower", "features")), r"`towers` must have weights at equal"),
    ],
    ids=["no penalty", "names", "towers", "nothing in common"],
)
def test_other_penalties_are_refused(penalty, message):
    with pytest.raises(ValueError, match=message):
        pair(penalty)


def test_weights_of_different_shapes_are_refused_by_path():
    tasks = [mtl.BinaryTask("clicked"), mtl.CategoricalTask("shop", 3)]
    heads = L2Sharing(towers=["{task}_tower", "{task}"])
    with pytest.raises(ValueError, match=r"Weights at '{task}/kernel'.*Received: \[\(4, 1\), \(4"):
        zoo.soft_sharing(tasks, 6, [4], sharing=heads)
    some = L2Sharing(towers=heads.towers, exclude=("^{task}/",))
    zoo.soft_sharing(tasks, 6, [4], sharing=some)


def test_corresponding_weights_are_those_at_one_path():
    model = pair([])
    found = sharing.corresponding_weights(model, "{task}_tower")
    assert list(found) == ["tower_0/kernel", "tower_0/bias", "tower_1/kernel", "tower_1/bias"]
    for position, group in enumerate(found.values()):
        for variable, tower in zip(group, towers(model), strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), tower[position])


@pytest.mark.parametrize(
    "towers",
    [
        ("clicked_tower", "price_tower"),
        ["{task}_tower", ("clicked", "price")],
        [("clicked_tower", "price_tower"), ("clicked", "price")],
        "{task}_tower",
    ],
)
def test_named_towers_are_saved(tmp_path, towers):
    model = pair(L2Sharing(1.0, towers=towers))
    model.save(tmp_path / "model.keras")
    (penalty,) = keras.saving.load_model(tmp_path / "model.keras").sharing
    assert penalty.towers == towers and type(penalty.towers) is type(towers)
