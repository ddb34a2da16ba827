"""With weights of 1 for every task, balanced training is plain training: whatever is shared."""

import keras
import numpy as np
import pytest

from conformance.balanced_cases import CASES, Ones, RowSum, data, fresh, weights
from mtl_keras import MultiTaskModel, RegressionTask
from mtl_keras.layers import OrthogonalityPenalty

BACKEND = keras.backend.backend()


def train(case, dataset=None, epochs=1, batch_size=8, **options):
    model = fresh(case, **options)
    x, y = dataset or data(model)
    # A last batch of half the size, too.
    history = model.fit(x, y, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0)
    return weights(model), history.history


def assert_trained_alike(first, second, rtol=1e-5):
    # 1e-5: gradients of float32, summed in another order.
    for a, b in zip(first[0], second[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    for key in first[1]:
        np.testing.assert_allclose(first[1][key], second[1][key], rtol=rtol, atol=rtol, err_msg=key)


@pytest.mark.parametrize("case", CASES)
def test_gramian_weights_of_one_are_the_sum(case):
    assert_trained_alike(train(case), train(case, balancer=Ones()))


@pytest.mark.parametrize("case", ["dense", "partly_shared", "experts"])
@pytest.mark.parametrize(
    "options",
    [
        {"balancer": Ones, "scope": "representation"},
        {"balancer": RowSum},
        {"balancer": RowSum, "scope": "representation"},
        {"balancer": Ones, "balancer_every": 2},
    ],
    ids=["representation", "jacobian", "jacobian at representation", "every second step"],
)
def test_every_way_to_the_update_is_the_same(case, options):
    options = options | {"balancer": options["balancer"]()}
    assert_trained_alike(train(case), train(case, **options))


@pytest.mark.parametrize("balancer", [Ones, RowSum])
@pytest.mark.parametrize("place", ["trunk", "head"])
def test_dropout_draws_in_each_step(place, balancer):
    def trained(balancer):
        keras.utils.set_random_seed(0)
        x, drop = keras.Input((4,)), keras.layers.Dropout(0.5, seed=3)
        h = keras.layers.Dense(3)(drop(x) if place == "trunk" else x)
        tasks = [RegressionTask("a"), RegressionTask("b")]
        outputs = {"a": tasks[0].build_head()(drop(h) if place == "head" else h)}
        outputs["b"] = tasks[1].build_head()(h)
        model = MultiTaskModel(x, outputs, tasks=tasks)
        model.compile("sgd", balancer=balancer)
        y = {"a": np.ones(24), "b": np.ones(24)}
        rows = np.ones((24, 4), "float32")
        history = model.fit(rows, y, batch_size=8, shuffle=False, verbose=0)
        return weights(model), history.history

    assert_trained_alike(trained(None), trained(balancer()))


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"jit_compile": False}], ids=str)
def test_eager_and_graph_steps_agree(options):
    assert_trained_alike(train("dense", **options), train("dense", balancer=Ones(), **options))


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution on PyTorch")
def test_several_steps_an_execution():
    assert_trained_alike(train("dense"), train("dense", balancer=Ones(), steps_per_execution=2))


def test_accumulated_gradients():
    def optimizer():
        return keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)

    plain = train("dense", optimizer=optimizer(), epochs=2)
    assert_trained_alike(plain, train("dense", optimizer=optimizer(), epochs=2, balancer=Ones()))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("scope", ["shared", "representation"])
def test_mixed_precision(policy, scope):
    if BACKEND != "tensorflow" and policy == "mixed_bfloat16":
        pytest.skip("half precision with loss scaling is enough on the other backends")
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        plain = train("dense")
        balanced = train("dense", balancer=Ones(), scope=scope)
    finally:
        keras.config.set_dtype_policy(before)
    # Half precision: 2^-8 a product (bfloat16), and each row is rounded before the sum.
    assert_trained_alike(plain, balanced, rtol=2e-2)


def test_gradients_see_no_loss_scale():
    scales = []

    class Recorder(Ones):
        def solve(self, gramian, present, losses):
            scales.append(keras.ops.convert_to_numpy(gramian).max())
            return super().solve(gramian, present, losses)

    for inner in (False, True):
        optimizer = keras.optimizers.SGD(0.1)
        if inner:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
        model = fresh("dense", balancer=Recorder(), optimizer=optimizer, run_eagerly=True)
        if BACKEND == "jax":
            pytest.skip("JAX traces: there are no values to look at")
        x, y = data(model)
        model.train_on_batch(x, y)
    np.testing.assert_allclose(scales[1], scales[0], rtol=1e-5)


