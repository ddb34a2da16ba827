"""Exported models, asked by real runtimes in processes without our packages."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from conformance import export_client
from conformance.exported_models import CASES, EXPERTS, operations, shop, tasks, write_case
from mtl_keras.export.exportable import FORMATS
from mtl_keras.export.part import Part

BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="the formats are written on TensorFlow"
)
# The same float32 operations, by another compiler.
SAME = {"rtol": 1e-6, "atol": 1e-6}
RUNTIMES = ("tensorflow", "tfsm", "onnx", "litert", "openvino", "openvino_reader")
FEW = ("mixture_with_strings",)
OTHERS = tuple(name for name in CASES if name not in FEW)


@pytest.fixture(scope="module", params=[FEW, pytest.param(OTHERS, marks=pytest.mark.slow)])
def folder(tmp_path_factory, request):
    """A folder a case, with the model in all formats, its inputs, and what it answers."""
    root = tmp_path_factory.mktemp("exported")
    for name in request.param:
        assert write_case(CASES[name], root / name) == []
    return root


@on_tensorflow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_without_our_packages_gives_the_same_numbers(folder, runtime):
    process = subprocess.run(
        [sys.executable, "-I", export_client.__file__, runtime, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"},
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    for own in folder.iterdir():
        expected = dict(np.load(own / "expected.npz"))
        answers = dict(np.load(own / f"{runtime}.npz"))
        assert {key.partition("/")[2] for key in answers} == set(expected)
        for key, answer in answers.items():
            np.testing.assert_allclose(answer, expected[key.partition("/")[2]], **SAME)
        if runtime in ("tensorflow", "litert"):
            assert {f"{task}/{task}" for task in expected} < set(answers)
        if runtime == "tensorflow":
            assert {f"examples/{task}" for task in expected} < set(answers)
            assert {f"serving_default/{task}" for task in expected} < set(answers)


# -- signatures


@on_tensorflow
def test_a_signature_of_a_task_runs_no_expert_of_another(tmp_path):
    import tensorflow as tf

    # A level of experts: the last, which alone a task does not read from others.
    model = zoo.progressive_layered_extraction(tasks(), 4, num_shared=1, levels=1, **EXPERTS)
    model.export(tmp_path / "served", signatures="both")
    loaded = tf.saved_model.load(str(tmp_path / "served"))
    run = {name: operations(own) for name, own in loaded.signatures.items()}
    counts = {name: len(own) for name, own in run.items()}
    products = {name: own.count("MatMul") + own.count("BatchMatMulV2") for name, own in run.items()}
    assert counts["serve"] == counts["serving_default"]
    for task in ("first", "second", "third"):
        assert counts[task] < 0.6 * counts["serve"]
        assert 0 < products[task] < products["serve"]
    heads = products["serve"] - products["first"]
    assert heads == pytest.approx(products["second"] + products["third"], abs=4)


@on_tensorflow
def test_variables_are_stored_once(tmp_path):
    model = zoo.shared_trunk(tasks(8), 200, trunk=[200])
    sizes = {}
    for signatures in ("joint", "per_task", "both"):
        model.export(tmp_path / signatures, signatures=signatures)
        files = (tmp_path / signatures / "variables").iterdir()
        sizes[signatures] = sum(file.stat().st_size for file in files)
    assert model.count_params() * 4 < sizes["joint"] < model.count_params() * 4.2
    assert max(sizes.values()) < 1.01 * min(sizes.values())


@on_tensorflow
def test_names_and_types_are_what_saved_model_cli_shows(tmp_path):
    features, _ = shop()
    model = zoo.shared_trunk(tasks(), features, trunk=[4])
    model.export(tmp_path / "served", signatures="both", batch_size=2)
    show = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "show", "--all"]
    process = subprocess.run(
        [*show, "--dir", str(tmp_path / "served")], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    said = process.stdout
    for name in ("serve", "serving_default", "examples", "first", "second", "third"):
        assert f"signature_def['{name}']" in said
    own = said.partition("signature_def['second']")[2].partition("Method name")[0]
    shown = {}
    for part in own.split("['")[1:]:
        name, _, rest = part.partition("'] tensor_info:")
        lines = [line.strip().partition(": ")[2] for line in rest.splitlines()[1:3]]
        shown[name] = tuple(lines)
    assert shown == {
        "age": ("DT_FLOAT", "(2)"),
        "job": ("DT_STRING", "(2)"),
        "shop": ("DT_INT64", "(2)"),
        "seen": ("DT_FLOAT", "(2, 3)"),
        "second": ("DT_FLOAT", "(2, 2)"),
    }


@on_tensorflow
@pytest.mark.parametrize(
    ("signatures", "expected"),
    [
        ("joint", {"serve", "serving_default", "examples"}),
        ("per_task", {"third", "first", "serving_default"}),
        ("both", {"serve", "serving_default", "examples", "third", "first"}),
    ],
)
def test_some_tasks_alone(tmp_path, signatures, expected):
    import tensorflow as tf

    model = zoo.shared_trunk(tasks(), 4, trunk=[4])
    model.export(tmp_path / "served", tasks=["third", "first"], signatures=signatures)
    loaded = tf.saved_model.load(str(tmp_path / "served")).signatures
    assert set(loaded) == expected
    default = set(loaded["serving_default"].structured_outputs)
    assert default == ({"third"} if signatures == "per_task" else {"third", "first"})


@on_tensorflow
def test_an_exported_model_does_not_change(tmp_path):
    import tensorflow as tf

    model = zoo.shared_trunk(tasks(), 4, trunk=[4])
    x = np.ones((2, 4), "float32")
    before = model.predict(x, verbose=0)
    model.export(tmp_path / "served", signatures="both")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0)["first"], before["first"])
    y = {"first": np.ones(2), "second": np.ones((2, 2)), "third": np.ones(2, "int32")}
    model.fit(x, y, verbose=0)
    served = tf.saved_model.load(str(tmp_path / "served")).signatures["first"]
    np.testing.assert_allclose(served(features=tf.constant(x))["first"], before["first"], rtol=1e-6)


# -- what is said, and what is refused


@on_tensorflow
def test_what_a_format_cannot_hold_lies_beside_it_and_is_said(tmp_path):
    import tensorflow as tf

    features, x = shop()
    model = zoo.shared_trunk(tasks(), features, trunk=[4])
    with pytest.warns(UserWarning, match=r"'onnx' holds no strings: .*preprocessing.*age, job"):
        written = model.export(tmp_path / "model.onnx", "onnx")
    assert [path.name for path in written] == ["model.onnx", "model.onnx.preprocessing"]
    assert all(path.exists() for path in written)
    before = tf.saved_model.load(str(written[1])).signatures["serving_default"]
    specs = before.structured_input_signature[1]
    made = before(**{name: tf.constant(x[name], spec.dtype) for name, spec in specs.items()})
    assert set(made) == {"preprocessing"}


def test_numbers_alone_need_nothing_beside_them():
    model = zoo.shared_trunk(tasks(), 4, trunk=[4])
    assert not Part.of(model).takes_strings


@on_tensorflow
def test_only_what_reads_strings_is_cut_off():
    words = keras.Input((), dtype="string", name="words")
    number, unused = keras.Input((2,), name="number"), keras.Input((2,), name="unused")
    ids = keras.layers.StringLookup(vocabulary=["a", "b"], name="lookup")(words)
    vector = keras.layers.Flatten()(keras.layers.Embedding(3, 4)(keras.ops.expand_dims(ids, 1)))
    both = keras.layers.Concatenate()([vector, number])
    outputs = {"first": keras.layers.Dense(1)(both), "second": keras.layers.Dense(1)(number)}
    own = [mtl.RegressionTask("first"), mtl.RegressionTask("second")]
    model = mtl.MultiTaskModel([words, number, unused], outputs, tasks=own)
    before, rest = Part.of(model).without_strings()
    assert set(before.inputs) == {"words"} and set(before.outputs) == {"lookup"}
    assert set(rest.inputs) == {"lookup", "number"} and set(rest.outputs) == set(outputs)
    x = {"words": np.array(["b", "c"], object), "number": np.ones((2, 2), "float32")}
    x = {name: keras.ops.convert_to_tensor(values) for name, values in x.items()}
    whole = model([x["words"], x["number"], x["number"]])
    parts = rest(before(x) | {"number": x["number"]})
    for task, value in whole.items():
        np.testing.assert_allclose(parts[task], value, rtol=1e-6)


@on_tensorflow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "pickle"}, r"`format` must be one of .*'pickle'"),
        ({"tasks": ["shoes"]}, r"`tasks` must be a list .*'first'.*Received: tasks=\['shoes'\]"),
        ({"tasks": []}, r"`tasks` must be a list"),
        ({"tasks": "first"}, r"`tasks` must be a list"),
        ({"signatures": "all"}, r"`signatures` must be one of"),
        ({"batch_size": 0}, r"`batch_size` must be a whole number of at least 1"),
        ({"format": "onnx"}, r"`filepath` of 'onnx' must end in '.onnx'"),
    ],
)
def test_bad_arguments_are_refused_and_leave_nothing(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        zoo.shared_trunk(tasks(), 4, trunk=[4]).export(tmp_path / "served", **options)
    assert list(tmp_path.iterdir()) == []


@on_tensorflow
@pytest.mark.parametrize(("format", "suffix"), [("onnx", "onnx"), ("openvino", "xml")])
def test_one_graph_is_one_signature(tmp_path, format, suffix):
    model = zoo.shared_trunk(tasks(), 4, trunk=[4])
    with pytest.raises(ValueError, match=r"`signatures` must be 'joint' .*tasks=\['name'\]"):
        model.export(tmp_path / f"model.{suffix}", format, signatures="both")


@on_tensorflow
@pytest.mark.parametrize("name", ["serve", "examples", "variables", "signatures"])
def test_a_signature_cannot_be_named_like_what_a_saved_model_has(tmp_path, name):
    model = zoo.shared_trunk([mtl.BinaryTask(name), mtl.BinaryTask("other")], 4, trunk=[4])
    with pytest.raises(ValueError, match=rf"`signatures` are named .*Received: \['{name}'\]"):
        model.export(tmp_path / "served", signatures="both")
    assert list(tmp_path.iterdir()) == []
    model.export(tmp_path / "served")


@on_tensorflow
@pytest.mark.parametrize("blocked", ["model.onnx", "model.onnx.preprocessing"])
def test_nothing_is_overwritten(tmp_path, blocked):
    features, _ = shop()
    (tmp_path / blocked).mkdir()
    (tmp_path / blocked / "mine").touch()
    with pytest.raises(FileExistsError, match=r"`path`.*Received"):
        zoo.shared_trunk(tasks(), features, trunk=[4]).export(tmp_path / "model.onnx", "onnx")
    assert [path.name for path in tmp_path.iterdir()] == [blocked]


@on_tensorflow
@pytest.mark.parametrize(("format", "package"), [("onnx", "tf2onnx"), ("openvino", "openvino")])
def test_a_package_that_is_missing_is_named(tmp_path, format, package, monkeypatch):
    from importlib import util

    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(
        ImportError, match=rf"package {package}: pip install 'mtl-keras\[{format}\]"
    ):
        zoo.shared_trunk(tasks(), 4, trunk=[4]).export(tmp_path / "model", format)


@pytest.mark.parametrize("format", FORMATS)
def test_a_backend_that_cannot_says_so(tmp_path, format):
    if BACKEND == "tensorflow" or (BACKEND == "jax" and format == "tf_saved_model"):
        pytest.skip("this backend can")
    with pytest.raises(ValueError, match=rf"`format` '{format}' needs the backend .*Received"):
        zoo.shared_trunk(tasks(), 4, trunk=[4]).export(tmp_path / "served", format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(BACKEND != "jax", reason="what JAX writes by a way of its own")
@pytest.mark.parametrize("name", ["rows_of_tasks", "images"])
def test_signatures_written_on_jax(tmp_path, name):
    import tensorflow as tf

    case = CASES[name]
    model = case.model()
    expected = model.predict(case.x, verbose=0)
    model.export(tmp_path / "served", signatures="both")
    loaded = tf.saved_model.load(str(tmp_path / "served")).signatures
    assert set(loaded) == {"serve", "serving_default", "examples", *expected}
    for signature, own in loaded.items():
        if signature == "examples":
            continue
        specs = own.structured_input_signature[1]
        found = own(**{key: tf.constant(case.x[key], spec.dtype) for key, spec in specs.items()})
        for task, value in found.items():
            np.testing.assert_allclose(value, expected[task], rtol=1e-5, atol=1e-5)
