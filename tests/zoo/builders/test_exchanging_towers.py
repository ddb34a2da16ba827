"""cross_stitch, nddr and sluice: towers that read each other, against their equations in NumPy."""

import functools

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.network_statements import arrays, dense, random, relu
from zoo import cross_stitch, nddr, shared_trunk, single_task, sluice

FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}  # sums of a few float32 products
NAMES = ("clicked", "price", "cost")
# With these arguments the exchange starts as the identity.
IDENTITIES = {
    "cross_stitch": functools.partial(cross_stitch, initial=1),
    "nddr": functools.partial(nddr, initial=1, batch_normalization=False),
    "sluice": functools.partial(sluice, initial=1, skip=1),
}
BUILDERS = {"cross_stitch": cross_stitch, "nddr": nddr, "sluice": sluice}
every_builder = pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)


def some_tasks(count=2):
    return [mtl.RegressionTask(name) for name in NAMES[:count]]


def randomise(model):
    rng = np.random.default_rng(1)
    # Positive, as variances must be.
    model.set_weights([rng.uniform(0.1, 0.8, w.shape) for w in model.get_weights()])
    return model


# -- the equations


def stitched(layer, xs):
    (alpha,) = layer.get_weights()
    return [sum(alpha[k, j] * x for j, x in enumerate(xs)) for k in range(len(xs))]


def reduced(layer, xs):
    kernel, gamma, beta, mean, variance = layer.get_weights()
    everything = np.concatenate(xs, 1)
    maps = [everything @ kernel[:, k] for k in range(len(xs))]
    epsilon = layer.normalization.epsilon
    whole = gamma * (np.concatenate(maps, 1) - mean) / np.sqrt(variance + epsilon) + beta
    return np.split(relu(whole), len(xs), axis=1)


def sluiced(layer, xs):
    (alpha,) = layer.get_weights()
    parts = [part for x in xs for part in np.split(x, 2, axis=1)]
    mixed = [sum(row[q] * part for q, part in enumerate(parts)) for row in alpha]
    return [np.concatenate(mixed[2 * k : 2 * k + 2], 1) for k in range(len(xs))]


EQUATIONS = {"cross_stitch": stitched, "nddr": reduced, "sluice": sluiced}


def forward(model, exchange, x, depth=2):
    """Blocks and exchanges in turn; the heads' mixture of depths where there is one."""
    names = [task.name for task in model.tasks]
    xs, held = [x] * len(names), []
    for i in range(depth):
        towers = [model.get_layer(f"{name}_tower_{i}").layers[0] for name in names]
        xs = [relu(dense(tower, x)) for tower, x in zip(towers, xs, strict=True)]
        xs = exchange(model.get_layer(f"exchange_{i}"), xs)
        held.append(xs)
    if any(layer.name.endswith("_depths") for layer in model.layers):
        betas = [model.get_layer(f"{name}_depths").get_weights()[0] for name in names]
        xs = [sum(b * d[k] for b, d in zip(betas[k], held, strict=True)) for k in range(len(xs))]
    return {name: dense(model.get_layer(name), x) for name, x in zip(names, xs, strict=True)}


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", BUILDERS)
def test_outputs_are_those_of_the_equations(kind, count):
    model = randomise(BUILDERS[kind](some_tasks(count), 3, [4, 4]))
    x = random(6, 3)
    expected = forward(model, EQUATIONS[kind], x)
    for task, output in arrays(model(x)).items():
        np.testing.assert_allclose(output, expected[task], **FLOAT32)


def test_a_sluice_without_skip_reads_the_last_block():
    model = randomise(sluice(some_tasks(), 3, [6, 4], skip=None))
    x = random(6, 3)
    expected = forward(model, sluiced, x)
    for task, output in arrays(model(x)).items():
        np.testing.assert_allclose(output, expected[task], **FLOAT32)


# -- limits


@pytest.mark.parametrize("kind", IDENTITIES)
def test_the_identity_is_single_task_networks(kind):
    model, single = IDENTITIES[kind](some_tasks(), 3, [4, 4]), single_task(some_tasks(), 3, [4, 4])
    for name in NAMES[:2]:
        blocks = [model.get_layer(f"{name}_tower_{i}") for i in range(2)]
        single.get_layer(f"{name}_tower").set_weights([w for b in blocks for w in b.get_weights()])
        single.get_layer(name).set_weights(model.get_layer(name).get_weights())
    x = random(6, 3)
    for task, output in arrays(model(x)).items():
        np.testing.assert_allclose(output, arrays(single(x))[task], **FLOAT32)


@every_builder
def test_all_of_the_depth_shared_is_a_shared_trunk(builder):
    model, plain = builder(some_tasks(), 3, [4, 4], share=1), shared_trunk(some_tasks(), 3, [4, 4])
    assert [layer.name for layer in model.layers] == [layer.name for layer in plain.layers]
    plain.set_weights(model.get_weights())
    x = random(6, 3)
    for task, output in arrays(model(x)).items():
        np.testing.assert_array_equal(output, arrays(plain(x))[task])


# -- structure

TOWERS = (3 * 4 + 4) + (4 * 4 + 4)
EXCHANGES = {
    "cross_stitch": 2 * (2 * 2 * 4),
    "nddr": 2 * ((2 * 4) * (2 * 4) + 4 * 2 * 4),
    "sluice": 2 * (4 * 4) + 2 * 2,
}


