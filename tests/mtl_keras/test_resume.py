"""A fit that is interrupted goes on as if nothing had happened; a checkpoint is never half one."""

import contextlib
import itertools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance import interrupted_fits
from conformance.interrupted_fits import state_of

TESTS = Path(__file__).parents[1]
BackupAndRestore = keras.callbacks.BackupAndRestore
ROWS, BATCH, EPOCHS = 20, 5, 3
STEPS = ROWS // BATCH
# Where so few steps are cheaper than their compilation.
EAGER = keras.backend.backend() != "jax"
CENSUS = ["census"] if keras.backend.backend() == "tensorflow" else []


class Stopped(Exception):
    """What interrupts a fit."""


class Stop(keras.callbacks.Callback):
    """Interrupts after some batches."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise Stopped


class Seen(keras.callbacks.Callback):
    """The batches that callbacks saw."""

    def on_train_begin(self, logs=None):
        self.batches, self.begun = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.begun.append((self.epoch, batch))

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((self.epoch, batch))


def made(fit):
    """A new model and what its `fit` is given."""
    keras.utils.set_random_seed(7)
    return fit()


def run(fit, callbacks=(), **more):
    """A fit of a new model; the model and the history."""
    model, arguments = made(fit)
    arguments = {"epochs": EPOCHS, "verbose": 0, **arguments, **more}
    return model, model.fit(callbacks=list(callbacks), **arguments).history


def small(seed=None, **compiled):
    """A model with dropout, compiled like this, and arrays in their own order."""
    x, y = data()
    tasks = interrupted_fits.tasks("b", "c")
    inputs = keras.Input((6,))
    h = keras.layers.Dropout(0.3, seed=seed)(keras.layers.Dense(4, activation="tanh")(inputs))
    outputs = {task.name: task.build_head()(h) for task in tasks}
    model = mtl.MultiTaskModel(inputs, outputs, tasks=tasks)
    model.compile(**{"optimizer": "adam", "run_eagerly": EAGER, **compiled})
    return model, {"x": x, "y": y, "batch_size": BATCH, "shuffle": False}


def data(rows=ROWS):
    """Inputs, and labels of two tasks."""
    x, y = interrupted_fits.data()
    return x[:rows], {name: y[name][:rows] for name in ("b", "c")}


def assert_same(model, other):
    first, second = state_of(model), state_of(other)
    assert len(first) == len(second)
    for (path, a), b in zip(first.items(), second.values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)


def assert_ends_like(history, whole):
    assert history.keys() == whole.keys()
    for key, values in history.items():
        assert values == whole[key][-len(values) :], key


def interrupt(fit, backup, freq, batches, *callbacks):
    with pytest.raises(Stopped):
        run(fit, [BackupAndRestore(backup, freq), *callbacks, Stop(batches)])


@pytest.fixture(scope="module")
def whole():
    """The model of a fit that nothing interrupted."""
    return run(small)[0]


# -- going on


@pytest.mark.parametrize(
    ("freq", "stops"),
    [("epoch", [STEPS + 3, 3]), (2, [STEPS + 3, 2]), (STEPS, [STEPS + 1])],
    ids=["epoch", "batches", "last_batch"],
)
def test_an_interrupted_fit_ends_like_a_whole_one(freq, stops, tmp_path):
    more = {"validation_data": data(5)}
    fit = lambda: with_more(small(balancer="dwa"), more)  # noqa: E731
    whole, logs = run(fit)
    for batches in stops:
        interrupt(fit, tmp_path / "backup", freq, batches)
    again, rest = run(fit, [BackupAndRestore(tmp_path / "backup", freq)])
    assert len(rest["loss"]) < EPOCHS or freq == STEPS
    assert_ends_like(rest, logs)
    assert_same(again, whole)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one backend's streams do")
@pytest.mark.parametrize("kind", ["endless", "unknown_length", "one_epoch", "two_epochs"])
def test_a_stream_goes_on(kind, tmp_path):
    import tensorflow as tf

    def fit():
        model, arguments = small()
        stream = tf.data.Dataset.from_tensor_slices((arguments["x"], arguments["y"]))
        stream = stream.shuffle(ROWS, seed=1, reshuffle_each_iteration=False).batch(BATCH)
        steps = STEPS // 2 if kind == "two_epochs" else STEPS
        if kind == "endless":
            stream, steps = stream.repeat(), STEPS - 1
        elif kind == "unknown_length":
            stream = stream.repeat(EPOCHS).filter(lambda *_: True)
        return model, {"x": stream, "steps_per_epoch": steps}

    whole, logs = run(fit)
    interrupt(fit, tmp_path, "epoch", STEPS + 1)
    again, rest = run(fit, [BackupAndRestore(tmp_path)])
    assert len(rest["loss"]) < EPOCHS
    assert_ends_like(rest, logs)
    assert_same(again, whole)


def test_a_generator_goes_on(tmp_path):
    def fit():
        model, arguments = small()
        x, y = arguments["x"], arguments["y"]
        at = ((7 * i % ROWS, 7 * i % ROWS + 3) for i in itertools.count())
        batches = (
            (x[start:stop], {name: labels[start:stop] for name, labels in y.items()})
            for start, stop in ((a, max(b, a + 1)) for a, b in at)
        )
        return model, {"x": batches, "steps_per_epoch": STEPS}

    whole, _ = run(fit)
    interrupt(fit, tmp_path, 2, STEPS + 3)
    again, _ = run(fit, [BackupAndRestore(tmp_path, 2)])
    assert_same(again, whole)


def with_more(made, more):
    model, arguments = made
    return model, arguments | more


def test_callbacks_see_only_the_batches_that_are_left(tmp_path):
    interrupt(small, tmp_path, 2, STEPS + 3)
    with h5py.File(tmp_path / "latest.weights.h5") as file:
        epoch, batch, _ = file["progress/vars/position"][:]
    assert epoch == 1
    assert 0 < batch < STEPS
    seen = Seen()
    run(small, [seen, BackupAndRestore(tmp_path, 2)], epochs=2)
    assert seen.batches == seen.begun == [(1, left) for left in range(batch, STEPS)]


@pytest.mark.slow
def test_several_steps_an_execution(tmp_path):
    """`pytest -m slow -n 0 tests/mtl_keras/test_resume.py -k execution`."""
    if keras.backend.backend() == "torch":
        pytest.skip("Keras has them on TensorFlow and JAX")
    fit = lambda: small(steps_per_execution=2, run_eagerly=False)  # noqa: E731
    whole, logs = run(fit)
    interrupt(fit, tmp_path / "backup", 4, 3)
    again, rest = run(fit, [BackupAndRestore(tmp_path / "backup", 2)])
    assert_ends_like(rest, logs)
    assert_same(again, whole)


def test_a_list_of_callbacks_by_keras(whole, tmp_path):
    interrupt(small, tmp_path / "backup", 2, 3)
    model, arguments = made(small)
    backup = BackupAndRestore(tmp_path / "backup", 2)
    listed = keras.callbacks.CallbackList([backup], add_history=True, model=model, epochs=EPOCHS)
    model.fit(callbacks=listed, epochs=EPOCHS, verbose=0, **arguments)
    assert_same(model, whole)


def test_the_next_fit_begins_at_its_first_epoch(tmp_path):
    interrupt(small, tmp_path / "backup", "epoch", STEPS + 1)
    model, arguments = made(small)
    for epochs in (2, 1):
        backup = BackupAndRestore(tmp_path / "backup")
        history = model.fit(callbacks=[backup], epochs=epochs, verbose=0, **arguments)
    assert len(history.history["loss"]) == 1


@pytest.mark.parametrize("every", [1, 3])
def test_updates_of_auto_lambda_go_on(every, tmp_path):
    fit = lambda: small(balancer="auto_lambda")  # noqa: E731
    updates = lambda: mtl.callbacks.AutoLambdaUpdates(  # noqa: E731
        data(), data(), every=every, batch_size=4, seed=2
    )
    whole, _ = run(fit, [updates()], epochs=2)
    interrupt(fit, tmp_path / "backup", 2, 3, updates())
    again, _ = run(fit, [BackupAndRestore(tmp_path / "backup", 2), updates()], epochs=2)
    assert_same(again, whole)


# -- the two files of a backup


def stale(metadata):
    metadata.write_text(json.dumps({"epoch": 0, "batch": 0}))


def empty(metadata):
    metadata.write_text("")


def missing(metadata):
    metadata.unlink()


@pytest.mark.parametrize("spoil", [stale, empty, missing])
def test_weights_say_where_they_are(spoil, whole, tmp_path):
    interrupt(small, tmp_path, "epoch", STEPS + 1)
    spoil(tmp_path / "training_metadata.json")
    again, rest = run(small, [BackupAndRestore(tmp_path)])
    assert len(rest["loss"]) == EPOCHS - 1
    assert_same(again, whole)


def test_a_number_without_weights_is_none(whole, tmp_path):
    interrupt(small, tmp_path, "epoch", STEPS + 1)
    (tmp_path / "latest.weights.h5").unlink()
    again, _ = run(small, [BackupAndRestore(tmp_path)])
    assert_same(again, whole)


def test_the_one_before_takes_the_place_of_a_broken_one(whole, tmp_path):
    with pytest.raises(Stopped):
        backup = BackupAndRestore(tmp_path, "epoch", double_checkpoint=True)
        run(small, [backup, Stop(2 * STEPS + 1)])
    latest = tmp_path / "latest.weights.h5"
    latest.write_bytes(latest.read_bytes()[:1000])
    again, rest = run(small, [BackupAndRestore(tmp_path, double_checkpoint=True)])
    assert len(rest["loss"]) == EPOCHS - 1
    assert_same(again, whole)


def test_other_metrics_in_the_middle_of_an_epoch_are_refused(tmp_path):
    interrupt(small, tmp_path, 2, 3)
    other = lambda: small(metrics={"b": [keras.metrics.Mean()]})  # noqa: E731
    with pytest.raises(ValueError, match=r"only with the metrics that it had\. Received: metrics"):
        run(other, [BackupAndRestore(tmp_path, 2)])


# -- files of models


KINDS = {
    "plain": dict,
    "accumulated": lambda: {"optimizer": keras.optimizers.Adam(gradient_accumulation_steps=3)},
    "averaged": lambda: {"optimizer": keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True)},
    "scaled": lambda: {
        "optimizer": keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(), dynamic_growth_steps=4
        )
    },
    "per_part": lambda: {
        "optimizer": mtl.optimizers.per_part({"trunk": "adam", "heads": "rmsprop"})
    },
    "learned": lambda: {"balancer": "uw"},
    "gramian": lambda: {"balancer": "gradnorm", "balancer_every": 2},
    "jacobian": lambda: {"balancer": "moco"},
    "random": lambda: {"balancer": "rlw"},
}


# The others take long together: `pytest -m slow -n 0 tests/mtl_keras/test_resume.py -k loading`.
QUICK = ("scaled", "gramian")


@pytest.mark.parametrize(
    "kind", [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in KINDS]
)
def test_the_step_after_loading_is_the_next_one(kind, tmp_path):
    if kind == "averaged" and keras.backend.backend() == "jax":
        pytest.skip("Keras gives one buffer to a weight and its average, and JAX refuses that")
    # Without a seed, PyTorch draws from the process's generator, which loading leaves alone.
    fit = lambda: small(seed=1, **KINDS[kind]())  # noqa: E731
    path = tmp_path / "{batch}.keras"
    weights = tmp_path / "{batch}.weights.h5"
    model, arguments = made(fit)
    callbacks = [
        keras.callbacks.ModelCheckpoint(path, save_freq=2),
        keras.callbacks.ModelCheckpoint(weights, save_freq=2, save_weights_only=True),
    ]
    with pytest.raises(Stopped):
        model.fit(callbacks=[*callbacks, Stop(2)], verbose=0, **arguments)
    saved, (compiled, _) = keras.saving.load_model(tmp_path / "2.keras"), made(fit)
    compiled.optimizer.build(compiled.trainable_variables)
    compiled.load_weights(tmp_path / "2.weights.h5")
    for other in (model, saved, compiled):
        for start in (10, 15):
            rows = slice(start, start + BATCH)
            y = {name: labels[rows] for name, labels in arguments["y"].items()}
            other.train_on_batch(arguments["x"][rows], y)
    assert_same(saved, model)
    assert_same(compiled, model)


def test_the_best_is_kept_whole(tmp_path):
    path = tmp_path / "best.keras"
    best = keras.callbacks.ModelCheckpoint(path, "loss", save_best_only=True)
    _, logs = run(small, [best])
    loaded = keras.saving.load_model(path)
    assert loaded.progress.place.epoch == 1 + int(np.argmin(logs["loss"]))
    assert [file.name for file in tmp_path.iterdir()] == ["best.keras"]


def test_weights_of_a_model_without_the_dropout_load(tmp_path):
    model, _ = made(small)
    model.save_weights(tmp_path / "a.weights.h5")
    inputs = keras.Input((6,))
    h = keras.layers.Dense(4, activation="tanh")(inputs)
    outputs = {task.name: task.build_head()(h) for task in model.tasks}
    other = mtl.MultiTaskModel(inputs, outputs, tasks=model.tasks)
    other.load_weights(tmp_path / "a.weights.h5")
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_without_progress_load(tmp_path):
    model, arguments = made(small)
    model.fit(epochs=1, verbose=0, **arguments)
    model.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "a") as file:
        del file["progress"]
    other, _ = made(small)
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "a.weights.h5")
    assert other.progress.place.epoch == 0
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


# -- disks that take nothing


@contextlib.contextmanager
def no_room(folder):
    """Files may not grow: what a full disk does, for whoever may not mount one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        yield "File too large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def full_disk(folder):
    """A disk of a size of its own, with what `folder` holds, and no room beside it."""
    with mounted(folder):
        filler = folder / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(512))
        yield "No space left on device"
        filler.unlink()


