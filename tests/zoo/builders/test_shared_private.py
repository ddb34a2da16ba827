"""shared_private: a shared and private encoders, against the equations in NumPy."""

import functools

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.builder_cases import labels_of, mixed_tasks
from conformance.model_suite import MODEL_CHECKS, ModelCase
from conformance.network_statements import arrays, dense, random
from zoo import shared_private, shared_trunk, single_task

FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}  # sums of a few float32 products
NAMES = ("clicked", "price", "cost")
ROWS = {"row_input": "site", "num_row_tasks": 3}


def some_tasks(count=2):
    return [mtl.RegressionTask(name) for name in NAMES[:count]]


X = random(6, 3)
SITES = np.array([2, 0, 1, 1, 0, 2], "int32")
LABELS = {name: random(6, 1, seed=i + 1) for i, name in enumerate(NAMES)}


def randomise(model):
    # Each layer on its own, so that another one beside it changes nothing.
    for layer in model.layers:
        rng = np.random.default_rng(list(layer.name.encode()))
        layer.set_weights([0.5 * rng.normal(size=w.shape) for w in layer.get_weights()])
    return model


def encoded(encoder, x):
    for layer in encoder.layers:
        x = np.maximum(dense(layer, x), 0)
    return x


def features(model, x=X, sites=None):
    """S and, by task, H: of each task's encoder, or of the encoder of each row's site."""
    shared = encoded(model.get_layer("shared_encoder"), x)
    names = [task.name for task in model.tasks]
    if sites is None:
        return shared, {name: encoded(model.get_layer(f"{name}_tower"), x) for name in names}
    towers = model.get_layer("site_towers").branches
    rows = [encoded(towers[site], row[None])[0] for site, row in zip(sites, x, strict=True)]
    return shared, dict.fromkeys(names, np.stack(rows))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_heads_read_shared_and_their_own_features(count):
    model = randomise(shared_private(some_tasks(count), 3, [5, 4]))
    shared, private = features(model)
    for task, output in arrays(model(X)).items():
        both = np.concatenate([shared, private[task]], 1)
        np.testing.assert_allclose(output, dense(model.get_layer(task), both), **FLOAT32)


def test_rows_read_shared_features_and_those_of_their_own_task():
    model = randomise(shared_private(some_tasks(), 3, [5, 4], adversarial=0.1, **ROWS))
    shared, private = features(model, sites=SITES)
    for task, output in arrays(model({"features": X, "site": SITES})).items():
        both = np.concatenate([shared, private[task]], 1)
        np.testing.assert_allclose(output, dense(model.get_layer(task), both), **FLOAT32)


def overlap(s, h):
    return np.square(s.T @ h / len(s)).sum()


def logs_of_a_step(model, x):
    y = {task.name: LABELS[task.name] for task in model.tasks}
    return model.train_on_batch(x, y, return_dict=True)


def test_the_penalties_are_logged_by_task_and_part_of_the_loss():
    model = randomise(shared_private(some_tasks(), 3, [5, 4], orthogonality=0.5))
    shared, private = features(model)
    logs = logs_of_a_step(model, X)
    expected = {task: overlap(private[task], shared) for task in NAMES[:2]}
    for task in NAMES[:2]:
        assert logs[f"{task}_orthogonality_loss"] == pytest.approx(expected[task], rel=1e-4)
    total = logs["clicked_loss"] + logs["price_loss"] + 0.5 * sum(expected.values())
    assert float(logs["loss"]) == pytest.approx(float(total), rel=1e-4)


def test_the_penalties_of_rows_are_logged_and_part_of_the_loss():
    options = {"orthogonality": 0.5, "adversarial": 0.2, **ROWS}
    model = randomise(shared_private(some_tasks(1), 3, [5, 4], **options))
    shared, private = features(model, sites=SITES)
    logits = dense(model.get_layer("discriminator").classifier[0], shared)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    cross_entropy = -np.log(shares[np.arange(6), SITES]).mean()
    apart = sum(overlap(private["clicked"][k == SITES], shared[k == SITES]) for k in range(3))
    logs = logs_of_a_step(model, {"features": X, "site": SITES})
    assert logs["orthogonality_loss"] == pytest.approx(apart, rel=1e-4)
    assert logs["discriminator_loss"] == pytest.approx(cross_entropy, rel=1e-4)
    assert logs["discriminator_accuracy"] == pytest.approx((logits.argmax(1) == SITES).mean())
    total = logs["clicked_loss"] + 0.5 * apart + 0.2 * cross_entropy
    assert float(logs["loss"]) == pytest.approx(float(total), rel=1e-4)


