"""What every layer must do, on whichever backend Keras runs: `LAYER_CHECKS` is the list.

@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_layer(case, check):
    LAYER_CHECKS[check](case)
"""

import functools
import inspect
import json
import pathlib
import tempfile
import unittest
import warnings
from numbers import Number

import keras
import numpy as np
from keras import ops, tree

from conformance.layer_case import (
    LayerCase,
    all_finite,
    arrays,
    assert_same,
    call_with_shapes,
    functional_model,
    is_float,
    is_float_array,
    model_inputs,
    named_weights,
    randomise,
    relative_path,
    sublayers,
    symbolic_inputs,
)
from conformance.layer_gradients import check_gradients, check_numerical_gradients
from conformance.layer_masks import check_masks

__all__ = ["LAYER_CHECKS", "LayerCase", "check_layer"]


def check_layer(case):
    """Run every point on one layer.

    Returns:
        A dict of the points that were not run, each with the reason.

    Raises:
        AssertionError: At the first point that fails; names the layer and the point.
    """
    not_run = {}
    for point, check in LAYER_CHECKS.items():
        try:
            check(case)
        except unittest.SkipTest as skipped:
            not_run[point] = str(skipped)
    return not_run


def _config_round_trip(case):
    layer = case.called_layer()
    config = layer.get_config()
    missing = sorted({*_own_arguments(case.layer_class), *case.config} - set(config))
    assert not missing, f"get_config lacks {missing}"
    for key, value in case.config.items():
        # A layer may expand a shorthand, such as 3 to (3, 3).
        if isinstance(value, Number) and isinstance(config[key], Number):
            assert config[key] == value, f"get_config says {key}={config[key]!r}, not {value!r}"
    _assert_equal_twin(case, layer, case.layer_class.from_config(config))


def _own_arguments(layer_class):
    # Keras's own layers leave out an argument whose value is None.
    if _is_from_keras(layer_class):
        return []
    parameters = inspect.signature(layer_class.__init__).parameters.values()
    return [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)][1:]


def _is_from_keras(layer_class):
    return layer_class.__module__.startswith("keras.")


def _json_round_trip(case):
    layer = case.called_layer()
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    _assert_equal_twin(case, layer, keras.saving.deserialize_keras_object(json.loads(text)))


def _registration(case):
    layer_class = case.layer_class
    if _is_from_keras(layer_class):
        return
    registered = keras.saving.get_registered_object(
        keras.saving.get_registered_name(layer_class), custom_objects={}
    )
    assert registered is layer_class, (
        "not registered with keras.saving.register_keras_serializable, "
        "so loading it needs custom_objects"
    )


def _build_equals_call(case):
    keras.utils.set_random_seed(1)
    built = case.new_layer()
    call_with_shapes(built, built.build, case)
    keras.utils.set_random_seed(1)
    called = case.called_layer()
    by_build, by_call = named_weights(built), named_weights(called)
    assert len(by_call) == len(called.weights), f"two weights share a path among {list(by_call)}"
    assert list(by_build) == list(by_call), (
        f"build makes the weights {list(by_build)}, a call makes {list(by_call)}"
    )
    for path, value in by_build.items():
        assert_same(value, by_call[path], f"{path} made by build and by a call")


def _sublayers_built_by_build(case):
    layer = case.new_layer()
    call_with_shapes(layer, layer.build, case)
    unbuilt = [sublayer.name for sublayer in sublayers(layer) if not sublayer.built]
    assert not unbuilt, f"build leaves the sublayers {unbuilt} unbuilt"


def _symbolic_equals_eager(case):
    layer = case.called_layer()
    small, large = (layer(*case.rows(np.zeros(n, int))) for n in (2, 3))
    eager = tree.map_structure(_shape_and_dtype, small, large)
    eager_shapes = tree.map_structure_up_to(small, lambda pair: pair[0], eager)
    placeholders = symbolic_inputs(case)
    symbolic = {
        "symbolic": case.new_layer()(*placeholders),
        # Keras believes compute_output_shape; this traces the call itself.
        "traced": keras.Operation.compute_output_spec(layer, *placeholders),
    }
    declared = _as_tuples(call_with_shapes(layer, layer.compute_output_shape, case))
    assert declared == _as_tuples(eager_shapes), (
        f"compute_output_shape says {declared}, the eager shape is {_as_tuples(eager_shapes)}"
    )
    for what, tensors in symbolic.items():
        found = tree.map_structure(lambda t: (tuple(t.shape), _dtype(t)), tensors)
        assert found == eager, f"{what} shape and dtype {found} are not the eager {eager}"


def _shape_and_dtype(small, large):
    """An axis that follows the batch is `None`; every other keeps its size."""
    sizes = zip(small.shape, large.shape, strict=True)
    return tuple(a if a == b else None for a, b in sizes), _dtype(small)


