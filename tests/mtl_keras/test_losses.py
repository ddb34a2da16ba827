import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.gradient_of import gradient_of
from mtl_keras import LabelSpec, MaskedLoss
from mtl_keras.losses import terms_by_task

NAN = float("nan")


def draw(seed=0, rows=40, columns=3):
    rng = np.random.default_rng(seed)
    prediction = rng.uniform(0.05, 0.95, (rows, columns)).astype("float32")
    label = (rng.uniform(size=(rows, columns)) < 0.4).astype("float32")
    missing = rng.uniform(size=(rows, columns)) < 0.3
    weight = rng.uniform(0, 3, rows).astype("float32")
    return label, prediction, missing, weight


def entry_cross_entropy(y, p):
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


def test_binary_loss_equals_its_statement_in_numpy():
    y, p, missing, weight = draw()
    class_weight = {0: 0.5, 1: 4.0}
    values = entry_cross_entropy(y.astype("float64"), p.astype("float64"))
    values = values * np.where(y == 1, 4.0, 0.5) * weight[:, None]
    expected = values[~missing].sum() / (~missing).sum()
    loss = MaskedLoss("binary_crossentropy", LabelSpec("probability"), class_weight)
    found = loss(np.where(missing, NAN, y), p, sample_weight=weight)
    assert float(found) == pytest.approx(expected, rel=1e-5)  # float32 sums


def test_class_loss_equals_its_statement_in_numpy():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(5), (8, 6)).astype("float32")
    y = rng.integers(-1, 5, (8, 6))
    weight = rng.uniform(0, 3, 8).astype("float32")
    class_weight = np.array([1, 2, 1, 1, 5.0])
    chosen = np.take_along_axis(p, np.maximum(y, 0)[..., None], axis=-1)[..., 0]
    values = -np.log(chosen.astype("float64")) * class_weight[np.maximum(y, 0)] * weight[:, None]
    expected = values[y >= 0].sum() / (y >= 0).sum()
    spec = LabelSpec("class", missing_value=-1, num_classes=5)
    loss = MaskedLoss("sparse_categorical_crossentropy", spec, {1: 2, 4: 5})
    assert float(loss(y, p, sample_weight=weight)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["mean_squared_error", "huber", "mean_absolute_error"])
def test_with_every_label_it_is_the_keras_loss(name):
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(2, 16, 3)).astype("float32")
    weight = rng.uniform(size=16).astype("float32")
    keras_loss = getattr(keras.losses, "".join(w.title() for w in name.split("_")))()
    expected = keras_loss(y, p, sample_weight=weight)
    found = MaskedLoss(name)(y, p, sample_weight=weight)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_a_saturated_sigmoid_has_the_loss_that_keras_gives_it():
    # TensorFlow keeps the logits beside it; clipped probabilities would say 16 for all of them.
    p = keras.activations.sigmoid(np.array([[20.0], [40.0], [80.0], [-90.0]], "float32"))
    y = np.zeros((4, 1), "float32")
    loss = MaskedLoss("binary_crossentropy", LabelSpec("probability"))
    expected = keras.losses.BinaryCrossentropy()(y, p)
    assert float(loss(y, p)) == pytest.approx(float(expected), rel=1e-6)


def test_without_labels_loss_and_gradient_are_zero():
    loss, y = MaskedLoss("mean_squared_error"), np.full((4, 1), NAN, "float32")
    p = np.array([[1.0], [2.0], [-3.0], [1e30]], "float32")
    assert float(loss(y, p)) == 0.0
    np.testing.assert_array_equal(gradient_of(lambda x: loss(y, x), p), np.zeros_like(p))


@pytest.mark.parametrize("garbage", [NAN, -7.0])
def test_what_stands_in_missing_rows_does_not_reach_the_gradient(garbage):
    y, p, missing, weight = draw(columns=1)
    spec = LabelSpec("probability", missing_value=-7)
    loss = MaskedLoss("binary_crossentropy", spec)
    gradient = gradient_of(lambda x: loss(np.where(missing, garbage, y), x, weight), p)
    rows = ~missing[:, 0]
    alone = gradient_of(lambda x: loss(y[rows], x, weight[rows]), p[rows])
    np.testing.assert_array_equal(gradient[~rows], 0)
    np.testing.assert_allclose(gradient[rows], alone, rtol=1e-6)  # the divisions' rounding


def test_missing_vectors_do_not_reach_the_gradient():
    task = mtl.DirectionTask("normals", 2)
    loss, labels = task.masked_loss(), np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0]])
    outputs = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], "float32")
    # One minus 0.6, the cosine, over the only label.
    assert float(loss(labels, keras.ops.convert_to_tensor(outputs))) == pytest.approx(0.4)
    gradient = gradient_of(lambda p: loss(labels, p), outputs)
    np.testing.assert_allclose(gradient, [[0.4, -0.8], [0, 0], [0, 0]], rtol=1e-6)


def test_a_nan_sample_weight_of_a_missing_row_counts_for_nothing():
    y, p = np.array([[1.0], [NAN]]), np.array([[0.0], [0.0]])
    assert float(MaskedLoss("mse")(y, p, sample_weight=np.array([1.0, NAN]))) == 1.0


