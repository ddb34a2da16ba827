"""An entry gives back the model that was saved: answers, weights, how it was compiled."""

import itertools
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import h5py
import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from conformance.builder_cases import BUILDER_CASES, ROWS, numeric_case, text_case
from conformance.entry_folders import (
    ARCHITECTURE,
    BOUGHT,
    CLICKED,
    MANIFEST,
    TRUNK,
    X,
    Y,
    answers,
    assert_equal_answers,
    change_architecture,
    change_manifest,
    drawn,
    read_json,
    rehash,
    rows_of,
    small_model,
    three_tasks,
    write_json,
)
from conformance.model_suite import ModelCase
from mtl_keras.sharing import L2Sharing
from zoo.entries import entry
from zoo.entries.manifest import BadEntryError, digest_of

BACKEND = keras.backend.backend()
# What is compared here does not depend on whether it was compiled; tracing takes the time.
UNTRACED = {"run_eagerly": True} if BACKEND == "tensorflow" else {}
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="the same on every backend")


def row_case(builder, **options):
    """Rows that belong to one of three tasks, and say so."""
    case = numeric_case(builder, 1, row_input="whose", num_row_tasks=3, **options)
    x = {"features": case.x, "whose": np.arange(ROWS, dtype="int32") % 3}
    return ModelCase(case.build, x, case.y)


def five(case):
    return lambda: case(5)


def two(case):
    return lambda: case(2)


CASES = {name: two(case) for name, case in BUILDER_CASES.items()} | {
    # Every kind of task, and functions as losses and metrics.
    "all_kinds_of_tasks": five(BUILDER_CASES["dense_prediction"]),
    "task_conditioned_rows": lambda: row_case(zoo.task_conditioned, trunk=[8]),
    "shared_private_rows": lambda: row_case(zoo.shared_private, trunk=[8], adversarial=0.1),
    "texts_of_two_kinds": lambda: text_case(zoo.joint_text, 5, embedding=8, units=8),
}
QUICK = {
    "tensorflow": set(CASES) - {"texts_of_two_kinds"},
    "jax": {"progressive_layered_extraction", "task_conditioned_rows", "all_kinds_of_tasks"},
    "torch": set(CASES),
}[BACKEND]
ROUND_TRIPS = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in CASES
]


def saved(model, folder, x=X, **options):
    return zoo.save(model, folder, rows_of(model, x), **options)


def built(middle, tasks=None, **options):
    """A compiled model with `middle` between its input and its heads."""
    tasks = tasks or [mtl.BinaryTask("clicked")]
    x = keras.Input((X.shape[1],), name="features")
    h = middle(x)
    model = mtl.MultiTaskModel(x, {t.name: t.build_head()(h) for t in tasks}, tasks=tasks)
    model.compile(**(UNTRACED | options))
    return model


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_model_comes_back(name, tmp_path):
    case = CASES[name]()
    model = drawn(case.seeded(**UNTRACED))
    folder = saved(model, tmp_path / "entry", case.x)
    loaded = zoo.load(folder)
    assert loaded.tasks == model.tasks
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    expected, found = answers(model, case.x), answers(loaded, case.x)
    golden = read_json(folder)["golden"]["output"]
    assert set(golden) == set(found) == set(expected)
    for task in expected:
        # What stands beside each other in a graph may be added in another order.
        np.testing.assert_allclose(found[task], expected[task], rtol=1e-6, err_msg=task)
        np.testing.assert_allclose(golden[task], expected[task][:4], rtol=1e-6, err_msg=task)
    assert loaded.get_compile_config() == model.get_compile_config()


def test_of_a_large_answer_the_golden_output_has_a_part(tmp_path, monkeypatch):
    model = built(keras.layers.Dense(4), [mtl.CategoricalTask("kind", 6), mtl.BinaryTask("sold")])
    monkeypatch.setattr(entry, "_NUMBERS", 6)
    folder = saved(model, tmp_path / "entry")
    golden = read_json(folder)["golden"]
    # Every fourth of 4 x 6 numbers would be of three columns alone.
    assert golden["every"] == {"kind": 5}
    kinds = answers(model, X[:4])["kind"]
    np.testing.assert_allclose(golden["output"]["kind"], kinds.ravel()[::5], rtol=1e-6)
    assert np.shape(golden["output"]["sold"]) == (4, 1)
    assert zoo.verify(folder)["difference"] <= 1e-6


