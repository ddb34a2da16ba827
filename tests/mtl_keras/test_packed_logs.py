"""The logs of a step are what the step gave, however they leave it."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl

if keras.backend.backend() != "tensorflow":
    pytest.skip("only TensorFlow's steps pack their logs", allow_module_level=True)

X = np.arange(12, dtype="float32").reshape(4, 3)
Y = {"a": np.array([0, 1, 1, 0], "float32"), "b": np.array([1, 2, 3, 4], "float32")}


class Chatty(mtl.MultiTaskModel):
    """Its steps also tell of what is no scalar, no float32 or no tensor."""

    def test_step(self, *args):
        result = super().test_step(*args)
        logs = result[0] if isinstance(result, tuple) else result
        more = {
            "vector": keras.ops.ones((3,)),
            "count": keras.ops.convert_to_tensor(2**24 + 1, "int32"),
            "two\nlines": keras.ops.convert_to_tensor(3.0),
            "half": keras.ops.convert_to_tensor(0.5, "float16"),
        }
        return (logs | more, *result[1:]) if isinstance(result, tuple) else logs | more


def build(cls=mtl.MultiTaskModel, **options):
    keras.utils.set_random_seed(0)
    tasks = [mtl.BinaryTask("a"), mtl.RegressionTask("b")]
    x = keras.Input((3,))
    model = cls(x, {task.name: task.build_head()(x) for task in tasks}, tasks=tasks)
    model.compile("sgd", **options)
    return model


class Seen(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append(dict(logs))


def logs_of_a_fit(**options):
    seen = Seen()
    build(**options).fit(X, Y, batch_size=2, shuffle=False, verbose=0, callbacks=[seen])
    return seen.logs[-1]


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 2}, {"run_eagerly": True}])
def test_logs_of_a_fit_are_the_steps_own(options, monkeypatch):
    found = logs_of_a_fit(**options)
    monkeypatch.setattr(mtl.MultiTaskModel, "_make_function", keras.Model._make_function)
    expected = logs_of_a_fit(run_eagerly=True)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


def test_other_logs_pass_as_they_are():
    model = build(Chatty)
    logs = model.test_on_batch(X, Y, return_dict=True)
    plain = build().test_on_batch(X, Y, return_dict=True)
    assert logs.pop("vector").shape == (3,)
    assert logs.pop("count") == 2**24 + 1
    assert logs.pop("two\nlines") == 3.0
    assert logs.pop("half") == 0.5
    assert logs == plain


def test_a_compiled_step_gives_one_tensor(monkeypatch):
    given, original = [], keras.Model._make_function

    def spying(self, step):
        function = original(self, step)

        def run(iterator):
            given.append(function(iterator))
            return dict(given[-1])

        return run

    monkeypatch.setattr(keras.Model, "_make_function", spying)
    logs = build().train_on_batch(X, Y, return_dict=True)
    (vector,) = given[0].values()
    assert vector.shape == (len(logs),) and len(logs) > 5
