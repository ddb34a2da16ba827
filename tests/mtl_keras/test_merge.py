"""Models that were fine-tuned from one, merged into one."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from mtl_keras.merge import ties
from zoo.features import Categorical, Numeric

BACKEND = keras.backend.backend()
UNTRACED = {"run_eagerly": True} if BACKEND == "tensorflow" else {}
EXPERTS = {"experts": 2, "expert_units": [4], "towers": [3]}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 4)).astype("float32")


def copy_of(model):
    """A model of its own, with the same weights."""
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    return copy


def moved(model, seed, scale=0.1):
    """As if fine-tuned: every weight that trains is another, and so are moving statistics."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(keras.ops.convert_to_numpy(weight) + rng.uniform(0, scale, weight.shape))
    return model


def base_model(names=("clicked",)):
    keras.utils.set_random_seed(0)
    trunk = keras.Sequential(
        [
            keras.layers.Dense(6, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
        ]
    )
    tasks = [mtl.BinaryTask(name) for name in names]
    return zoo.shared_trunk(tasks, 4, trunk, **UNTRACED)


def with_task(model, name, seed):
    """A copy with another task in place of its own."""
    return moved(copy_of(model).add_task(mtl.RegressionTask(name)).subset([name]), seed)


def trunk_of(model):
    """Its weights, and which of them train."""
    layers = [own for own in model.layers if own.name not in model.output]
    layers = [own for own in layers if not own.name.endswith("_logits")]
    weights = [weight for own in layers for weight in own.weights]
    return [keras.ops.convert_to_numpy(w).astype("float64") for w in weights], [
        w.trainable for w in weights
    ]


def ties_entry(entries):
    """Yadav 2023, algorithm 1, lines 5 to 9: one weight, its trimmed entries."""
    mass = {sign: sum(abs(e) for e in entries if np.sign(e) == sign) for sign in (1, -1)}
    if mass[1] == mass[-1]:
        return 0.0
    elected = 1 if mass[1] > mass[-1] else -1
    chosen = [e for e in entries if np.sign(e) == elected]
    return sum(chosen) / len(chosen)


def stated(start, ends, trains, method, scale, density):
    """The merged weights, entry by entry."""
    flat = lambda values: np.concatenate([v.ravel() for v, t in zip(values, trains) if t])  # noqa: B905, E731
    vectors = [flat(end) - flat(start) for end in ends]
    if method == "ties":
        for vector in vectors:
            order = np.argsort(-np.abs(vector))
            vector[order[round(density * vector.size) :]] = 0
    rules = {"average": np.mean, "task_arithmetic": np.sum, "ties": ties_entry}
    added = scale * np.array([rules[method](entries) for entries in zip(*vectors, strict=True)])
    merged, at = [], 0
    for i, (value, t) in enumerate(zip(start, trains, strict=True)):
        if t:
            merged.append(value + added[at : at + value.size].reshape(value.shape))
            at += value.size
        else:
            merged.append(np.mean([end[i] for end in ends], axis=0))
    return merged


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("method", "given", "scale", "density"),
    [
        ("average", {}, 1.0, None),
        ("average", {"scale": 0.5}, 0.5, None),
        ("task_arithmetic", {}, 0.4, None),
        ("task_arithmetic", {"scale": -0.3}, -0.3, None),
        ("ties", {}, 1.0, 0.2),
        ("ties", {"scale": 0.7, "density": 0.6}, 0.7, 0.6),
    ],
)
def test_the_trunk_is_what_the_paper_says(method, given, scale, density, frozen):
    base = base_model()
    models = [with_task(base, name, seed) for seed, name in enumerate(("books", "dvd", "toys"))]
    start, trains = trunk_of(base)
    if frozen:
        # As models are that train their heads first: it says nothing of how they merge.
        models[0].freeze("trunk")
        base.freeze("trunk")
    merged = base.merge(models, method, **given)
    expected = stated(start, [trunk_of(m)[0] for m in models], trains, method, scale, density)
    found, _ = trunk_of(merged)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_ties_on_figures_by_hand():
    vectors = np.array([[4.0, 0.1, -2.0, 1.0], [2.0, -3.0, 3.0, -0.2], [-5.0, -1.0, 0.3, -1.0]])
    # Kept, half of each: [4, ., -2, .], [., -3, 3, .], [-5, -1, ., .] and, as large, the last -1.
    np.testing.assert_allclose(ties(vectors, 0.5), [-5.0, -2.0, 3.0, -1.0])
    # One of each: 4, -3 or 3 (both), -5.
    np.testing.assert_allclose(ties(vectors, 0.1), [-5.0, -3.0, 3.0, 0.0])
    np.testing.assert_allclose(ties(np.array([[1.0, 2.0], [-1.0, 2.0]]), 1.0), [0.0, 2.0])


