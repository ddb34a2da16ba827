"""One stream of several data sets."""

import itertools
import math
import sys

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from mtl_keras.data import interleave, mix

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("streams are TensorFlow's", allow_module_level=True)

SIZES = {"a": 40, "b": 5, "c": 15}


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    """So that these few rows fill several."""
    monkeypatch.setattr(interleave, "_ROWS", 1)


def numbered(name, size=None, dtype="float32"):
    """Examples whose input and label say which one of which data set they are."""
    code = 1000 * list(SIZES).index(name)
    numbers = code + np.arange(SIZES[name] if size is None else size)
    x = np.stack([numbers, numbers], axis=1).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, numbers.astype(dtype)))


def numbered_sets():
    return {name: numbered(name) for name in SIZES}


def arrays(stream, batches=None):
    return list(itertools.islice(stream.as_numpy_iterator(), batches))


def told(x):
    """Whose the rows are by their input of ids, which must be whose they are."""
    np.testing.assert_array_equal(x["features"][:, 0] // 1000, x["task"])
    return x["task"].tolist()


ENDINGS = ("repeat", "stop", "drop")


@pytest.mark.parametrize("exhausted", ENDINGS)
@pytest.mark.parametrize("unit", ["example", "batch"])
@pytest.mark.parametrize("strategy", ["uniform", "proportional", "round_robin"])
def test_batches_are_the_planned_ones(strategy, unit, exhausted):
    stream = mix(
        numbered_sets(), strategy, 4, unit=unit, exhausted=exhausted, seed=2, task_input="task"
    )
    found = arrays(stream, 40)
    planned = list(itertools.islice(stream.mixture.batches(), 40))
    assert [told(x) for x, _ in found] == [ids.tolist() for ids in planned]


@pytest.mark.parametrize("unit", ["example", "batch"])
def test_labels_are_those_of_the_task_and_missing_elsewhere(unit):
    stream = mix(numbered_sets(), batch_size=6, unit=unit, task_input="task")
    for x, y in arrays(stream, 30):
        assert list(y) == ["a", "b", "c"]
        owner = (x["features"][:, 0] // 1000).astype(int)
        np.testing.assert_array_equal(x["task"], owner)
        for task, name in enumerate(SIZES):
            expected = np.where(owner == task, x["features"][:, 0], np.nan)
            np.testing.assert_array_equal(y[name], expected)


def test_counts_are_those_of_the_stream():
    stream = mix(numbered_sets(), "temperature", 8, seed=5)
    found = sum(np.isfinite(np.stack([*y.values()])).sum(1) for _, y in arrays(stream, 50))
    assert stream.mixture.counts(50) == dict(zip(SIZES, found.tolist(), strict=True))


@pytest.mark.parametrize("exhausted", ENDINGS)
def test_each_data_set_is_read_in_its_order(exhausted):
    stream = mix(numbered_sets(), batch_size=4, exhausted=exhausted, seed=1)
    read = np.concatenate([x[:, 0] for x, _ in arrays(stream, 60)]).astype(int)
    for k, size in enumerate(SIZES.values()):
        own = read[read // 1000 == k] % 1000
        assert len(own)
        np.testing.assert_array_equal(own, np.arange(len(own)) % size)
        if exhausted == "drop":
            assert len(own) == size


def test_an_endless_stream_shuffles_each_pass_anew():
    data = {"b": numbered("b").shuffle(5, seed=0), "c": numbered("c")}
    read = np.concatenate([x[:, 0] for x, _ in arrays(mix(data, "round_robin", 2), 10)])
    passes = read[read // 1000 == 1].reshape(2, 5)
    np.testing.assert_array_equal(np.sort(passes), [1000 + np.arange(5)] * 2)
    assert passes[0].tolist() != passes[1].tolist()


def test_stratified_batches():
    stream = mix(numbered_sets(), "proportional", 12, stratified=True, task_input="task")
    for x, _ in arrays(stream, 20):
        np.testing.assert_array_equal(np.bincount(x["task"], minlength=3), [8, 1, 3])


def test_the_same_seed_gives_the_same_stream():
    first, again, other = (
        np.concatenate([x[:, 0] for x, _ in arrays(mix(numbered_sets(), seed=seed), 5)])
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def restarted(left, resumed, batches, folder):
    """`resumed`, gone on with from where `left` is after so many batches."""
    for _ in range(batches):
        next(left)
    path = tf.train.Checkpoint(iterator=left).save(str(folder / "stream"))
    tf.train.Checkpoint(iterator=resumed).restore(path).assert_consumed()
    return resumed


@pytest.mark.parametrize("rows", [1, 48])
@pytest.mark.parametrize("unit", ["example", "batch"])
@pytest.mark.parametrize("exhausted", ENDINGS)
def test_a_saved_iterator_goes_on_where_it_was(unit, exhausted, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(interleave, "_ROWS", rows)

    def stream():
        data = {
            name: numbered(name).shuffle(10, seed=k).map(lambda x, y: (x + 0, y))
            for k, name in enumerate(SIZES)
        }
        return mix(data, batch_size=3, unit=unit, exhausted=exhausted, seed=4)

    left = iter(stream())
    resumed = restarted(left, iter(stream()), 4, tmp_path)
    expected = [x.numpy() for x, _ in itertools.islice(left, 30)]
    found = [x.numpy() for x, _ in itertools.islice(resumed, 30)]
    assert expected
    assert len(found) == len(expected)
    for x, again in zip(expected, found, strict=True):
        np.testing.assert_array_equal(x, again)


@pytest.mark.parametrize("unit", ["example", "batch"])
@pytest.mark.parametrize("exhausted", ENDINGS)
def test_a_stream_that_is_read_needs_no_python(exhausted, unit):
    # A process that ends waits for its iterators, which then would wait for Python for ever.
    python = tf.data.Dataset.range(3).map(lambda x: tf.numpy_function(abs, [x], tf.int64))
    assert b"PyFunc" in python._as_serialized_graph().numpy()
    stream = mix(numbered_sets(), stratified=unit == "example", unit=unit, exhausted=exhausted)
    assert b"PyFunc" not in stream._as_serialized_graph().numpy()


@pytest.mark.parametrize("unit", ["example", "batch"])
@pytest.mark.parametrize("exhausted", ENDINGS)
def test_draws_go_on_from_block_to_block(exhausted, unit, monkeypatch):
    # Not the function of that name, which hides it.
    module = sys.modules["mtl_keras.data.mix"]
    monkeypatch.setattr(module, "_DRAWN_AT_ONCE", 2)
    stream = mix(
        numbered_sets(), batch_size=4, unit=unit, exhausted=exhausted, seed=2, task_input="task"
    )
    found, planned = arrays(stream, 25), itertools.islice(stream.mixture.batches(), 25)
    assert [told(x) for x, _ in found] == [ids.tolist() for ids in planned]


# -- structure


def labelled(**labels):
    size = len(next(iter(labels.values())))
    return tf.data.Dataset.from_tensor_slices((np.zeros((size, 1), "float32"), labels))


def test_data_sets_may_label_several_tasks_and_share_some():
    score, kind = np.arange(6, dtype="float32"), np.arange(6, dtype="int32")
    words = np.arange(12, dtype="int32").reshape(6, 2)
    data = {
        "first": labelled(score=score, kind=kind),
        "second": labelled(words=words, other=100 + score, score=200 + score),
        "third": labelled(kind=300 + kind),
    }
    stream = mix(data, "round_robin", 3, task_input="task")
    (x, y), *_ = arrays(stream, 1)
    assert list(y) == ["score", "kind", "words", "other"]
    np.testing.assert_array_equal(x["task"], [0, 1, 2])
    np.testing.assert_array_equal(y["kind"], [0, -1, 300])
    np.testing.assert_array_equal(y["score"], [0, 200, np.nan])
    np.testing.assert_array_equal(y["other"], [np.nan, 100, np.nan])
    np.testing.assert_array_equal(y["words"], [[-1, -1], [0, 1], [-1, -1]])
    assert y["kind"].dtype == y["words"].dtype == np.int32


def test_labels_that_all_data_sets_have_are_never_missing():
    # Unsigned integers have no value for it, and need none here.
    data = {name: labelled(stars=np.full(4, k, "uint8")) for k, name in enumerate("ab")}
    (_, y), *_ = arrays(mix(data, "round_robin", 4), 1)
    np.testing.assert_array_equal(y["stars"], [0, 1, 0, 1])


def test_tasks_say_what_missing_means_and_in_which_order():
    tasks = [mtl.CategoricalTask("b", 3, missing_value=99), mtl.CategoricalTask("a", 3)]
    data = {name: labelled(**{name: np.zeros(4, "int32")}) for name in "ab"}
    (_, y), *_ = arrays(mix(data, "round_robin", 2, tasks=tasks), 1)
    assert list(y) == ["b", "a"]
    np.testing.assert_array_equal(y["b"], [99, 0])
    np.testing.assert_array_equal(y["a"], [0, -1])


def test_sample_weights_are_one_where_there_are_none():
    x, y = np.zeros((4, 1), "float32"), np.zeros(4, "float32")
    weighted = tf.data.Dataset.from_tensor_slices((x, y, np.full(4, 3, "float32")))
    data = {"a": tf.data.Dataset.from_tensor_slices((x, y)), "b": weighted}
    (_, _, weights), *_ = arrays(mix(data, "round_robin", 4), 1)
    np.testing.assert_array_equal(weights, [1, 3, 1, 3])


def test_inputs_may_differ_when_asked():
    images = tf.data.Dataset.from_tensor_slices(({"image": np.ones((4, 2))}, np.zeros(4)))
    texts = tf.data.Dataset.from_tensor_slices(({"text": np.array(["x"] * 4)}, np.zeros(4)))
    (x, _), *_ = arrays(mix({"a": images, "b": texts}, "round_robin", 2, fill_inputs=True), 1)
    np.testing.assert_array_equal(x["image"], [[1, 1], [0, 0]])
    assert x["text"].tolist() == [b"", b"x"]


def test_sequences_of_any_length_may_come_in_whole_batches(monkeypatch):
    monkeypatch.setattr(interleave, "_ROWS", 1024)

    def ragged(length):
        return tf.data.Dataset.from_generator(
            lambda: (([0] * (length + i // 4), 0.0) for i in range(8)),
            output_signature=(tf.TensorSpec([None], "int32"), tf.TensorSpec([], "float32")),
        )

    data = {"short": ragged(3), "long": ragged(5)}
    found = arrays(mix(data, "round_robin", 4, unit="batch"), 6)
    assert [x.shape[1] for x, _ in found] == [3, 5, 4, 6, 3, 5]


@pytest.mark.parametrize(
    "data, options, message",
    [
        (lambda: {"a": np.zeros(3)}, {}, "'a' must be a tf.data.Dataset .*Received: ndarray"),
        (lambda: [numbered("a")], {}, "must be a dict"),
        (
            lambda: {"a": numbered("a").batch(4)},
            {},
            r"labels of 'a' must have a fixed shape: give single examples \(`.unbatch\(\)`\)",
        ),
        (lambda: {"a": numbered("a").map(lambda x, y: x)}, {}, r"must give \(x, y\)"),
        (lambda: {"a": numbered("a").take(0)}, {}, r"must have examples. Received: none for \['a'"),
        (
            lambda: {"a": numbered("a"), "b": numbered("b").map(lambda x, y: (x[0], y))},
            {},
            "'b': inputs must be those of 'a'",
        ),
        (
            lambda: {"a": numbered("a"), "b": numbered("b").map(lambda x, y: ({"x": x}, y))},
            {},
            "'b': inputs must be those of 'a'",
        ),
        (lambda: {"a": numbered("a")}, {"fill_inputs": True}, "must be dicts for `fill_inputs`"),
        (
            lambda: {"a": numbered("a", dtype="uint8"), "b": numbered("b")},
            {},
            "Task 'a': labels must be of a type that has a value for 'missing'.*uint8",
        ),
        (
            lambda: {"a": numbered("a", dtype="int32"), "b": numbered("b")},
            {"tasks": [mtl.RegressionTask("a"), mtl.RegressionTask("b")]},
            "Task 'a': labels must be of a type .*int32, missing value nan",
        ),
        (
            lambda: {"a": labelled(t=np.zeros(3)), "b": labelled(t=np.zeros((3, 1)))},
            {},
            "Task 't': labels must have one shape and type",
        ),
        (numbered_sets, {"tasks": [mtl.RegressionTask("a")]}, r"of `tasks`, \['a'\].*'b', 'c'"),
        (
            lambda: {"a": numbered("a").map(lambda x, y: ({"task": x}, y))},
            {"task_input": "task"},
            "`task_input` must be a name that no input has. Received: 'task'",
        ),
        (numbered_sets, {"sizes": {"d": 4}}, r"`sizes` must name data sets .*Received: \['d'\]"),
        (numbered_sets, {"sizes": {"a": 4}}, "'a' has 40 examples. Received: 4"),
        (
            lambda: {"a": numbered("a").filter(lambda x, y: True)},
            {"strategy": "proportional"},
            "give `sizes`",
        ),
        (
            lambda: {"a": numbered("a").map(lambda x, y: (tf.sparse.from_dense(x), y))},
            {},
            "'a': single examples must be of dense tensors.*unit='batch'.*SparseTensorSpec",
        ),
        (
            lambda: {"a": numbered("a").map(lambda x, y: (x, y, x))},
            {},
            "the sample weight of an example must be one number",
        ),
    ],
)
def test_errors_name_what_is_wrong(data, options, message):
    with pytest.raises(ValueError, match=message):
        mix(data(), **options)


def of_unknown_size():
    return {name: numbered(name).filter(lambda x, y: True) for name in SIZES}


def test_sizes_may_be_told():
    stream = mix(of_unknown_size(), "proportional", sizes=SIZES)
    assert stream.mixture.probabilities()["a"] == pytest.approx(40 / 60)


@pytest.mark.parametrize("unit", ["example", "batch"])
@pytest.mark.parametrize("exhausted", ENDINGS)
def test_with_right_sizes_told_the_stream_is_that_of_known_ones(unit, exhausted):
    options = {"batch_size": 4, "unit": unit, "exhausted": exhausted, "seed": 3}
    told = arrays(mix(of_unknown_size(), sizes=SIZES, **options), 40)
    known = arrays(mix(numbered_sets(), **options), 40)
    assert len(told) == len(known)
    for (x, _), (again, _) in zip(told, known, strict=True):
        np.testing.assert_array_equal(x, again)


@pytest.mark.parametrize("exhausted", ENDINGS)
@pytest.mark.parametrize("unit", ["example", "batch"])
@pytest.mark.parametrize("rows, size", [(1024, 4), (1024, 7), (48, 4), (1, 1)])
def test_how_much_is_read_at_a_time_does_not_show(rows, size, unit, exhausted, monkeypatch):
    options = {"unit": unit, "exhausted": exhausted, "seed": 2, "task_input": "task"}
    expected = np.concatenate(
        [x["features"] for x, _ in arrays(mix(numbered_sets(), batch_size=4, **options), 30)]
    )
    monkeypatch.setattr(interleave, "_ROWS", rows)
    stream = mix(numbered_sets(), batch_size=size, **options)
    if size == 4:
        found = np.concatenate([x["features"] for x, _ in arrays(stream, 30)])
        np.testing.assert_array_equal(found, expected)
    found, planned = arrays(stream, 40), itertools.islice(stream.mixture.batches(), 40)
    assert [told(x) for x, _ in found] == [ids.tolist() for ids in planned]


def test_large_rows_are_read_few_at_a_time(monkeypatch):
    monkeypatch.setattr(interleave, "_BYTES", 100)
    stream = mix(numbered_sets(), batch_size=4, seed=2, task_input="task")
    found, planned = arrays(stream, 40), itertools.islice(stream.mixture.batches(), 40)
    assert [told(x) for x, _ in found] == [ids.tolist() for ids in planned]


def split_words(x):
    return tf.strings.split(tf.strings.as_string(x[:1]) + " x").to_tensor()[0]


def of_unknown_rank(x):
    return tf.ensure_shape(tf.numpy_function(lambda x: x, [split_words(x)], tf.string), None)


@pytest.mark.parametrize("exhausted", ENDINGS)
@pytest.mark.parametrize("words", [split_words, of_unknown_rank])
def test_rows_of_one_length_need_not_say_so(words, exhausted):
    data = {name: numbered(name).map(lambda x, y: (words(x), y)) for name in SIZES}
    assert not data["a"].element_spec[0].shape.is_fully_defined()
    stream = mix(data, batch_size=4, exhausted=exhausted)
    found = arrays(stream, 20)
    planned = itertools.islice(stream.mixture.batches(), 20)
    assert [len(x) for x, _ in found] == [len(ids) for ids in planned]
    for x, y in found:
        numbers = np.nansum(np.stack([*y.values()]), axis=0)
        np.testing.assert_array_equal(x[:, 0].astype(float), numbers)


# Of 4 or a multiple of the batch size, nothing beyond is read ahead.
@pytest.mark.parametrize("name, size", [("a", 36), ("a", 41), ("b", 4), ("b", 6), ("c", 20)])
@pytest.mark.parametrize("unit", ["example", "batch"])
def test_a_wrong_size_is_an_error_when_each_example_is_to_come_once(unit, name, size):
    stream = mix(
        of_unknown_size(), batch_size=4, unit=unit, exhausted="drop", sizes=SIZES | {name: size}
    )
    message = f"expected to contain {size} elements but contained (only|at least)"
    with pytest.raises(tf.errors.FailedPreconditionError, match=message):
        arrays(stream)


@pytest.mark.parametrize(
    "unit, read", [("example", 3), ("example", 7), ("batch", 3), ("batch", 12), ("batch", 14)]
)
def test_sizes_are_compared_after_a_restart_too(read, unit, tmp_path):
    def stream(**wrong):
        data, sizes = of_unknown_size(), SIZES | wrong
        return mix(data, batch_size=4, unit=unit, exhausted="drop", sizes=sizes, seed=3)

    # By then two of the data sets have ended: single examples are read ahead.
    left = iter(stream())
    resumed = restarted(left, iter(stream()), read, tmp_path)
    rest = [x.numpy().tolist() for x, _ in left]
    assert rest and [x.numpy().tolist() for x, _ in resumed] == rest
    resumed = restarted(iter(stream(a=41)), iter(stream(a=41)), read, tmp_path)
    with pytest.raises(tf.errors.FailedPreconditionError, match="contain 41 elements"):
        list(resumed)


@pytest.mark.parametrize("size", [4, 6])
def test_a_wrong_size_of_the_data_set_that_stops_the_stream_is_an_error(size):
    stream = mix(of_unknown_size(), "round_robin", 4, exhausted="stop", sizes=SIZES | {"b": size})
    with pytest.raises(tf.errors.FailedPreconditionError, match=f"contain {size} elements"):
        arrays(stream)


def test_a_stream_that_repeats_only_weighs_by_sizes():
    stream = mix(of_unknown_size(), "proportional", 4, sizes=SIZES | {"b": 1000})
    assert len(arrays(stream, 300)) == 300


# -- training


def linear_sets(rng, rows=256):
    x = rng.normal(size=(3, rows, 2)).astype("float32")
    slopes = [(1, 0), (0, 1), (1, -1)]
    return {
        name: tf.data.Dataset.from_tensor_slices((x[k], x[k] @ np.float32(slopes[k])))
        for k, name in enumerate(SIZES)
    }


def test_a_model_of_several_heads_learns_each_from_its_own_data():
    inputs = keras.Input((2,))
    tasks = [mtl.RegressionTask(name) for name in SIZES]
    outputs = {task.name: task.build_head()(inputs) for task in tasks}
    model = mtl.MultiTaskModel(inputs, outputs, tasks=tasks)
    model.compile(keras.optimizers.Adam(0.1))
    stream = mix(linear_sets(np.random.default_rng(0)), batch_size=32)
    model.fit(stream, steps_per_epoch=100, epochs=2, verbose=0)
    slopes = {"a": (1, 0), "b": (0, 1), "c": (1, -1)}
    for name, slope in slopes.items():
        kernel = keras.ops.convert_to_numpy(model.get_layer(name).kernel)[:, 0]
        np.testing.assert_allclose(kernel, slope, atol=1e-2)


def test_a_model_that_is_told_the_task():
    from zoo import task_conditioned

    model = task_conditioned(
        [mtl.RegressionTask("y")], 2, trunk=[8], row_input="task", num_row_tasks=3
    )
    data = linear_sets(np.random.default_rng(0))
    data = {name: own.map(lambda x, y: (x, {"y": y})) for name, own in data.items()}
    stream = mix(data, batch_size=32, task_input="task")
    history = model.fit(stream, steps_per_epoch=50, epochs=4, verbose=0).history
    assert history["y_loss"][-1] < history["y_loss"][0]
    assert math.isfinite(history["y_loss"][-1])