@pytest.mark.parametrize(
    "place, value, said",
    [
        (("output", "kind", 4), 2.0, "golden output of 'kind'"),
        (("every", "kind"), 7, r"shape \(4,\)"),
        (("every", "price"), 5, r"`every` must be of tasks.*'price'"),
        (("every", "kind"), 1, "golden"),
    ],
)
def test_a_part_that_lies_is_refused(place, value, said, tmp_path, monkeypatch):
    model = built(keras.layers.Dense(4), [mtl.CategoricalTask("kind", 6), mtl.BinaryTask("sold")])
    monkeypatch.setattr(entry, "_NUMBERS", 6)
    folder = saved(model, tmp_path / "entry")

    def change(manifest):
        *path, last = place
        part = manifest["golden"]
        for key in path:
            part = part[key]
        part[last] = value

    change_manifest(folder, change)
    with pytest.raises(BadEntryError, match=said):
        zoo.verify(folder)


@pytest.mark.parametrize("off, holds", [(5e-6, True), (5e-5, False)])
def test_of_large_numbers_a_share_is_held(off, holds, tmp_path):
    price = mtl.RegressionTask("price")
    x = keras.Input((X.shape[1],), name="features")
    out = keras.layers.Rescaling(1.0, 1000.0, name="price")(keras.layers.Dense(1)(x))
    model = mtl.MultiTaskModel(x, {"price": out}, tasks=[price])
    model.compile(**UNTRACED)
    folder = saved(model, tmp_path / "entry")
    value = read_json(folder)["golden"]["output"]["price"][0][0]

    def change(manifest):
        manifest["golden"]["output"]["price"][0][0] = value * (1 + off)

    change_manifest(folder, change)
    if holds:
        assert zoo.verify(folder)["difference"] == pytest.approx(off, rel=0.2)
        return
    with pytest.raises(BadEntryError, match="golden output of 'price'"):
        zoo.verify(folder)


def test_save_reports_where_it_wrote_and_verify_what_it_read(tmp_path):
    folder = saved(small_model(), tmp_path / "entry", recipe={"epochs": 1})
    assert folder == tmp_path / "entry"
    names = [ARCHITECTURE, "recipe.json", TRUNK, CLICKED, BOUGHT, "heads/price.weights.h5"]
    size = sum((folder / name).stat().st_size for name in names)
    assert zoo.verify(folder) == {"files": len(names), "bytes": size, "difference": 0}


def test_the_manifest_lists_every_variable_of_its_part(tmp_path):
    manifest = read_json(saved(small_model(), tmp_path / "entry"))
    shapes = {
        name: {key: tuple(own["shape"]) for key, own in held.items()}
        for name, held in manifest["variables"].items()
    }
    assert shapes == {
        TRUNK: {"trunk/trunk_0/kernel": (4, 8), "trunk/trunk_0/bias": (8,)},
        CLICKED: {"clicked/kernel": (8, 1), "clicked/bias": (1,)},
        BOUGHT: {"bought/kernel": (8, 1), "bought/bias": (1,)},
        "heads/price.weights.h5": {"price/kernel": (8, 1), "price/bias": (1,)},
    }


@on_tensorflow
def test_strings_are_read_by_the_model_itself(tmp_path):
    inputs = {
        "shop": zoo.features.Categorical(("north", "south")),
        "text": zoo.features.Text(("good", "bad"), max_tokens=4, sequence_length=3),
        "age": zoo.features.Numeric(40.0, 100.0),
    }
    model = zoo.shared_trunk([mtl.BinaryTask("clicked")], inputs, trunk=[4])
    x = {
        "shop": np.array(["north", "nowhere", "south"], object),
        "text": np.array(["good bad", "", "ugly, good"], object),
        "age": np.array([20.0, 40.0, 90.0], "float32"),
    }
    folder = saved(drawn(model), tmp_path / "entry", x)
    assert_equal_answers(answers(zoo.load(folder), x), answers(model, x))
    assert zoo.example(folder)["text"].tolist() == x["text"].tolist()