def of_two_kinds():
    """Three tasks that can be stacked, one of another width, a function; labels and outputs."""
    rng = np.random.default_rng(0)

    def largest(y_true, y_pred):
        # Sees the rows around an entry, so it must get those of one task alone.
        return keras.ops.abs(y_true - y_pred)[..., 0] + keras.ops.max(y_pred)

    losses = {
        name: MaskedLoss(loss, LabelSpec(kind, missing, task=name), weights)
        for name, loss, kind, missing, weights in (
            ("a", "binary_crossentropy", "probability", -1, {1: 4.0}),
            ("real", "mean_squared_error", "real", NAN, None),
            ("b", "binary_crossentropy", "probability", -1, {1: 4.0}),
            ("light", "binary_crossentropy", "probability", -1, None),
            ("wide", "mean_squared_error", "real", NAN, None),
            ("c", "binary_crossentropy", "probability", -1.0, {1: 4.0}),
            ("function", largest, "real", NAN, None),
            ("function_too", largest, "real", NAN, None),
        )
    }
    width = dict.fromkeys(losses, 1) | {"wide": 2}
    y = {name: rng.integers(-1, 3, (20, k)).astype("float32") for name, k in width.items()}
    y |= {"a": y["a"][:, 0], "b": y["b"].astype("int32"), "c": np.full((20, 1), NAN, "float32")}
    p = {name: rng.uniform(0.1, 0.9, (20, k)).astype("float32") for name, k in width.items()}
    p["b"] = keras.activations.sigmoid(np.linspace(-40, 40, 20, dtype="float32")[:, None])
    p["c"] = keras.activations.sigmoid(np.linspace(-4, 4, 20, dtype="float32")[:, None])
    return losses, y, p


@pytest.mark.parametrize("weighted", [(), ("a", "b", "real"), ("a", "b", "c", "function")])
def test_terms_of_many_tasks_are_those_of_each(weighted):
    losses, y, p = of_two_kinds()
    weight = {name: np.linspace(0, 2, 20, dtype="float32") for name in weighted}
    together = terms_by_task(losses, y, p, weight)
    assert list(together) == list(losses)
    for name, loss in losses.items():
        alone = loss.terms(y[name], p[name], weight.get(name))
        # A sum over a stack may add in another order.
        np.testing.assert_allclose(together[name].total, alone.total, rtol=1e-6)
        assert float(together[name].labelled) == float(alone.labelled)
        assert [*map(int, together[name].violations)] == [*map(int, alone.violations)]


def test_among_many_tasks_an_error_names_the_one():
    losses, y, p = of_two_kinds()
    with pytest.raises(ValueError, match=r"Task 'b': labels must have shape"):
        terms_by_task(losses, y | {"b": np.zeros((20, 3))}, p, {})


def test_an_invalid_label_is_counted_and_not_trained_on():
    loss = MaskedLoss("mse", LabelSpec("probability"))
    terms = loss.terms(np.array([[-1.0], [1.0]]), np.array([[0.5], [0.5]]))
    assert float(terms.total) == pytest.approx(0.25)
    assert float(terms.labelled) == 1
    np.testing.assert_array_equal(terms.violations, [1, 0, 0])


def test_a_nan_prediction_gives_a_nan_loss_on_every_backend():
    loss = MaskedLoss("binary_crossentropy", LabelSpec("probability"))
    assert np.isnan(float(loss(np.array([[1.0], [0.0]]), np.array([[NAN], [0.5]], "float32"))))


def test_a_soft_label_gets_a_class_weight_between_the_two():
    loss = MaskedLoss("mse", LabelSpec("probability"), {0: 1.0, 1: 3.0})
    assert float(loss(np.array([[0.5]]), np.array([[0.0]]))) == pytest.approx(0.25 * 2.0)


def test_loss_objects_and_functions_are_taken():
    def absolute(y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)

    y, p = np.array([[1.0], [NAN]]), np.array([[3.0], [0.0]])
    assert float(MaskedLoss(absolute)(y, p)) == 2.0
    assert float(MaskedLoss(keras.losses.MeanAbsoluteError())(y, p)) == 2.0


def test_config_round_trip_through_json():
    spec = LabelSpec("class", -1, 3, task="shop")
    loss = MaskedLoss("sparse_categorical_crossentropy", spec, {2: 4.0})
    text = keras.saving.serialize_keras_object(loss)
    copy = keras.saving.deserialize_keras_object(text)
    assert copy.get_config() == loss.get_config()
    assert copy.class_weight == {2: 4.0}


@pytest.mark.parametrize(
    ("spec", "class_weight"),
    [
        (LabelSpec("real"), {0: 1.0}),
        (LabelSpec("probability"), {2: 1.0}),
        (LabelSpec("class", -1, 3), {3: 1.0}),
        (LabelSpec("probability"), {1: -1.0}),
        (LabelSpec("probability"), {1: NAN}),
    ],
)
def test_class_weights_of_no_class_are_refused(spec, class_weight):
    with pytest.raises(ValueError, match=r"class_weight.*Received"):
        MaskedLoss("mse", spec, class_weight)
