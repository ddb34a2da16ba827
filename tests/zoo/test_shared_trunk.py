"""shared_trunk: every form of inputs, trunk and head, against a NumPy forward."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.network_statements import dense, random, relu, sigmoid
from zoo import shared_trunk
from zoo.features import Categorical, Image, Numeric, Text

BACKEND = keras.backend.backend()
needs_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="string features need the TensorFlow backend"
)
other_backends = pytest.mark.skipif(
    BACKEND == "tensorflow", reason="the TensorFlow backend has string features"
)
FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}  # sums of a few float32 products


def two_tasks():
    return [mtl.BinaryTask("clicked"), mtl.RegressionTask("price")]


def forward(model, features):
    """The equations: one trunk of ReLU layers, one affine head a task, sigmoid for binary."""
    for layer in model.get_layer("trunk").layers:
        features = relu(dense(layer, features))
    return heads(model, features)


def heads(model, features):
    return {
        "clicked": sigmoid(dense(model.get_layer("clicked"), features)),
        "price": dense(model.get_layer("price"), features),
    }


def assert_same(received, expected):
    assert set(received) == set(expected)
    for task, value in expected.items():
        np.testing.assert_allclose(received[task], value, err_msg=task, **FLOAT32)


def variables(layer):
    return {id(variable) for variable in layer.variables}


# -- forms of `inputs`


def test_an_integer_is_the_number_of_features():
    model, x = shared_trunk(two_tasks(), 3, trunk=[5, 4]), random(6, 3)
    assert_same(model.predict(x, verbose=0), forward(model, x))


def test_a_shape_is_flattened_for_widths():
    model, x = shared_trunk(two_tasks(), (2, 3), trunk=[5]), random(6, 2, 3)
    assert_same(model.predict(x, verbose=0), forward(model, x.reshape(6, 6)))


def test_a_length_may_vary_for_a_layer():
    trunk = keras.layers.Conv1D(4, 2)
    model = shared_trunk(two_tasks(), (None, 3), trunk)
    for length in (5, 8):
        assert model.predict(random(2, length, 3), verbose=0)["price"].shape == (2, 1)


def test_named_features_are_encoded_and_put_side_by_side():
    inputs = {"shop": Categorical(num_categories=3), "age": Numeric(mean=40.0, variance=25.0)}
    model = shared_trunk(two_tasks(), inputs, trunk=[5])
    x = {"age": np.array([45.0, 30.0], "float32"), "shop": np.array([2, 0])}
    encoded = np.array([[0, 0, 1, 1], [1, 0, 0, -2]], "float32")
    assert_same(model.predict(x, verbose=0), forward(model, encoded))


def test_kinds_by_name_learn_from_adapt():
    ages = np.array([20.0, 30.0, 70.0], "float32")
    model = shared_trunk(two_tasks(), {"age": "numeric"}, trunk=[5], adapt={"age": ages})
    encoded = ((ages - ages.mean()) / ages.std())[:, None]
    assert_same(model.predict({"age": ages}, verbose=0), forward(model, encoded))


def test_a_feature_may_be_named_features():
    model = shared_trunk(two_tasks(), {"features": Numeric(mean=0.0, variance=1.0)}, trunk=[5])
    x = random(4)
    assert_same(model.predict({"features": x}, verbose=0), forward(model, x[:, None]))


@needs_tensorflow
@pytest.mark.parametrize("output_mode", ["concat", "dict"])
def test_an_adapted_feature_space_is_read(output_mode):
    import tensorflow as tf

    space = keras.utils.FeatureSpace(
        {
            "age": keras.utils.FeatureSpace.float_rescaled(scale=0.1),
            "shop": keras.utils.FeatureSpace.string_categorical(num_oov_indices=0),
        },
        output_mode=output_mode,
    )
    columns = {"age": [10.0, 20.0, 30.0], "shop": ["b", "a", "b"]}
    space.adapt(tf.data.Dataset.from_tensor_slices(columns).batch(2))
    model = shared_trunk(two_tasks(), space, trunk=[5])
    x = {name: tf.constant(values)[:, None] for name, values in columns.items()}
    encoded = np.array([[1, 1, 0], [2, 0, 1], [3, 1, 0]], "float32")
    assert_same(model.predict(x, verbose=0), forward(model, encoded))


def test_a_keras_input_is_read():
    model, x = shared_trunk(two_tasks(), keras.Input((3,), name="x"), trunk=[5]), random(6, 3)
    assert_same(model.predict(x, verbose=0), forward(model, x))


def test_a_dict_of_keras_inputs_is_put_side_by_side():
    inputs = {"first": keras.Input((2, 2), name="first"), "second": keras.Input((), name="second")}
    model = shared_trunk(two_tasks(), inputs, trunk=[5])
    x = {"first": random(6, 2, 2), "second": random(6)}
    flat = np.concatenate([x["first"].reshape(6, 4), x["second"][:, None]], axis=1)
    assert_same(model.predict(x, verbose=0), forward(model, flat))


@pytest.mark.parametrize(
    "inputs", [None, "age", [], {}, 0, -3, True, 3.5, (2, -1), ((2, 3),)], ids=repr
)
def test_other_inputs_are_refused(inputs):
    with pytest.raises(ValueError, match=r"`inputs` must be .*Received: inputs="):
        shared_trunk(two_tasks(), inputs)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"Feature 'age' must be one of.*Received: 'number'"):
        shared_trunk(two_tasks(), {"age": "number"})


# -- forms of `trunk`


def test_a_layer_as_trunk_reads_the_image_as_it_is():
    trunk = keras.layers.Conv2D(4, 1, name="convolution")
    model = shared_trunk(two_tasks(), {"photo": Image((3, 3, 2), scale=0.5)}, trunk)
    photo = random(5, 3, 3, 2)
    kernel, bias = trunk.get_weights()
    pooled = (0.5 * photo @ kernel[0, 0] + bias).mean(axis=(1, 2))
    assert_same(model.predict({"photo": photo}, verbose=0), heads(model, pooled))


def test_a_model_as_trunk_is_averaged_over_its_map():
    trunk = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(6, 2),
        ],
        name="convolutions",
    )
    model = shared_trunk(two_tasks(), (8, 8, 1), trunk)
    x = random(5, 8, 8, 1)
    pooled = trunk.predict(x, verbose=0).mean(axis=(1, 2))
    assert_same(model.predict(x, verbose=0), heads(model, pooled))


def test_a_keras_application_is_a_trunk():
    trunk = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None
    )
    model = shared_trunk(two_tasks(), {"photo": Image((32, 32, 3))}, trunk)
    photo = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    pooled = np.asarray(trunk.predict(photo / 255, verbose=0)).mean(axis=(1, 2))
    assert_same(model.predict({"photo": photo}, verbose=0), heads(model, pooled))


def test_one_number_reaches_a_layer_as_a_column():
    trunk = keras.layers.Dense(4)
    model = shared_trunk(two_tasks(), {"age": Numeric(mean=0.0, variance=1.0)}, trunk)
    x = random(5)
    assert_same(model.predict({"age": x}, verbose=0), heads(model, dense(trunk, x[:, None])))


def test_several_features_reach_a_layer_as_one_vector():
    trunk = keras.layers.Dense(4)
    inputs = {"photo": Image((2, 1, 1), scale=1.0), "age": Numeric(mean=0.0, variance=1.0)}
    model = shared_trunk(two_tasks(), inputs, trunk)
    x = {"photo": random(5, 2, 1, 1), "age": random(5)}
    flat = np.concatenate([x["photo"].reshape(5, 2), x["age"][:, None]], axis=1)
    assert_same(model.predict(x, verbose=0), heads(model, dense(trunk, flat)))


def backbone():
    ids = keras.Input((None,), dtype="int32")
    words = keras.layers.Embedding(20, 4)(ids)
    outputs = {"sequence_output": words, "pooled_output": words[:, 0]}
    return keras.Model(ids, outputs, name="backbone")


def test_a_backbone_serves_positions_and_rows():
    tasks = [mtl.TokenTask("tag", 3), mtl.RegressionTask("price")]
    trunk = backbone()
    model = shared_trunk(tasks, keras.Input((7,), dtype="int32", name="ids"), trunk)
    ids = np.random.default_rng(0).integers(0, 20, (5, 7))
    (table,) = trunk.get_weights()
    outputs = model.predict(ids, verbose=0)
    logits = dense(model.get_layer("tag"), table[ids])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(outputs["tag"], softmax, **FLOAT32)
    price = dense(model.get_layer("price"), table[ids[:, 0]])
    np.testing.assert_allclose(outputs["price"], price, **FLOAT32)


class Packed(keras.layers.Layer):
    """Returns its input in some structure."""

    def __init__(self, pack):
        super().__init__()
        self.pack = pack

    def call(self, x):
        return self.pack(x)


@pytest.mark.parametrize("pack", [lambda x: {"hidden": x}, lambda x: [x, x]], ids=["dict", "list"])
def test_a_trunk_that_returns_something_else_is_refused(pack):
    with pytest.raises(ValueError, match=r"`trunk` must return .*'clicked'.*Received: "):
        shared_trunk(two_tasks(), 3, Packed(pack))


@pytest.mark.parametrize("trunk", [None, [], [0], [-1], [1.5], "abc", 64, ["8"]], ids=repr)
def test_another_trunk_is_refused(trunk):
    with pytest.raises(ValueError, match=r"`trunk` must be .*Received: trunk="):
        shared_trunk(two_tasks(), 3, trunk)


# -- what heads read


def embedding(mask_zero):
    words = keras.Input((4,), dtype="int32", name="words")
    return words, keras.layers.Embedding(10, 3, mask_zero=mask_zero)


def test_a_sequence_is_averaged():
    words, trunk = embedding(mask_zero=False)
    model = shared_trunk(two_tasks(), words, trunk)
    ids = np.array([[1, 2, 0, 0], [3, 4, 5, 6]])
    (table,) = trunk.get_weights()
    assert_same(model.predict(ids, verbose=0), heads(model, table[ids].mean(axis=1)))


def test_masked_positions_are_left_out_of_the_average():
    words, trunk = embedding(mask_zero=True)
    model = shared_trunk(two_tasks(), words, trunk)
    ids = np.array([[1, 2, 0, 0], [3, 4, 5, 6]])
    (table,) = trunk.get_weights()
    pooled = np.stack([table[[1, 2]].mean(axis=0), table[[3, 4, 5, 6]].mean(axis=0)])
    assert_same(model.predict(ids, verbose=0), heads(model, pooled))


def test_a_volume_is_flattened():
    trunk = keras.layers.Rescaling(2.0)
    model = shared_trunk(two_tasks(), (2, 2, 2, 1), trunk)
    x = random(3, 2, 2, 2, 1)
    assert_same(model.predict(x, verbose=0), heads(model, 2 * x.reshape(3, 8)))


@pytest.mark.parametrize("trunk", [[8], keras.layers.Conv2D(4, 1)], ids=["vector", "map"])
def test_a_token_task_needs_a_sequence(trunk):
    with pytest.raises(ValueError, match=r"Task 'tag'.*`trunk`.*Received: shape"):
        shared_trunk([mtl.TokenTask("tag", 3)], (4, 4, 1), trunk)


# -- heads


def test_head_widths_are_hidden_layers():
    model, x = shared_trunk([mtl.RegressionTask("price")], 3, [5], head=[4, 2]), random(6, 3)
    features = relu(dense(model.get_layer("trunk").layers[0], x))
    first, second, output = model.get_layer("price").layers
    expected = dense(output, relu(dense(second, relu(dense(first, features)))))
    np.testing.assert_allclose(model.predict(x, verbose=0)["price"], expected, **FLOAT32)


def templates():
    hidden = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
    return {"layer": keras.layers.Dense(1, use_bias=False), "model": hidden}


@pytest.mark.parametrize("form", ["layer", "model"])
def test_a_head_template_is_copied_for_each_task_and_model(form):
    template = templates()[form]
    models = [shared_trunk(two_tasks(), 3, [5], head=template) for _ in range(2)]
    owned = [variables(m.get_layer(t)) for m in models for t in ("clicked", "price")]
    owned.append(variables(template))
    assert all(owned[:4])
    assert len(set.union(*owned)) == sum(map(len, owned))


def test_a_head_template_keeps_its_configuration():
    model = shared_trunk(two_tasks(), 3, [5], head=keras.layers.Dense(1, activation="tanh"))
    assert [model.get_layer(t).activation.__name__ for t in ("clicked", "price")] == ["tanh"] * 2


def test_the_head_of_a_task_wins():
    tasks = [mtl.BinaryTask("clicked", head=[7]), mtl.RegressionTask("price")]
    model = shared_trunk(tasks, 3, [5], head=[4])
    widths = {name: model.get_layer(name).layers[0].units for name in ("clicked", "price")}
    assert widths == {"clicked": 7, "price": 4}


@pytest.mark.parametrize("head", ["abc", [0], 5, []], ids=repr)
def test_another_head_is_refused(head):
    with pytest.raises(ValueError, match=r"`head` must be .*Received: head="):
        shared_trunk(two_tasks(), 3, head=head)


def test_a_head_of_the_wrong_width_names_the_task():
    with pytest.raises(ValueError, match=r"Task 'clicked'.*1 wide.*Received: shape"):
        shared_trunk(two_tasks(), 3, head=keras.layers.Dense(2))


# -- the trunk's options


def test_activation_is_that_of_the_trunk():
    model, x = shared_trunk(two_tasks(), 3, [5, 4], activation="tanh"), random(6, 3)
    features = x
    for layer in model.get_layer("trunk").layers:
        features = np.tanh(dense(layer, features))
    assert_same(model.predict(x, verbose=0), heads(model, features))


def test_dropout_follows_each_dense_layer():
    model = shared_trunk(two_tasks(), 3, [5, 4], dropout=0.3)
    layers = model.get_layer("trunk").layers
    assert [type(layer).__name__ for layer in layers] == ["Dense", "Dropout"] * 2
    assert [layer.rate for layer in layers[1::2]] == [0.3, 0.3]


def test_dropout_changes_training_alone():
    model, x = shared_trunk(two_tasks(), 3, [50], dropout=0.5), random(6, 3)
    plain = shared_trunk(two_tasks(), 3, [50])
    plain.set_weights(model.get_weights())
    quiet, noisy = (model(x, training=training)["price"] for training in (False, True))
    quiet, noisy = map(keras.ops.convert_to_numpy, (quiet, noisy))
    np.testing.assert_allclose(quiet, plain.predict(x, verbose=0)["price"], **FLOAT32)
    assert (quiet != noisy).any()


# -- structure


def test_parameters_are_one_trunk_and_one_head_a_task():
    tasks = [*two_tasks(), mtl.CategoricalTask("shop", 6)]
    model = shared_trunk(tasks, 10, [7, 4])
    trunk = (10 * 7 + 7) + (7 * 4 + 4)
    outputs = 1 + 1 + 6
    assert model.count_params() == trunk + outputs * (4 + 1)


def test_layers_are_named_and_few():
    inputs = {name: Numeric(mean=0.0, variance=1.0) for name in ("age", "height", "weight")}
    model = shared_trunk(two_tasks(), inputs, [7, 4])
    names = [layer.name for layer in model.layers]
    assert names == ["age", "height", "weight", "preprocessing", "trunk", "clicked", "price"]


def changed_by(task, model, x, y):
    """Names of layers that one step of plain SGD on the labels of `task` alone changes."""
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model.train_on_batch(x, {task: y[task]})
    return {
        name: [bool((old != new).any()) for old, new in zip(weights, after, strict=True)]
        for name, weights in before.items()
        if (after := model.get_layer(name).get_weights())
    }


@pytest.mark.parametrize("task", ["clicked", "price"])
def test_a_task_trains_the_whole_trunk_and_its_own_head_alone(task):
    keras.utils.set_random_seed(0)
    model = shared_trunk(two_tasks(), 3, [16, 8], optimizer="sgd", run_eagerly=True)
    x = random(32, 3)
    y = {"clicked": (x[:, 0] > 0).astype("float32"), "price": x[:, 1]}
    other = {"clicked": "price", "price": "clicked"}[task]
    assert changed_by(task, model, x, y) == {
        "trunk": [True] * 4,
        task: [True] * 2,
        other: [False] * 2,
    }


@pytest.mark.parametrize("name", ["age", "preprocessing"])
def test_a_task_named_like_an_input_is_refused(name):
    inputs = {"age": Numeric(mean=0.0, variance=1.0)}
    with pytest.raises(ValueError, match=f"`tasks` must not be named.*Received: .*'{name}'"):
        shared_trunk([mtl.BinaryTask(name)], inputs)


def test_a_task_named_like_the_trunk_is_refused():
    with pytest.raises(ValueError, match=r"`tasks` must not be named.*Received: .*'price'"):
        shared_trunk(two_tasks(), 3, keras.layers.Dense(4, name="price"))


@pytest.mark.parametrize("tasks", [[], ["clicked"], two_tasks() * 2], ids=["none", "name", "twice"])
def test_other_tasks_are_refused(tasks):
    with pytest.raises(ValueError, match=r"`tasks` must .*Received: "):
        shared_trunk(tasks, 3)


# -- compiling


def test_loss_weights_replace_those_of_the_tasks():
    tasks = [mtl.BinaryTask("clicked", weight=3.0), mtl.RegressionTask("price", weight=5.0)]
    model = shared_trunk(tasks, 3, loss_weights={"price": 0.5})
    assert model.loss_weights == {"clicked": 3.0, "price": 0.5}


def test_further_options_reach_compile():
    model = shared_trunk(two_tasks(), 3, optimizer=keras.optimizers.SGD(0.25), run_eagerly=True)
    assert model.run_eagerly
    assert float(model.optimizer.learning_rate) == 0.25


# -- raw strings


def string_model():
    inputs = {
        "age": Numeric(mean=40.0, variance=25.0),
        "shop": Categorical(vocabulary=("bakery", "café")),
        "zip": Categorical(vocabulary=np.array([50, 70])),
        "review": Text(vocabulary=("good", "bad"), max_tokens=4, sequence_length=3),
    }
    return shared_trunk(two_tasks(), inputs, [8])


def string_rows():
    import tensorflow as tf

    return {
        "age": tf.constant([45.0, 30.0, 41.0]),
        "shop": tf.constant(["café", "nowhere", "bakery"]),
        "zip": tf.constant([70, 50, 1], tf.int64),
        "review": tf.constant(["Good, good", "", "bad film"]),
    }


@needs_tensorflow
def test_strings_reach_the_trunk_encoded():
    inputs = {"shop": Categorical(vocabulary=("bakery", "café"))}
    model = shared_trunk(two_tasks(), inputs, [5])
    encoded = np.eye(3, dtype="float32")[[2, 0, 1]]
    shops = {"shop": string_rows()["shop"]}
    assert_same(model.predict(shops, verbose=0), forward(model, encoded))


@needs_tensorflow
def test_a_loaded_model_takes_raw_strings(tmp_path):
    model = string_model()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(loaded.predict(string_rows(), verbose=0), model.predict(string_rows(), verbose=0))


@needs_tensorflow
def test_a_saved_model_takes_raw_strings_by_name(tmp_path):
    import tensorflow as tf

    model = string_model()
    model.export(tmp_path / "served")
    serve = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    answer = {task: value.numpy() for task, value in serve(**string_rows()).items()}
    assert_same(answer, model.predict(string_rows(), verbose=0))


@needs_tensorflow
def test_text_reaches_a_layer_as_word_ids():
    trunk = keras.layers.Embedding(4, 3)
    inputs = {"review": Text(vocabulary=("good", "bad"), max_tokens=4, sequence_length=3)}
    model = shared_trunk(two_tasks(), inputs, trunk)
    (table,) = trunk.get_weights()
    pooled = table[[[2, 2, 0], [0, 0, 0], [3, 1, 0]]].mean(axis=1)
    reviews = {"review": string_rows()["review"]}
    assert_same(model.predict(reviews, verbose=0), heads(model, pooled))


@needs_tensorflow
def test_text_trains():
    model = string_model()
    x = string_rows()
    y = {"clicked": np.array([1.0, 0.0, 1.0]), "price": np.array([1.0, 2.0, 3.0])}
    losses = model.fit(x, y, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@other_backends
def test_string_features_are_refused_on_other_backends():
    with pytest.raises(ValueError, match=f"Feature 'shop'.*TensorFlow.*Received: .*{BACKEND}"):
        shared_trunk(two_tasks(), {"shop": Categorical(vocabulary=("bakery", "café"))})