@contextlib.contextmanager
def read_only(folder):
    if os.geteuid():
        folder.chmod(0o500)
        yield "Permission denied"
        folder.chmod(0o700)
        return
    with mounted(folder):
        system("mount", "-o", "remount,ro", folder)
        yield "Read-only file system"
        system("mount", "-o", "remount,rw", folder)


@contextlib.contextmanager
def mounted(folder):
    """`folder` on a disk of its own, from here to the end of the test: the files stay there."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    system("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        yield
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    finally:
        system("umount", folder)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def system(*command):
    if subprocess.run(list(map(str, command)), capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own needs the right to mount one")


@pytest.mark.parametrize("disk", [no_room, full_disk, read_only])
def test_a_backup_that_cannot_be_written_leaves_the_last_one(disk, whole, tmp_path):
    backup = tmp_path / "backup"
    interrupt(small, backup, 2, STEPS + 3)
    before = {path.name: path.read_bytes() for path in backup.iterdir()}
    with disk(backup) as reason:
        expected = rf"could not be written: {reason}. What it held before is kept. Received: filep"
        with pytest.raises(OSError, match=expected):
            run(small, [BackupAndRestore(backup, 2)])
        (backup / "filler").unlink(missing_ok=True) if disk is full_disk else None
        assert {path.name: path.read_bytes() for path in backup.iterdir()} == before
        (backup / "filler").touch() if disk is full_disk else None
    again, rest = run(small, [BackupAndRestore(backup, 2)])
    assert len(rest["loss"]) == EPOCHS - 1
    assert_same(again, whole)


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
@pytest.mark.parametrize("disk", [no_room, full_disk, read_only])
def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(disk, name, tmp_path):
    model, arguments = made(small)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    save = model.save if name.endswith(".keras") else model.save_weights
    save(folder / name)
    before = (folder / name).read_bytes()
    weights = name.endswith(".h5")
    checkpoint = keras.callbacks.ModelCheckpoint(folder / name, save_weights_only=weights)
    with disk(folder) as reason:
        with pytest.raises(OSError, match=rf"{reason}.*is kept. Received: filepath=.*{name}"):
            model.fit(callbacks=[checkpoint], verbose=0, **arguments)
        assert (folder / name).read_bytes() == before
        assert {path.name for path in folder.iterdir()} <= {name, "filler"}
    save(folder / name)
    assert (folder / name).read_bytes() != before


# -- processes that are killed


def killed(fit, folder, kills, seed):
    command = [sys.executable, "-m", "conformance.killed_fit", fit, folder, kills, seed]
    done = subprocess.run(
        list(map(str, command)), cwd=TESTS, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def assert_survived(report, kills):
    assert len(report["kills"]) == kills
    for kill in [*report["kills"], *(run["last"] for run in report["runs"])]:
        # Nothing is trained again that was saved, and nothing is left out.
        assert kill["began"] in (kill["saved"], None), kill
    for done in report["runs"]:
        assert done["difference"] == 0, done
        assert done["same_logs"], done
        assert done["left"] == ["end.npz", "log.txt"], done


def test_killed_three_times(tmp_path):
    fit = "experts" if keras.backend.backend() == "tensorflow" else "task_conditioned"
    assert_survived(killed(fit, tmp_path, 3, 1), 3)


@pytest.mark.slow
@pytest.mark.parametrize("fit", [fit.__name__ for fit in interrupted_fits.FITS] + CENSUS)
def test_killed_twenty_times(fit, tmp_path):
    """`pytest -m slow -n 0 tests/mtl_keras/test_resume.py -k twenty`, minutes each."""
    assert_survived(killed(fit, tmp_path, 20, 5), 20)
