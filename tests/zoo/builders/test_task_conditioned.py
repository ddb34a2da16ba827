"""task_conditioned: one trunk told its task, against the equations in NumPy."""

import functools
import math

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.builder_cases import labels_of, mixed_tasks
from conformance.model_suite import MODEL_CHECKS, ModelCase
from conformance.network_statements import arrays, dense, random, relu
from zoo import shared_trunk, single_task, task_conditioned
from zoo.builders.task_conditioned import CONDITIONINGS
from zoo.features import Categorical

FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}  # sums of a few float32 products
IDENTITIES = ("multiply", "film", "adapter", "hyper")
NAMES = ("clicked", "price", "cost")


def some_tasks(count=2):
    return [mtl.RegressionTask(name) for name in NAMES[:count]]


def randomise(model):
    rng = np.random.default_rng(1)
    model.set_weights([0.5 * rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def gelu(x):
    return x * np.vectorize(lambda v: (1 + math.erf(v / math.sqrt(2))) / 2)(x)


def by_row(z, stack):
    """The weights that each row's context mixes from a stack (tasks, ...)."""
    return np.tensordot(z, stack, 1)


def bottleneck(h, down, down_bias, up, up_bias):
    hidden = gelu(np.einsum("bi,bio->bo", h, down) + down_bias)
    return h + np.einsum("bi,bio->bo", hidden, up) + up_bias


def told(model, conditioning, i, h, z):
    """The equation of the i-th conditioning, of the trunk's features h and contexts z."""
    weights = model.get_layer(f"{conditioning}_{i}").get_weights()
    if conditioning == "concat":
        return relu(np.concatenate([h, z], 1) @ weights[0] + weights[1])
    if conditioning == "add":
        return relu(h @ weights[0] + z @ weights[1] + weights[2])
    if conditioning == "multiply":
        return (h @ weights[0]) * (z @ weights[1] + weights[2])
    if conditioning == "film":
        dgamma, beta = np.split(z @ weights[0] + weights[1], 2, axis=1)
        return (1 + dgamma) * h + beta
    if conditioning == "adapter":
        return bottleneck(h, *(by_row(z, w) for w in weights))
    stacks = {w.path.split("/")[-1]: w for w in model.get_layer(f"hyper_{i}").weights[:4]}
    stacks = [keras.ops.convert_to_numpy(w) for w in stacks.values()]
    embedding = z @ weights[-2] + weights[-1]
    e = np.concatenate([np.ones((len(z), 1)), embedding], 1)
    return bottleneck(h, *(by_row(e, w) for w in stacks))


def trunk(model, conditioning, x, z):
    for i in range(2):
        if conditioning not in ("concat", "add"):
            x = relu(dense(model.get_layer(f"trunk_{i}").layers[0], x))
        x = told(model, conditioning, i, x, z)
    return x


@pytest.mark.parametrize("conditioning", CONDITIONINGS[1:])
def test_each_task_reads_the_trunk_that_was_told_it(conditioning):
    model = randomise(task_conditioned(some_tasks(), 3, [5, 4], conditioning=conditioning))
    x = random(6, 3)
    for k, (task, output) in enumerate(arrays(model(x)).items()):
        features = trunk(model, conditioning, x, np.tile(np.eye(2)[k], (6, 1)))
        np.testing.assert_allclose(output, dense(model.get_layer(task), features), **FLOAT32)


def rows_model(conditioning="film", tasks=None, **options):
    tasks = tasks or some_tasks(1)
    return task_conditioned(
        tasks, 3, [5, 4], conditioning=conditioning, row_input="site", num_row_tasks=3, **options
    )


ROWS = {"features": random(6, 3), "site": np.array([2, 0, 1, 1, 0, 2], "int32")}


@pytest.mark.parametrize("conditioning", CONDITIONINGS[1:])
def test_each_row_is_told_its_own_task(conditioning):
    model = randomise(rows_model(conditioning, some_tasks(2)))
    features = trunk(model, conditioning, ROWS["features"], np.eye(3)[ROWS["site"]])
    for task, output in arrays(model(ROWS)).items():
        np.testing.assert_allclose(output, dense(model.get_layer(task), features), **FLOAT32)


def test_a_gate_over_rows_is_a_trunk_a_row_task():
    model = randomise(rows_model("gate"))
    towers = model.get_layer("site_towers").branches
    assert [tower.name for tower in towers] == ["site_0_tower", "site_1_tower", "site_2_tower"]
    features = []
    for x, site in zip(ROWS["features"], ROWS["site"], strict=True):
        for layer in towers[site].layers:
            x = relu(dense(layer, x))
        features.append(x)
    output = dense(model.get_layer("clicked"), np.stack(features))
    np.testing.assert_allclose(arrays(model(ROWS))["clicked"], output, **FLOAT32)


def test_an_embedding_takes_the_place_of_one_hot_rows():
    model = randomise(rows_model(embedding=2))
    (table,) = model.get_layer("task_embedding").get_weights()
    assert table.shape == (3, 2)
    features = trunk(model, "film", ROWS["features"], table[ROWS["site"]])
    output = dense(model.get_layer("clicked"), features)
    np.testing.assert_allclose(arrays(model(ROWS))["clicked"], output, **FLOAT32)
    model = randomise(task_conditioned(some_tasks(), 3, [5, 4], embedding=2))
    (table,) = model.get_layer("task_embedding").get_weights()
    features = trunk(model, "film", ROWS["features"], np.tile(table[1], (6, 1)))
    output = dense(model.get_layer("price"), features)
    np.testing.assert_allclose(arrays(model(ROWS["features"]))["price"], output, **FLOAT32)


@pytest.mark.slow
@pytest.mark.parametrize("check", MODEL_CHECKS)
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_rows_pass_the_model_suite(conditioning, check):
    tasks = mixed_tasks(2)
    x = {"features": random(48, 6), "site": np.arange(48, dtype="int32") % 3}
    y = {task.name: labels_of(task, x["features"]) for task in tasks}
    build = functools.partial(task_conditioned, tasks, 6, [8, 8], conditioning=conditioning)
    build = functools.partial(build, row_input="site", num_row_tasks=3)
    MODEL_CHECKS[check](ModelCase(build, x, y))


# -- limits


def sgd_step(model, x, y):
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    model.train_on_batch(x, y)
    return model.get_weights()


def test_a_gate_is_single_task_networks():
    gated = task_conditioned(some_tasks(), 3, [5, 4], conditioning="gate")
    single = single_task(some_tasks(), 3, [5, 4])
    single.set_weights(gated.get_weights())
    x, y = random(6, 3), {task: random(6, 1, seed=1) for task in NAMES[:2]}
    for task, output in arrays(gated(x)).items():
        np.testing.assert_array_equal(output, arrays(single(x))[task])
    for a, b in zip(sgd_step(gated, x, y), sgd_step(single, x, y), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gate_over_rows_trains_each_network_by_its_own_rows():
    model, alone = rows_model("gate"), single_task(some_tasks(1), 3, [5, 4])
    head = model.get_layer("clicked")
    weights = model.get_layer("site_towers").branches[1].get_weights() + head.get_weights()
    alone.set_weights(weights)
    head.trainable = alone.get_layer("clicked").trainable = False
    y = random(6, 1, seed=1)
    mine = ROWS["site"] == 1
    before = model.get_layer("site_towers").branches[0].get_weights()
    sgd_step(model, ROWS, {"clicked": np.where(mine[:, None], y, np.nan)})
    expected = sgd_step(alone, ROWS["features"][mine], {"clicked": y[mine]})
    towers = model.get_layer("site_towers").branches
    for a, b in zip(towers[1].get_weights(), expected, strict=False):
        np.testing.assert_allclose(a, b, **FLOAT32)
    for a, b in zip(towers[0].get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def trunk_weights(model, count):
    return [w for i in range(count) for w in model.get_layer(f"trunk_{i}").get_weights()]


@pytest.mark.parametrize("conditioning", IDENTITIES)
def test_what_starts_as_the_identity_starts_as_one_trunk(conditioning):
    model = task_conditioned(some_tasks(), 3, [5, 4], conditioning=conditioning)
    plain = shared_trunk(some_tasks(), 3, [5, 4])
    plain.get_layer("trunk").set_weights(trunk_weights(model, 2))
    x = random(6, 3)
    for task in NAMES[:2]:
        plain.get_layer(task).set_weights(model.get_layer(task).get_weights())
    for task, output in arrays(model(x)).items():
        # The product with W1, which is the identity, may round.
        np.testing.assert_allclose(output, arrays(plain(x))[task], **FLOAT32)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_all_of_the_depth_shared_is_a_shared_trunk(conditioning):
    for options in ({}, {"row_input": "site", "num_row_tasks": 3}):
        model = task_conditioned(
            some_tasks(), 3, [5, 4], conditioning=conditioning, share=1, **options
        )
        plain = shared_trunk(some_tasks(), 3, [5, 4])
        assert [w.shape for w in model.weights] == [w.shape for w in plain.weights]
        assert {layer.name for layer in plain.layers} <= {layer.name for layer in model.layers}


def test_rows_and_outputs_are_one_network_called_in_two_ways():
    outputs = randomise(task_conditioned(some_tasks(3), 3, [5, 4]))
    rows = rows_model()
    for layer in ("trunk_0", "film_0", "trunk_1", "film_1"):
        rows.get_layer(layer).set_weights(outputs.get_layer(layer).get_weights())
    for task in NAMES:
        outputs.get_layer(task).set_weights(rows.get_layer("clicked").get_weights())
    every = arrays(outputs(ROWS["features"]))
    expected = [every[NAMES[site]][i] for i, site in enumerate(ROWS["site"])]
    np.testing.assert_allclose(arrays(rows(ROWS))["clicked"], expected, **FLOAT32)


# -- structure

WIDTHS = (3 * 5 + 5) + (5 * 4 + 4)
HEADS = 2 * (4 + 1)
ADDED = {
    "concat": 2 * 5 + 2 * 4,
    "add": 2 * 5 + 2 * 4,
    "multiply": 5 * 5 + 4 * 4 + (2 + 1) * (5 + 4),
    "film": (2 + 1) * 2 * (5 + 4),
    "adapter": 2 * sum(2 * 6 * c + 6 + c for c in (5, 4)),
    "hyper": 33 * sum(2 * 6 * c + 6 + c for c in (5, 4)) + 2 * (2 + 1) * 32,
    "gate": WIDTHS,
}


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_parameters(conditioning):
    model = task_conditioned(some_tasks(), 3, [5, 4], conditioning=conditioning, bottleneck=6)
    assert model.count_params() == WIDTHS + ADDED[conditioning] + HEADS


def test_layers_are_named_by_role():
    model = task_conditioned(some_tasks(), 3, [5, 4], share=0.5)
    assert {layer.name for layer in model.layers} == {
        *("features", "trunk", "trunk_1", "film_1"),
        *("clicked_context", "price_context", "clicked", "price"),
    }


def test_a_step_changes_what_a_task_reads_and_no_more():
    model = task_conditioned(some_tasks(), 3, [8, 8], optimizer="sgd", run_eagerly=True)
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    model.train_on_batch(random(16, 3), {"price": random(16, 1, seed=1)})
    changed = {
        name
        for name, weights in before.items()
        for a, b in zip(weights, model.get_layer(name).get_weights(), strict=True)
        if (a != b).any()
    }
    assert changed == {"trunk_0", "film_0", "trunk_1", "film_1", "price"}
    generator = model.get_layer("film_1").generator.out.get_weights()[0]
    assert (generator[1] != 0).any() and (generator[0] == 0).all()


def test_balancers_find_trunk_and_conditioning_shared():
    model = task_conditioned(some_tasks(), 3, [5, 4], balancer="upgrad")
    shared = {v.path.split("/")[0] for v in model._balanced_step.graph.shared}
    assert shared == {"trunk_0", "film_0", "trunk_1", "film_1"}


def test_a_balancer_weighs_the_row_tasks():
    model = rows_model(balancer="upgrad")
    assert model._balanced_step.row_tasks.name == "site"
    assert model.balancer.num_tasks == 3
    assert rows_model(balancer="upgrad", row_tasks=None).balancer.num_tasks == 1
    assert rows_model()._balanced_step.row_tasks is None


def test_dropout_follows_every_dense_layer():
    model = task_conditioned(some_tasks(), 3, [5, 4], conditioning="concat", dropout=0.5)
    names = [layer.name for layer in model.layers]
    assert {"trunk_dropout_0", "trunk_dropout_1"} < set(names)
    model = task_conditioned(some_tasks(), 3, [5, 4], dropout=0.5)
    assert [type(layer).__name__ for layer in model.get_layer("trunk_1").layers] == [
        "Dense",
        "Dropout",
    ]


def test_activation_is_that_of_the_trunk():
    model = task_conditioned(some_tasks(), 3, [5], conditioning="add", activation="tanh")
    assert model.get_layer("add_0").activation is keras.activations.tanh


# -- backbones


def convolutions():
    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, name="first"),
            keras.layers.MaxPooling2D(name="pool"),
            keras.layers.Conv2D(5, 2, name="second"),
        ]
    )


@pytest.mark.parametrize("conditioning", ["gate", "concat", "film"])
def test_a_sequential_is_told_its_task_between_blocks(conditioning):
    backbone = convolutions()
    model = task_conditioned(some_tasks(), (8, 8, 1), backbone, conditioning=conditioning)
    assert arrays(model(random(2, 8, 8, 1)))["price"].shape == (2, 1)
    if conditioning != "gate":
        assert model.get_layer(f"{conditioning}_0").output.shape == (None, 3, 3, 4)
        assert model.get_layer("trunk_1").layers[0] is backbone.layers[-1]


def test_maps_are_modulated_by_channel():
    backbone = convolutions()
    model = randomise(task_conditioned(some_tasks(1), (8, 8, 1), backbone, share=0.5))
    x = random(2, 8, 8, 1)
    features = keras.ops.convert_to_numpy(backbone(x))
    kernel, bias = model.get_layer("film_1").get_weights()
    dgamma, beta = np.split(kernel[0] + bias, 2)
    pooled = ((1 + dgamma) * features + beta).mean(axis=(1, 2))
    output = dense(model.get_layer("clicked"), pooled)
    np.testing.assert_allclose(arrays(model(x))["clicked"], output, **FLOAT32)


def test_a_model_of_two_outputs_is_told_in_both():
    ids = keras.Input((None,), dtype="int32")
    words = keras.layers.Embedding(20, 4)(ids)
    encoder = keras.Model(
        ids, {"sequence_output": words, "pooled_output": words[:, 0]}, name="encoder"
    )
    tasks = [mtl.TokenTask("tag", 3), mtl.RegressionTask("price")]
    tokens = keras.Input((7,), dtype="int32", name="ids")
    model = randomise(task_conditioned(tasks, tokens, encoder))
    x = np.random.default_rng(0).integers(0, 20, (5, 7))
    (table,) = encoder.get_weights()
    kernel, bias = model.get_layer("film_0_pooled_output").get_weights()
    dgamma, beta = np.split(kernel[1] + bias, 2)
    price = dense(model.get_layer("price"), (1 + dgamma) * table[x[:, 0]] + beta)
    outputs = arrays(model(x))
    np.testing.assert_allclose(outputs["price"], price, **FLOAT32)
    assert outputs["tag"].shape == (5, 7, 3)


# -- inputs of rows


def test_the_ids_stand_beside_any_inputs():
    named = task_conditioned(
        some_tasks(1),
        {"shop": Categorical(num_categories=3)},
        [4],
        row_input="site",
        num_row_tasks=2,
    )
    assert sorted(named.input) == ["shop", "site"]
    pair = (keras.Input((2,), name="left"), keras.Input((3,), name="right"))
    listed = task_conditioned(some_tasks(1), pair, [4], row_input="site", num_row_tasks=2)
    assert [x.name for x in listed.input] == ["left", "right", "site"]
    outputs = listed([random(2, 2), random(2, 3), np.array([0, 1])])
    assert outputs["clicked"].shape == (2, 1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"conditioning": "glue"}, r"`conditioning` must be .*Received: conditioning='glue'"),
        ({"row_input": "site"}, r"`row_input` and `num_row_tasks` must .*num_row_tasks=None"),
        ({"num_row_tasks": 3}, r"`row_input` and `num_row_tasks` must .*row_input=None"),
        ({"row_input": "features", "num_row_tasks": 3}, r"`row_input` must .*'features'"),
        ({"row_input": 3, "num_row_tasks": 3}, r"`row_input` must .*Received: row_input=3"),
        ({"row_input": "site", "num_row_tasks": 0}, r"`num_row_tasks` must .*num_row_tasks=0"),
        ({"conditioning": "gate", "embedding": 4}, r"`embedding` must be None.*embedding=4"),
        ({"conditioning": "adapter", "bottleneck": 0}, r"`bottleneck` must .*bottleneck=0"),
        ({"embedding": -1}, r"`embedding` must .*Received: embedding=-1"),
        ({"share": 2}, r"`share` must .*Received: share=2"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        task_conditioned(some_tasks(), 3, [5, 4], **arguments)


def test_a_task_named_like_the_ids_is_refused():
    with pytest.raises(ValueError, match=r"`tasks` must not be named.*'clicked'"):
        task_conditioned(some_tasks(), 3, [5], row_input="clicked", num_row_tasks=2)