# -- by name, never by order


def test_heads_of_equal_shape_keep_their_own_weights(tmp_path):
    model = small_model()
    loaded = zoo.load(saved(model, tmp_path / "entry"))
    for task in ("clicked", "bought"):
        ours, theirs = (m.get_layer(task).get_weights() for m in (model, loaded))
        np.testing.assert_array_equal(ours[0], theirs[0], err_msg=task)
    assert not np.array_equal(
        *(loaded.get_layer(task).get_weights()[0] for task in ("clicked", "bought"))
    )


def reversed_dicts(value):
    if isinstance(value, dict):
        return {key: reversed_dicts(item) for key, item in reversed(value.items())}
    return [reversed_dicts(item) for item in value] if isinstance(value, list) else value


def rewritten_backwards(path):
    """The same arrays, created in the opposite order, in a file that remembers the order."""
    with h5py.File(path, "r") as file:
        found = {}
        file.visititems(
            lambda key, own: found.update({key: own[()]}) if isinstance(own, h5py.Dataset) else None
        )
    path.unlink()
    with h5py.File(path, "w", track_order=True) as file:
        for key in reversed(found):
            file.create_dataset(key, data=found[key], track_order=True)


def test_the_order_of_keys_means_nothing(tmp_path):
    model = small_model()
    folder = saved(model, tmp_path / "entry")
    for name in (ARCHITECTURE, MANIFEST):
        write_json(folder, reversed_dicts(read_json(folder, name)), name)
    for path in folder.rglob("*.weights.h5"):
        rewritten_backwards(path)
    rehash(folder)
    assert_equal_answers(answers(zoo.load(folder)), answers(model))


def test_the_order_of_tasks_means_nothing(tmp_path):
    model = small_model()
    folder = saved(model, tmp_path / "entry")

    def turn(config):
        config["config"]["tasks"].reverse()
        config["config"]["layers"].reverse()
        config["config"]["output_layers"] = reversed_dicts(config["config"]["output_layers"])

    change_architecture(folder, turn)
    change_manifest(folder, lambda manifest: manifest["tasks"].reverse())
    loaded = zoo.load(folder)
    assert [task.name for task in loaded.tasks] == ["price", "bought", "clicked"]
    assert_equal_answers(answers(loaded), answers(model))


def test_names_that_keras_counts_up_mean_nothing(tmp_path):
    """A layer without a name is dense_7 in one process and dense in another."""

    def make():
        return built(keras.layers.Dense(3))

    keras.layers.Dense(1), keras.layers.Dense(1)
    model = drawn(make())
    folder = saved(model, tmp_path / "entry")
    keras.layers.Dense(1)
    assert_equal_answers(answers(zoo.load(folder)), answers(model))


def test_another_process_on_another_backend_reads_the_same(tmp_path):
    others = [
        name for name in ("torch", "jax", "tensorflow") if name != BACKEND and find_spec(name)
    ]
    folder = saved(small_model(balancer="uw"), tmp_path / "entry")
    script = "import sys, zoo; print('difference', zoo.verify(sys.argv[1])['difference'])"
    found = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": [*others, BACKEND][0], "PYTHONHASHSEED": "7"},
        check=True,
    )
    assert float(found.stdout.split()[-1]) < entry.TOLERANCE


# -- what is kept beside the weights


def test_statistics_of_batch_normalization_are_kept(tmp_path):
    layer = keras.layers.BatchNormalization(momentum=0.5, name="normalized")
    model = built(lambda x: layer(keras.layers.Dense(3)(x)))
    model.fit(X, {"clicked": Y["clicked"]}, epochs=2, verbose=0)
    loaded = zoo.load(saved(model, tmp_path / "entry"))
    theirs = loaded.get_layer("normalized")
    for ours, kept in zip(layer.get_weights(), theirs.get_weights(), strict=True):
        assert not np.isin(ours, (0, 1)).any()
        np.testing.assert_array_equal(ours, kept)


