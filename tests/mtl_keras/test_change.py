"""Changing a trained model: tasks that come and go, parts that freeze; nothing else is lost."""

import functools
import itertools

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo

BACKEND = keras.backend.backend()
UNTRACED = {"run_eagerly": True} if BACKEND == "tensorflow" else {}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4)).astype("float32")
Y = {
    "clicked": (X[:, 0] > 0).astype("float32"),
    "price": X.sum(axis=1),
    "shop": np.digitize(X[:, 1], (-0.5, 0.5)),
}
MISSING = {"clicked": np.nan, "price": np.nan, "shop": -1}
EXPERTS = {"experts": 2, "expert_units": [4], "towers": [3]}


def tasks():
    return [
        mtl.BinaryTask("clicked"),
        mtl.RegressionTask("price", weight=0.5),
        mtl.CategoricalTask("shop", 3),
    ]


def trained(builder=zoo.shared_trunk, steps=3, **options):
    keras.utils.set_random_seed(0)
    if builder is zoo.shared_trunk:
        options = {"trunk": [6]} | options
    model = builder(tasks(), 4, **({"optimizer": "adam"} | UNTRACED | options))
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model


def weights(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}


def slots(model):
    # Without the optimizer's name, which counts how many there are.
    named = {v.path.partition("/")[2]: v for v in model.optimizer.variables}
    return {name: keras.ops.convert_to_numpy(v) for name, v in named.items()}


def assert_equal(ours, theirs):
    assert set(ours) == set(theirs)
    for path, value in ours.items():
        np.testing.assert_allclose(value, theirs[path], rtol=1e-6, atol=1e-7, err_msg=path)


def without(values, task):
    return {path: value for path, value in values.items() if f"{task}" not in path}


BUILDERS = {
    "shared_trunk": {},
    "task_attention": {"trunk": [5]},
    "multi_gate_mixture_of_experts": EXPERTS,
    "progressive_layered_extraction": EXPERTS,
}


SLOWER = ("progressive_layered_extraction", "task_attention")


@pytest.mark.parametrize(
    "builder",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOWER else name for name in BUILDERS],
)
def test_the_next_step_is_that_of_a_model_that_lacks_the_labels(builder):
    build = functools.partial(trained, getattr(zoo, builder), **BUILDERS[builder])
    model, other = build(), build()
    before = model.predict(X, verbose=0)
    smaller = model.remove_task("price")
    assert [task.name for task in smaller.tasks] == ["clicked", "shop"]
    for task, value in smaller.predict(X, verbose=0).items():
        np.testing.assert_allclose(value, before[task], rtol=1e-6)
    smaller.train_on_batch(X, {name: Y[name] for name in ("clicked", "shop")})
    lacking = Y | {"price": np.full(24, np.nan)}
    other.train_on_batch(X, lacking)
    # A layer of several tasks stays whole; what was for the task alone has no gradient any more.
    ours, kept = (without(own, "price") for own in (weights(smaller), slots(smaller)))
    assert_equal(ours, without(weights(other), "price"))
    assert_equal(kept, without(slots(other), "price"))
    assert len(weights(smaller)) < len(weights(other))


def test_a_subset_is_in_the_order_that_was_asked_for():
    model = trained()
    subset = model.subset(["shop", "clicked"])
    assert list(subset.output) == [task.name for task in subset.tasks] == ["shop", "clicked"]
    # The same layers: what one learns, the other knows.
    subset.train_on_batch(X, {"shop": Y["shop"]})
    found, expected = subset.predict(X, verbose=0), model.predict(X, verbose=0)
    np.testing.assert_allclose(found["shop"], expected["shop"], rtol=1e-6)
    assert int(subset.optimizer.iterations) == 4 and int(model.optimizer.iterations) == 3


def test_what_was_compiled_is_kept_for_the_tasks_that_stay():
    model = trained(steps=1)
    score = mtl.TaskScore({"clicked": 0.5, "price": 1.0, "shop": 0.3})
    model.compile(
        keras.optimizers.SGD(0.03, momentum=0.9),
        loss={"price": "mean_absolute_error"},
        loss_weights={"clicked": 3.0, "shop": 0.2},
        metrics={"shop": ["sparse_categorical_crossentropy"]},
        score=score,
        balancer="uw",
        **UNTRACED,
    )
    model.train_on_batch(X, Y)
    smaller = model.remove_task("clicked")
    assert smaller.loss_weights == {"price": 0.5, "shop": 0.2}
    assert type(smaller.optimizer) is type(model.optimizer)
    assert float(smaller.optimizer.learning_rate) == pytest.approx(0.03)
    assert smaller.balancer is not model.balancer and type(smaller.balancer) is type(model.balancer)
    logs = smaller.train_on_batch(X, {k: Y[k] for k in ("price", "shop")}, return_dict=True)
    assert "shop_sparse_categorical_crossentropy" in logs and "clicked_loss" not in logs
    assert smaller.remove_task("price").loss_weights == {"shop": 0.2}
    changed = model.remove_task("clicked", loss_weights={"shop": 7.0}, optimizer="sgd")
    assert changed.loss_weights == {"price": 0.5, "shop": 7.0}
    assert changed.optimizer.iterations == 0


