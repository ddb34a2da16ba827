"""ranking_with_bias_tower: what bias inputs add to logits, and what is left without them."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.mixture_statements import below, expert_outputs, relu, softmax, softmax_gated
from conformance.network_statements import weights_of
from zoo import ranking_with_bias_tower
from zoo.features import Categorical, Image, Numeric

BACKEND = keras.backend.backend()
FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}  # sums of a few float32 products
PLACES = np.array([0, 1, 2, -1, 7, 2])


def three_tasks():
    return [mtl.BinaryTask("clicked"), mtl.RegressionTask("time"), mtl.CategoricalTask("kind", 3)]


def inputs(**bias):
    bias = bias or {
        "place": Categorical(num_categories=3),
        "speed": Numeric(mean=2.0, variance=4.0),
    }
    return {"x": Numeric(0.0, 1.0, (4,)), **bias}


def rows():
    rng = np.random.default_rng(0)
    speed = rng.normal(size=6).astype("float32")
    speed[[1, 4]] = np.nan
    return {"x": rng.normal(size=(6, 4)).astype("float32"), "place": PLACES, "speed": speed}


def small(**options):
    sizes = {"experts": 2, "expert_units": [5], "towers": [3], "bias_tower": [4]}
    return ranking_with_bias_tower(three_tasks(), inputs(), ["place", "speed"], **sizes | options)


def moved(model):
    """The model, with no weight left at zero."""
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.normal(size=w.shape) / 3 for w in model.get_weights()])
    return model


def dense(weights, name, x):
    own = below(weights, name)
    return x @ own["kernel"] + own.get("bias", 0)


def main_logits(weights, x):
    experts = expert_outputs(below(weights, "experts/experts"), x)
    logits = {}
    for task in ("clicked", "time", "kind"):
        mixture = softmax_gated(below(weights, f"experts/gate_{task}"), x, experts)
        own = relu(dense(weights, f"{task}_tower/tower_0", mixture))
        head = task if f"{task}/kernel" in weights else f"{task}_logits"
        logits[task] = dense(weights, head, own)
    return logits


def bias_logits(weights, data):
    place = np.where(
        ((data["place"] >= 0) & (data["place"] < 3))[:, None],
        np.eye(3)[data["place"] % 3],
        weights["place_or_default/default"],
    )
    speed = (data["speed"][:, None] - 2) / 2
    speed = np.where(np.isnan(speed), weights["speed_or_default/default"], speed)
    hidden = np.concatenate([place, speed], axis=1)
    if "bias_tower/bias_tower_0/kernel" in weights:
        hidden = relu(dense(weights, "bias_tower/bias_tower_0", hidden))
    return {task: dense(weights, f"{task}_bias", hidden) for task in ("clicked", "time", "kind")}


def activated(logits):
    return {
        "clicked": 1 / (1 + np.exp(-logits["clicked"])),
        "time": logits["time"],
        "kind": softmax(logits["kind"]),
    }


def assert_same(received, expected):
    assert set(received) == set(expected)
    for task, value in expected.items():
        np.testing.assert_allclose(received[task], value, err_msg=task, **FLOAT32)


@pytest.mark.parametrize("bias_tower", [[4], None])
def test_logits_are_added_before_the_activation(bias_tower):
    model, data = moved(small(bias_tower=bias_tower)), rows()
    weights = weights_of(model)
    main, bias = main_logits(weights, data["x"]), bias_logits(weights, data)
    expected = activated({task: main[task] + bias[task] for task in main})
    assert_same(model.predict(data, verbose=0), expected)


def test_parameters_are_counted():
    mixture = 2 * (4 + 1) * 5 + 3 * 4 * 2 + 3 * (5 + 1) * 3
    heads = (3 + 1) * (1 + 1 + 3)
    bias = 3 + 1 + (4 + 1) * 4 + 4 * (1 + 1 + 3)
    assert sum(v.size for v in weights_of(small()).values()) == mixture + heads + bias


def test_without_bias_inputs_rows_keep_the_order_of_the_main_logits():
    model, data = moved(small()), rows()
    data |= {"place": np.full(6, -1), "speed": np.full(6, np.nan, "float32")}
    main = main_logits(weights_of(model), data["x"])
    outputs = model.predict(data, verbose=0)
    logit = np.log(outputs["clicked"] / (1 - outputs["clicked"]))
    # One number for all rows; a logit of float32 probabilities.
    assert np.ptp(logit - main["clicked"]) < 1e-4
    assert np.ptp(outputs["time"] - main["time"]) < 1e-5


def test_tasks_without_bias_do_not_see_it():
    model, data = moved(small(bias_tasks=["clicked"])), rows()
    before = model.predict(data, verbose=0)
    after = model.predict(data | {"place": np.zeros(6, "int64")}, verbose=0)
    for task in ("time", "kind"):
        np.testing.assert_array_equal(before[task], after[task])
    assert (before["clicked"] != after["clicked"]).any()
    names = {layer.name for layer in model.layers}
    assert "clicked_logits" in names and not {"time_logits", "time_bias"} & names


@pytest.mark.slow
def test_the_bias_is_learned_by_its_tower():
    """Clicks that depend on the place alone: ranking without it finds nothing to rank."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x, place = rng.normal(size=(600, 4)).astype("float32"), rng.integers(0, 2, 600)
    model = ranking_with_bias_tower(
        [mtl.BinaryTask("clicked")],
        inputs(place=Categorical(num_categories=2)),
        "place",
        **{"experts": 2, "expert_units": [4], "towers": None, "bias_tower": None},
        optimizer=keras.optimizers.Adam(0.1),
        run_eagerly=True,
    )
    model.fit(
        {"x": x, "place": place},
        {"clicked": place},
        shuffle=False,
        epochs=25,
        batch_size=600,
        verbose=0,
    )
    gaps = []
    for known in (place, np.full(600, -1)):
        p = model.predict({"x": x, "place": known}, verbose=0)["clicked"]
        gaps.append(p[place == 1].mean() - p[place == 0].mean())
    assert gaps[0] > 0.6 and abs(gaps[1]) < 0.1