def test_what_a_normalization_has_learned_is_kept(tmp_path):
    layer = keras.layers.Normalization()
    layer.adapt(X * 3 + 1)
    model = drawn(built(layer, optimizer="sgd"))
    layer.adapt(X * 3 + 1)
    loaded = zoo.load(saved(model, tmp_path / "entry"))
    assert_equal_answers(answers(loaded), answers(model))


def test_frozen_layers_stay_frozen(tmp_path):
    frozen = keras.layers.Dense(3, name="frozen", trainable=False)
    model = built(lambda x: keras.layers.Dense(3)(frozen(x)))
    loaded = zoo.load(saved(model, tmp_path / "entry"))
    before = loaded.get_layer("frozen").get_weights()
    loaded.fit(X, {"clicked": Y["clicked"]}, verbose=0)
    np.testing.assert_array_equal(loaded.get_layer("frozen").get_weights()[0], before[0])
    assert len(loaded.trainable_variables) == len(model.trainable_variables) == 4


def test_compile_state_is_kept(tmp_path):
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    model = zoo.soft_sharing(
        three_tasks(),
        X.shape[1],
        towers=[4],
        optimizer=keras.optimizers.SGD(rate, momentum=0.9, clipnorm=1.0),
        loss_weights={"price": 0.25},
        balancer="uw",
        sharing=L2Sharing(0.01, exclude=("bias",)),
        metrics={"clicked": [keras.metrics.AUC(curve="PR", name="area")]},
        jit_compile=False,
        steps_per_execution=1 if BACKEND == "torch" else 2,
    )
    loaded = zoo.load(saved(model, tmp_path / "entry"))
    assert isinstance(loaded.optimizer, keras.optimizers.SGD)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.loss_weights == {"clicked": 1, "bought": 1, "price": 0.25}
    assert type(loaded.balancer) is type(model.balancer)
    (penalty,) = loaded.sharing
    assert (penalty.strength, penalty.exclude) == (0.01, ("bias",))
    assert loaded.steps_per_execution == model.steps_per_execution
    logs = loaded.evaluate(X, Y, return_dict=True, verbose=0)
    assert {"clicked_area", "l2_sharing"} <= set(logs)
    assert logs == pytest.approx(model.evaluate(X, Y, return_dict=True, verbose=0))


def test_a_gradient_balancer_is_kept(tmp_path):
    model = small_model(balancer="pcgrad", balancer_every=2, scope="representation")
    loaded = zoo.load(saved(model, tmp_path / "entry"))
    assert type(loaded.balancer) is type(model.balancer)
    assert loaded.get_compile_config()["balancer_every"] == 2
    assert loaded.get_compile_config()["scope"] == "representation"
    loaded.train_on_batch(X, Y)


def test_training_goes_on(tmp_path):
    model = small_model(optimizer=keras.optimizers.SGD(0.01))
    loaded = zoo.load(saved(model, tmp_path / "entry"))
    ours = [model.train_on_batch(X, Y, return_dict=True)["loss"] for _ in range(3)]
    theirs = [loaded.train_on_batch(X, Y, return_dict=True)["loss"] for _ in range(3)]
    assert theirs == pytest.approx(ours, rel=1e-6)
    assert theirs[-1] < theirs[0]


def test_a_loaded_model_can_be_saved_again(tmp_path):
    first = saved(small_model(), tmp_path / "first")
    second = saved(zoo.load(first), tmp_path / "second")
    old, new = read_json(first), read_json(second)
    assert (old["variables"], old["golden"]) == (new["variables"], new["golden"])


def test_a_fresh_draw_of_the_same_model(tmp_path):
    model = small_model()
    fresh = zoo.load(saved(model, tmp_path / "entry"), pretrained=False)
    assert fresh.tasks == model.tasks
    for ours, theirs in zip(model.get_weights(), fresh.get_weights(), strict=True):
        assert ours.shape == theirs.shape
        assert not np.array_equal(ours, theirs)


# -- kinds of models


def same_layer_twice(x):
    layer = keras.layers.Dense(X.shape[1])
    return layer(layer(x))


def attended(x):
    pairs = keras.layers.Reshape((2, 2))(x)
    return keras.layers.Flatten()(keras.layers.MultiHeadAttention(2, 3)(pairs, pairs))


