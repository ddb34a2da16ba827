"""Entity F1 against sets of spans that plain Python reads off the tags."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from mtl_keras import LabelSpec, SpanF1

TAGS = ("O", "B-city", "I-city", "I-year", "B-year", "B-unit")
ID = {tag: i for i, tag in enumerate(TAGS)}
NAN = float("nan")


def spans(tags):
    """(first, last, type) of each chunk, tag after tag as conlleval reads them."""
    found, last = [], "O"
    for i, tag in enumerate(tags):
        if tag != "O":
            if tag[0] == "I" and last[2:] == tag[2:]:
                found[-1] = (found[-1][0], i, tag[2:])
            else:
                found.append((i, i, tag[2:]))
        last = tag
    return found


def expected(labels, predictions, weights=None):
    """F1 of all rows; positions labelled -1 are taken out of both sequences first."""
    found, predicted, actual = 0.0, 0.0, 0.0
    weights = np.ones(labels.shape) if weights is None else weights
    for y, p, w in zip(labels, predictions, weights, strict=True):
        kept = y >= 0
        w = w[kept]
        y, p = (set(spans([TAGS[t] for t in row[kept]])) for row in (y, p))
        found += sum(w[first] for first, *_ in y & p)
        predicted += sum(w[first] for first, *_ in p)
        actual += sum(w[first] for first, *_ in y)
    return 2 * found / (predicted + actual) if predicted + actual else NAN


def scores(tags):
    """Scores of classes, of which those of `tags` are the highest."""
    noise = np.random.default_rng(1).uniform(size=(*np.shape(tags), len(TAGS)))
    return (noise + 2 * np.eye(len(TAGS))[tags]).astype("float32")


def draw(rows=200, length=12, seed=0, missing=0.1):
    """Labels of chance, ill-formed ones among them, and predictions that often agree."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(TAGS), size=(rows, length))
    agree = rng.uniform(size=labels.shape) < 0.8
    predictions = np.where(agree, labels, rng.integers(len(TAGS), size=labels.shape))
    padded = np.arange(length) >= rng.integers(length + 1, size=(rows, 1))
    gaps = rng.uniform(size=labels.shape) < missing
    return np.where(padded | gaps, -1, labels), predictions


def f1(labels, predictions, **options):
    metric = SpanF1(TAGS)
    metric.update_state(np.asarray(labels), scores(predictions), **options)
    return float(metric.result())


@pytest.mark.parametrize(
    ("actual", "predicted", "value"),
    [
        ("O B-city I-city O", "O B-city I-city O", 1),
        ("O B-city I-city O", "O B-city O O", 0),
        ("O B-city I-city O", "O B-city I-city I-city", 0),
        ("O B-city I-city O", "B-city I-city I-city O", 0),
        ("O B-year I-year O", "O B-city I-city O", 0),
        ("B-city B-city O", "B-city I-city O", 0),
        ("B-city I-city O", "B-city B-city O", 0),
        # An I- begins a chunk outside, and after another type.
        ("O I-city I-city", "O B-city I-city", 1),
        ("B-city I-year I-year", "B-city B-year I-year", 1),
        ("B-city I-year B-year", "B-city I-year I-year", 0.4),
        # One of two is found, and one more predicted: 2 * 1 / (2 + 2).
        ("B-city I-city O B-unit", "B-city I-city B-unit O", 0.5),
        # None is actual; none is predicted.
        ("O O", "O B-city", 0),
        ("O B-city", "O O", 0),
        ("O O", "O O", NAN),
    ],
)
def test_by_hand(actual, predicted, value):
    actual, predicted = ([[ID[tag] for tag in tags.split()]] for tags in (actual, predicted))
    assert f1(actual, predicted) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
def test_is_that_of_the_sets_of_spans(seed):
    labels, predictions = draw(seed=seed)
    value = f1(labels, predictions)
    assert value == pytest.approx(expected(labels, predictions), rel=1e-5)
    assert 0.2 < value < 0.95


def test_counts_add_up_over_batches_of_any_length():
    labels, predictions = draw()
    metric = SpanF1(TAGS)
    for rows in np.array_split(np.arange(len(labels)), 7):
        # Padding is as long as the batch's longest row needs.
        used = (labels[rows] >= 0).any(axis=0).nonzero()[0].max() + 1
        metric.update_state(labels[rows, :used], scores(predictions[rows, :used]))
    assert float(metric.result()) == pytest.approx(expected(labels, predictions), rel=1e-5)
    metric.reset_state()
    assert np.isnan(float(metric.result()))


def test_a_chunk_lasts_over_positions_without_a_label():
    city, more = ID["B-city"], ID["I-city"]
    # Of "san fran ##cisco" the last piece has no label, whatever is predicted there.
    labels = [[city, more, -1, 0], [city, -1, more, -1]]
    predictions = [[city, more, ID["B-unit"], 0], [city, 0, more, city]]
    assert f1(labels, predictions) == 1


