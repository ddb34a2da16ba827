"""From a recipe to an entry: parts, runs, what is measured, studies, summaries."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest
from scipy import stats

import mtl_keras as mtl
import zoo
import zoo.registry
from zoo.datasets.columns import Split
from zoo.datasets.dataset import Dataset
from zoo.datasets.info import Counts, Info
from zoo.recipes import publish, run, study
from zoo.recipes.evaluation import binary_metrics, evaluated, inputs_of, metric_names
from zoo.recipes.parts import made
from zoo.recipes.recipe import Plan, Recipe
from zoo.recipes.run import Run, built, loaded, trained
from zoo.recipes.summary import Summary

BACKEND = keras.backend.backend()
# Data sets are tf.data; what is counted of their batches is NumPy.
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="the same on every backend")


# -- a small data set in memory

ROWS = {"train": 40, "validation": 21, "test": 27}


def make_splits(row_tasks=0):
    draw = np.random.default_rng(0)
    splits = {}
    for name, rows in ROWS.items():
        x = draw.normal(size=(rows, 2)).astype("float32")
        clicked = (x[:, 0] + draw.normal(size=rows) > 0).astype("float32")
        shop = np.digitize(x[:, 1], (-0.5, 0.5)).astype("int32")
        price = (x.sum(axis=1) + draw.normal(size=rows)).astype("float32")
        clicked[::5], shop[1::6], price[2::7] = np.nan, -1, np.nan
        inputs = {"age": x[:, 0], "height": x[:, 1]}
        labels = {"clicked": clicked, "shop": shop, "price": price}
        if row_tasks:
            inputs["whose"] = (np.arange(rows) % row_tasks).astype("int32")
            labels = {"clicked": clicked}
        splits[name] = Split(inputs, labels)
    return splits


def toy_tasks():
    return [
        mtl.BinaryTask("clicked"),
        mtl.CategoricalTask("shop", 3),
        mtl.RegressionTask("price"),
    ]


def toy_data(batch_size=8, seed=0):
    return Dataset.from_splits("toy", "embedded", make_splits(), toy_tasks(), batch_size, seed)


OWNERS = ("books", "films", "music")


def row_data(batch_size=8, seed=0, names=OWNERS):
    tasks = [mtl.BinaryTask("clicked")]
    return Dataset.from_splits(
        "toy_rows", "embedded", make_splits(3), tasks, batch_size, seed, row_tasks={"whose": names}
    )


# In eager steps: tracing would take longer than training.
PLAN = Plan("shared_trunk", {"trunk": [4], "run_eagerly": True})
RECIPE = Recipe(
    title="A toy",
    data={"name": "toy", "batch_size": 16},
    model=Plan("soft_sharing", {"towers": [4], "run_eagerly": True}),
    single_task=PLAN,
    plain_sum=PLAN,
    optimizer={"optimizer": "Adam", "learning_rate": 0.03},
    epochs=2,
    patience=1,
    seeds=2,
    weights_licence="CC0-1.0",
)
ROW_RECIPE = dataclasses.replace(
    RECIPE,
    data={"name": "toy_rows", "batch_size": 16},
    model=Plan("task_conditioned", {"trunk": [4], "run_eagerly": True}, row_tasks=True),
    seeds=1,
    epochs=1,
)


@pytest.fixture(scope="module", autouse=True)
def in_memory():
    """`zoo.datasets.load` gives the toys, and `info` knows them."""
    real = run.datasets.load, publish.info

    def load(name, source, variant=None, batch_size=256, data_dir=None, seed=0):
        assert source == "tfds"  # Never a sample in place of all rows.
        return {"toy": toy_data, "toy_rows": row_data}[name](batch_size, seed)

    def info(name, variant=None):
        counts = Counts(ROWS, {}, {})
        about = ("A toy", toy_tasks(), "CC0-1.0", "https://toy.invalid", "@misc{toy}")
        return Info(name, variant, *about, counts=counts)

    run.datasets.load, publish.info = load, info
    yield
    run.datasets.load, publish.info = real


# -- parts


def test_plain_values_stand_for_themselves():
    value = {"a": [1, 2.5, None, True, "relu"], "b": {"c": []}, "layer": ["Dense"]}
    assert made(value) == value


@pytest.mark.parametrize(
    "value, kind",
    [
        ({"layer": "Dense", "units": 3}, keras.layers.Dense),
        ({"layer": "TopKGate", "k": 1}, mtl.layers.TopKGate),
        ({"sharing": "L2Sharing", "strength": 0.1}, mtl.sharing.L2Sharing),
        ({"rule": "ScheduledWeights", "steps": [0]}, mtl.balancing.ScheduledWeights),
        ({"optimizer": "SGD", "learning_rate": 0.1}, keras.optimizers.SGD),
        (
            {"schedule": "CosineDecay", "initial_learning_rate": 0.1, "decay_steps": 3},
            keras.optimizers.schedules.CosineDecay,
        ),
    ],
)
def test_a_dict_that_names_a_class_becomes_an_object(value, kind):
    first, second = made([value, value])
    assert isinstance(first, kind) and first is not second


def test_objects_are_made_inside_out():
    found = made(
        {
            "optimizer": "Adam",
            "learning_rate": {
                "schedule": "ExponentialDecay",
                "initial_learning_rate": 0.1,
                "decay_epochs": 3,
                "decay_rate": 0.5,
            },
        },
        steps_per_epoch=7,
    )
    assert found.get_config()["learning_rate"]["config"]["decay_steps"] == 21


def test_a_list_of_layers_becomes_one_model():
    layers = [{"layer": "Dense", "units": 3}, {"layer": "Dropout", "rate": 0.5}]
    found = made({"trunk": {"layers": layers}})
    assert [type(layer).__name__ for layer in found["trunk"].layers] == ["Dense", "Dropout"]


@pytest.mark.parametrize(
    "value, said",
    [
        ({"layer": "Dens"}, r"`layer` must be a class of .*layers or .*layers\..*layer='Dens'"),
        ({"layer": "deserialize"}, "layer='deserialize'"),
        ({"optimizer": "L2Sharing"}, "`optimizer` must be a class of keras.optimizers"),
        ({"layer": "Dense", "unit": 3}, "`layer` 'Dense' does not take these arguments"),
        ({"layer": "Dense"}, "missing 1 required"),
        ([{"a": {"schedule": "Nothing"}}], "schedule='Nothing'"),
    ],
)
def test_parts_that_are_not_there(value, said):
    with pytest.raises(ValueError, match=said):
        made(value)


# -- recipes


def as_json(recipe):
    return json.dumps(dataclasses.asdict(recipe))


def test_a_recipe_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "recipe.json"
    full = dataclasses.replace(RECIPE, limits=("none",), preparing=("import this",))
    path.write_text(as_json(full))
    assert Recipe.read(path) == full
    path.write_text(
        '{"title": "t", "data": {"name": "toy"}, "model": {"builder": "single_task"}, '
        '"single_task": {"builder": "single_task"}, "plain_sum": null}'
    )
    least = Recipe.read(path)
    assert (least.plain_sum, least.epochs, least.patience, least.seeds) == (None, 10, 2, 5)
    assert list(least.roles) == ["entry", "single_task"]
    assert list(full.roles) == ["entry", "single_task", "plain_sum"]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"epoch": 3}, "Received: .'epoch'."),
        ({"title": ...}, "title"),
        ({"model": {"builder": "shared_trunk", "layers": 3}}, "layers"),
        ({"model": "shared_trunk"}, "recipe"),
        ({"epochs": 0}, "`epochs` must be a positive integer. Received: epochs=0"),
        ({"patience": 1.5}, "patience=1.5"),
        ({"seeds": "5"}, "seeds='5'"),
        ({"plain_sum": {"builder": "single_task", "epochs": 0}}, "epochs=0"),
        ({"single_task": {"builder": "single_task", "patience": True}}, "patience=True"),
        ({"model": {"builder": "single_task", "epochs": 3}}, "are those of the recipe"),
    ],
)
def test_what_is_no_recipe(change, said, tmp_path):
    content = json.loads(as_json(RECIPE)) | change
    content = {key: value for key, value in content.items() if value is not ...}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"recipe\.json is no recipe.*{said}"):
        Recipe.read(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"text"', '[{"a": 1}]'])
def test_what_is_no_recipe_at_all(text, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"recipe\.json is no recipe"):
        Recipe.read(path)
    with pytest.raises(FileNotFoundError):
        Recipe.read(tmp_path / "nowhere.json")


def test_the_recipes_of_the_package_can_be_read_and_their_models_are_there():
    for name in zoo.list_models():
        recipe = Recipe.read(zoo.registry.recipe_path(name))
        for plan in recipe.roles.values():
            assert plan.builder in zoo.builders.__all__, name
            made(plan.arguments)
        made(recipe.optimizer)


@on_tensorflow
def test_the_recipe_changes_features_and_tasks():
    changes = {
        "features": {"age": {"mean": 5.0, "variance": 4.0}},
        "tasks": {"clicked": {"weight": 3.0, "head": {"layer": "Dense", "units": 1}}},
    }
    data = loaded(dataclasses.replace(RECIPE, **changes))
    assert (data.features["age"].mean, data.features["age"].variance) == (5.0, 4.0)
    assert data.features["height"] == toy_data().features["height"]
    assert data.tasks[0].weight == 3.0 and isinstance(data.tasks[0].head, keras.layers.Dense)
    assert data.tasks[1:] == tuple(toy_tasks()[1:])
    for unknown in ({"features": {"wage": {}}}, {"tasks": {"shops": {"weight": 1.0}}}):
        with pytest.raises(ValueError, match="of the recipe must be of the data's"):
            loaded(dataclasses.replace(RECIPE, **unknown))


@on_tensorflow
def test_statistics_are_learned_once_on_all_training_rows(monkeypatch):
    data = toy_data()
    unknown = {name: zoo.features.Numeric() for name in data.features}
    monkeypatch.setattr(
        run.datasets, "load", lambda **options: dataclasses.replace(data, features=unknown)
    )
    found = loaded(RECIPE)
    expected = data.splits["train"].inputs["age"].astype("float64")
    assert found.features["age"].mean == pytest.approx(expected.mean())
    assert found.features["age"].variance == pytest.approx(expected.var())


@on_tensorflow
def test_an_unknown_builder():
    for builder in ("no_builder", "ModelOptions_", "draft"):
        with pytest.raises(ValueError, match=f"`builder` must be one of.*builder='{builder}'"):
            built(Plan(builder), RECIPE, toy_data())


# -- what is measured, against NumPy


def pairs_auc(labels, scores):
    """By counting: the share of pairs that are in order, ties half."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    apart = positive[:, None] - negative[None, :]
    return ((apart > 0) + 0.5 * (apart == 0)).mean()