def _dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


def _as_tuples(shapes):
    if isinstance(shapes, dict):
        return {key: _as_tuples(shape) for key, shape in shapes.items()}
    if isinstance(shapes, list | tuple):
        return tuple(_as_tuples(shape) for shape in shapes)
    return shapes


def _batch_invariance(case):
    if not case.batch_invariant:
        raise unittest.SkipTest("the case says that rows depend on each other")
    layer = case.called_layer()
    randomise(layer)
    every, first = layer(*case.inputs), layer(*case.rows([0]))
    for output in tree.flatten(every):
        assert len(output.shape) and output.shape[0] == case.batch_size, (
            f"output of shape {tuple(output.shape)} has no batch axis; "
            "say batch_invariant=False if that is meant"
        )
    assert_same(first, tree.map_structure(lambda o: o[:1], arrays(every)), "first row on its own")


def _keras_file_round_trip(case):
    model = _randomised_model(case)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.keras")
        model.save(path)
        loaded = keras.saving.load_model(path)
    _assert_equal_models(case, loaded, model, "after loading the .keras file")


def _weights_file_round_trip(case):
    model = _randomised_model(case)
    fresh = functional_model(case, case.new_layer())
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.weights.h5")
        model.save_weights(path)
        fresh.load_weights(path)
    _assert_equal_models(case, fresh, model, "after loading the .weights.h5 file")


def _fit_step(case, jit_compile=False):
    keras.utils.set_random_seed(1)
    model = functional_model(case, case.new_layer(), float_outputs_only=True)
    inputs = model_inputs(case)
    targets = {key: np.ones(value.shape) for key, value in arrays(model(inputs)).items()}
    randomise(model)
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.compile("sgd", loss=keras.losses.MeanSquaredError(), jit_compile=jit_compile)
    history = model.fit(inputs, targets, batch_size=case.batch_size, verbose=0).history
    assert np.isfinite(history["loss"]).all(), f"the loss is {history['loss'][0]}"
    assert all_finite(model.weights), "a weight is not finite after one step"
    after = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert not moved or any(moved), "one step moves none of the weights"


def _fit_step_jit(case):
    if keras.backend.backend() == "torch":
        raise unittest.SkipTest("on torch the suite trains eagerly only")
    _fit_step(case, jit_compile=True)


def _policy(policy, case):
    layer = case.called_layer(dtype=policy)
    for sublayer in sublayers(layer):
        assert sublayer.dtype_policy.name == policy, (
            f"sublayer {sublayer.name} has the policy {sublayer.dtype_policy.name}: "
            "pass dtype=self.dtype_policy on"
        )
    for weight in layer.weights:
        if is_float(weight):
            assert _dtype(weight) == "float32", (
                f"{relative_path(layer, weight)} is stored as {_dtype(weight)}, not float32"
            )
    outputs = [output for output in tree.flatten(layer(*case.inputs)) if is_float(output)]
    for output in outputs:
        assert _dtype(output) == layer.compute_dtype, (
            f"output dtype {_dtype(output)} is not the compute dtype {layer.compute_dtype}"
        )
    assert all_finite(outputs), "an output is not finite"


def _determinism(case):
    (first, outputs), (again, repeated) = (_seeded(case, noise) for noise in (1, 2))
    sibling = case.called_layer()
    weights = named_weights(first)
    # By position: a path that changes with the instance is for build_equals_call to say.
    same, other = (named_weights(layer).values() for layer in (again, sibling))
    for path, a, b, c in zip(weights, weights.values(), same, other, strict=True):
        assert np.array_equal(a, b), f"{path} differs under the same seed"
        if path not in case.fixed_weights and _looks_drawn(a):
            assert not np.array_equal(a, c), f"{path} is the same in two instances without a seed"
    _assert_no_draw_is_used_twice(weights, case.fixed_weights)
    assert_same(repeated, outputs, "training outputs under one seed")
    inference = arrays(first(*case.inputs, training=False))
    assert_same(first(*case.inputs, training=False), inference, "second call in inference")
    _assert_training_differs_as_said(case, outputs, inference)


def _seeded(case, noise):
    keras.utils.set_random_seed(3)
    # Keras seeds NumPy's global generator too; a layer may not draw from it, because
    # under jit its draws are frozen.
    np.random.seed(noise)
    layer = case.called_layer()
    return layer, arrays(layer(*case.inputs, training=True))


def _looks_drawn(value):
    return value.size > 3 and np.unique(value).size > value.size / 2


def _assert_no_draw_is_used_twice(weights, fixed):
    drawn = {path: v for path, v in weights.items() if path not in fixed and _looks_drawn(v)}
    seen = {}
    for path, value in drawn.items():
        key = (value.shape, value.tobytes())
        assert key not in seen, f"{path} starts equal to {seen[key]}: clone the initializer"
        seen[key] = path


