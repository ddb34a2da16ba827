"""The builders of expert mixtures, against the papers' equations and each other."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from conformance.mixture_statements import below, expert_outputs, relu, softmax_gated
from conformance.network_statements import random, weights_of

FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}  # sums of a few float32 products
BUILDERS = (
    zoo.adatt,
    zoo.mixture_of_experts,
    zoo.multi_gate_mixture_of_experts,
    zoo.progressive_layered_extraction,
)
NAMES = ("clicked", "shared")
SIZES = {"experts": 2, "expert_units": [5], "towers": [3]}


def two_tasks():
    # "shared" may be the name of a task.
    return [mtl.RegressionTask(name) for name in NAMES]


def dense(weights, name, x):
    own = below(weights, name)
    return x @ own["kernel"] + own["bias"]


def heads(weights, mixtures):
    """A tower of one ReLU layer and an affine head a task."""
    towers = {n: relu(dense(weights, f"{n}_tower/tower_0", m)) for n, m in mixtures.items()}
    return {name: dense(weights, name, tower) for name, tower in towers.items()}


def bank(weights, path, x):
    return expert_outputs(below(weights, path), x)


def one_gate(w, x):
    mixture = softmax_gated(below(w, "experts/gate"), x, bank(w, "experts/experts", x))
    return dict.fromkeys(NAMES, mixture)


def gate_a_task(w, x):
    experts = bank(w, "experts/experts", x)
    return {n: softmax_gated(below(w, f"experts/gate_{n}"), x, experts) for n in NAMES}


def extraction(w, x):
    """Two levels: own and shared experts, the shared mixture of all on the first one."""
    read = [x, x, x]
    for level in ("experts/level_0", "experts/level_1"):
        own = [bank(w, f"{level}/experts_{n}", h) for n, h in zip(NAMES, read, strict=False)]
        common = bank(w, f"{level}/shared_experts", read[2])
        passed = [
            softmax_gated(below(w, f"{level}/gate_{n}"), h, experts + common)
            for n, h, experts in zip(NAMES, read, own, strict=False)
        ]
        if level == "experts/level_0":
            every = own[0] + own[1] + common
            passed.append(softmax_gated(below(w, f"{level}/shared_gate"), read[2], every))
        read = passed
    return dict(zip(NAMES, read, strict=True))


def fusion(w, x):
    """Two levels: a gate over everyone's experts, and learned weights of one's own."""
    read = [x, x, x]
    for level, count in (("experts_0", 3), ("experts_1", 2)):
        paths = ["experts_clicked", "experts_shared", "shared_experts_0"]
        gates = ["gate_clicked", "gate_shared", "shared_gate_0"][:count]
        own = [bank(w, f"{level}/{path}", h) for path, h in zip(paths, read, strict=True)]
        every = [output for experts in own for output in experts]
        read = [
            softmax_gated(below(w, f"{level}/{gate}"), read[u], every)
            + sum(v * h for v, h in zip(w[f"{level}/native"][u], own[u], strict=True))
            for u, gate in enumerate(gates)
        ]
    return dict(zip(NAMES, read, strict=True))


# Weights of two experts of 5 on the 4 inputs, and on the 5 outputs of a level below.
FIRST, NEXT = 2 * 5 * 5, 2 * 6 * 5
ENDS = 2 * ((5 + 1) * 3 + (3 + 1))
EQUATIONS = [
    pytest.param(zoo.mixture_of_experts, {}, one_gate, FIRST + 4 * 2, id="one_gate"),
    pytest.param(
        zoo.multi_gate_mixture_of_experts, {}, gate_a_task, FIRST + 2 * 4 * 2, id="gate_a_task"
    ),
    pytest.param(
        zoo.progressive_layered_extraction,
        {"num_shared": 1},
        extraction,
        2.5 * (FIRST + NEXT) + 4 * (3 + 3 + 5) + 5 * (3 + 3),
        id="extraction",
    ),
    pytest.param(
        zoo.adatt,
        {"num_shared": 1},
        fusion,
        3 * (FIRST + NEXT) + 3 * 4 * 6 + 2 * 5 * 6 + 3 * 2 + 2 * 2,
        id="fusion",
    ),
]


@pytest.mark.parametrize("builder, options, statement, count", EQUATIONS)
def test_outputs_and_parameters_are_those_of_the_paper(builder, options, statement, count):
    model, x = builder(two_tasks(), 4, **SIZES, **options), random(6, 4)
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.normal(size=w.shape) / 3 for w in model.get_weights()])
    weights = weights_of(model)
    outputs, expected = model.predict(x, verbose=0), heads(weights, statement(weights, x))
    for name in NAMES:
        np.testing.assert_allclose(outputs[name], expected[name], err_msg=name, **FLOAT32)
    assert sum(w.size for w in weights.values()) == count + ENDS


def test_one_expert_and_none_shared_are_separate_towers():
    x = random(6, 4)
    alone = zoo.single_task(two_tasks(), 4, [5, 5, 3])
    model = zoo.progressive_layered_extraction(
        two_tasks(), 4, experts=1, expert_units=[5], towers=[3], num_shared=0
    )
    gates = {path for path in weights_of(model) if "gate" in path}
    assert len(weights_of(model)) == len(weights_of(alone)) + len(gates)
    weights = weights_of(model)
    for name in NAMES:
        experts = [f"experts/level_{level}/experts_{name}" for level in (0, 1)]
        own = [weights[f"{path}/{w}_0"] for path in experts for w in ("kernel", "bias")]
        own = [w[:, 0] if w.ndim == 3 else w[0] for w in own]
        tower = [weights[f"{name}_tower/tower_0/{w}"] for w in ("kernel", "bias")]
        alone.get_layer(f"{name}_tower").set_weights([*own, *tower])
        alone.get_layer(name).set_weights(model.get_layer(name).get_weights())
    expected, outputs = (m.predict(x, verbose=0) for m in (alone, model))
    for name in NAMES:
        np.testing.assert_allclose(outputs[name], expected[name], err_msg=name, **FLOAT32)


def test_one_gate_for_two_tasks_is_two_equal_gates():
    x = random(6, 4)
    one, two = (
        build(two_tasks(), 4, **SIZES)
        for build in (zoo.mixture_of_experts, zoo.multi_gate_mixture_of_experts)
    )
    first, second = one.get_layer("experts"), two.get_layer("experts")
    second.experts.set_weights(first.experts.get_weights())
    for gate in second.gates:
        gate.set_weights(first.gates[0].get_weights())
    for name in NAMES:
        for layer in (f"{name}_tower", name):
            two.get_layer(layer).set_weights(one.get_layer(layer).get_weights())
    expected, outputs = (m.predict(x, verbose=0) for m in (one, two))
    for name in NAMES:
        np.testing.assert_allclose(outputs[name], expected[name], **FLOAT32)


@pytest.mark.parametrize("builder", BUILDERS)
def test_layers_are_named_by_role(builder):
    model = builder(two_tasks(), 4, **SIZES, trunk=[6])
    names = [layer.name for layer in model.layers]
    experts = [name for name in names if name.startswith("experts")]
    assert names == [
        *("features", "trunk", *experts),
        *("clicked_tower", "shared_tower", "clicked", "shared"),
    ]


@pytest.mark.parametrize("builder", BUILDERS)
def test_layers_in_place_of_widths(builder):
    """Sequences from a pretrained trunk to the heads; a task labels their positions."""
    trunk = keras.layers.Embedding(7, 4)
    trunk.build((None, 5))
    table = trunk.get_weights()[0]
    tasks = [mtl.BinaryTask("clicked"), mtl.TokenTask("tag", 3)]
    expert = keras.layers.Conv1D(6, 3, padding="same")
    tower = keras.layers.Dense(3)
    ids = keras.Input((5,), dtype="int32", name="ids")
    model = builder(tasks, ids, 2, expert, trunk=trunk, towers=tower)
    outputs = model.predict(np.zeros((2, 5), "int32"), verbose=0)
    assert (outputs["clicked"].shape, outputs["tag"].shape) == ((2, 1), (2, 5, 3))
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], table)
    kernels = {w.tobytes() for path, w in weights_of(model).items() if path.endswith("1d/kernel")}
    assert len({model.get_layer(f"{t}_tower").get_weights()[0].tobytes() for t in outputs}) == 2
    assert len(kernels) == sum(path.endswith("1d/kernel") for path in weights_of(model))


@pytest.mark.parametrize("builder", BUILDERS)
def test_arguments_reach_the_layers(builder):
    gate = mtl.layers.SoftmaxGate(temperature=0.5, dropout=0.25)
    model = builder(
        two_tasks(), 4, 2, [5], gate=gate, activation="tanh", dropout=0.125, trunk=[6], towers=None
    )
    parts = [layer for layer in model._flatten_layers() if layer is not model]
    gates = [layer for layer in parts if isinstance(layer, mtl.layers.SoftmaxGate)]
    assert {(g.temperature, g.dropout) for g in gates} == {(0.5, 0.25)}
    banks = [layer for layer in parts if isinstance(layer, mtl.layers.Experts)]
    assert {(b.activation.__name__, b.dropout) for b in banks} == {("tanh", 0.125)}
    assert model.get_layer("trunk").layers[1].rate == 0.125
    assert not any(layer.name.endswith("tower") for layer in model.layers)


def test_features_are_encoded():
    inputs = {"age": zoo.features.Numeric(40.0, 25.0)}
    inputs["shop"] = zoo.features.Categorical(num_categories=3)
    model = zoo.multi_gate_mixture_of_experts(two_tasks(), inputs, **SIZES)
    rows = {"age": np.array([45.0]), "shop": np.array([2])}
    weights, encoded = weights_of(model), np.array([[1.0, 0, 0, 1]])
    expected = heads(weights, gate_a_task(weights, encoded))
    outputs = model.predict(rows, verbose=0)
    np.testing.assert_allclose(outputs["clicked"], expected["clicked"], **FLOAT32)


@pytest.mark.parametrize("builder", BUILDERS)
def test_bad_arguments_are_refused(builder):
    with pytest.raises(ValueError, match=r"`num_experts`.*Received: num_experts=0"):
        builder(two_tasks(), 4, experts=0)
    with pytest.raises(ValueError, match=r"`expert_units` must be.*Received: expert_units=\[0\]"):
        builder(two_tasks(), 4, expert_units=[0])
    with pytest.raises(ValueError, match=r"`towers` must be.*Received: towers=\(\)"):
        builder(two_tasks(), 4, towers=())
    with pytest.raises(ValueError, match=r"`gate` must be a gate.*Received: gate='softmax'"):
        builder(two_tasks(), 4, gate="softmax")
    with pytest.raises(ValueError, match=r"`expert_units`.*keeps all axes.*\(None, 5, 4\) to \(No"):
        builder(two_tasks(), (5, 4), expert_units=keras.layers.Flatten())
    with pytest.raises(ValueError, match=r"`trunk` must return one.*Received"):
        builder(two_tasks(), 4, trunk=keras.layers.Lambda(lambda x: {"a": x, "b": x}))


@pytest.mark.parametrize("builder", (zoo.adatt, zoo.progressive_layered_extraction))
def test_bad_levels_and_shared_parts_are_refused(builder):
    with pytest.raises(ValueError, match=r"`levels`.*Received: levels=0"):
        builder(two_tasks(), 4, levels=0)
    with pytest.raises(ValueError, match=r"`num_shared`.*Received: num_shared=-1"):
        builder(two_tasks(), 4, num_shared=-1)