def test_a_new_task_has_a_fresh_head_and_the_others_go_on():
    model, other = trained(), trained()
    bigger = model.add_task(mtl.RegressionTask("stars", 2), head=[5])
    assert [task.name for task in bigger.tasks] == ["clicked", "price", "shop", "stars"]
    assert len(bigger.get_layer("stars").get_weights()) == 4
    stars = np.full((24, 2), np.nan)
    bigger.train_on_batch(X, Y | {"stars": stars})
    other.train_on_batch(X, Y)
    assert_equal(without(weights(bigger), "stars"), weights(other))
    assert_equal(without(slots(bigger), "stars"), slots(other))
    logs = bigger.train_on_batch(X, {"stars": X[:, :2]}, return_dict=True)
    assert logs["stars_labels"] == 48
    again = bigger.remove_task("stars")
    assert_equal(weights(again), {p: v for p, v in weights(bigger).items() if "stars" not in p})


def test_a_new_task_continues_the_part_of_another():
    model = trained(zoo.soft_sharing, towers=[5])
    head = keras.Sequential([keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)])
    bigger = model.add_task(mtl.RegressionTask("sum"), head=head, like="shop")
    reads = keras.Model(model.inputs, model.get_layer("shop").input)
    expected = keras.ops.convert_to_numpy(reads(X)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(bigger.predict(X, verbose=0)["sum"], expected, rtol=1e-5)


def test_penalties_stay_between_the_towers_that_are_left(tmp_path):
    penalty = mtl.sharing.L2Sharing(0.5, towers=["{task}_tower", ("clicked", "price")])
    model = trained(zoo.soft_sharing, towers=[5], sharing=penalty)

    def drawn(own):
        logs = own.train_on_batch(
            X, {t.name: Y.get(t.name, Y["clicked"]) for t in own.tasks}, return_dict=True
        )
        return {name: logs[name] for name in logs if "sharing" in name}

    assert len(drawn(model)) == 1
    bigger = model.add_task(mtl.BinaryTask("bought"), like="shop")
    (own,) = bigger.sharing
    assert own.towers == [("clicked_tower", "price_tower", "shop_tower"), ("clicked", "price")]
    assert drawn(bigger)
    smaller = bigger.remove_task("price")
    assert smaller.sharing[0].towers == [("clicked_tower", "shop_tower")]
    assert drawn(smaller)
    smaller.save(tmp_path / "model.keras")
    assert drawn(keras.saving.load_model(tmp_path / "model.keras"))
    assert smaller.subset(["shop"]).sharing == []
    assert model.sharing == [penalty] and penalty.towers[0] == "{task}_tower"


def test_changed_models_are_saved_and_go_on(tmp_path):
    model = trained().add_task(mtl.BinaryTask("bought")).remove_task("price")
    y = {"clicked": Y["clicked"], "shop": Y["shop"], "bought": Y["clicked"]}
    model.train_on_batch(X, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for own in (model, loaded):
        own.train_on_batch(X, y)
    for task, value in model.predict(X, verbose=0).items():
        np.testing.assert_allclose(loaded.predict(X, verbose=0)[task], value, rtol=1e-5)


def test_a_model_that_was_never_compiled_can_be_changed():
    inputs = keras.Input((4,))
    outputs = {task.name: task.build_head()(inputs) for task in tasks()}
    model = mtl.MultiTaskModel(inputs, outputs, tasks=tasks())
    assert not model.remove_task("price").compiled
    assert model.add_task(mtl.BinaryTask("bought"), optimizer="sgd").compiled
    model.freeze("heads")
    assert model.trainable_variables == []


# -- freezing


@pytest.mark.parametrize(
    ("part", "frozen"),
    [
        ("trunk", ["trunk"]),
        ("heads", ["clicked", "price", "shop"]),
        ("heads/price", ["price"]),
        ("price", ["price"]),
    ],
)
def test_what_is_frozen_stays_and_the_rest_trains(part, frozen):
    model = trained()
    # As a user does: after training, with the same model.
    model.fit(X, Y, verbose=0)
    before = weights(model)
    model.freeze(part)
    model.fit(X, Y, verbose=0)
    after = {v.path: keras.ops.convert_to_numpy(v) for v in model.variables}
    for path, value in before.items():
        same = np.array_equal(after[path], value)
        assert same == (path.partition("/")[0] in frozen), path
    model.unfreeze(part)
    model.fit(X, Y, verbose=0)
    for path, value in weights(model).items():
        assert not np.array_equal(value, before[path])


@pytest.mark.parametrize("balancer", [None, "upgrad", "famo"])
def test_freezing_loses_no_state_of_what_trains_on(balancer):
    model = trained(balancer=balancer)
    expected = slots(model)
    state = model.balancer_state and [
        keras.ops.convert_to_numpy(v) for v in model.balancer_state.variables
    ]
    model.freeze("heads/shop")
    found = slots(model)
    assert set(found) == {path for path in expected if "shop" not in path}
    assert_equal(found, {path: expected[path] for path in found})
    for variable, value in zip(
        model.balancer_state.variables if balancer else (), state or (), strict=True
    ):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), value)