def test_the_shared_encoder_learns_to_deceive_the_discriminator():
    # Nothing else is there to be learned.
    options = {"adversarial": 1.0, "orthogonality": 0.0, "loss_weights": {"clicked": 0.0}, **ROWS}
    sgd = keras.optimizers.SGD(0.1)
    model = randomise(shared_private(some_tasks(1), 3, [5, 4], optimizer=sgd, **options))
    discriminator = model.get_layer("discriminator")
    own = discriminator.get_weights()
    losses = []
    for _ in range(10):
        # All others learn, the discriminator does not.
        losses.append(logs_of_a_step(model, {"features": X, "site": SITES})["discriminator_loss"])
        model.reset_metrics()
        discriminator.set_weights(own)
    assert losses[-1] > losses[0] + 0.005


def test_without_strength_there_is_no_penalty():
    model = shared_private(some_tasks(), 3, [5, 4], orthogonality=0)
    logs = logs_of_a_step(model, X)
    assert not [key for key in logs if "orthogonality" in key]
    assert float(logs["loss"]) == pytest.approx(float(logs["clicked_loss"] + logs["price_loss"]))


# -- with balancers


@pytest.mark.parametrize("rows", [False, True], ids=["outputs", "rows"])
def test_no_balancer_weighs_the_penalties(rows):
    options = ROWS if rows else {}
    x = {"features": X, "site": SITES} if rows else X
    penalties = {"orthogonality": 0.5, "adversarial": 0.5 if rows else 0.0}
    tasks = some_tasks(1 if rows else 2)

    def change(balancer, penalties):
        arguments = options | {"optimizer": keras.optimizers.SGD(0.1)} | penalties
        model = shared_private(tasks, 3, [5, 4], balancer=balancer, **arguments)
        randomise(model)
        encoder = model.get_layer("shared_encoder")
        start = encoder.get_weights()
        logs_of_a_step(model, x)
        return [b - a for a, b in zip(start, encoder.get_weights(), strict=True)]

    none = {"orthogonality": 0.0, "adversarial": 0.0}
    with_them = [change(balancer, penalties) for balancer in ("mgda", None)]
    without = [change(balancer, none) for balancer in ("mgda", None)]
    for a, b, c, d in zip(*with_them, *without, strict=True):
        # What the penalties add to a step is the same, whatever the tasks' losses are made to.
        np.testing.assert_allclose(a - c, b - d, rtol=1e-4, atol=1e-6)


def test_a_balancer_weighs_the_row_tasks():
    model = shared_private(some_tasks(1), 3, [5, 4], balancer="upgrad", adversarial=0.1, **ROWS)
    assert model.balancer.num_tasks == 3


def test_private_encoders_are_not_shared():
    model = shared_private(some_tasks(), 3, [5, 4], balancer="upgrad")
    shared = {v.path.split("/")[0] for v in model._balanced_step.graph.shared}
    assert shared == {"shared_encoder"}


# -- limits


def with_heads_that_ignore(part):
    """A model whose heads have zeros for the shared (0) or the private (1) features."""
    model = shared_private(some_tasks(), 3, [5, 4])
    for name in NAMES[:2]:
        kernel, bias = model.get_layer(name).get_weights()
        kernel[4 * part : 4 * part + 4] = 0
        model.get_layer(name).set_weights([kernel, bias])
    return model


def test_without_private_features_it_is_a_shared_trunk():
    model, plain = with_heads_that_ignore(1), shared_trunk(some_tasks(), 3, [5, 4])
    plain.get_layer("trunk").set_weights(model.get_layer("shared_encoder").get_weights())
    for name in NAMES[:2]:
        kernel, bias = model.get_layer(name).get_weights()
        plain.get_layer(name).set_weights([kernel[:4], bias])
    for task, output in arrays(model(X)).items():
        np.testing.assert_allclose(output, arrays(plain(X))[task], **FLOAT32)


def test_without_shared_features_it_is_single_task_networks():
    model, plain = with_heads_that_ignore(0), single_task(some_tasks(), 3, [5, 4])
    for name in NAMES[:2]:
        tower = f"{name}_tower"
        plain.get_layer(tower).set_weights(model.get_layer(tower).get_weights())
        kernel, bias = model.get_layer(name).get_weights()
        plain.get_layer(name).set_weights([kernel[4:], bias])
    for task, output in arrays(model(X)).items():
        np.testing.assert_allclose(output, arrays(plain(X))[task], **FLOAT32)


