"""What is shared is read from the graph."""

import keras

import mtl_keras as mtl
from mtl_keras.gradients.graph import SharedGraph


def graph_of(inputs, outputs):
    model = keras.Model(inputs, outputs)
    return SharedGraph(model.inputs, model.output, model.trainable_variables)


def names(variables):
    return {variable.path.split("/")[0] for variable in variables}


def dense(name, x):
    return keras.layers.Dense(3, name=name)(x)


def test_a_trunk_is_shared_and_heads_are_not():
    x = keras.Input((4,))
    h = dense("trunk", x)
    graph = graph_of(x, {"a": dense("head_a", h), "b": dense("head_b", h)})
    assert names(graph.shared) == {"trunk"}
    assert names(graph.heads) == {"head_a", "head_b"}
    assert graph.private == {"a": [], "b": []}
    assert len(graph.forks) == 1 and graph.reads == {"a": [0], "b": [0]}


def test_a_layer_that_some_tasks_share_is_shared():
    x = keras.Input((4,))
    h = dense("trunk", x)
    pair = dense("pair", h)
    outputs = {"a": dense("head_a", pair), "b": dense("head_b", pair), "c": dense("head_c", h)}
    graph = graph_of(x, outputs)
    assert names(graph.shared) == {"trunk", "pair"}
    assert {task: len(reads) for task, reads in graph.reads.items()} == {"a": 1, "b": 1, "c": 1}
    assert graph.reads["a"] != graph.reads["c"]


def test_a_layer_called_once_a_task_is_shared():
    # Its calls belong to one task each; the variables do not.
    x = keras.Input((4,))
    layer = keras.layers.Dense(3, name="conditioned")
    parts = {task: dense(f"adapter_{task}", x) for task in ("a", "b")}
    graph = graph_of(x, {task: dense(f"head_{task}", layer(h)) for task, h in parts.items()})
    assert names(graph.shared) == {"conditioned"}
    assert {task: names(v) for task, v in graph.private.items()} == {
        "a": {"adapter_a"},
        "b": {"adapter_b"},
    }


def test_a_raw_input_that_a_head_reads_has_no_gradient():
    x = keras.Input((4,))
    h = dense("trunk", x)
    both = keras.layers.Concatenate()([h, x])
    a = keras.layers.Add()([dense("head_a", h), dense("wide_a", x)])
    graph = graph_of(x, {"a": a, "b": dense("head_b", both)})
    assert names(graph.shared) == {"trunk"}
    assert [tuple(fork.shape) for fork in graph.forks] == [(None, 3)]


def test_an_output_that_another_head_reads_is_a_fork():
    # As in ESMM: click, and click times conversion.
    x = keras.Input((4,))
    h = dense("trunk", x)
    click = dense("click", h)
    graph = graph_of(
        x, {"click": click, "both": keras.layers.Multiply()([click, dense("conversion", h)])}
    )
    assert names(graph.shared) == {"trunk", "click"}
    assert names(graph.heads) == {"conversion"}
    assert len(graph.reads["click"]) == 1 and len(graph.reads["both"]) == 2


def test_one_task_and_frozen_variables_share_nothing():
    x = keras.Input((4,))
    graph = graph_of(x, {"a": dense("head", dense("trunk", x))})
    assert graph.shared == [] and names(graph.heads) == {"trunk", "head"}
    trunk = keras.layers.Dense(3, trainable=False)
    h = trunk(x)
    assert graph_of(x, {"a": dense("head_a", h), "b": dense("head_b", h)}).shared == []


def test_experts_and_their_gates_are_one_layer():
    x = keras.Input((4,))
    towers = mtl.layers.MultiGateMixtureOfExperts(2, mtl.layers.Experts(2, (3,)), name="experts")(x)
    graph = graph_of(x, {"a": dense("head_a", towers[0]), "b": dense("head_b", towers[1])})
    assert names(graph.shared) == {"experts"}
    assert graph.reads == {"a": [0], "b": [1]}


def test_gates_of_a_mixture_belong_to_their_tasks():
    x = keras.Input((4,))
    mixture = mtl.layers.MultiGateMixtureOfExperts(2, mtl.layers.Experts(3, (5,)), name="mixture")
    a, b = mixture(x)
    graph = graph_of(x, {"a": dense("head_a", a), "b": dense("head_b", b)})
    assert {id(v) for v in graph.shared} == {id(v) for v in mixture.experts.trainable_variables}
    assert [{id(v) for v in graph.private[task]} for task in "ab"] == [
        {id(v) for v in gate.trainable_variables} for gate in mixture.gates
    ]


def test_the_last_extraction_has_experts_of_its_own_for_each_task():
    x = keras.Input((4,))
    bank = mtl.layers.Experts(2, (5,))
    extraction = mtl.layers.ProgressiveLayeredExtraction(2, bank, bank, levels=2)
    a, b = extraction(x)
    graph = graph_of(x, {"a": dense("head_a", a), "b": dense("head_b", b)})
    first, last = extraction.extractions
    own = [
        # The first level's experts reach everything through the shared stream; its gates do not.
        [v for part in parts for v in part.trainable_variables]
        for parts in zip(first.gates, last.task_banks, last.gates, strict=False)
    ]
    for task, variables in zip("ab", own, strict=True):
        assert {id(v) for v in graph.private[task]} == {id(v) for v in variables}
    private = {id(v) for variables in own for v in variables}
    every = {id(v) for v in extraction.trainable_variables}
    assert {id(v) for v in graph.shared} == every - private


def test_a_model_within_the_model_is_read_too():
    y = keras.Input((4,))
    h = dense("inner", y)
    towers = keras.Model(y, [dense("tower_a", h), dense("tower_b", h)], name="towers")
    x = keras.Input((4,))
    a, b = towers(x)
    graph = graph_of(x, {"a": dense("head_a", a), "b": dense("head_b", b)})
    find = towers.get_layer
    assert {id(v) for v in graph.shared} == {id(v) for v in find("inner").trainable_variables}
    for task in "ab":
        expected = {id(v) for v in find(f"tower_{task}").trainable_variables}
        assert {id(v) for v in graph.private[task]} == expected
