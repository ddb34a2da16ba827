"""Weights that are exported in fewer bytes: what they stand for, and what that costs."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from conformance.exported_models import CASES, EXPERTS, tasks
from mtl_keras.export.part import Part
from mtl_keras.export.stored_weights import StoredWeights

BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="exported on TensorFlow")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 20)).astype("float32")


def variable(value):
    return keras.Variable(np.asarray(value, "float32"), name="kernel")


def stood_for(value, kind):
    """The value that a weight has where it is stored."""
    own = variable(value)
    with StoredWeights([own], kind).in_place():
        return keras.ops.convert_to_numpy(own)


def in_int8(line):
    """One scale a line, 255 steps."""
    scale = np.abs(line).max() / 127
    return np.clip(np.round(line / scale), -127, 127) * scale if scale else line


def mixture(**options):
    keras.utils.set_random_seed(0)
    return zoo.multi_gate_mixture_of_experts(
        tasks(), 20, experts=3, expert_units=[32, 17], towers=[6], **options
    )


@pytest.mark.parametrize(
    ("shape", "axis"), [((20, 16), 0), ((5, 16), 1), ((24, 3, 8), 0), ((3, 3, 4, 32), 3)]
)
def test_int8_has_a_scale_a_line(shape, axis):
    value = RNG.normal(size=shape).astype("float32") * np.exp(RNG.normal(size=shape))
    expected = np.apply_along_axis(in_int8, axis, value)
    found = stood_for(value, "int8")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Half a step at most, of the line's own scale.
    step = np.abs(value).max(axis=axis, keepdims=True) / 127
    assert (np.abs(found - value) <= 0.5001 * step).all()


def test_an_expert_of_small_weights_keeps_its_digits():
    value = RNG.normal(size=(32, 2, 4)).astype("float32") * np.array([1e3, 1e-3])[:, None]
    np.testing.assert_allclose(stood_for(value, "int8")[:, 1], value[:, 1], atol=2e-5)


@pytest.mark.parametrize("kind", ["int8", "float16"])
@pytest.mark.parametrize("value", [np.zeros((20, 4)), np.full((20, 4), 0.5), RNG.normal(size=20)])
def test_zeros_equal_lines_and_vectors_are_exact(kind, value):
    np.testing.assert_allclose(stood_for(value, kind), value.astype("float32"), rtol=1e-6)


def test_float16_is_the_nearest_half_float():
    value = RNG.normal(size=(3, 4)).astype("float32")
    np.testing.assert_array_equal(stood_for(value, "float16"), value.astype("float16"))


def test_weights_are_themselves_again_also_after_an_error():
    own = variable(RNG.normal(size=(20, 3)))
    before = keras.ops.convert_to_numpy(own)
    with pytest.raises(RuntimeError), StoredWeights([own], "int8").in_place():
        assert np.abs(keras.ops.convert_to_numpy(own) - before).max() > 0
        raise RuntimeError
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(own), before)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (np.nan, "int8", "must have finite weights.*Received: NaN or infinity in 'kernel'"),
        (np.inf, "float16", "must have finite weights"),
        (1e5, "float16", r"holds numbers up to 65504. Received: 1e\+05 in 'kernel'"),
    ],
)
def test_weights_that_cannot_be_stored_are_refused(value, kind, message):
    with pytest.raises(ValueError, match=message):
        StoredWeights([variable(np.full((20, 2), value))], kind)


# -- exported


@pytest.fixture(scope="module")
def model():
    return mixture()


HOW = {"int8": {"quantize": "int8"}, "float16": {"dtype": "float16"}}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def expected_of(model, x, kind):
    with Part.of(model).with_weights(kind).stored.in_place():
        return model.predict(x, verbose=0)


@on_tensorflow
@pytest.mark.parametrize("kind", HOW)
def test_kernels_of_experts_are_stored_small_too(model, tmp_path, kind):
    import tensorflow as tf

    before = model.predict(X, verbose=0)
    model.export(tmp_path / "served", signatures="both", **HOW[kind])
    loaded = tf.saved_model.load(str(tmp_path / "served"))
    expected = expected_of(model, X, kind)
    for name in ("serve", *expected):
        for task, value in loaded.signatures[name](features=tf.constant(X)).items():
            np.testing.assert_allclose(value, expected[task], **CLOSE)
    assert max(np.abs(expected[task] - before[task]).max() for task in before) > 1e-6
    kept = tf.train.load_checkpoint(str(tmp_path / "served" / "variables" / "variables"))
    types, shapes = kept.get_variable_to_dtype_map(), kept.get_variable_to_shape_map()
    stored = [(own.name, tuple(shapes[name])) for name, own in types.items()]
    # The kernels of three experts, and none of them in float32 beside.
    assert {(kind, (20, 3, 32)), (kind, (32, 3, 17))} <= set(stored)
    assert not {("float32", (20, 3, 32)), ("float32", (32, 3, 17))} & set(stored)
    np.testing.assert_array_equal(model.predict(X, verbose=0)["first"], before["first"])


def bytes_of(path):
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


@on_tensorflow
def test_it_takes_the_bytes_it_should(tmp_path):
    model = zoo.multi_gate_mixture_of_experts(
        tasks(), 64, experts=4, expert_units=[256, 128], towers=[64]
    )
    for kind, how in {"float32": {}, **HOW}.items():
        model.export(tmp_path / kind, **how)
        model.export(tmp_path / f"{kind}.tflite", "litert", **how)
    model.export(tmp_path / "float32.xml", "openvino")
    model.export(tmp_path / "float16.xml", "openvino", dtype="float16")
    sizes = {path.name: bytes_of(path) for path in tmp_path.iterdir()}
    whole = bytes_of(tmp_path / "float32" / "variables")
    assert bytes_of(tmp_path / "int8" / "variables") < 0.28 * whole
    assert bytes_of(tmp_path / "float16" / "variables") < 0.52 * whole
    assert sizes["int8.tflite"] < 0.3 * sizes["float32.tflite"]
    assert sizes["float16.tflite"] < 0.55 * sizes["float32.tflite"]
    assert sizes["float16.bin"] < 0.55 * sizes["float32.bin"]


@on_tensorflow
@pytest.mark.parametrize("kind", HOW)
def test_litert_gives_the_same_numbers(model, tmp_path, kind):
    from ai_edge_litert.interpreter import Interpreter

    model.export(tmp_path / "model.tflite", "litert", **HOW[kind])
    runner = Interpreter(str(tmp_path / "model.tflite")).get_signature_runner("serving_default")
    found, expected = runner(features=X), expected_of(model, X, kind)
    for task, value in expected.items():
        np.testing.assert_allclose(found[task], value, rtol=1e-4, atol=1e-5)


@on_tensorflow
def test_openvino_gives_the_same_numbers(model, tmp_path):
    from openvino import Core

    model.export(tmp_path / "model.xml", "openvino", dtype="float16")
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    found = Core().compile_model(str(tmp_path / "model.xml"), "CPU", exact)({"features": X})
    for task, value in expected_of(model, X, "float16").items():
        np.testing.assert_allclose(found[task], value, rtol=1e-5, atol=1e-5)


@on_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("kind", HOW)
@pytest.mark.parametrize("name", CASES)
def test_other_builders(tmp_path, name, kind):
    """`pytest -m slow -k stored_weights`"""
    import tensorflow as tf

    case = CASES[name]
    model = case.model()
    model.export(tmp_path / "served", **HOW[kind])
    signature = tf.saved_model.load(str(tmp_path / "served")).signatures["serve"]
    specs = signature.structured_input_signature[1]
    found = signature(**{key: tf.constant(case.x[key], spec.dtype) for key, spec in specs.items()})
    for task, value in expected_of(model, case.x, kind).items():
        np.testing.assert_allclose(found[task], value, **CLOSE)


@on_tensorflow
def test_what_reads_strings_is_cut_off_as_ever(tmp_path):
    case = CASES["mixture_with_strings"]
    model = case.model()
    with pytest.warns(UserWarning, match="holds no strings"):
        model.export(tmp_path / "model.tflite", "litert", quantize="int8")
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.tflite",
        "model.tflite.preprocessing",
    }


@on_tensorflow
def test_the_change_of_each_metric_is_printed(tmp_path, capsys):
    model = mixture()
    y = {"first": (X[:, 0] > 0).astype("float32"), "second": X[:, :2], "third": np.arange(6) % 3}
    before = model.evaluate(X, y, verbose=0, return_dict=True)
    with Part.of(model).with_weights("int8").stored.in_place():
        after = model.evaluate(X, y, verbose=0, return_dict=True)
    model.export(tmp_path / "served", quantize="int8", evaluate_on=(X, y))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = {row[0]: row[1:] for row in rows if len(row) == 4}
    assert rows[0] == ["float32", "int8", "change"]
    assert set(shown) == {name for name in before if not name.endswith("_labels")}
    for name, numbers in shown.items():
        expected = (before[name], after[name], after[name] - before[name])
        np.testing.assert_allclose([float(n) for n in numbers], expected, atol=1.1e-5)
    assert float(shown["second_loss"][2]) != 0


@on_tensorflow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "int4"}, r"`quantize` must be one of .*Received: quantize='int4'"),
        ({"dtype": "float64"}, r"`dtype` must be one of .*Received: dtype='float64'"),
        ({"quantize": "int8", "dtype": "float16"}, r"`quantize` or `dtype`.*Received"),
        ({"format": "onnx", "quantize": "int8"}, r"'onnx' keeps no int8.*onnxruntime"),
        ({"format": "openvino", "quantize": "int8"}, r"'openvino' keeps no int8.*nncf"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        model.export(tmp_path / "served", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(BACKEND != "jax", reason="on TensorFlow it works, on PyTorch nothing does")
def test_jax_says_where_it_works(model, tmp_path):
    with pytest.raises(ValueError, match=r"`quantize` and `dtype` need the backend tensorflow"):
        model.export(tmp_path / "served", quantize="int8")


def test_keras_leaves_experts_and_that_is_said():
    model = zoo.multi_gate_mixture_of_experts([mtl.BinaryTask("clicked")], 20, **EXPERTS)
    with pytest.warns(UserWarning, match=r"Keras has not quantised .*kernel_0.*`quantize` does"):
        model.quantize("int8")
    kernels = [v for v in model.weights if v.name == "kernel_0"]
    assert kernels and all(v.dtype == "float32" for v in kernels)
