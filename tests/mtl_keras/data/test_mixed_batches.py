"""Arrays of several tasks as batches, on every backend."""

import itertools

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from mtl_keras.data import MixedBatches, Mixture

SIZES = {"a": 40, "b": 5, "c": 15}


def numbered(name):
    """Rows whose input and label say which one of which task they are."""
    numbers = (1000 * list(SIZES).index(name) + np.arange(SIZES[name])).astype("float32")
    return np.stack([numbers, numbers], axis=1), numbers


def numbered_arrays():
    return {name: numbered(name) for name in SIZES}


def epoch_of(batches):
    found = [batches[i] for i in range(len(batches))]
    batches.on_epoch_end()
    return found


def rows_read(epoch):
    return np.concatenate([x[:, 0] for x, _ in epoch]).astype(int)


@pytest.mark.parametrize("unit", ["example", "batch"])
@pytest.mark.parametrize("exhausted", ["repeat", "drop"])
def test_tasks_are_the_planned_ones(unit, exhausted):
    options = {"unit": unit, "exhausted": exhausted, "seed": 3}
    batches = MixedBatches(numbered_arrays(), "square_root", 4, task_input="task", **options)
    found = [x["task"].tolist() for x, _ in epoch_of(batches)]
    planned = Mixture(SIZES, "square_root", 4, **options).batches()
    assert found == [ids.tolist() for ids in itertools.islice(planned, len(batches))]


@pytest.mark.parametrize("unit", ["example", "batch"])
def test_labels_are_those_of_the_task_and_missing_elsewhere(unit):
    batches = MixedBatches(numbered_arrays(), batch_size=6, unit=unit, task_input="task")
    for x, y in epoch_of(batches):
        owner = (x["features"][:, 0] // 1000).astype(int)
        np.testing.assert_array_equal(x["task"], owner)
        for task, name in enumerate(SIZES):
            expected = np.where(owner == task, x["features"][:, 0], np.nan)
            np.testing.assert_array_equal(y[name], expected)


@pytest.mark.parametrize("unit", ["example", "batch"])
def test_drop_gives_each_row_once_an_epoch_in_another_order(unit):
    batches = MixedBatches(numbered_arrays(), batch_size=4, unit=unit, exhausted="drop")
    first, second = (rows_read(epoch_of(batches)) for _ in range(2))
    everything = np.sort(np.concatenate([x[:, 0] for x, _ in numbered_arrays().values()]))
    np.testing.assert_array_equal(np.sort(first), everything)
    np.testing.assert_array_equal(np.sort(second), everything)
    assert first.tolist() != second.tolist()


def test_repeat_goes_through_all_rows_before_any_comes_again():
    batches = MixedBatches(numbered_arrays(), batch_size=7, batches_per_epoch=10)
    read = np.concatenate([rows_read(epoch_of(batches)) for _ in range(6)])
    for k, size in enumerate(SIZES.values()):
        own = read[read // 1000 == k] % 1000
        assert len(own) >= 2 * size
        for start in range(0, len(own) - size + 1, size):
            np.testing.assert_array_equal(np.sort(own[start : start + size]), np.arange(size))
        # Each pass in an order of its own.
        assert own[:size].tolist() != own[size : 2 * size].tolist()


def test_unshuffled_rows_come_in_their_order():
    batches = MixedBatches(numbered_arrays(), batch_size=6, shuffle=False)
    read = rows_read(epoch_of(batches))
    own = read[read < 1000]
    np.testing.assert_array_equal(own, np.arange(len(own)) % 40)


@pytest.mark.parametrize("exhausted", ["repeat", "drop"])
def test_a_fit_may_go_on_at_any_epoch(exhausted):
    def batches(epoch=0):
        return MixedBatches(numbered_arrays(), batch_size=4, exhausted=exhausted, epoch=epoch)

    through = batches()
    epochs = [rows_read(epoch_of(through)).tolist() for _ in range(4)]
    assert rows_read(epoch_of(batches(epoch=3))).tolist() == epochs[3]
    # Also backwards, and whatever was asked before.
    through.epoch = 1
    assert rows_read(epoch_of(through)).tolist() == epochs[1]


def test_batches_may_be_asked_for_in_any_order():
    batches = MixedBatches(numbered_arrays(), batch_size=4)
    forwards = [x.tolist() for x, _ in (batches[i] for i in range(15))]
    backwards = [x.tolist() for x, _ in (batches[i] for i in reversed(range(15)))]
    assert forwards == backwards[::-1]


def test_inputs_labels_and_weights_of_every_kind():
    x = {"text": np.array(["x", "yy", "z"]), "pixels": np.ones((3, 2, 2), "uint8")}
    first = (x, {"kind": np.array([0, 1, 2], "int32")}, np.full(3, 2.0, "float32"))
    second = (
        {"number": np.arange(3.0)},
        {"words": np.ones((3, 4), "int32"), "kind": np.full(3, 5, "int32")},
    )
    batches = MixedBatches(
        {"a": first, "b": second}, "round_robin", 2, fill_inputs=True, shuffle=False
    )
    x, y, weights = batches[0]
    assert x["text"].tolist() == ["x", ""]
    np.testing.assert_array_equal(x["pixels"], [np.ones((2, 2)), np.zeros((2, 2))])
    np.testing.assert_array_equal(x["number"], [0, 0])
    np.testing.assert_array_equal(y["kind"], [0, 5])
    np.testing.assert_array_equal(y["words"], [[-1] * 4, [1] * 4])
    np.testing.assert_array_equal(weights, [2, 1])


SLOPES = {"a": (1, 0), "b": (0, 1), "c": (1, -1)}


def linear_arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 256, 2)).astype("float32")
    return {name: (x[k], x[k] @ np.float32(SLOPES[name])) for k, name in enumerate(SLOPES)}


