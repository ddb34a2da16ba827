"""New tasks on a pretrained model: fresh heads, everything else as it was."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from conformance.builder_cases import BUILDER_CASES, ROWS
from conformance.entry_folders import (
    X,
    Y,
    answers,
    assert_equal_answers,
    drawn,
    read_json,
    rows_of,
    small_model,
)
from zoo.entries.transfer import with_tasks

BACKEND = keras.backend.backend()
UNTRACED = {"run_eagerly": True} if BACKEND == "tensorflow" else {}
NEW = [mtl.RegressionTask("stars", 2), mtl.BinaryTask("returned")]
NEW_Y = {"stars": np.stack([Y["price"], Y["clicked"]], axis=1), "returned": Y["bought"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return zoo.save(small_model(), tmp_path_factory.mktemp("saved") / "entry", {"features": X})


def weights_of(model, layer):
    return model.get_layer(layer).get_weights()


def assert_equal_weights(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_new_heads_stand_on_the_pretrained_trunk(folder):
    old, new = zoo.load(folder), zoo.load(folder, tasks=NEW)
    assert new.tasks == tuple(NEW)
    assert {layer.name for layer in new.layers} == {"features", "trunk", "stars", "returned"}
    assert_equal_weights(weights_of(new, "trunk"), weights_of(old, "trunk"))
    # The heads are fresh: biases are zero before training, which those of the entry are not.
    assert all((weights_of(new, task.name)[1] == 0).all() for task in NEW)
    found = answers(new)
    assert {task: y.shape for task, y in found.items()} == {"stars": (12, 2), "returned": (12, 1)}
    (hidden,) = (np.maximum(X @ kernel + bias, 0) for kernel, bias in [weights_of(old, "trunk")])
    np.testing.assert_allclose(found["stars"], hidden @ weights_of(new, "stars")[0], rtol=1e-4)


def test_a_new_model_trains(folder):
    new = zoo.load(folder, tasks=NEW, optimizer=keras.optimizers.Adam(0.03))
    before = new.get_layer("trunk").get_weights()
    losses = new.fit(X, NEW_Y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert not np.array_equal(new.get_layer("trunk").get_weights()[0], before[0])
    assert float(new.optimizer.learning_rate) == pytest.approx(0.03)
    assert_equal_weights(weights_of(zoo.load(folder), "trunk"), before)


def test_a_frozen_trunk_stays_as_it_was(folder):
    new = zoo.load(folder, tasks=NEW)
    new.get_layer("trunk").trainable = False
    new.compile("sgd", **UNTRACED)
    before = weights_of(new, "trunk")
    new.fit(X, NEW_Y, verbose=0)
    assert_equal_weights(weights_of(new, "trunk"), before)
    assert len(new.trainable_variables) == 4


def test_a_task_of_an_old_name_gets_a_fresh_head(folder):
    new = zoo.load(folder, tasks=[mtl.CategoricalTask("clicked", 3), mtl.BinaryTask("new")])
    assert answers(new)["clicked"].shape == (12, 3)
    assert (weights_of(new, "clicked")[1] == 0).all()


def test_a_new_model_becomes_an_entry(folder, tmp_path):
    new = zoo.load(folder, tasks=NEW)
    second = zoo.save(new, tmp_path / "second", {"features": X})
    assert [task["name"] for task in read_json(second)["tasks"]] == ["stars", "returned"]
    assert_equal_answers(answers(zoo.load(second)), answers(new))


def test_layers_are_shared_with_the_model_that_was_given():
    old = small_model()
    new = with_tasks(old, NEW)
    assert new.get_layer("trunk") is old.get_layer("trunk")
    assert set(old.output_names) == {"clicked", "bought", "price"}


def test_heads_of_several_layers_are_replaced_whole():
    old = zoo.shared_trunk([mtl.BinaryTask("clicked")], 4, trunk=[8], head=[6])
    new = with_tasks(old, [mtl.BinaryTask("returned", head=[3]), mtl.BinaryTask("kept")])
    assert [kernel.shape for kernel in weights_of(new, "returned")[::2]] == [(8, 3), (3, 1)]
    assert [kernel.shape for kernel in weights_of(new, "kept")[::2]] == [(8, 1)]


# -- tasks with parts of their own


DONORS = [
    "multi_gate_mixture_of_experts",
    "progressive_layered_extraction",
    "soft_sharing",
    "task_attention",
    "task_conditioned",
    "ranking_with_bias_tower",
    "entire_space",
]


@pytest.mark.parametrize("builder", DONORS if BACKEND != "jax" else DONORS[:2])
def test_a_new_task_continues_the_one_it_is_like(builder):
    case = BUILDER_CASES[builder](2)
    old = case.seeded(**UNTRACED)
    first, second = (task.name for task in old.tasks[:2])
    new_tasks = [mtl.RegressionTask("a", old.tasks[0].units), mtl.BinaryTask("b")]
    for like in (first, second, {"a": second}, {"b": second}, None):
        new = with_tasks(old, new_tasks, like)
        donor = {"a": first} | (like if isinstance(like, dict) else {"a": like or first})
        expected = head_of(old, donor["a"]).input
        assert new.get_layer("a").input is expected, like
    new.compile(**UNTRACED)
    assert answers(new, case.x)["a"].shape[0] == ROWS


def head_of(model, task):
    layers = {layer.name: layer for layer in model.layers}
    return layers[f"{task}_logits" if f"{task}_logits" in layers else task]


def test_what_a_new_task_is_like_can_be_told_from_its_answers():
    """Of a mixture: its gate and its tower, which no other task's are."""
    tasks = [mtl.RegressionTask("price"), mtl.RegressionTask("stars")]
    options = {"experts": 2, "expert_units": [8], "towers": [4]} | UNTRACED
    old = zoo.multi_gate_mixture_of_experts(tasks, X.shape[1], **options)
    expected = answers(old)
    assert not np.allclose(expected["price"], expected["stars"])
    for like in ("price", "stars"):
        new = with_tasks(old, [mtl.RegressionTask("cost")], like)
        new.get_layer("cost").set_weights(weights_of(old, like))
        np.testing.assert_allclose(answers(new)["cost"], expected[like], rtol=1e-5)
        (other,) = {"price", "stars"} - {like}
        names = {layer.name for layer in new.layers}
        assert f"{like}_tower" in names and f"{other}_tower" not in names