@pytest.mark.parametrize("kind", BUILDERS)
def test_parameters(kind):
    model = BUILDERS[kind](some_tasks(), 3, [4, 4])
    assert model.count_params() == 2 * TOWERS + EXCHANGES[kind] + 2 * (4 + 1)


@every_builder
def test_layers_are_named_by_role(builder):
    model = builder(some_tasks(), 3, [4, 4], share=0.5)
    assert [layer.name for layer in model.layers] == [
        *("features", "trunk", "clicked_tower_1", "price_tower_1", "exchange_1"),
        *("clicked", "price"),
    ]


@every_builder
def test_towers_start_different(builder):
    model = builder(some_tasks(), 3, [4])
    first, second = (model.get_layer(f"{name}_tower_0").get_weights()[0] for name in NAMES[:2])
    assert (first != second).any()


@every_builder
def test_all_towers_are_shared_below_an_exchange(builder):
    model = builder(some_tasks(), 3, [4, 4], balancer="upgrad")
    shared = {v.path.split("/")[0] for v in model._balanced_step.graph.shared}
    names = {"clicked_tower_0", "clicked_tower_1", "price_tower_0", "price_tower_1"}
    assert shared == names | {"exchange_0", "exchange_1"}


def test_arguments_reach_the_exchange():
    layer = cross_stitch(some_tasks(), 3, [4], per_channel=False, regularizer="l2").get_layer(
        "exchange_0"
    )
    assert layer.mixing.shape == (2, 2, 1) and isinstance(layer.regularizer, keras.regularizers.L2)
    layer = nddr(some_tasks(), 3, [4], exchange_activation="tanh", regularizer="l2").get_layer(
        "exchange_0"
    )
    assert layer.activation is keras.activations.tanh
    assert isinstance(layer.kernel_regularizer, keras.regularizers.L2)


def test_the_penalty_of_a_sluice_is_logged_for_each_exchange():
    model = sluice(some_tasks(), 3, [4, 4], orthogonality=0.1)
    y = {name: random(6, 1, seed=1) for name in NAMES[:2]}
    logs = model.train_on_batch(random(6, 3), y, return_dict=True)
    penalties = [logs[f"exchange_{i}_orthogonality_loss"] for i in range(2)]
    assert min(penalties) > 0
    expected = logs["clicked_loss"] + logs["price_loss"] + 0.1 * sum(penalties)
    assert float(logs["loss"]) == pytest.approx(float(expected), rel=1e-5)


# -- backbones


def convolutions():
    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, name="first"),
            keras.layers.MaxPooling2D(name="pool"),
            keras.layers.Conv2D(6, 2, name="second"),
        ]
    )


@every_builder
def test_a_sequential_exchanges_after_each_block(builder):
    options = {"skip": None} if builder is sluice else {}
    model = builder(some_tasks(), (8, 8, 1), convolutions(), **options)
    first, second = (model.get_layer(f"exchange_{i}").output for i in range(2))
    assert [x.shape for x in first] == [(None, 3, 3, 4)] * 2
    assert [x.shape for x in second] == [(None, 2, 2, 6)] * 2
    assert model(random(2, 8, 8, 1))["price"].shape == (2, 1)


@every_builder
def test_a_pretrained_backbone_is_copied_with_its_weights(builder):
    backbone = convolutions()
    backbone.build((None, 8, 8, 1))
    options = {"skip": None} if builder is sluice else {}
    model = builder(some_tasks(), (8, 8, 1), backbone, **options)
    for name in NAMES[:2]:
        tower = model.get_layer(f"{name}_tower_1").layers[-1]
        assert tower is not backbone.layers[-1]
        for a, b in zip(tower.get_weights(), backbone.layers[-1].get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_heads_may_label_positions():
    tasks = [mtl.TokenTask("tag", 3), mtl.RegressionTask("price")]
    model = cross_stitch(tasks, (None, 3), keras.layers.Conv1D(4, 3, padding="same"))
    outputs = model(random(2, 7, 3))
    assert outputs["tag"].shape == (2, 7, 3) and outputs["price"].shape == (2, 1)


class Twice(keras.layers.Layer):
    def call(self, x):
        return [x, x]


@every_builder
def test_blocks_of_several_tensors_are_refused(builder):
    with pytest.raises(ValueError, match=r"`towers` must return one tensor. Received: \["):
        builder(some_tasks(), 3, Twice())


@every_builder
@pytest.mark.parametrize(
    "towers, arguments, message",
    [
        ([0], {}, r"`towers` must be .*Received: towers=\[0\]"),
        ([4], {"initial": 2}, r"`initial` must be .*Received: initial=2"),
        ([4], {"share": 0.5}, r"`share` must be 0 or 1 where `towers`.*Received: share=0.5"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(builder, towers, arguments, message):
    with pytest.raises(ValueError, match=message):
        builder(some_tasks(), 3, towers, **arguments)


def test_blocks_of_different_shapes_cannot_be_mixed():
    with pytest.raises(ValueError, match=r"`towers` must have blocks of one shape.*Received"):
        sluice(some_tasks(), 3, [6, 4])
    with pytest.raises(ValueError, match=r"`subspaces` must divide the channels, 5"):
        sluice(some_tasks(), 3, [5])
    with pytest.raises(ValueError, match=r"`skip` must be .*Received: skip=3"):
        sluice(some_tasks(), 3, [4], skip=3)