def test_all_of_the_depth_shared_is_a_shared_trunk():
    model, plain = (f(some_tasks(), 3, [5, 4], share=1) for f in (shared_private, shared_trunk))
    assert [layer.name for layer in model.layers] == [layer.name for layer in plain.layers]
    adversarial = shared_private(some_tasks(1), 3, [5], share=1, adversarial=0.1, **ROWS)
    assert "discriminator" in [layer.name for layer in adversarial.layers]


# -- structure


def test_parameters():
    encoder, tasks = (3 * 5 + 5) + (5 * 4 + 4), 2
    model = shared_private(some_tasks(tasks), 3, [5, 4])
    assert model.count_params() == (1 + tasks) * encoder + tasks * (2 * 4 + 1)
    rows = shared_private(some_tasks(tasks), 3, [5, 4], adversarial=0.1, **ROWS)
    discriminator = 4 * 3 + 3
    assert rows.count_params() == (1 + 3) * encoder + discriminator + tasks * (2 * 4 + 1)


def test_layers_are_named_by_role():
    model = shared_private(some_tasks(1), 3, [5, 4], share=0.5)
    assert {layer.name for layer in model.layers} == {
        *("features", "trunk", "shared_encoder", "clicked_tower"),
        *("clicked_orthogonality", "clicked_features", "clicked"),
    }
    rows = shared_private(some_tasks(1), 3, [5, 4], share=0.5, adversarial=0.1, **ROWS)
    assert {layer.name for layer in rows.layers} == {
        *("features", "site", "trunk", "shared_encoder", "site_towers", "discriminator"),
        *("orthogonality", "shared_and_private", "clicked"),
    }


@pytest.mark.parametrize("rows", [{}, {"adversarial": 0.1, **ROWS}], ids=["outputs", "rows"])
def test_texts_share_their_words_and_padding_counts_for_nothing(rows):
    words = keras.layers.Embedding(9, 4, mask_zero=True, name="words")
    trunk = keras.Sequential([words, keras.layers.Dense(5, name="dense")])
    tasks = [mtl.TokenTask("tag", 3), mtl.RegressionTask("price")]
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    model = shared_private(tasks, tokens, trunk, share=0.5, **rows)
    short, long = np.array([[1, 2], [3, 4]]), np.array([[1, 2, 0, 0], [3, 4, 0, 0]])
    inputs = [{"tokens": x, "site": np.array([0, 2])} if rows else x for x in (short, long)]
    first, second = (arrays(model(x)) for x in inputs)
    np.testing.assert_allclose(first["price"], second["price"], **FLOAT32)
    np.testing.assert_allclose(first["tag"], second["tag"][:, :2], **FLOAT32)
    labels = [{"price": np.zeros(2), "tag": np.zeros(x.shape, int)} for x in (short, long)]
    model.compile(keras.optimizers.SGD(0.0))
    logs = [
        model.train_on_batch(x, y, return_dict=True) for x, y in zip(inputs, labels, strict=True)
    ]
    keys = [key for key in logs[0] if "orthogonality" in key or "discriminator" in key]
    assert len(keys) == (3 if rows else 2)
    for key in keys:
        assert logs[0][key] == pytest.approx(logs[1][key], rel=1e-4), key


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"adversarial": 0.1}, r"`adversarial` needs `row_input`.*Received: adversarial=0.1"),
        ({"orthogonality": -1}, r"`orthogonality` must .*Received: orthogonality=-1"),
        ({"adversarial": -1}, r"`adversarial` must .*Received: adversarial=-1"),
        ({"row_input": "site"}, r"`row_input` and `num_row_tasks` must .*num_row_tasks=None"),
        ({"trunk": [0]}, r"`trunk` must .*Received: trunk=\[0\]"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        shared_private(some_tasks(), 3, **({"trunk": [4]} | arguments))


@pytest.mark.slow
@pytest.mark.parametrize("check", [check for check in MODEL_CHECKS if "log_key" not in check])
def test_rows_pass_the_model_suite(check):
    tasks = mixed_tasks(2)
    x = {"features": random(48, 6), "site": np.arange(48, dtype="int32") % 3}
    y = {task.name: labels_of(task, x["features"]) for task in tasks}
    build = functools.partial(shared_private, tasks, 6, [8], adversarial=0.1, **ROWS)
    MODEL_CHECKS[check](ModelCase(build, x, y))