def recurrent(x):
    cell = keras.layers.Bidirectional(keras.layers.LSTM(3))
    return cell(keras.layers.Reshape((2, 2))(x))


def regularized(x):
    layer = keras.layers.Dense(3, kernel_regularizer="l2", kernel_constraint="max_norm")
    return layer(keras.layers.Dropout(0.5)(x))


MIDDLES = {
    "heads alone": lambda x: x,
    "slices": lambda x: keras.ops.concatenate([x[..., :2], x[:, -1:]], axis=-1),
    "operations": lambda x: keras.ops.relu(x) * 2 + keras.ops.tanh(x),
    "a layer twice": same_layer_twice,
    "attention": attended,
    "a wrapped layer": recurrent,
    "regularisers": regularized,
    "half precision": keras.layers.Dense(3, dtype="mixed_bfloat16"),
    "a function as activation": keras.layers.Dense(3, activation=keras.activations.gelu),
}


@pytest.mark.parametrize("middle", MIDDLES)
def test_any_functional_model_comes_back(middle, tmp_path):
    model = drawn(built(MIDDLES[middle]))
    loaded = zoo.load(saved(model, tmp_path / "entry"))
    assert_equal_answers(answers(loaded), answers(model))


# -- what save refuses


class Own(keras.layers.Layer):
    def call(self, x):
        return x


@keras.saving.register_keras_serializable(package="mtl_keras")
class Disguised(Own):
    pass


@keras.saving.register_keras_serializable(package="elsewhere")
def elsewhere(x):
    return x


