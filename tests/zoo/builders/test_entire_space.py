"""entire_space: products of stages, trained on rows that no stage was passed in."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.network_statements import dense, random, sigmoid, weights_of
from zoo import entire_space

FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}  # sums of a few float32 products


def stages():
    return [mtl.BinaryTask("click"), mtl.BinaryTask("conversion")]


def stack(model, name, x):
    for layer in model.get_layer(name).layers:
        x = np.maximum(dense(layer, x), 0)
    return x


def forward(model, names, x):
    """The equations: one trunk, a tower and a logit a stage, products up to each stage."""
    shared, outputs, passed = stack(model, "trunk", x), {}, 1.0
    for i, name in enumerate(names):
        own = stack(model, f"{name}_tower", shared)
        outputs[name] = sigmoid(dense(model.get_layer(f"{name}_logits"), own))
        passed = passed * outputs[name]
        if i:
            outputs["_and_".join(names[: i + 1])] = passed
    return outputs


@pytest.mark.parametrize("names", [["click"], ["click", "conversion"], ["click", "cart", "buy"]])
def test_outputs_are_those_of_the_equations(names):
    model, x = entire_space([mtl.BinaryTask(n) for n in names], 3, [5], towers=[4]), random(6, 3)
    outputs, expected = model.predict(x, verbose=0), forward(model, names, x)
    assert list(outputs) == [task.name for task in model.tasks]
    assert set(outputs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, err_msg=name, **FLOAT32)
    assert model.count_params() == (3 + 1) * 5 + len(names) * ((5 + 1) * 4 + (4 + 1))


def test_the_product_is_exactly_that_of_the_outputs():
    model = entire_space(stages(), 3, [5])
    outputs = model.predict(random(50, 3), verbose=0)
    # Its parts are computed once more: a last digit.
    np.testing.assert_allclose(
        outputs["click_and_conversion"], outputs["click"] * outputs["conversion"], rtol=3e-7
    )


def trained_on_unclicked_rows(model):
    x, missing = random(8, 3), np.full(8, np.nan)
    zeros = np.zeros(8, "float32")
    before = weights_of(model)
    y = {"click": zeros, "conversion": missing, "click_and_conversion": zeros}
    logs = model.train_on_batch(x, y, return_dict=True)
    after = weights_of(model)
    return logs, {path for path, value in after.items() if (value != before[path]).any()}


@pytest.mark.parametrize("balancer", [None, "upgrad"])
def test_unclicked_rows_train_the_conversion_tower(balancer):
    model = entire_space(stages(), 3, [5], balancer=balancer, run_eagerly=True)
    logs, moved = trained_on_unclicked_rows(model)
    assert logs["conversion_labels"] == 0 and np.isnan(logs["conversion_loss"])
    assert {"conversion_tower/tower_0/kernel", "conversion_logits/kernel"} <= moved


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the others clip at 1e-7")
@pytest.mark.parametrize("balancer", [None, "upgrad"])
def test_saturated_stages_still_learn(balancer):
    model = entire_space(stages(), 3, None, towers=None, balancer=balancer, run_eagerly=True)
    for name in ("click", "conversion"):
        # Of every row the model is certain, in float32, that both stages are passed.
        model.get_layer(f"{name}_logits").set_weights([np.zeros((3, 1)), np.full(1, 60.0)])
    _, moved = trained_on_unclicked_rows(model)
    assert {"click_logits/bias", "conversion_logits/bias"} <= moved


def test_the_stage_itself_is_reported_and_not_trained():
    model = entire_space(stages(), 3)
    assert model.loss_weights == {"click": 1, "conversion": 0, "click_and_conversion": 1}
    chosen = entire_space(stages(), 3, loss_weights={"conversion": 0.5, "click": 2.0})
    assert chosen.loss_weights == {"click": 2, "conversion": 0.5, "click_and_conversion": 1}


def test_the_product_is_a_task_like_its_stage():
    tasks = [mtl.BinaryTask("click"), mtl.BinaryTask("buy", weight=3.0, class_weight={1: 2.0})]
    model = entire_space(tasks, 3, products="sale")
    expected = mtl.BinaryTask("sale", weight=3.0, class_weight={1: 2.0})
    assert model.tasks == (*tasks, expected)
    assert model.loss_weights == {"click": 1, "buy": 0, "sale": 3}


def test_tasks_beside_the_funnel_have_a_tower_and_a_head():
    tasks = [mtl.RegressionTask("price", 2), *stages()]
    model = entire_space(tasks, 3, [5], funnel=["click", "conversion"], head=[4])
    assert [task.name for task in model.tasks] == [
        *("click", "conversion", "click_and_conversion", "price")
    ]
    names = {layer.name for layer in model.layers}
    assert {"price_tower", "price", "click_logits", "trunk"} <= names
    assert model.predict(random(2, 3), verbose=0)["price"].shape == (2, 2)


def test_a_backbone_in_place_of_widths():
    trunk = keras.Sequential([keras.layers.Conv1D(4, 2), keras.layers.GlobalAveragePooling1D()])
    model = entire_space(stages(), (5, 3), trunk, towers=keras.layers.Dense(4, "tanh"))
    towers = [model.get_layer(f"{name}_tower").get_weights()[0] for name in ("click", "conversion")]
    assert towers[0].shape == (4, 4) and (towers[0] != towers[1]).any()


def test_bad_arguments_are_refused():
    price = mtl.RegressionTask("price")
    with pytest.raises(ValueError, match=r"Stages must be binary.*Received: .*'price'"):
        entire_space([*stages(), price], 3)
    with pytest.raises(ValueError, match=r"`funnel` must be one or more.*Received: funnel=\['x'\]"):
        entire_space(stages(), 3, funnel=["x"])
    with pytest.raises(ValueError, match=r"`products` must be .* first, 1.*'a', 'b'"):
        entire_space(stages(), 3, products=["a", "b"])
    with pytest.raises(ValueError, match=r"different names.*click"):
        entire_space(stages(), 3, products="click")
    with pytest.raises(ValueError, match=r"Task 'click': `head` must be widths.*Received: head=<"):
        entire_space(stages(), 3, head=keras.layers.Dense(1))