def entropy(labels, p):
    p = np.clip(p.astype("float64"), 1e-7, 1 - 1e-7)
    return -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))


@pytest.fixture(scope="module")
def toy():
    """Data, an untrained model of it, and what the model answers to the test rows."""
    data = toy_data()
    keras.utils.set_random_seed(0)
    model = built(PLAN, RECIPE, data)
    return data, model, answered(model, data.splits["test"])


def answered(model, split):
    found = model.predict(inputs_of(model, split.inputs), verbose=0)
    return {task: np.asarray(values) for task, values in found.items()}


@on_tensorflow
def test_metrics_of_a_yes_or_no_task(toy):
    data, model, outputs = toy
    labels, p = data.splits["test"].labels["clicked"], outputs["clicked"][:, 0]
    known = ~np.isnan(labels)
    assert 0 < known.sum() < len(labels)
    found = evaluated(model, data)["clicked"]
    assert set(found) == {"loss", "auc", "accuracy"}
    assert found["auc"] == pytest.approx(pairs_auc(labels[known], p[known]), abs=1e-12)
    assert found["accuracy"] == pytest.approx(((p > 0.5) == (labels > 0.5))[known].mean())
    assert found["loss"] == pytest.approx(entropy(labels[known], p[known]), rel=1e-5)