def test_heads_keep_their_own_gradient():
    class Weighted(Ones):
        def solve(self, gramian, present, losses):
            return keras.ops.convert_to_tensor(np.array([3.0, 0.0], "float32"))

    plain, balanced = fresh("dense"), fresh("dense", balancer=Weighted())
    x, y = data(plain)
    for model in (plain, balanced):
        model.train_on_batch(x, y)
    for a, b in zip(plain.weights, balanced.weights, strict=True):
        same = np.allclose(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), rtol=1e-5, atol=1e-6
        )
        assert same == ("trunk" not in a.path), a.path


def test_a_task_without_labels_changes_nothing_for_the_others():
    # The balancer sees a row of zeros, so weights are those of the tasks that are there.
    seen = []

    class Recorder(Ones):
        def solve(self, gramian, present, losses):
            seen.append(keras.ops.convert_to_numpy(present))
            return super().solve(gramian, present, losses)

    model = fresh("partly_shared", balancer=Recorder(), run_eagerly=True)
    x, y = data(model)
    y["b"] = np.full_like(y["b"], np.nan)
    model.train_on_batch(x, y)
    if BACKEND != "jax":
        assert seen[0].tolist() == [True, False, True]


def test_frozen_trunks_train_their_heads():
    def case():
        model = CASES["dense"]()
        model.get_layer("trunk").trainable = False
        return model

    assert_trained_alike(train(case), train(case, balancer=Ones()))


def test_a_rule_that_draws_takes_batches_of_any_size_at_the_representation():
    model = fresh("dense", balancer="graddrop", scope="representation")
    x, y = data(model, rows=12)
    model.fit(x, y, batch_size=8, verbose=0)
    assert model.balancer_state.variables


def test_a_rule_that_keeps_gradients_has_no_place_at_the_representation():
    with pytest.raises(ValueError, match=r"keeps nothing .* Received: balancer=DBMTL"):
        fresh("dense", balancer="db_mtl", scope="representation")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"balancer_every": 0}, "`balancer_every` must be 1 or more. Received: 0"),
        ({"balancer_every": 1.5}, "`balancer_every` must be 1 or more. Received: 1.5"),
        ({"balancer": "uw", "balancer_every": 2}, "`balancer_every` needs a Gramian balancer"),
        ({"scope": "trunk"}, "`scope` must be one of .*Received: scope='trunk'"),
        ({"gramian": "free"}, "`gramian` must be one of .*Received: gramian='free'"),
        ({"gramian": "matrix_free"}, "needs a rule that depends on products .*UPGrad"),
        (
            {"balancer": "mgda", "gramian": "matrix_free", "balancer_every": 3},
            "goes with balancer_every=1 and scope='shared'. Received: balancer_every=3",
        ),
        (
            {"balancer": "mgda", "gramian": "matrix_free", "scope": "representation"},
            "goes with balancer_every=1 .*scope='representation'",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fresh("dense", **{"balancer": "upgrad", **options})


@pytest.mark.parametrize("scope", ["shared", "representation"])
def test_a_loss_that_a_head_adds_is_no_tasks(scope):
    class Zeros(Ones):
        def solve(self, gramian, present, losses):
            return keras.ops.zeros_like(present, dtype="float32")

    rng = np.random.default_rng(0)
    x, label = (rng.normal(size=(8, n)).astype("float32") for n in (3, 1))

    def trunk_after_a_step(adds, **options):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        trunk = keras.layers.Dense(4, name="trunk", use_bias=False)
        private = keras.layers.Dense(4, name="private")
        features, own = trunk(inputs), private(inputs)
        if adds:
            own = OrthogonalityPenalty(0.5)(own, features)
        read = {"a": keras.layers.Concatenate()([features, own]), "b": features}
        tasks = [RegressionTask(name) for name in read]
        outputs = {task.name: task.build_head()(read[task.name]) for task in tasks}
        model = MultiTaskModel(inputs, outputs, tasks=tasks)
        model.compile(keras.optimizers.SGD(0.1), **options)
        before = trunk.get_weights()[0]
        logs = model.train_on_batch(x, {"a": label, "b": label}, return_dict=True)
        return trunk.get_weights()[0] - before, private.get_weights()[0], logs["loss"]

    with_it, without = trunk_after_a_step(True), trunk_after_a_step(False)
    balanced = trunk_after_a_step(True, balancer=Zeros(), scope=scope)
    np.testing.assert_allclose(balanced[0], with_it[0] - without[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(balanced[1], with_it[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(balanced[2], with_it[2], rtol=1e-5)
