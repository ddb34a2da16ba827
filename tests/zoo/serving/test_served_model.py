"""A SavedModel in plain TensorFlow answers as the model of which it was exported."""

import base64
import json

import keras
import numpy as np
import pytest

from conformance.export_client import example, rows
from conformance.exported_models import CASES
from zoo.serving.refusal import Refusal
from zoo.serving.served_model import ServedModel

if keras.backend.backend() != "tensorflow":
    pytest.skip("models with strings are exported on TensorFlow", allow_module_level=True)

QUICK = ("mixture_with_strings", "rows_of_tasks", "texts")


def loaded(name, folder):
    model = CASES[name].model()
    model.export(folder / "saved", signatures="both")
    return model, ServedModel(folder / "saved", name)


def through_json(served, name, request):
    """The answer to a request, both as texts of JSON."""
    signature = served.signature(name)
    question = signature.question(json.loads(json.dumps(request)), 100)
    outputs = served.ask(signature.name, question.arrays)
    return json.loads(json.dumps(signature.answer(outputs, question), allow_nan=False))


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_every_signature_answers_as_the_model(name, tmp_path):
    model, served = loaded(name, tmp_path)
    x = CASES[name].x
    expected = model.predict(x, verbose=0)
    examples = [{"b64": base64.b64encode(example(row)).decode()} for row in rows(x)]
    assert set(model.output_names) < set(served.signatures)
    for signature in served.signatures:
        columns = {key: values.tolist() for key, values in x.items()}
        request = {"inputs": examples if signature == "examples" else columns}
        found = through_json(served, signature, request)["outputs"]
        if signature in expected:
            found = {signature: found}
        assert found.keys() == ({signature} if signature in expected else expected.keys())
        for task, values in found.items():
            np.testing.assert_allclose(values, expected[task], atol=1e-5)


@pytest.fixture(scope="module")
def adder(tmp_path_factory):
    """A SavedModel that no model of ours is: a scalar, a table without rows, strings."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None,), name="x"), tf.TensorSpec((), name="by")])
    def scaled(x, by):
        return {"y": x * by, "total": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec((3,), "int32", name="x")])
    def three(x):
        return {"y": x + 1}

    @tf.function(input_signature=[tf.TensorSpec((None,), "string", name="x")])
    def text(x):
        return {"y": tf.strings.upper(x), "z_bytes": x}

    module = tf.Module()
    folder = str(tmp_path_factory.mktemp("plain") / "7")
    tf.saved_model.save(module, folder, {"scaled": scaled, "three": three, "text": text})
    return ServedModel(folder, "plain", 7)


def test_inputs_without_rows(adder):
    assert not adder.signature("scaled").by_rows and adder.signature("text").by_rows
    answer = through_json(adder, "scaled", {"inputs": {"x": [1, 2], "by": 3}})
    assert answer == {"outputs": {"y": [3, 6], "total": 3}}


def test_a_fixed_number_of_rows(adder):
    assert through_json(adder, "three", {"instances": [1, 2, 3]}) == {"predictions": [2, 3, 4]}
    with pytest.raises(Refusal, match=r"must be int32 of shape \(3,\)"):
        through_json(adder, "three", {"instances": [1, 2]})


def test_strings_as_outputs(adder):
    answer = through_json(adder, "text", {"instances": ["a"]})
    assert answer == {"predictions": [{"y": "A", "z_bytes": {"b64": "YQ=="}}]}


def test_a_model_without_the_default_signature_says_which_it_has(adder):
    for name in ("", None, "other", ["text"]):
        with pytest.raises(Refusal, match=r"one of \['scaled', 'text', 'three'\]") as refused:
            adder.signature(name)
        assert refused.value.status == 400


def test_every_signature_is_asked_once_in_the_beginning(adder, monkeypatch):
    asked = []
    monkeypatch.setattr(adder, "ask", lambda name, arrays: asked.append(name))
    adder.warm_up()
    assert sorted(asked) == ["scaled", "text", "three"]


def test_what_the_model_refuses_of_zeros_does_not_stop_the_start(tmp_path):
    _, served = loaded("mixture_with_strings", tmp_path)
    # An empty string is no example of one.
    with pytest.raises(Refusal, match="cannot take this: Name: <unknown>, Feature: "):
        served.ask("examples", {"examples": np.array([b""], object)})
    served.warm_up()


def test_no_saved_model(tmp_path):
    with pytest.raises(OSError):
        ServedModel(tmp_path, "nothing")