@pytest.mark.parametrize(
    ("moment", "balancer"), [("on_epoch_end", None), ("on_train_batch_end", "gradnorm")]
)
def test_a_callback_freezes_and_the_rest_trains_on(moment, balancer):
    keras.utils.set_random_seed(0)
    model = zoo.shared_trunk(tasks(), 4, trunk=[6], balancer=balancer)
    trunk = next(layer for layer in model.layers if layer.weights)
    seen = []

    class Freeze(keras.callbacks.Callback):
        def act(self, index, logs=None):
            if BACKEND == "jax":
                self.model.jax_state_sync()
            parts = (trunk.get_weights()[0], self.model.get_layer("price").get_weights()[0])
            seen.append([np.array(part) for part in parts])
            if len(seen) == 2:
                self.model.freeze("trunk")

    setattr(Freeze, moment, Freeze.act)
    per_epoch = 1 if moment == "on_epoch_end" else 3
    fit = {"batch_size": 8, "epochs": 6 // per_epoch, "verbose": 0, "callbacks": [Freeze()]}
    model.fit(X, Y, **fit)
    moved = [
        [np.abs(a - b).max() for a, b in zip(*two, strict=True)] for two in itertools.pairwise(seen)
    ]
    trunks, heads = zip(*moved, strict=True)
    assert len(seen) == 6 and trunks[0] > 0 and trunks[1:] == (0, 0, 0, 0)
    assert min(heads) > 0
    # Then and in the next fit, the same optimizer.
    assert int(model.optimizer.iterations) == 6 * 3 // per_epoch
    model.fit(X, Y, verbose=0)


def test_freezing_and_thawing_in_between_steps_changes_nothing_else():
    model, other = trained(), trained()
    model.freeze("trunk")
    model.unfreeze("trunk")
    for own in (model, other):
        own.train_on_batch(X, Y)
    ours, theirs = weights(model), weights(other)
    heads = {path for path in ours if not path.startswith("trunk")}
    assert_equal({p: ours[p] for p in heads}, {p: theirs[p] for p in heads})


# -- what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.subset([]), r"`tasks` must be a list.*Received: tasks=\[\]"),
        (lambda m: m.subset("clicked"), r"`tasks` must be a list.*Received: tasks='clicked'"),
        (lambda m: m.subset(["shoes"]), r"`tasks`.*\['clicked', 'price', 'shop'\].*shoes"),
        (lambda m: m.remove_task("shoes"), r"`name` must be one of.*Received: name='shoes'"),
        (lambda m: m.subset(["shop"]).remove_task("shop"), r"`name` must be one of several"),
        (lambda m: m.add_task(mtl.BinaryTask("shop")), r"`task` must not be named.*'shop'"),
        (
            lambda m: m.add_task(mtl.BinaryTask("trunk_")).add_task(mtl.BinaryTask("trunk_")),
            "named",
        ),
        (lambda m: m.add_task(mtl.BinaryTask("new"), like="old"), r"`like` must be one of.*'old'"),
        (lambda m: m.add_task(mtl.TokenTask("tag", 3)), r"'tag' must label what 'clicked' labels"),
        (lambda m: m.freeze(), r"Name one part or more, of \['trunk', 'heads', 'heads/clicked'"),
        (lambda m: m.freeze("trnk"), r"A part must be one of \['trunk'.*Received: 'trnk'"),
        (lambda m: m.unfreeze("heads/shoes"), r"A part must be one of.*Received: 'heads/shoes'"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        change(trained(steps=0))
