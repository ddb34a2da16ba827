"""Where Keras reads the logs of steps in threads (JAX), we neither wait for the device nor err."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from mtl_keras import guard
from mtl_keras.resuming.progress import Place

STEPS, BATCH = 12, 4


def made():
    inputs = keras.Input((3,))
    model = mtl.MultiTaskModel(
        inputs,
        {"price": keras.layers.Dense(1, name="price")(inputs)},
        tasks=[mtl.RegressionTask("price")],
    )
    model.compile("sgd")
    x = np.random.default_rng(0).normal(size=(STEPS * BATCH, 3)).astype("float32")
    return model, x, {"price": x[:, :1].copy()}


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX keeps its state apart")
def test_a_step_leaves_the_state_on_the_device(monkeypatch):
    model, x, y = made()
    synced = []
    sync = model.jax_state_sync
    monkeypatch.setattr(
        type(model), "jax_state_sync", lambda self: synced.append(self._jax_state_synced) or sync()
    )
    model.fit(x, y, batch_size=BATCH, verbose=0)
    # False: there was something to get back. Once, at the end of the epoch.
    assert synced.count(False) == 1


class Threads(keras.callbacks.Callback):
    """Notes whether steps end in the fit's own thread."""

    async_safe = True

    def __init__(self):
        super().__init__()
        self.own = {}

    def on_train_batch_end(self, batch, logs=None):
        self.own["fit"] = threading.current_thread() is threading.main_thread()

    def on_test_batch_end(self, batch, logs=None):
        self.own["evaluate"] = threading.current_thread() is threading.main_thread()


def test_our_callbacks_let_keras_read_logs_where_it_does_for_a_plain_model():
    model, x, y = made()
    plain = keras.Model(model.inputs, model.outputs)
    plain.compile("sgd", "mse")
    ours, theirs = Threads(), Threads()
    model.fit(x, y, validation_data=(x, y), callbacks=[ours], verbose=0)
    plain.fit(x, y["price"], validation_data=(x, y["price"]), callbacks=[theirs], verbose=0)
    assert ours.own == theirs.own
    assert set(ours.own) == {"fit", "evaluate"}


def test_the_first_step_that_failed_is_named():
    model, x, y = made()
    x[5 * BATCH :] = np.nan
    with pytest.raises(ValueError, match=r"'price'.*Received: nan by step 6 of `fit`, epoch 1"):
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    with pytest.raises(ValueError, match=r"'price'.*Received: nan by step 6 of `evaluate`"):
        made()[0].evaluate(x, y, batch_size=BATCH, verbose=0)


def test_a_step_that_failed_last_stops_the_fit_at_its_epoch():
    model, x, y = made()
    x[-1] = np.nan
    with pytest.raises(ValueError, match=rf"by step {STEPS} of `fit`, epoch 1"):
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, epochs=2)


def test_of_steps_that_failed_the_first_is_named_whichever_is_looked_at_first(monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 60)
    model, _, _ = made()
    watching = guard.TrainingGuard()
    watching.set_model(model)
    watching.on_epoch_begin(0)
    logs = {"price_loss": np.nan, "price_labels": 1.0}
    for batch in range(3):
        watching.on_train_batch_begin(batch)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(watching.on_train_batch_end, 2, logs).result()
        thread.submit(time.sleep, 0.2)
        for batch in (0, 1):
            thread.submit(watching.on_train_batch_end, batch, logs)
        with pytest.raises(ValueError, match="by step 1 of `fit`, epoch 1"):
            watching.on_train_batch_begin(3)


def test_nothing_waits_for_a_step_that_never_ends(monkeypatch):
    # Data of unknown length begin one more. Who waited would meet this.
    monkeypatch.setattr(guard, "PATIENCE", "no number of seconds")
    model, x, y = made()

    def batches():
        for start in range(0, len(x), BATCH):
            yield x[start : start + BATCH], {"price": y["price"][start : start + BATCH]}

    for _ in range(3):
        model.fit(batches(), validation_data=batches(), verbose=0)
    assert np.isfinite(model.evaluate(batches(), verbose=0, return_dict=True)["price_loss"])


@pytest.mark.parametrize("epochs", [1, 3])
def test_an_epoch_of_one_step_with_validation_is_none_without_steps(epochs):
    model, x, y = made()
    for _ in range(10):
        history = model.fit(x, y, 64, epochs, validation_data=(x, y), verbose=0).history
    assert len(history["val_price_loss"]) == epochs


def test_a_bad_label_in_the_last_step_is_told_from_a_bad_loss_before_the_validation(monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 60)
    model = mtl.MultiTaskModel(
        inputs := keras.Input((3,)),
        {"bought": keras.layers.Dense(1, activation="sigmoid", name="bought")(inputs)},
        tasks=[mtl.BinaryTask("bought")],
    )
    model.compile("sgd")
    x = np.zeros((STEPS * BATCH, 3), "float32")
    good, bad = np.zeros((2, len(x), 1), "float32")
    bad[-1] = 7
    validated = []
    look = keras.callbacks.LambdaCallback()
    look.on_test_batch_begin = lambda *_: validated.append(True)
    data = {"batch_size": BATCH, "shuffle": False, "verbose": 0, "callbacks": [look]}
    with pytest.raises(ValueError, match=rf"'bought': labels must be.*by step {STEPS} of `fit`"):
        model.fit(x, {"bought": bad}, validation_data=(x, {"bought": good}), **data)
    assert not validated


def test_progress_counts_each_step_once_however_threads_tell_of_them():
    place = Place()
    place.begin(3)
    with ThreadPoolExecutor(4) as threads:
        for batch in range(1000):
            place.reach(batch)
            threads.submit(place.reach, batch + 1)
    assert place == Place(epoch=3, batch=1000, calls=1000)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has no such steps on PyTorch")
def test_progress_is_that_of_the_steps_done_when_a_batch_begins():
    model, x, y = made()
    places = []

    class Save(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            place = model.progress.place
            places.append((batch, place.batch, place.calls))

    model.compile("sgd", steps_per_execution=3)
    model.fit(x, y, batch_size=BATCH, callbacks=[Save()], verbose=0)
    assert places == [(0, 0, 0), (3, 3, 1), (6, 6, 2), (9, 9, 3)]