def linear_model():
    inputs = keras.Input((2,))
    tasks = [mtl.RegressionTask(name) for name in SLOPES]
    outputs = {task.name: task.build_head()(inputs) for task in tasks}
    model = mtl.MultiTaskModel(inputs, outputs, tasks=tasks)
    model.compile(keras.optimizers.Adam(0.1))
    for variable in model.trainable_variables:
        variable.assign(0 * variable)
    return model


def kernels(model):
    return {name: keras.ops.convert_to_numpy(model.get_layer(name).kernel)[:, 0] for name in SLOPES}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_model_learns_each_task_from_its_own_rows(workers):
    model = linear_model()
    batches = MixedBatches(linear_arrays(), batch_size=32, batches_per_epoch=60, workers=workers)
    model.fit(batches, epochs=3, verbose=0)
    for name, kernel in kernels(model).items():
        np.testing.assert_allclose(kernel, SLOPES[name], atol=1e-2)


def test_epochs_are_those_of_the_fits():
    asked = []

    class Watched(MixedBatches):
        def __getitem__(self, index):
            if index == len(self) - 1:
                asked.append(self.epoch)
            return super().__getitem__(index)

    batches = Watched(linear_arrays(), batch_size=32, batches_per_epoch=20)
    model = linear_model()
    model.fit(batches, epochs=2, verbose=0)
    assert batches.epoch == 2
    model.fit(batches, epochs=1, verbose=0)
    model.fit(batches, initial_epoch=3, epochs=4, verbose=0)
    assert batches.epoch == 4
    assert sorted(set(asked)) == [0, 1, 2, 3]


def test_a_fit_in_two_parts_equals_one():
    def batches():
        return MixedBatches(linear_arrays(), batch_size=16, batches_per_epoch=5)

    whole, parts = linear_model(), linear_model()
    whole.fit(batches(), epochs=4, verbose=0)
    parts.fit(batches(), epochs=2, verbose=0)
    # Another object, as after another start of the program.
    parts.fit(batches(), initial_epoch=2, epochs=4, verbose=0)
    for name, kernel in kernels(whole).items():
        np.testing.assert_allclose(kernels(parts)[name], kernel, rtol=1e-6)


def test_a_fit_that_was_cut_off_goes_on_with_the_batches_it_would_have_got(tmp_path):
    class Off(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def fit(model, *callbacks):
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        batches = MixedBatches(linear_arrays(), batch_size=16, batches_per_epoch=5)
        model.fit(batches, epochs=4, verbose=0, callbacks=[backup, *callbacks])
        return model

    whole, parts = linear_model(), linear_model()
    with pytest.raises(KeyboardInterrupt):
        fit(parts, Off())
    parts = fit(linear_model())
    whole.fit(
        MixedBatches(linear_arrays(), batch_size=16, batches_per_epoch=5), epochs=4, verbose=0
    )
    for name, kernel in kernels(whole).items():
        np.testing.assert_allclose(kernels(parts)[name], kernel, rtol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"arrays": [1]}, "`arrays` must be a dict by task. Received: list"),
        ({"arrays": {"a": np.zeros(3)}}, r"'a' must be \(x, y\) .*Received: ndarray"),
        ({"arrays": {"a": (np.zeros(3), np.zeros(4))}}, "'a': arrays must have one row an example"),
        ({"arrays": {"a": (np.zeros((0, 2)), np.zeros(0))}}, "must have examples"),
        ({"exhausted": "stop"}, r"`exhausted` must be one of \['repeat', 'drop'\]"),
        ({"exhausted": "drop", "batches_per_epoch": 4}, "`batches_per_epoch` must be None"),
        ({"batches_per_epoch": 0}, "`batches_per_epoch` must be .*Received"),
        ({"epoch": -1}, "`epoch` must be .*Received: epoch=-1"),
        (
            {"arrays": {"a": (np.zeros(3), np.zeros(3, "uint8")), "b": (np.zeros(3), np.zeros(3))}},
            "Task 'a': labels must be of a type",
        ),
    ],
)
def test_errors_name_what_is_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        MixedBatches(**{"arrays": numbered_arrays(), **change})


def test_a_batch_that_is_not_there():
    with pytest.raises(IndexError, match=r"batches 0 to 1\. Received: 2"):
        MixedBatches(numbered_arrays(), batch_size=30)[2]