@on_tensorflow
def test_metrics_of_a_task_of_classes(toy):
    data, model, outputs = toy
    labels, p = data.splits["test"].labels["shop"], outputs["shop"]
    known = labels != -1
    assert 0 < known.sum() < len(labels)
    found = evaluated(model, data)["shop"]
    assert set(found) == {"loss", "accuracy"}
    assert found["accuracy"] == pytest.approx((p.argmax(axis=1) == labels)[known].mean())
    chosen = p[known, labels[known]].astype("float64")
    assert found["loss"] == pytest.approx(-np.log(chosen).mean(), rel=1e-5)


@on_tensorflow
def test_metrics_of_a_task_of_numbers(toy):
    data, model, outputs = toy
    labels = data.splits["test"].labels["price"]
    error = (outputs["price"][:, 0] - labels)[~np.isnan(labels)].astype("float64")
    found = evaluated(model, data)["price"]
    assert set(found) == {"loss", "mae", "rmse"}
    assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert found["loss"] == pytest.approx((error**2).mean(), rel=1e-5)


@on_tensorflow
def test_metrics_do_not_depend_on_batches_and_are_of_the_split(toy):
    data, model, _ = toy
    for split in ("validation", "test"):
        one = evaluated(model, data.in_order(1000, 0), split)
        many = evaluated(model, data.in_order(4, 0), split)
        assert list(one) == list(many) == ["clicked", "shop", "price"]
        for task in one:
            assert one[task] == pytest.approx(many[task], rel=1e-5)
    assert one != evaluated(model, data, "validation")


@on_tensorflow
def test_inputs_may_be_encoded_on_the_way(toy):
    data, model, _ = toy
    data_in_order = data.in_order(8, 0)
    halved = evaluated(model, data_in_order, encode=lambda x: {k: v / 2 for k, v in x.items()})
    splits = {
        name: dataclasses.replace(split, inputs={k: v / 2 for k, v in split.inputs.items()})
        for name, split in data.splits.items()
    }
    assert halved == evaluated(model, dataclasses.replace(data, splits=splits).in_order(8, 0))
    assert halved != evaluated(model, data_in_order)