class OwnInitializer(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return keras.ops.ones(shape, dtype)


class OwnOptimizer(keras.optimizers.SGD):
    pass


class OwnModel(mtl.MultiTaskModel):
    pass


def own_model():
    x = keras.Input((X.shape[1],), name="features")
    task = mtl.BinaryTask("clicked")
    model = OwnModel(x, {"clicked": task.build_head()(x)}, tasks=[task])
    model.compile()
    return model


REFUSED = {
    "Lambda": lambda: built(keras.layers.Lambda(lambda x: x + 1)),
    "Own'": lambda: built(Own()),
    "Disguised": lambda: built(Disguised()),
    "elsewhere": lambda: built(keras.layers.Dense(3, activation=elsewhere)),
    "OwnInitializer": lambda: built(keras.layers.Dense(3, kernel_initializer=OwnInitializer())),
    "OwnOptimizer": lambda: built(lambda x: x, optimizer=OwnOptimizer(0.1)),
    "OwnModel": own_model,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_reader_would_refuse_is_not_saved(name, tmp_path):
    with pytest.raises(BadEntryError, match=name):
        saved(REFUSED[name](), tmp_path / "entry")
    assert not list(tmp_path.iterdir())


def test_an_anonymous_function_is_not_saved(tmp_path):
    with pytest.warns(UserWarning, match="unsafe"), pytest.raises(BadEntryError):
        saved(built(keras.layers.Dense(3, activation=lambda x: x)), tmp_path / "entry")
    assert not list(tmp_path.iterdir())


def test_two_layers_whose_weights_have_one_name_are_not_saved(tmp_path):
    class Twins(keras.layers.Layer):
        def build(self, shape):
            self.a, self.b = (self.add_weight(shape=(), name="w") for _ in range(2))

        def call(self, x):
            return x * self.a + self.b

    model = built(Twins())
    with pytest.raises(BadEntryError, match="two variables"):
        entry.weights.variables_by_file(model)


def uncompiled():
    task = mtl.BinaryTask("clicked")
    x = keras.Input((X.shape[1],), name="features")
    return mtl.MultiTaskModel(x, {"clicked": task.build_head()(x)}, tasks=[task])


@pytest.mark.parametrize(
    "make, named",
    [
        (uncompiled, "compiled=False"),
        (lambda: keras.Sequential([keras.Input((4,), name="features")]), "Sequential"),
        (lambda: "model", "str"),
    ],
)
def test_a_model_must_be_compiled_and_multi_task(make, named, tmp_path):
    with pytest.raises(ValueError, match=f"`model` must be a compiled MultiTaskModel.*{named}"):
        zoo.save(make(), tmp_path / "entry", {"features": X})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "example, said",
    [
        ({}, r"\['features'\].*Received: \[\]"),
        ({"other": X}, r"Received: \['other'\]"),
        ({"features": X, "other": X}, r"Received: \['features', 'other'\]"),
        (X, "Received: ndarray"),
        (None, "Received: NoneType"),
        ({"features": X[:0]}, "one or more rows"),
        ({"features": 1.0}, "one or more rows"),
        ({"features": X[:, :2]}, "shape"),
    ],
)
def test_the_example_must_be_of_the_inputs(example, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        zoo.save(small_model(), tmp_path / "entry", example)
    assert not list(tmp_path.iterdir())


def test_inputs_of_the_example_have_equally_many_rows(tmp_path):
    case = CASES["task_conditioned_rows"]()
    x = case.x | {"whose": case.x["whose"][:3]}
    with pytest.raises(ValueError, match=r"as many.*'features': 4, 'whose': 3"):
        zoo.save(case.build(), tmp_path / "entry", x)


def test_answers_that_are_not_numbers_are_not_saved(tmp_path):
    with pytest.raises(BadEntryError, match="difference of nan"):
        saved(built(lambda x: x), tmp_path / "entry", np.full_like(X, np.nan))
    model = small_model()
    model.get_layer("price").bias.assign([np.inf])
    with pytest.raises(BadEntryError, match="price/bias must be finite"):
        saved(model, tmp_path / "entry")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "sections, place",
    [
        ({"title": "t" * 201}, "title"),
        ({"data_licence": "two\nlines"}, "licences/data"),
        ({"weights_licence": ""}, "licences/weights"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"limits": "none"}, "limits"),
        ({"published": []}, "results"),
        ({"results": {"split": "test", "seeds": [0], "runs": {}}}, "entry"),
    ],
)
def test_sections_follow_the_schema(sections, place, tmp_path):
    with pytest.raises(BadEntryError, match=place):
        saved(small_model(), tmp_path / "entry", **sections)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    folder = saved(small_model(), tmp_path / "entry")
    before = {path: digest_of(path) for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match="entry"):
        saved(small_model(), folder)
    assert before == {path: digest_of(path) for path in folder.rglob("*") if path.is_file()}
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="file"):
        saved(small_model(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entry", "file"]


def test_a_folder_that_cannot_be_written(tmp_path):
    # A file where a folder should be: permissions do not keep the superuser out.
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="`path` must be in a folder that can be written"):
        saved(small_model(), tmp_path / "file" / "entry")
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(OSError, match="`path` must be in a folder that can be written"):
            saved(small_model(), tmp_path / "closed" / "entry")


@pytest.mark.parametrize("step", ["write", "described", "read"])
def test_a_failure_half_way_leaves_nothing(step, tmp_path, monkeypatch):
    # The last of several calls fails, when other files are there already.
    calls, real = itertools.count(), getattr(entry.weights, step)

    def failing(*arguments):
        if next(calls) == 2:
            raise OSError("the disk is full")
        return real(*arguments)

    monkeypatch.setattr(entry.weights, step, failing)
    with pytest.raises(OSError, match="the disk is full"):
        saved(small_model(), tmp_path / "new" / "entry")
    assert not list(tmp_path.iterdir())


def test_a_model_that_does_not_come_back_is_not_saved(tmp_path, monkeypatch):
    real = entry.weights.write

    def swapping(path, variables):
        return real(path, {key: -np.asarray(value) for key, value in variables.items()})

    monkeypatch.setattr(entry.weights, "write", swapping)
    with pytest.raises(BadEntryError, match="must answer the golden input"):
        saved(small_model(), tmp_path / "entry")
    assert not list(tmp_path.iterdir())


def test_long_texts_and_brackets_survive_in_the_manifest():
    texts = ["a [b", "c] {d}", 'e "f"\n g', "[\n]"]
    content = {"golden": {"input": {"text": texts, "x": [[1.0, 2.0], [3.0, 4.0]]}}}
    text = entry._readable(content)
    assert json.loads(text) == content
    assert "[ 1.0, 2.0 ]" in text