def test_what_is_predicted_without_a_label_counts_for_nothing():
    labels, predictions = draw()
    elsewhere = np.where(labels < 0, (predictions + 1) % len(TAGS), predictions)
    assert f1(labels, predictions) == f1(labels, elsewhere)
    broken = np.where(labels[..., None] < 0, np.float32(NAN), scores(predictions))
    metric = SpanF1(TAGS)
    metric.update_state(labels, broken)
    assert float(metric.result()) == f1(labels, predictions)


def test_of_no_label_it_is_nan():
    assert np.isnan(f1([[-1, -1]], [[1, 2]]))


@pytest.mark.parametrize("shape", [(200, 1), (200, 12)])
def test_chunks_weigh_as_much_as_their_first_position(shape):
    labels, predictions = draw()
    weights = np.random.default_rng(2).uniform(0, 3, size=shape).astype("float32")
    value = f1(labels, predictions, sample_weight=weights[:, 0] if shape[1] == 1 else weights)
    weights = np.broadcast_to(weights, labels.shape)
    assert value == pytest.approx(expected(labels, predictions, weights), rel=1e-5)
    assert value != pytest.approx(f1(labels, predictions), rel=1e-5)


def test_another_missing_label():
    labels, predictions = draw()
    metric = SpanF1(TAGS, LabelSpec("class", 0, len(TAGS)))
    metric.update_state(np.where(labels < 0, 0, labels), scores(predictions))
    value = expected(np.where(labels == 0, -1, labels), predictions)
    assert float(metric.result()) == pytest.approx(value, rel=1e-5)


def test_config_round_trip():
    metric = SpanF1(TAGS, LabelSpec("class", -100, len(TAGS)), name="entities")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert copy.get_config() == metric.get_config()
    assert copy.tags == TAGS and copy.name == "entities" and copy.labels.missing_value == -100


def token_model(jit_compile, length=12):
    task = mtl.TokenTask("slots", len(TAGS), metrics=("accuracy", SpanF1(TAGS)), score="span_f1")
    assert mtl.TokenTask.from_config(task.get_config()) == task
    inputs = keras.Input((length,), dtype="int32")
    vectors = keras.layers.Embedding(len(TAGS) + 1, 8, mask_zero=True)(inputs)
    model = mtl.MultiTaskModel(inputs, {"slots": task.build_head()(vectors)}, tasks=[task])
    model.compile(keras.optimizers.Adam(0.05), jit_compile=jit_compile)
    return model


@pytest.mark.parametrize(
    "jit_compile",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                keras.backend.backend() == "torch", reason="takes PyTorch minutes to compile"
            ),
        ),
    ],
)
def test_a_task_is_scored_by_it(jit_compile):
    keras.utils.set_random_seed(0)
    labels, _ = draw(rows=64, missing=0.0)
    model = token_model(jit_compile)
    # Ids tell the tag; 0 is padding, and masked.
    logs = model.fit(labels + 1, {"slots": labels}, epochs=20, verbose=0).history
    assert logs["slots_span_f1"][0] < logs["slots_span_f1"][-1] == 1
    assert logs["score"][-1] == logs["slots_span_f1"][-1]
    report = model.evaluate(labels + 1, {"slots": labels}, verbose=0, return_dict=True)
    assert report["slots_span_f1"] == 1


def test_a_masked_position_is_skipped():
    model = token_model(jit_compile=False, length=None)
    # Predicts the tag that an id tells, and "O" for padding.
    model.set_weights([np.eye(len(TAGS) + 1, 8), np.eye(8, len(TAGS), -1), np.zeros(len(TAGS))])
    ids = np.array([[2, 3, 0, 0], [5, 0, 1, 2]])
    labels = np.array([[1, 2, 1, 1], [4, 1, 0, 1]])
    report = model.evaluate(ids, {"slots": labels}, verbose=0, return_dict=True)
    assert report["slots_span_f1"] == 1


@pytest.mark.parametrize(
    "tags", [(), "O", ("O", "city"), ("O", "B-"), ("O", "B-city", "B-city"), ("O", "E-city")]
)
def test_other_tags_are_refused(tags):
    with pytest.raises(ValueError, match=r"`tags` must be .*Received: tags="):
        SpanF1(tags)


@pytest.mark.parametrize("shape", [(2, 3, len(TAGS) + 1), (2, len(TAGS)), (2, 3, 3, len(TAGS))])
def test_outputs_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"`y_pred` must have the shape \(batch, length, 6\)"):
        SpanF1(TAGS).update_state(np.zeros(shape[:-1]), np.zeros(shape))