@on_tensorflow
def test_a_model_of_one_task_is_measured_alone(toy):
    data, _, _ = toy
    narrowed = data.only("price", batch_size=8)
    model = built(PLAN, RECIPE, narrowed)
    assert list(evaluated(model, narrowed)) == ["price"]
    # Rows without a label count for nothing, whether they are there or not.
    every = evaluated(model, data)["price"]
    assert every == pytest.approx(evaluated(model, narrowed)["price"], rel=1e-5)


@on_tensorflow
def test_metrics_of_whose_the_rows_are():
    data = row_data(names=(*OWNERS, "games"))
    keras.utils.set_random_seed(0)
    model = built(ROW_RECIPE.model, ROW_RECIPE, data)
    split = data.splits["test"]
    labels, p = split.labels["clicked"], answered(model, split)["clicked"][:, 0]
    found = evaluated(model, data)
    # In the order of the ids; there are no rows of games.
    assert list(found) == list(OWNERS)
    for k, name in enumerate(OWNERS):
        rows = (split.inputs["whose"] == k) & ~np.isnan(labels)
        assert found[name]["auc"] == pytest.approx(pairs_auc(labels[rows], p[rows]), abs=1e-12)
        assert found[name]["loss"] == pytest.approx(entropy(labels[rows], p[rows]), rel=1e-5)
        right = ((p > 0.5) == (labels > 0.5))[rows]
        assert found[name]["accuracy"] == pytest.approx(right.mean())


@on_tensorflow
def test_several_tasks_on_rows_of_several_tasks_are_not_mixed_up():
    data = dataclasses.replace(toy_data(), row_tasks={"whose": OWNERS})
    with pytest.raises(ValueError, match=r"must have one task. Received: \['clicked', 'shop'"):
        evaluated(built(PLAN, RECIPE, toy_data()), data)


def one_column_data(task, labels):
    rows = len(labels)
    x = np.linspace(-1, 1, rows, dtype="float32")
    splits = {name: Split({"age": x}, {task.name: labels}) for name in ROWS}
    return Dataset.from_splits("toy", "embedded", splits, [task], 4)


@on_tensorflow
@pytest.mark.parametrize("missing", [math.nan, -1])
def test_labels_that_are_missing_by_another_number(missing):
    task = mtl.BinaryTask("clicked", missing_value=missing)
    labels = np.array([1, 0, missing, 1, 0, 1, missing, 0], "float32")
    data = one_column_data(task, labels)
    keras.utils.set_random_seed(0)
    model = built(PLAN, RECIPE, data)
    p = answered(model, data.splits["test"])["clicked"][:, 0]
    known = np.isin(labels, (0, 1))
    found = evaluated(model, data)["clicked"]
    assert found["auc"] == pytest.approx(pairs_auc(labels[known], p[known]))
    assert found["accuracy"] == pytest.approx(((p > 0.5) == (labels > 0.5))[known].mean())
    assert found["loss"] == pytest.approx(entropy(labels[known], p[known]), rel=1e-5)


@on_tensorflow
def test_what_is_undefined_is_nan():
    task = mtl.BinaryTask("clicked")
    of_one_class = one_column_data(task, np.array([1, 1, np.nan, 1], "float32"))
    model = built(PLAN, RECIPE, of_one_class)
    found = evaluated(model, of_one_class)["clicked"]
    assert math.isnan(found["auc"]) and 0 <= found["accuracy"] <= 1 and found["loss"] > 0
    unlabelled = one_column_data(task, np.full(4, np.nan, "float32"))
    assert all(map(math.isnan, evaluated(model, unlabelled)["clicked"].values()))


def test_exact_auc_of_several_columns():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, (50, 4)).astype("float32")
    scores = draw.integers(0, 8, (50, 4)) / 8  # ties
    labels[::3, 0], labels[:, 3] = np.nan, 1
    found = binary_metrics(labels, scores)
    expected = [
        pairs_auc(labels[:, k][~np.isnan(labels[:, k])], scores[:, k][~np.isnan(labels[:, k])])
        for k in range(3)
    ]
    # The last column has one class, and no area.
    assert found["auc"] == pytest.approx(np.mean(expected), abs=1e-12)
    known = ~np.isnan(labels)
    assert found["accuracy"] == pytest.approx(((scores > 0.5) == (labels > 0.5))[known].mean())


def test_labels_between_no_and_yes_have_no_auc():
    found = binary_metrics(np.array([[0.3], [1.0]]), np.array([[0.2], [0.7]]))
    assert math.isnan(found["auc"]) and found["accuracy"] == 1


# -- parts of a data set


@on_tensorflow
def test_only_the_labelled_rows_of_one_task():
    data = toy_data()
    narrowed = data.only("shop", batch_size=5, seed=1)
    assert [task.name for task in narrowed.tasks] == ["shop"]
    for name, split in data.splits.items():
        known = split.labels["shop"] != -1
        assert set(narrowed.splits[name].labels) == {"shop"}
        np.testing.assert_array_equal(
            narrowed.splits[name].inputs["age"], split.inputs["age"][known]
        )
        assert narrowed.sizes[name] == known.sum()
    # Statistics stay those of all rows.
    assert narrowed.features == data.features
    assert all(len(y["shop"]) <= 5 for _, y in narrowed.train)


