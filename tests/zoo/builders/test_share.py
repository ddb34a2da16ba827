"""How much is shared: from separate networks to one trunk, for widths and for backbones."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from conformance.network_statements import dense, random, relu

FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}


def two_tasks():
    return [mtl.BinaryTask("clicked"), mtl.RegressionTask("price")]


def names(model):
    return [layer.name for layer in model.layers]


def assert_same(first, second, **tolerance):
    for task, values in first.items():
        np.testing.assert_allclose(values, second[task], err_msg=task, **tolerance)


@pytest.mark.parametrize("share, shared", [(0, 0), (0.2, 1), (0.5, 2), (0.75, 2), (1, 3)])
def test_the_trunk_is_cut_at_the_nearest_layer(share, shared):
    model, x = zoo.shared_trunk(two_tasks(), 3, [6, 5, 4], share=share), random(7, 3)
    own = [(3 * 6 + 6), (6 * 5 + 5), (5 * 4 + 4)]
    expected = sum(own[:shared]) + 2 * sum(own[shared:]) + 2 * (4 + 1)
    assert model.count_params() == expected
    features = x
    for layer in model.get_layer("trunk").layers if shared else []:
        features = relu(dense(layer, features))
    for task, final in (("clicked", lambda z: 1 / (1 + np.exp(-z))), ("price", lambda z: z)):
        h = features
        for layer in model.get_layer(f"{task}_tower").layers if shared < 3 else []:
            h = relu(dense(layer, h))
        answer = model.predict(x, verbose=0)[task]
        np.testing.assert_allclose(answer, final(dense(model.get_layer(task), h)), **FLOAT32)


def test_nothing_shared_is_single_task_networks():
    keras.utils.set_random_seed(0)
    none = zoo.shared_trunk(two_tasks(), 3, [6, 5], share=0)
    keras.utils.set_random_seed(0)
    single = zoo.single_task(two_tasks(), 3, [6, 5])
    assert names(none) == names(single)
    x, y = random(16, 3), {"clicked": np.ones(16), "price": np.zeros(16)}
    for model in (none, single):
        model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    assert_same(none.predict(x, verbose=0), single.predict(x, verbose=0), rtol=0)


def test_a_task_of_single_task_learns_what_it_learns_alone():
    x, y = random(16, 3), {"clicked": np.ones(16), "price": np.arange(16.0)}
    together = zoo.single_task(two_tasks(), 3, [6, 5])
    alone = {task.name: zoo.single_task([task], 3, [6, 5]) for task in two_tasks()}
    for name, model in alone.items():
        for layer in (f"{name}_tower", name):
            model.get_layer(layer).set_weights(together.get_layer(layer).get_weights())
        model.fit(x, {name: y[name]}, epochs=3, verbose=0, shuffle=False)
    together.fit(x, y, epochs=3, verbose=0, shuffle=False)
    for name, model in alone.items():
        found, expected = (m.predict(x, verbose=0)[name] for m in (together, model))
        np.testing.assert_allclose(found, expected, **FLOAT32)


def convolutions():
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Conv2D(3, 3, name="low"),
            layers.ReLU(name="low_relu"),
            layers.MaxPooling2D(name="low_pool"),
            layers.Conv2D(4, 2, name="high"),
            layers.GlobalAveragePooling2D(name="pool"),
        ],
        name="backbone",
    )


@pytest.mark.parametrize("kind", ["Average", "Max"])
def test_pooling_belongs_to_the_layer_before_it(kind):
    pool = getattr(keras.layers, f"Global{kind}Pooling2D")(name="pool")
    backbone = keras.Sequential([keras.layers.Conv2D(3, 3, name="only"), pool])
    with pytest.raises(ValueError, match="has one block"):
        zoo.shared_trunk(two_tasks(), (8, 8, 1), backbone, share=0.5)


def test_a_sequential_backbone_is_cut_before_layers_with_weights():
    model = zoo.shared_trunk(two_tasks(), (8, 8, 1), convolutions(), share=0.5)
    assert [layer.name for layer in model.get_layer("trunk").layers] == [
        "low",
        "low_relu",
        "low_pool",
    ]
    assert [layer.name for layer in model.get_layer("price_tower").layers] == ["high", "pool"]


def pretrained():
    """A Sequential and a Functional backbone with weights."""
    sequential = convolutions()
    sequential.build((None, 8, 8, 1))
    image = keras.Input((8, 8, 1))
    return [sequential, keras.Model(image, convolutions()(image), name="functional")]


@pytest.mark.parametrize("backbone", pretrained(), ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("share", [0, 1])
def test_a_pretrained_backbone_keeps_its_weights(backbone, share):
    model, x = zoo.shared_trunk(two_tasks(), (8, 8, 1), backbone, share=share), random(2, 8, 8, 1)
    features = backbone.predict(x, verbose=0)
    expected = dense(model.get_layer("price"), features)
    np.testing.assert_allclose(model.predict(x, verbose=0)["price"], expected, **FLOAT32)


def test_copies_of_an_unbuilt_backbone_draw_for_themselves():
    model = zoo.single_task(two_tasks(), (8, 8, 1), convolutions())
    first, second = (model.get_layer(f"{t}_tower").get_weights()[0] for t in ("clicked", "price"))
    assert (first != second).all()


def test_copies_of_a_seeded_backbone_draw_for_themselves():
    seeded = keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    model = zoo.single_task(two_tasks(), 3, seeded)
    first, second = (model.get_layer(f"{t}_tower").get_weights()[0] for t in ("clicked", "price"))
    assert (first != second).all()


@pytest.mark.parametrize("share", [-0.1, 1.1, "half", None, float("nan")])
def test_another_share_is_refused(share):
    with pytest.raises(ValueError, match=r"`share` must be .*Received: share="):
        zoo.shared_trunk(two_tasks(), 3, share=share)


def test_a_single_block_cannot_be_cut():
    with pytest.raises(ValueError, match=r"`share` must be 0 or 1.*Received: share=0.5"):
        zoo.shared_trunk(two_tasks(), 3, keras.layers.Dense(4), share=0.5)


def test_a_task_named_like_a_tower_is_refused():
    tasks = [mtl.BinaryTask("price"), mtl.RegressionTask("price_tower")]
    with pytest.raises(ValueError, match=r"`tasks` must not be named.*'price_tower'"):
        zoo.single_task(tasks, 3)
