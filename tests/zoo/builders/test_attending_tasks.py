"""task_attention: masks over one trunk, against the equations in NumPy."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.network_statements import arrays, dense, random, relu, sigmoid
from zoo import shared_trunk, task_attention

FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}  # sums of a few float32 products
NAMES = ("clicked", "price", "cost")


def some_tasks(count=2):
    return [mtl.RegressionTask(name) for name in NAMES[:count]]


def randomise(model):
    rng = np.random.default_rng(1)
    # Positive, as variances must be.
    model.set_weights([rng.uniform(0.1, 0.8, w.shape) for w in model.get_weights()])
    return model


def normalised(layer, x, k, width):
    gamma, beta, mean, variance = (w[k * width : (k + 1) * width] for w in layer.get_weights())
    return gamma * (x - mean) / np.sqrt(variance + layer.epsilon) + beta


def attended(layer, k, p, b):
    """Equations 1 and 2 for task k."""
    inner, outer = map(keras.ops.convert_to_numpy, (layer.hidden_kernel, layer.mask_kernel))
    first, second = layer.normalizations
    both = p if b is None else np.concatenate([p, b], -1)
    hidden = relu(normalised(first, both @ inner[:, k], k, inner.shape[2]))
    return sigmoid(normalised(second, hidden @ outer[:, k], k, outer.shape[2])) * p


@pytest.mark.parametrize("count", [1, 3])
def test_outputs_are_those_of_the_equations(count):
    model = randomise(task_attention(some_tasks(count), 3, [5, 4], units=6))
    x = random(6, 3)
    p0 = relu(dense(model.get_layer("trunk_0").layers[0], x))
    p1 = relu(dense(model.get_layer("trunk_1").layers[0], p0))
    for k, (task, output) in enumerate(arrays(model(x)).items()):
        a = attended(model.get_layer("attention_0"), k, p0, None)
        b = relu(dense(model.get_layer("link_1").layers[0], a))
        a = attended(model.get_layer("attention_1"), k, p1, b)
        np.testing.assert_allclose(output, dense(model.get_layer(task), a), **FLOAT32)


def convolutions():
    return keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="first"),
            keras.layers.MaxPooling2D(name="pool"),
            keras.layers.Conv2D(6, 2, strides=2, name="second"),
        ]
    )


def test_a_map_that_shrinks_is_followed():
    backbone = convolutions()
    model = randomise(task_attention(some_tasks(), (8, 8, 1), backbone))
    x = random(2, 8, 8, 1)
    first, pool, second = backbone.layers
    p0 = keras.ops.convert_to_numpy(pool(first(x)))
    p1 = keras.ops.convert_to_numpy(second(p0))
    assert p0.shape == (2, 4, 4, 4) and p1.shape == (2, 2, 2, 6)
    for k, (task, output) in enumerate(arrays(model(x)).items()):
        a = attended(model.get_layer("attention_0"), k, p0, None)
        b = keras.ops.convert_to_numpy(model.get_layer("link_1")(a.astype("float32")))
        a = attended(model.get_layer("attention_1"), k, p1, b).mean(axis=(1, 2))
        np.testing.assert_allclose(output, dense(model.get_layer(task), a), **FLOAT32)


def test_open_masks_are_a_shared_trunk():
    model = task_attention(some_tasks(), 3, [5, 4], batch_normalization=False)
    for i in range(2):
        mask_bias = model.get_layer(f"attention_{i}").biases[1]
        mask_bias.assign(np.full(mask_bias.shape, 1e3))
    plain = shared_trunk(some_tasks(), 3, [5, 4])
    trunk = [w for i in range(2) for w in model.get_layer(f"trunk_{i}").get_weights()]
    plain.get_layer("trunk").set_weights(trunk)
    for task in NAMES[:2]:
        plain.get_layer(task).set_weights(model.get_layer(task).get_weights())
    x = random(6, 3)
    for task, output in arrays(model(x)).items():
        np.testing.assert_allclose(output, arrays(plain(x))[task], **FLOAT32)


def test_no_attention_is_a_shared_trunk():
    plain = shared_trunk(some_tasks(), 3, [5, 4])
    model = task_attention(some_tasks(), 3, [5, 4], share=1)
    assert [layer.name for layer in model.layers] == [layer.name for layer in plain.layers]
    plain.set_weights(model.get_weights())
    x = random(6, 3)
    np.testing.assert_array_equal(arrays(model(x))["price"], arrays(plain(x))["price"])


@pytest.mark.parametrize("units", [None, 7])
def test_parameters(units):
    model = task_attention(some_tasks(), 3, [5, 4], units=units)
    trunk, link = (3 * 5 + 5) + (5 * 4 + 4), 5 * 4 + 4
    attention = sum(
        2 * (inputs * hidden + hidden * c) + 4 * 2 * (hidden + c)
        for inputs, hidden, c in ((5, units or 5, 5), (2 * 4, units or 4, 4))
    )
    assert model.count_params() == trunk + link + attention + 2 * (4 + 1)


def test_the_first_part_of_the_depth_has_no_attention():
    model = task_attention(some_tasks(), 3, [5, 4, 4], share=0.4)
    names = [layer.name for layer in model.layers]
    assert names == [
        *("features", "trunk", "trunk_1", "attention_1"),
        *("trunk_2", "link_2", "attention_2", "clicked", "price"),
    ]


def test_trunk_and_links_are_shared():
    model = task_attention(some_tasks(), 3, [5, 4], balancer="upgrad")
    shared = {v.path.split("/")[0] for v in model._balanced_step.graph.shared}
    assert {"trunk_0", "trunk_1", "link_1"} <= shared
    assert not shared & set(NAMES)


def test_a_pretrained_trunk_is_used_and_its_link_starts_as_it():
    backbone = convolutions()
    backbone.build((None, 8, 8, 1))
    model = task_attention(some_tasks(), (8, 8, 1), backbone)
    assert model.get_layer("trunk_1").layers[0] is backbone.layers[-1]
    link = model.get_layer("link_1").layers[0]
    assert link is not backbone.layers[-1]
    np.testing.assert_array_equal(link.get_weights()[0], backbone.layers[-1].get_weights()[0])


def test_heads_may_label_positions():
    tasks = [mtl.TokenTask("tag", 3), mtl.RegressionTask("price")]
    model = task_attention(tasks, (None, 3), keras.layers.Conv1D(4, 3, padding="same"))
    outputs = model(random(2, 7, 3))
    assert outputs["tag"].shape == (2, 7, 3) and outputs["price"].shape == (2, 1)


class Twice(keras.layers.Layer):
    def call(self, x):
        return [x, x]


@pytest.mark.parametrize(
    "trunk, arguments, message",
    [
        (Twice(), {}, r"`trunk` must return one tensor. Received: \["),
        ([4], {"units": 0}, r"`units` must be .*Received: units=0"),
        ([4], {"share": -1}, r"`share` must be .*Received: share=-1"),
        ([-4], {}, r"`trunk` must be .*Received: trunk=\[-4\]"),
    ],
    ids=["several", "units", "share", "trunk"],
)
def test_bad_arguments_are_refused(trunk, arguments, message):
    with pytest.raises(ValueError, match=message):
        task_attention(some_tasks(), 3, trunk, **arguments)