def test_each_task_comes_with_the_head_of_its_model():
    base = base_model()
    books, dvd = with_task(base, "books", 1), with_task(base, "dvd", 2)
    merged = base.merge([books, dvd], "average")
    assert [task.name for task in merged.tasks] == ["books", "dvd"] == list(merged.output)
    for model, name in ((books, "books"), (dvd, "dvd")):
        for ours, theirs in zip(
            merged.get_layer(name).get_weights(), model.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    # The trunk is there once.
    trunk = books.count_params() - books.get_layer("books").count_params()
    heads = sum(own.get_layer(n).count_params() for own, n in ((books, "books"), (dvd, "dvd")))
    assert merged.count_params() == trunk + heads


@pytest.mark.parametrize("method", ["average", "task_arithmetic", "ties"])
def test_what_one_model_alone_has_of_the_base_is_not_diluted(method):
    base = base_model(("clicked", "bought"))
    models = [moved(copy_of(base), seed).subset([n]) for seed, n in enumerate(base.output)]
    merged = base.merge(models, method)
    for model, name in zip(models, base.output, strict=True):
        expected = model.get_layer(name).get_weights()
        for ours, theirs in zip(merged.get_layer(name).get_weights(), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("method", ["average", "ties"])
def test_one_model_merged_is_that_model(method):
    base = base_model()
    model = moved(copy_of(base), 1)
    merged = base.merge([model], method, density=1.0)
    ours, theirs = merged.predict(X, verbose=0), model.predict(X, verbose=0)
    np.testing.assert_allclose(ours["clicked"], theirs["clicked"], rtol=1e-5)


def test_models_of_the_same_tasks_share_their_heads_too():
    base = base_model(("clicked", "bought"))
    models = [moved(copy_of(base), seed) for seed in range(2)]
    merged = base.merge(models, "average")
    assert [task.name for task in merged.tasks] == ["clicked", "bought"]
    for ours, *theirs in zip(
        merged.get_weights(), *(model.get_weights() for model in models), strict=True
    ):
        np.testing.assert_allclose(ours, np.mean(theirs, axis=0), rtol=1e-6)


def test_the_order_of_models_does_not_matter_but_to_the_order_of_tasks():
    base = base_model()
    models = [with_task(base, name, seed) for seed, name in enumerate(("books", "dvd"))]
    one, other = base.merge(models), base.merge(models[::-1])
    assert list(other.output) == ["dvd", "books"]
    ours, theirs = one.predict(X, verbose=0), other.predict(X, verbose=0)
    for task in ours:
        np.testing.assert_allclose(ours[task], theirs[task], rtol=1e-5)


def test_the_merged_model_is_its_own_and_trains_and_saves(tmp_path):
    base = base_model()
    models = [with_task(base, name, seed) for seed, name in enumerate(("books", "dvd"))]
    before = [model.get_weights() for model in (base, *models)]
    merged = base.merge(models, optimizer="sgd", loss_weights={"dvd": 0.5})
    assert merged.loss_weights == {"books": 1.0, "dvd": 0.5}
    merged.train_on_batch(X, {"books": X[:, 0], "dvd": X[:, 1]})
    for model, kept in zip((base, *models), before, strict=True):
        for ours, theirs in zip(model.get_weights(), kept, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    merged.save(tmp_path / "merged.keras")
    again = keras.saving.load_model(tmp_path / "merged.keras")
    ours, theirs = merged.predict(X, verbose=0), again.predict(X, verbose=0)
    np.testing.assert_allclose(ours["dvd"], theirs["dvd"], rtol=1e-6)


@pytest.mark.parametrize("builder", ["multi_gate_mixture_of_experts", "task_attention"])
def test_other_builders(builder):
    options = EXPERTS if "experts" in builder else {"trunk": [5]}
    tasks = [mtl.BinaryTask("clicked"), mtl.BinaryTask("bought")]
    base = getattr(zoo, builder)(tasks, 4, **options, **UNTRACED)
    models = [moved(copy_of(base), seed) for seed in range(2)]
    models[1] = (
        models[1].add_task(mtl.RegressionTask("price"), like="bought").subset(["price", "bought"])
    )
    merged = base.merge(models, "average")
    assert [task.name for task in merged.tasks] == ["clicked", "bought", "price"]
    expected = models[1].get_layer("price").get_weights()
    np.testing.assert_array_equal(merged.get_layer("price").get_weights()[0], expected[0])
    # Every layer of both models is the mean of the two.
    names = {layer.name for layer in models[0].layers} & {layer.name for layer in models[1].layers}
    for name in names:
        both = [model.get_layer(name).get_weights() for model in models]
        for ours, *theirs in zip(merged.get_layer(name).get_weights(), *both, strict=True):
            np.testing.assert_allclose(ours, np.mean(theirs, axis=0), rtol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="raw strings in the model")
def test_raw_strings_in_a_mixture_of_experts():
    features = {"age": Numeric(40.0, 9.0), "job": Categorical(("cook", "nurse"))}
    base = zoo.multi_gate_mixture_of_experts(
        [mtl.BinaryTask("clicked")], features, **EXPERTS, **UNTRACED
    )
    models = [with_task(base, name, seed) for seed, name in enumerate(("books", "dvd"))]
    merged = base.merge(models, "average")
    x = {"age": np.array([39.0, 50.0]), "job": np.array(["cook", "poet"], object)}
    assert {k: v.shape for k, v in merged.predict(x, verbose=0).items()} == {
        "books": (2, 1),
        "dvd": (2, 1),
    }


def shared_layers():
    base = base_model()
    return base, [base.add_task(mtl.RegressionTask("price"))]


def other_inputs():
    base = base_model()
    return base, [zoo.shared_trunk([mtl.BinaryTask("clicked")], 5, trunk=[6])]


def new_task_twice():
    base = base_model()
    return base, [with_task(base, "books", seed) for seed in range(2)]


def not_finite():
    base = base_model()
    model = copy_of(base)
    model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
    return base, [model]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (shared_layers, r"`models` must have layers of their own.*Received"),
        (other_inputs, r"`models` must have the inputs .*Received: models\[0\] with .*5"),
        (new_task_twice, r"`models` must not share tasks.*Received: 'books' in 2 models"),
        (not_finite, r"`models` must have finite weights. Received"),
        (lambda: (base_model(), []), r"`models` must be a list .*Received: \[\]"),
        (lambda: (base_model(), base_model()), r"`models` must be a list .*Received"),
        (lambda: (base_model(), [keras.Sequential()]), r"`models` must be a list .*Received"),
    ],
)
def test_models_that_cannot_be_merged_are_refused(make, message):
    base, models = make()
    with pytest.raises(ValueError, match=message):
        base.merge(models)


def test_layers_of_another_shape_are_refused():
    tasks = [mtl.BinaryTask("clicked")]
    base, other = (zoo.shared_trunk(tasks, 4, trunk=[units]) for units in (6, 7))
    with pytest.raises(ValueError, match=r"layers of a name must be alike\. Received: '.*7.*6"):
        base.merge([other])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "mean"}, r"`method` must be one of .*Received: method='mean'"),
        ({"scale": "half"}, r"`scale` must be a number .*Received: scale='half'"),
        ({"density": 1.5}, r"`density` must be a number from 0 to 1.*Received: density=1.5"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    base = base_model()
    with pytest.raises(ValueError, match=message):
        base.merge([copy_of(base)], **options)