def _assert_training_differs_as_said(case, training, inference):
    differs = any(
        not np.allclose(a, b)
        for a, b in zip(tree.flatten(training), tree.flatten(inference), strict=True)
    )
    assert differs == case.training_differs, (
        f"training=True {'changes' if differs else 'does not change'} the outputs, "
        f"but the case says training_differs={case.training_differs}"
    )


def _saved_model(case):
    if keras.backend.backend() == "torch":
        raise unittest.SkipTest("Keras cannot export a SavedModel from torch")
    import tensorflow as tf

    model = _randomised_model(case)
    # Another batch size than the suite's: the exported batch axis must be open.
    inputs = model_inputs(case, case.rows([*range(case.batch_size), 0]))
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        # The variables live only as long as the loaded object.
        loaded = tf.saved_model.load(folder)
        served = loaded.serve(inputs)
    assert_same(
        {key: np.asarray(value) for key, value in served.items()},
        arrays(model(inputs, training=False)),
        "the SavedModel",
    )


def _numpy_statement(case):
    layer = case.called_layer()
    randomise(layer)
    # In float64, so that the statement is the more exact of the two.
    exact = tree.map_structure(
        lambda a: a.astype("float64") if is_float_array(a) else a,
        (named_weights(layer), case.inputs),
    )
    want = case.expected(exact[0], *exact[1])
    got = layer(*case.inputs, training=False)
    assert_same(got, want, "against the NumPy statement", case.rtol, case.atol)


def _assert_equal_twin(case, layer, twin):
    """`twin` is a revived copy: the same class, config and, given the weights, outputs."""
    assert type(twin) is type(layer), f"revived as {type(twin)}"
    ours, theirs = (_as_json(each.get_config()) for each in (layer, twin))
    changed = sorted(key for key in ours | theirs if ours.get(key) != theirs.get(key))
    assert not changed, f"the revived config differs in {changed}"
    twin(*case.inputs)
    randomise(layer)
    twin.set_weights(layer.get_weights())
    assert_same(twin(*case.inputs), arrays(layer(*case.inputs)), "outputs of the revived layer")


def _as_json(config):
    return json.loads(json.dumps(keras.saving.serialize_keras_object(config)))


def _randomised_model(case):
    model = functional_model(case, case.new_layer())
    randomise(model)
    return model


def _assert_equal_models(case, model, original, when):
    inputs = model_inputs(case)
    for ours, theirs in zip(original.weights, model.weights, strict=True):
        assert_same(theirs, arrays(ours), f"weight {ours.path} {when}", rtol=0, atol=0)
    assert_same(model(inputs), arrays(original(inputs)), f"outputs {when}")


def _point(name, check):
    """Makes every failure of a check say which layer and which point failed."""

    @functools.wraps(check)
    def named_check(case):
        unknown = sorted(set(case.exempt) - set(_POINTS))
        assert not unknown, f"{case.name}: exempt names no point of the suite: {unknown}"
        if name in case.exempt:
            raise unittest.SkipTest(case.exempt[name])
        with warnings.catch_warnings():
            # A layer without weights is legal here, and Keras warns when it is trained.
            warnings.filterwarnings("ignore", message=".*any trainable weights.*")
            try:
                check(case)
            except AssertionError as error:
                raise AssertionError(f"{case.name}: {name}: {error}") from error
            except unittest.SkipTest:
                raise
            except Exception as error:
                message = f"{case.name}: {name}: {type(error).__name__}: {error}"
                raise AssertionError(message) from error

    return named_check


_POINTS = {
    "registration": _registration,
    "config_round_trip": _config_round_trip,
    "json_round_trip": _json_round_trip,
    "build_equals_call": _build_equals_call,
    "sublayers_built_by_build": _sublayers_built_by_build,
    "symbolic_equals_eager": _symbolic_equals_eager,
    "batch_invariance": _batch_invariance,
    "keras_file_round_trip": _keras_file_round_trip,
    "weights_file_round_trip": _weights_file_round_trip,
    "fit_step": _fit_step,
    "fit_step_jit": _fit_step_jit,
    "float32": functools.partial(_policy, "float32"),
    "mixed_float16": functools.partial(_policy, "mixed_float16"),
    "mixed_bfloat16": functools.partial(_policy, "mixed_bfloat16"),
    "masks": check_masks,
    "determinism": _determinism,
    "gradients": check_gradients,
    "numerical_gradients": check_numerical_gradients,
    "saved_model": _saved_model,
    "numpy_statement": _numpy_statement,
}

LAYER_CHECKS = {name: _point(name, check) for name, check in _POINTS.items()}
