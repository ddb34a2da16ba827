"""An optimizer a part: each weight is moved by its own, on resume and after a change too."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from mtl_keras.optimizers import per_part

UNTRACED = {"run_eagerly": True} if keras.backend.backend() == "tensorflow" else {}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4)).astype("float32")
Y = {"clicked": (X[:, 0] > 0).astype("float32"), "price": X.sum(axis=1)}


def built(optimizer="sgd", **options):
    keras.utils.set_random_seed(0)
    tasks = [mtl.BinaryTask("clicked"), mtl.RegressionTask("price")]
    options = {"trunk": [5], "head": [3]} | UNTRACED | options
    return zoo.shared_trunk(tasks, 4, optimizer=optimizer, **options)


def weights(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}


def sgd(rate, **options):
    return keras.optimizers.SGD(rate, **options)


def moves(model):
    before = weights(model)
    model.train_on_batch(X, Y)
    return {path: value - before[path] for path, value in weights(model).items()}


@pytest.mark.parametrize(
    ("parts", "rates"),
    [
        ({"trunk": 0.1, "heads": 0.01}, {"trunk": 0.1, "clicked": 0.01, "price": 0.01}),
        (
            {"trunk": 0.1, "heads/clicked": 0.0, "heads/price": 0.02},
            {"trunk": 0.1, "clicked": 0.0, "price": 0.02},
        ),
        (
            {"trunk": 0.1, "heads": 0.3, "heads/price": 0.02},
            {"trunk": 0.1, "clicked": 0.3, "price": 0.02},
        ),
        ({"price": 0.02, None: 0.5}, {"trunk": 0.5, "clicked": 0.5, "price": 0.02}),
    ],
)
def test_each_weight_is_moved_at_the_rate_of_its_part(parts, rates):
    default = sgd(parts[None]) if None in parts else None
    own = per_part({part: sgd(rate) for part, rate in parts.items() if part}, default)
    gradients = {path: -move for path, move in moves(built(sgd(1.0))).items()}
    for path, move in moves(built(own)).items():
        expected = -rates[path.partition("/")[0]] * gradients[path]
        np.testing.assert_allclose(move, expected, rtol=1e-3, atol=1e-7, err_msg=path)


def two_kinds():
    return per_part({"trunk": keras.optimizers.Adam(0.02), "heads": sgd(0.05, momentum=0.9)})


@pytest.mark.parametrize("balancer", [None, "uw", "upgrad"])
def test_a_loaded_model_goes_on_alike(tmp_path, balancer):
    model = built(two_kinds(), balancer=balancer)
    for _ in range(3):
        model.train_on_batch(X, Y)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for own in (model, loaded):
        own.train_on_batch(X, Y)
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    kinds = [type(own).__name__ for own in loaded.optimizer.optimizers[:2]]
    assert kinds == ["Adam", "SGD"]


@pytest.fixture
def half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(policy)


def test_parts_move_at_their_rates_under_loss_scaling(half_precision):
    whole, model = built(sgd(1.0)), built(per_part({"trunk": sgd(0.1), "heads": sgd(0.02)}))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    for (path, moved), step in zip(moves(model).items(), moves(whole).values(), strict=True):
        rate = 0.02 if path.startswith(("clicked", "price")) else 0.1
        np.testing.assert_allclose(moved, rate * step, rtol=0.02, atol=1e-5, err_msg=path)


def test_fit_trains_all_parts():
    model = built(two_kinds(), run_eagerly=False)
    before = weights(model)
    losses = model.fit(X, Y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert all((value != before[path]).any() for path, value in weights(model).items())


def test_a_changed_model_keeps_the_optimizers_of_its_parts():
    model, other = built(two_kinds()), built(two_kinds())
    for own in (model, other):
        own.train_on_batch(X, Y)
    bigger = model.add_task(mtl.RegressionTask("stars"))
    bigger.train_on_batch(X, Y)
    other.train_on_batch(X, Y)
    found = weights(bigger)
    for path, value in weights(other).items():
        np.testing.assert_allclose(found[path], value, rtol=1e-5, atol=1e-7, err_msg=path)
    with pytest.raises(ValueError, match=r"`parts` must be of all weights.*without \['stars/"):
        parts = {"trunk": sgd(0.1), "heads/clicked": sgd(0.1), "heads/price": sgd(0.1)}
        built(per_part(parts)).add_task(mtl.RegressionTask("stars"))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, r"`parts` must be a dict.*Received: parts=\{\}"),
        ("adam", r"`parts` must be a dict.*Received: parts='adam'"),
        ({"trunk": "adam"}, r"`parts` must be of all weights.*without \['clicked/"),
        ({"trnk": "adam"}, r"A part must be one of \['trunk'.*Received: 'trnk'"),
        ({"heads/clicked": "adam", "clicked": "sgd"}, r"must name a layer once.*'heads/clicked'"),
    ],
)
def test_bad_parts_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        built(per_part(parts))