@on_tensorflow
def test_only_the_rows_of_one_of_several():
    data = row_data()
    narrowed = data.only("clicked", row_task=1)
    split, kept = data.splits["train"], narrowed.splits["train"]
    rows = (split.inputs["whose"] == 1) & ~np.isnan(split.labels["clicked"])
    np.testing.assert_array_equal(kept.inputs["age"], split.inputs["age"][rows])
    assert not narrowed.row_tasks and "whose" not in kept.inputs
    every = data.only("clicked")
    assert every.row_tasks == data.row_tasks and "whose" in every.splits["train"].inputs


@on_tensorflow
def test_the_order_of_a_seed():
    def order(data):
        return [float(age) for x, _ in data.train for age in x["age"]]

    data = toy_data()
    first, again, other = (order(data.in_order(8, seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(first) == sorted(other)
    batches = [len(x["age"]) for x, _ in data.in_order(16, 1).train]
    assert batches == [16, 16, 8]


# -- a run


@on_tensorflow
def test_the_best_epoch_is_kept():
    class Scores(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(logs["val_score"])

    scores = Scores()
    recipe = dataclasses.replace(RECIPE, epochs=6, patience=2)
    recipe = dataclasses.replace(recipe, optimizer={"optimizer": "SGD", "learning_rate": 0.3})
    data = toy_data()
    model, found = trained(PLAN, recipe, data, seed=3, callbacks=[scores])
    assert found.epoch == int(np.argmax(scores.seen)) + 1
    assert found.validation_score == pytest.approx(max(scores.seen))
    assert len(scores.seen) in (6, found.epoch + 2)
    kept = model.evaluate(data.validation, return_dict=True, verbose=0)["score"]
    assert kept == pytest.approx(max(scores.seen), rel=1e-5)
    assert found.metrics == evaluated(model, data)
    assert (found.seed, found.parameters) == (3, model.count_params())
    assert found.seconds > 0


@on_tensorflow
def test_a_baseline_may_train_longer():
    epochs = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    plan = dataclasses.replace(PLAN, epochs=4, patience=4)
    recipe = dataclasses.replace(RECIPE, epochs=1, patience=1)
    trained(plan, recipe, toy_data(), seed=3, callbacks=[seen])
    assert epochs == [0, 1, 2, 3]
    assert recipe.budget(plan) == {"epochs": 4, "patience": 4}
    assert recipe.budget(PLAN) == {"epochs": 1, "patience": 1}


# -- studies


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    if BACKEND == "tensorflow":
        study.study(RECIPE, None, folder, range(RECIPE.seeds))
    return folder


@on_tensorflow
def test_a_study_trains_each_seed_of_everything(work):
    data = loaded(RECIPE)
    expected = [
        (role, seed, task, name)
        for seed in (0, 1)
        for role, task, name in (
            ("entry", None, "entry"),
            ("single_task", "clicked", "clicked"),
            ("single_task", "shop", "shop"),
            ("single_task", "price", "price"),
            ("plain_sum", None, "plain_sum"),
        )
    ]
    jobs = [job for seed in (0, 1) for job in study.jobs(RECIPE, data, seed)]
    assert [(job.role, job.seed, job.task, job.name) for job in jobs] == expected
    assert len(list(work.iterdir())) == len(expected)
    for job in jobs:
        found = study.find_run(work, RECIPE, job)
        assert found.seed == job.seed
        assert list(found.metrics) == ([job.task] if job.task else ["clicked", "shop", "price"])
        saved = study.model_path(work, RECIPE, job)
        assert saved.exists() == (job.task is None)


def untouched(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("it was trained again")

    monkeypatch.setattr(study, "trained", fail)


@on_tensorflow
def test_a_study_goes_on_where_it_was_cut_off(work, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        untouched(patch)
        study.study(RECIPE, None, work, [0, 1])
    real, calls = study.trained, []

    def cut_off(*arguments, **options):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(study, "trained", cut_off)
    recipe = dataclasses.replace(RECIPE, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        study.study(recipe, None, tmp_path, [0])
    assert len(list(tmp_path.iterdir())) == 2
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/run.json")}
    monkeypatch.setattr(study, "trained", real)
    study.study(recipe, None, tmp_path, [0])
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/run.json")}
    assert len(after) == 5 and before.items() <= after.items()


@on_tensorflow
def test_a_run_that_another_process_finished_first_stands(monkeypatch, tmp_path):
    data = toy_data()
    job = next(study.jobs(RECIPE, data, 0))
    folder = tmp_path / study.fingerprint(RECIPE, job)

    def overtaken(*arguments, **options):
        folder.mkdir()
        (folder / "run.json").write_text("theirs")
        return built(PLAN, RECIPE, data), Run(0, {}, 0.0, 1, 0.0, 1)

    monkeypatch.setattr(study, "trained", overtaken)
    monkeypatch.setattr(study, "jobs", lambda *arguments: [job])
    study.study(RECIPE, None, tmp_path, [0])
    assert (folder / "run.json").read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [folder]


def job(role="entry", seed=0, task=None, row_task=None):
    return study.Job(role, seed, task, row_task)


def test_what_a_run_depends_on():
    def changed(**changes):
        return study.fingerprint(dataclasses.replace(RECIPE, **changes), job())

    kept = study.fingerprint(RECIPE, job())
    other_baseline = Plan("single_task")
    for same in (
        {"title": "another"},
        {"seeds": 7},
        {"limits": ("none",)},
        {"single_task": other_baseline, "plain_sum": None},
        {"example": {"age": [1.0]}},
    ):
        assert changed(**same) == kept, same
    for other in (
        {"epochs": 3},
        {"patience": 2},
        {"data": RECIPE.data | {"batch_size": 8}},
        {"optimizer": {"optimizer": "SGD"}},
        {"tasks": {"clicked": {"weight": 2.0}}},
        {"features": {"age": {"mean": 0.0, "variance": 1.0}}},
        {"model": other_baseline},
        {"model": dataclasses.replace(RECIPE.model, row_tasks=True)},
    ):
        assert changed(**other) != kept, other
    longer = dataclasses.replace(RECIPE, single_task=dataclasses.replace(PLAN, epochs=99))
    same = dataclasses.replace(RECIPE, single_task=PLAN)
    alone = job("single_task", 0, "shop")
    assert study.fingerprint(longer, alone) != study.fingerprint(same, alone)
    jobs = [job(), job(seed=1), job(task="clicked"), job(task="shop"), job("plain_sum")]
    jobs += [job(task="clicked", row_task=k) for k in (0, 1)]
    assert len({study.fingerprint(RECIPE, own) for own in jobs}) == len(jobs)


def test_recipes_share_equal_runs():
    """Of their baselines; and one's baseline may be the other's entry."""
    other = dataclasses.replace(RECIPE, title="another", model=PLAN, plain_sum=None)
    assert study.fingerprint(RECIPE, job("single_task", 0, "shop")) == study.fingerprint(
        other, job("single_task", 0, "shop")
    )
    assert study.fingerprint(RECIPE, job("plain_sum")) == study.fingerprint(other, job("entry"))
    assert study.fingerprint(RECIPE, job("entry")) != study.fingerprint(other, job("entry"))


@on_tensorflow
def test_a_run_does_not_depend_on_those_before_it(work, tmp_path):
    """Alone in a process, or after others, a seed gives the same."""
    keras.utils.set_random_seed(99)
    study.study(dataclasses.replace(RECIPE, single_task=RECIPE.model), None, tmp_path, [1])
    data = loaded(RECIPE)
    for own in study.jobs(RECIPE, data, 1):
        if own.role != "single_task":
            again, before = (study.find_run(folder, RECIPE, own) for folder in (tmp_path, work))
            assert again.metrics == before.metrics, own


@on_tensorflow
def test_a_study_of_rows(tmp_path):
    study.study(ROW_RECIPE, None, tmp_path, [0])
    data = loaded(ROW_RECIPE)
    jobs = list(study.jobs(ROW_RECIPE, data, 0))
    assert [own.name for own in jobs] == ["entry", *OWNERS, "plain_sum"]
    assert [own.row_task for own in jobs] == [None, 0, 1, 2, None]
    runs = {own.name: study.find_run(tmp_path, ROW_RECIPE, own) for own in jobs}
    assert list(runs["entry"].metrics) == list(runs["plain_sum"].metrics) == list(OWNERS)
    # The entry is told whose a row is, the baselines are not.
    assert runs["entry"].parameters > runs["plain_sum"].parameters == runs["books"].parameters
    summary = publish.summarised(ROW_RECIPE, data, tmp_path)
    assert summary.tasks == list(OWNERS)
    assert summary.results["score"] == dict.fromkeys(OWNERS, "auc max")
    for name in OWNERS:
        (alone,) = runs[name].metrics.values()
        assert summary.values("single_task", name, "auc").tolist() == [alone["auc"]]


# -- summaries


def make_run(seed, **metrics):
    return Run(seed, metrics, 0.5, 1, 2.0 + seed, 100)


def make_summary(ours, theirs=None, direction="max"):
    """Of two tasks; the second has a metric more."""

    def runs(values):
        return [
            make_run(seed, a={"auc": value}, b={"auc": value / 2, "mae": 1 / value})
            for seed, value in enumerate(values)
        ]

    return Summary.of_runs(
        {"entry": runs(ours), "single_task": runs(theirs or ours)},
        {"a": f"auc {direction}", "b": "mae min"},
    )


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_the_interval_is_that_of_one_more_run(count):
    values = np.random.default_rng(count).normal(0.8, 0.02, count)
    low, high = make_summary(values).interval("a", "auc")
    scale = values.std(ddof=1) * math.sqrt(1 + 1 / count)
    expected = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=scale)
    # The points of the table have three decimals.
    assert (low, high) == pytest.approx(expected, rel=1e-4)


def test_the_interval_of_many_runs_is_not_too_narrow():
    values = np.random.default_rng(0).normal(0.8, 0.02, 25)
    low, high = make_summary(values).interval("a", "auc")
    scale = values.std(ddof=1) * math.sqrt(1 + 1 / 25)
    assert high - low >= 2 * stats.t.ppf(0.975, 24) * scale


def test_one_run_says_nothing_of_the_next():
    summary = make_summary([0.8], [0.7])
    assert summary.interval("a", "auc") == (-math.inf, math.inf)
    gain, low, high = summary.delta_m("single_task")
    assert gain == pytest.approx(100 * (0.1 / 0.7 + (1 / 0.7 - 1 / 0.8) / (1 / 0.7)) / 2)
    assert (low, high) == (-math.inf, math.inf)


def test_delta_m_by_hand():
    ours, theirs = [0.8, 0.9, 0.85], [0.7, 0.8, 0.9]
    summary = make_summary(ours, theirs)
    gains = []
    for our, their in zip(ours, theirs, strict=True):
        of_a = (our - their) / their
        of_b = -(1 / our - 1 / their) / (1 / their)  # lower is better
        gains.append(100 * (of_a + of_b) / 2)
    low, high = stats.t.interval(0.95, 2, np.mean(gains), np.std(gains, ddof=1) / math.sqrt(3))
    # The points of the table have three decimals.
    assert summary.delta_m("single_task") == pytest.approx((np.mean(gains), low, high), rel=5e-4)
    assert summary.delta_m("entry") == (0, 0, 0)


def test_values_means_and_metrics():
    summary = make_summary([0.8, 0.4])
    assert summary.tasks == ["a", "b"]
    assert summary.rows() == [("a", "auc"), ("b", "auc"), ("b", "mae")]
    assert summary.common_metrics() == ["auc"]
    assert summary.means("entry", "auc").tolist() == pytest.approx([0.6, 0.3])
    assert summary.results["seeds"] == [0, 1]
    assert summary.results["runs"]["entry"]["seconds"] == [2.0, 3.0]
    assert summary.results["runs"]["entry"]["parameters"] == 100


def test_what_was_undefined_stays_so_in_json():
    runs = [make_run(0, a={"auc": math.nan}), make_run(1, a={"auc": 0.5})]
    summary = Summary.of_runs({"entry": runs}, {"a": "auc max"})
    text = json.dumps(summary.results, allow_nan=False)
    values = Summary(json.loads(text)).values("entry", "a", "auc")
    assert math.isnan(values[0]) and values[1] == 0.5
    assert all(map(math.isnan, summary.interval("a", "auc")))


# -- publishing


@pytest.fixture
def presets(tmp_path, monkeypatch):
    """A folder of presets with one recipe, in place of the package's."""
    folder = tmp_path / "presets"
    (folder / "toy").mkdir(parents=True)
    (folder / "toy" / "recipe.json").write_text(as_json(RECIPE))
    monkeypatch.setattr(zoo.registry, "PRESETS", folder)
    return folder


def test_a_recipe_without_weights_has_a_name(presets):
    assert zoo.list_models() == ["toy"]
    assert zoo.list_models(pretrained=False) == ["toy"]
    assert zoo.list_models(pretrained=True) == []
    assert zoo.list_models(dataset="toy") == ["toy"]
    assert zoo.list_models("t?y", dataset="other") == []
    with pytest.raises(ValueError, match="no weights yet"):
        zoo.load("toy")
    with pytest.raises(ValueError, match="did you mean 'toy'"):
        zoo.load("toi")


@on_tensorflow
def test_publish_writes_an_entry(presets, work, monkeypatch):
    untouched(monkeypatch)
    folder = publish.publish("toy", None, work)
    assert folder == presets / "toy"
    assert [path.name for path in presets.iterdir()] == ["toy"]
    assert zoo.verify("toy")["difference"] == 0
    assert zoo.list_models(pretrained=True, task="shop") == ["toy"]
    assert Recipe.read(folder / "recipe.json") == RECIPE

    manifest = zoo.registry.manifest_of("toy")
    assert manifest["title"] == "A toy"
    assert manifest["licences"] == {"data": "CC0-1.0", "weights": RECIPE.weights_licence}
    assert manifest["dataset"]["sizes"] == ROWS
    assert manifest["builder"]["name"] == "soft_sharing"
    results = manifest["results"]
    assert results["seeds"] == [0, 1] and set(results["runs"]) == set(RECIPE.roles)
    assert results["score"] == {"clicked": "auc max", "shop": "accuracy max", "price": "mae min"}

    # The weights are those of the first seed, and give its figures.
    data = loaded(RECIPE)
    model = zoo.load("toy")
    of_first = {
        task: {metric: values[0] for metric, values in metrics.items()}
        for task, metrics in results["runs"]["entry"]["metrics"].items()
    }
    found = evaluated(model, data)
    assert list(found) == list(of_first)
    for task in found:
        assert found[task] == pytest.approx(of_first[task], rel=1e-5)
    expected = next(iter(data.test))[0]["age"][:4]
    np.testing.assert_allclose(zoo.example("toy")["age"], expected)
    page = (folder / "README.md").read_text("utf-8")
    assert page.startswith("# toy\n") and zoo.verify("toy")
    assert page == zoo.card("toy") and 'zoo.load("toy")' in page
    assert "The baselines had the same data, batches and epochs at most." in page


@on_tensorflow
def test_the_card_says_that_single_tasks_trained_longer(presets, work):
    longer = dataclasses.replace(PLAN, epochs=3, patience=2)
    recipe = dataclasses.replace(RECIPE, single_task=longer, seeds=1)
    (presets / "toy" / "recipe.json").write_text(as_json(recipe))
    publish.publish("toy", None, work)
    assert (
        "Single tasks take fewer steps in an epoch: they had 3 epochs at most, patience 2, the "
        "others 2 epochs at most, patience 1." in zoo.card("toy")
    )


@on_tensorflow
def test_publishing_again_replaces_the_entry(presets, work, monkeypatch):
    untouched(monkeypatch)
    publish.publish("toy", None, work)
    # As an earlier one left it that was cut off.
    (presets / ".toy.old").mkdir()
    (presets / ".toy.old" / "recipe.json").write_text(as_json(RECIPE))
    assert zoo.list_models() == ["toy"]
    changed = dataclasses.replace(RECIPE, title="Another", example={"age": [1.0], "height": [2.0]})
    (presets / "toy" / "recipe.json").write_text(as_json(changed))
    publish.publish("toy", None, work)
    assert [path.name for path in presets.iterdir()] == ["toy"]
    assert zoo.registry.manifest_of("toy")["title"] == "Another"
    assert {name: rows.tolist() for name, rows in zoo.example("toy").items()} == {
        "age": [1.0],
        "height": [2.0],
    }


@pytest.mark.parametrize(
    "figures",
    [{"shoes": {"auc": 0.9}}, {"clicked": {"rmse": 0.9}}, {"mean": {"auc": 0.9}}],
    ids=["task", "metric", "mean of a metric that not all have"],
)
def test_figures_that_nothing_stands_beside_are_refused_before_training(figures):
    other = {"source": "A paper", "figures": figures, "difference": "none"}
    recipe = dataclasses.replace(RECIPE, published=(other,))
    with pytest.raises(ValueError, match=r"`published` must be figures of .*Received"):
        publish.check_published(recipe, loaded(recipe))


@pytest.mark.parametrize(
    ("recipe", "figures"),
    [(RECIPE, {"clicked": {"auc": 0.9}}), (RECIPE, {"mean": {"loss": 0.9}})],
)
def test_figures_of_metrics_that_runs_have_are_taken(recipe, figures):
    other = {"source": "A paper", "figures": figures, "difference": "none"}
    recipe = dataclasses.replace(recipe, published=(other,))
    publish.check_published(recipe, loaded(recipe))


def test_metric_names_are_those_of_an_evaluation(toy):
    data, model, _ = toy
    found = evaluated(model, data)
    for task in data.tasks:
        assert metric_names(task) == set(found[task.name])


@on_tensorflow
def test_what_cannot_be_published_leaves_the_entry(presets, work, monkeypatch):
    untouched(monkeypatch)
    publish.publish("toy", None, work)
    before = {path: path.read_bytes() for path in presets.rglob("*.*") if path.is_file()}
    del before[presets / "toy" / "recipe.json"]
    (presets / "toy" / "recipe.json").write_text(
        as_json(dataclasses.replace(RECIPE, weights_licence="two\nlines"))
    )
    with pytest.raises(ValueError, match="licences/weights"):
        publish.publish("toy", None, work)
    assert before == {path: path.read_bytes() for path in before}
    assert [path.name for path in presets.iterdir()] == ["toy"]


@pytest.mark.parametrize("name", ["Lambda", "TFSMLayer"])
def test_a_recipe_makes_no_layer_that_runs_code(name):
    with pytest.raises(ValueError, match=f"must be a class of .* Received: layer='{name}'"):
        made({"layer": name, "function": "print"})