def test_new_tasks_of_several_kinds_each_continue_their_own():
    case = BUILDER_CASES["joint_text"](2)
    old = case.seeded(**UNTRACED)
    new = with_tasks(
        old,
        [mtl.TokenTask("part", 4), mtl.BinaryTask("ironic"), mtl.TokenTask("phrase", 2)],
        like={"ironic": "sentiment", "phrase": "tag"},
    )
    found = answers(new, rows_of(new, case.x))
    rows, length = case.x.shape
    assert {task: y.shape for task, y in found.items()} == {
        "part": (rows, length, 4),
        "ironic": (rows, 1),
        "phrase": (rows, length, 2),
    }
    if BACKEND == "jax":
        return  # Compiling takes the time.
    y = {"part": case.x % 4, "ironic": case.x[:, 0] % 2, "phrase": case.x % 2}
    assert np.isfinite(new.train_on_batch(case.x, y, return_dict=True)["loss"])


def test_pixels_go_on_with_pixels():
    old = BUILDER_CASES["dense_prediction"](3).build()
    new = with_tasks(
        old,
        [mtl.CategoricalTask("material", 5, positions=2), mtl.BinaryTask("night")],
        like={"material": "depth", "night": "indoors"},
    )
    shapes = {task: tuple(y.shape[1:]) for task, y in new.output.items()}
    assert shapes == {"material": (4, 4, 5), "night": (1,)}


@pytest.mark.parametrize(
    "task, like, rank",
    [
        (mtl.BinaryTask("night"), "depth", 4),
        (mtl.CategoricalTask("material", 3, positions=2), "indoors", 2),
        (mtl.TokenTask("word", 3), "depth", 4),
    ],
)
def test_a_task_that_labels_something_else(task, like, rank):
    old = BUILDER_CASES["dense_prediction"](3).build()
    with pytest.raises(ValueError, match=f"'{task.name}' must label what '{like}' labels"):
        with_tasks(old, [task], like)


def test_rows_of_several_tasks_keep_saying_whose_they_are(tmp_path):
    old = zoo.task_conditioned(
        [mtl.BinaryTask("clicked")], 4, trunk=[8], row_input="whose", num_row_tasks=3, **UNTRACED
    )
    drawn(old)
    x = {"features": X, "whose": np.arange(12, dtype="int32") % 3}
    folder = zoo.save(old, tmp_path / "entry", x)
    new = zoo.load(folder, tasks=[mtl.RegressionTask("price")])
    found = answers(new, x)["price"]
    others = answers(new, x | {"whose": (x["whose"] + 1) % 3})["price"]
    assert found.shape == (12, 1) and not np.allclose(found, others)


# -- errors


@pytest.mark.parametrize(
    "tasks, like, said",
    [
        ([], None, "one or more tasks"),
        (["clicked"], None, "one or more tasks"),
        ([NEW[0], NEW[0]], None, "different names"),
        (NEW, "nobody", r"\['clicked', 'bought', 'price'\].*like='nobody'"),
        (NEW, {"stars": "nobody"}, "like={'stars': 'nobody'}"),
        (NEW, {"nobody": "clicked"}, "like={'nobody': 'clicked'}"),
        ([mtl.BinaryTask("features")], None, "'features'"),
        ([mtl.BinaryTask("trunk_0"), mtl.TokenTask("word", 3)], None, "'word' must label"),
    ],
)
def test_tasks_that_cannot_be(tasks, like, said, folder):
    with pytest.raises(ValueError, match=said):
        zoo.load(folder, tasks=tasks, like=like)


def test_a_task_named_like_a_layer():
    case = BUILDER_CASES["soft_sharing"](2)
    old = case.build()
    with pytest.raises(ValueError, match=r"like a layer or an input.*'clicked_tower'"):
        with_tasks(old, [mtl.BinaryTask("clicked_tower")])


def test_a_model_without_heads_of_the_tasks_names():
    x = keras.Input((4,))
    task = mtl.BinaryTask("clicked")
    h = keras.layers.Dense(1, activation="sigmoid", name="other")(x)
    old = mtl.MultiTaskModel(x, {"clicked": h}, tasks=[task])
    old.compile()
    with pytest.raises(ValueError, match=r"heads that are layers named after.*'clicked'"):
        with_tasks(old, NEW)


def test_new_tasks_need_no_compiled_model():
    x = keras.Input((4,))
    task = mtl.BinaryTask("clicked")
    old = mtl.MultiTaskModel(x, {"clicked": task.build_head()(x)}, tasks=[task])
    assert with_tasks(old, NEW).compiled