def test_training_hides_bias_inputs():
    model = moved(small(bias_dropout=0.5))
    data = {key: np.repeat(value[:1], 200, axis=0) for key, value in rows().items()}
    outputs = keras.ops.convert_to_numpy(model(data, training=True)["time"])
    # Place and speed, each known or not.
    assert len(np.unique(outputs.round(5))) == 4


@pytest.mark.skipif(BACKEND != "tensorflow", reason="vocabularies need the TensorFlow backend")
def test_what_is_not_in_a_vocabulary_is_unknown():
    features = inputs(device=Categorical(vocabulary=("phone", "desk")))
    model = moved(ranking_with_bias_tower(three_tasks(), features, ["device"], bias_tower=None))
    x = np.zeros((4, 4), "float32")
    device = np.array(["phone", "desk", "", "tv"])
    outputs = model.predict({"x": x, "device": device}, verbose=0)["time"][:, 0]
    assert outputs[2] == outputs[3] and len(np.unique(outputs)) == 3


class Half(keras.layers.Layer):
    def call(self, inputs):
        return inputs["image"] / 2


def test_main_inputs_may_be_keras_inputs_and_layers():
    place = Categorical(num_categories=2)
    model = ranking_with_bias_tower(
        three_tasks()[:1],
        {"image": keras.Input((6, 6, 1), name="image"), "place": place},
        ["place"],
        expert_units=keras.layers.Conv2D(3, 2, padding="same"),
        trunk=Half(),
        experts=2,
    )
    data = {"image": np.ones((2, 6, 6, 1), "float32"), "place": np.array([0, 1])}
    assert model.predict(data, verbose=0)["clicked"].shape == (2, 1)


def test_bad_arguments_are_refused():
    for names in ([], ["color"], ["x", "place", "speed"]):
        with pytest.raises(ValueError, match=r"`bias_inputs` must name some.*Received: bias_inp"):
            ranking_with_bias_tower(three_tasks(), inputs(), names)
    with pytest.raises(ValueError, match=r"`bias_inputs`.*a dict.*inputs=4"):
        ranking_with_bias_tower(three_tasks(), 4, ["x"])
    with pytest.raises(ValueError, match=r"`bias_tasks` must be.*Received: bias_tasks=\['price'\]"):
        small(bias_tasks=["price"])
    with pytest.raises(ValueError, match=r"`bias_dropout`.*Received: bias_dropout=1"):
        small(bias_dropout=1.0)
    with pytest.raises(ValueError, match=r"Feature 'photo'.*numeric or categorical.*Image"):
        ranking_with_bias_tower(three_tasks(), inputs(photo=Image((2, 2, 1))), ["photo"])
    with pytest.raises(ValueError, match=r"Task 'clicked': `head` must be widths.*Received: head"):
        small(head=keras.layers.Dense(1))
