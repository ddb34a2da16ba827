"""What every multi-task model must do, whatever its architecture: one check a property.

A test parametrises over `MODEL_CHECKS`:

    @pytest.mark.parametrize("check", MODEL_CHECKS)
    def test_shared_trunk(check):
        MODEL_CHECKS[check](ModelCase(build, x, y))
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()


@dataclass(frozen=True)
class ModelCase:
    """A compiled model and data for it.

    Args:
        build: makes the model; keyword arguments go to its `compile`.
        x: inputs, an array or a dict of arrays.
        y: labels by task, none missing.
    """

    build: Callable[..., keras.Model]
    x: object
    y: dict

    def seeded(self, **compile_options):
        keras.utils.set_random_seed(0)
        return self.build(**compile_options)


def check_fit_lowers_the_loss(case):
    losses = _fit(case.seeded(), case, epochs=8).history["loss"]
    assert losses[-1] < losses[0], f"loss went from {losses[0]} to {losses[-1]}"


def check_every_log_key_has_its_task(case):
    model = case.seeded()
    logs = model.evaluate(case.x, case.y, return_dict=True, verbose=0)
    names = [task.name for task in model.tasks]
    penalties = {penalty.name for penalty in model.sharing}
    for key in set(logs) - {"loss", "score"} - penalties:
        assert any(key.startswith(f"{name}_") for name in names), key
    for task in model.tasks:
        assert {f"{task.name}_loss", f"{task.name}_labels"} <= set(logs)
        entries = np.asarray(case.y[task.name]).size
        if task.labels.kind == "vector":
            entries //= task.units
        assert logs[f"{task.name}_labels"] == entries, f"{task.name}: {logs} of {entries}"
    assert np.isfinite(logs["score"])


def check_predict_names_the_tasks(case):
    model = case.seeded()
    outputs = model.predict(case.x, verbose=0)
    assert set(outputs) == {task.name for task in model.tasks}
    for task in model.tasks:
        assert outputs[task.name].shape[-1] == task.units
        assert outputs[task.name].dtype == "float32"


def check_loaded_model_predicts_the_same(case):
    model = case.seeded()
    _fit(model, case)
    loaded = _reload(model)
    assert loaded.tasks == model.tasks
    _assert_same(model.predict(case.x, verbose=0), loaded.predict(case.x, verbose=0), exact=True)


def check_loaded_model_trains_on_identically(case):
    model = case.seeded()
    _fit(model, case)
    loaded = _reload(model)
    # Where layers draw random numbers, both continue from the saved state of their seeds.
    first = model.train_on_batch(case.x, case.y, return_dict=True)
    second = loaded.train_on_batch(case.x, case.y, return_dict=True)
    assert first == pytest.approx(second, abs=0, nan_ok=True)
    _assert_same(_weights(model), _weights(loaded), exact=True)


def check_jit_equals_eager(case):
    if BACKEND == "torch":
        pytest.skip("Keras runs PyTorch models eagerly")
    results = []
    for options in ({"jit_compile": True}, {"run_eagerly": True}):
        model = case.seeded(**options)
        results.append(model.train_on_batch(case.x, case.y, return_dict=True)["loss"])
    # Another order of the same float32 sums.
    assert results[0] == pytest.approx(results[1], rel=1e-5)


def check_steps_per_execution_changes_nothing(case):
    if BACKEND == "torch":
        pytest.skip("Keras has no steps_per_execution on PyTorch")
    single, several = (case.seeded(steps_per_execution=n) for n in (1, 2))
    _fit(single, case), _fit(several, case)
    _assert_same(_weights(single), _weights(several))


def check_mixed_precision_trains(case):
    for policy in ("mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        try:
            model = case.seeded()
            history = _fit(model, case, epochs=3).history
        finally:
            keras.config.set_dtype_policy("float32")
        assert np.isfinite(history["loss"]).all(), policy
        assert all(v.dtype == "float32" for v in model.trainable_variables), policy
        assert all(v.dtype == "float32" for v in model.predict(case.x, verbose=0).values())


def check_gradient_accumulation_trains(case):
    model = case.seeded()
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=2))
    before = _weights(model)
    _fit(model, case)
    assert any((a != b).any() for a, b in zip(before, _weights(model), strict=True))


def check_a_task_without_labels_is_left_out(case):
    """Absent, None and all missing are one and the same; the other tasks train."""
    tasks = case.seeded().tasks
    if len(tasks) == 1:
        pytest.skip("the model has one task")
    without = {task.name: case.y[task.name] for task in tasks[1:]}
    absent = tasks[0].name
    everything_missing = np.full(np.shape(case.y[absent]), np.nan, "float32")
    weights = []
    for y in (without, without | {absent: None}, without | {absent: everything_missing}):
        model = case.seeded()
        logs = model.train_on_batch(case.x, y, return_dict=True)
        assert np.isnan(logs[f"{absent}_loss"]) and logs[f"{absent}_labels"] == 0
        weights.append(_weights(model))
    _assert_same(weights[0], weights[1], exact=True)
    _assert_same(weights[0], weights[2], exact=True)


def check_missing_labels_count_for_nothing(case):
    """Every second label missing: losses are those of the labelled rows alone."""
    model = case.seeded()
    half = {name: _every_second_missing(y) for name, y in case.y.items()}
    masked = model.test_on_batch(case.x, half, return_dict=True)
    rows = slice(0, None, 2)
    x = keras.tree.map_structure(lambda a: a[rows], case.x)
    alone = model.test_on_batch(x, {n: y[rows] for n, y in case.y.items()}, return_dict=True)
    # float32 sums of other lengths; NaN is what a layer reports of its training.
    assert masked == pytest.approx(alone, rel=1e-5, abs=1e-6, nan_ok=True)


def check_loss_is_the_weighted_sum(case):
    weights = {task.name: 0.5 + i for i, task in enumerate(case.seeded().tasks)}
    model = case.seeded(loss_weights=weights)
    logs = model.test_on_batch(case.x, case.y, return_dict=True)
    expected = sum(weights[name] * logs[f"{name}_loss"] for name in weights)
    expected += float(sum(model.losses)) if model.losses else 0.0
    expected += sum(logs[penalty.name] for penalty in model.sharing)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def check_partial_weights_are_filled_with_ones(case):
    name = case.seeded().tasks[0].name
    ones = np.ones(len(case.y[name]), "float32")
    plain = case.seeded().train_on_batch(case.x, case.y, return_dict=True)
    partial = case.seeded(loss_weights={name: 1.0}).train_on_batch(
        case.x, case.y, sample_weight={name: ones}, return_dict=True
    )
    assert partial == pytest.approx(plain, rel=1e-6, nan_ok=True)


def check_saved_model_answers_the_same(case):
    if BACKEND == "torch":
        pytest.skip("Keras cannot export a SavedModel from PyTorch")
    import tensorflow as tf

    model = case.seeded()
    with tempfile.TemporaryDirectory() as folder:
        model.export(Path(folder) / "served")
        served = tf.saved_model.load(str(Path(folder) / "served"))
        raw = keras.tree.map_structure(lambda x, i: tf.cast(x, i.dtype), case.x, model.input)
        answer = served.serve(raw)
    expected = model.predict(case.x, verbose=0)
    # Another compiler orders float32 sums otherwise.
    _assert_same(expected, {name: np.asarray(value) for name, value in answer.items()})


def _fit(model, case, epochs=1):
    return model.fit(case.x, case.y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)


def _reload(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        return keras.saving.load_model(Path(folder) / "model.keras")


def _weights(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]


def _every_second_missing(labels):
    labels = np.array(labels, "float32")
    labels[1::2] = np.nan
    return labels


def _assert_same(first, second, exact=False):
    # 1e-5: float32 after a few steps; exact where the same operations ran.
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-5, "atol": 1e-6}
    assert keras.tree.map_structure(lambda _: 0, first) == keras.tree.map_structure(
        lambda _: 0, second
    )
    for a, b in zip(keras.tree.flatten(first), keras.tree.flatten(second), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


MODEL_CHECKS = {
    name.removeprefix("check_"): function
    for name, function in list(globals().items())
    if name.startswith("check_")
}
