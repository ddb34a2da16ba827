"""joint_molecule: properties that neither turning nor renaming atoms nor padding changes."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.network_statements import dense, sigmoid
from zoo import joint_molecule
from zoo.features import Numeric

RNG = np.random.default_rng(0)
NUMBERS = np.array([[8, 1, 1, 0], [6, 8, 0, 0], [6, 7, 1, 9]])
POSITIONS = RNG.normal(scale=1.5, size=(3, 4, 3)).astype("float32")
SMALL = {"units": 6, "num_layers": 2, "num_basis": 5, "cutoff": 4.0, "max_number": 9}
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}


def two_tasks():
    return [mtl.RegressionTask("energy"), mtl.BinaryTask("toxic")]


def small(inputs=None, **options):
    return joint_molecule(two_tasks(), inputs, **(SMALL | options))


def outputs(model, numbers=NUMBERS, positions=POSITIONS):
    x = {"numbers": numbers, "positions": np.asarray(positions, "float32")}
    return {task: value[:, 0] for task, value in model.predict(x, verbose=0).items()}


def silu(x):
    return x * sigmoid(x)


def molecule(model, numbers, positions):
    """The network of one molecule without padding, atom by atom."""
    atoms = model.get_layer("vectors").get_weights()[0][numbers]
    space = SMALL["cutoff"] / (SMALL["num_basis"] - 1)
    for i in range(SMALL["num_layers"]):
        kernel = model.get_layer(f"layer_{i}_convolution").get_weights()[0]
        (spoken,) = model.get_layer(f"layer_{i}_spoken").get_weights()
        heard = np.zeros_like(atoms)
        for a, b in np.ndindex(len(atoms), len(atoms)):
            distance = np.linalg.norm(positions[a] - positions[b])
            for k in range(SMALL["num_basis"] if a != b else 0):
                gaussian = np.exp(-((distance - k * space) ** 2) / (2 * space**2))
                heard[a] += gaussian * kernel[k] * (atoms[b] @ spoken)
        hidden = silu(dense(model.get_layer(f"layer_{i}_hidden"), heard))
        atoms = atoms + dense(model.get_layer(f"layer_{i}_update"), hidden)
    return silu(dense(model.get_layer("atom"), atoms))


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_outputs_are_those_of_the_equations(pooling):
    model = small(pooling=pooling)
    got = outputs(model)
    for row, count in enumerate((NUMBERS > 0).sum(axis=1)):
        atoms = molecule(model, NUMBERS[row, :count], POSITIONS[row, :count].astype("float64"))
        pooled = atoms.sum(axis=0) if pooling == "sum" else atoms.mean(axis=0)
        for task, activation in (("energy", lambda x: x), ("toxic", sigmoid)):
            want = activation(dense(model.get_layer(task), pooled))[0]
            np.testing.assert_allclose(got[task][row], want, **FLOAT32)


@pytest.mark.parametrize("pooling", ["sum", "mean", "attention"])
def test_turning_renaming_and_padding_change_nothing(pooling):
    model = small(pooling=pooling)
    want = outputs(model)
    turn, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    order = np.array([2, 0, 3, 1])
    changed = [
        (NUMBERS, POSITIONS @ turn + 5.0),
        (NUMBERS[:, order], POSITIONS[:, order]),
        (np.pad(NUMBERS, ((0, 0), (2, 3))), np.pad(POSITIONS, ((0, 0), (2, 3), (0, 0)))),
        (NUMBERS, np.where(NUMBERS[..., None] > 0, POSITIONS, 99.0)),
    ]
    for numbers, positions in changed:
        for task, got in outputs(model, numbers, positions).items():
            np.testing.assert_allclose(got, want[task], **FLOAT32)


def test_distance_and_kind_do_count():
    model = small()
    want = outputs(model)
    assert (abs(outputs(model, positions=1.3 * POSITIONS)["energy"] - want["energy"]) > 1e-4).all()
    other = np.where(NUMBERS == 8, 7, NUMBERS)
    changed = abs(outputs(model, other)["energy"] - want["energy"]) > 1e-4
    assert changed.tolist() == [True, True, False]


@pytest.mark.parametrize(("share", "own"), [(1, 0), (0.75, 1), (0.5, 2), (0.25, 3), (0, 4)])
def test_share_says_how_much_is_shared(share, own):
    model = small(share=share)
    layers = {layer.name for layer in model.layers if layer.weights} - {"energy", "toxic"}
    steps = ["vectors", "layer_0_hidden", "layer_1_hidden", "atom"]
    assert {name for name in layers if name in steps} == set(steps[: len(steps) - own])
    for task in ("energy", "toxic"):
        private = {f"{task}_{step}" for step in steps[len(steps) - own :]}
        assert {
            name for name in layers if name[len(task) + 1 :] in steps and task in name
        } == private
    for weight in ("vectors", "layer_0_hidden"):
        if share == 0:
            first, second = (model.get_layer(f"{t}_{weight}").get_weights()[0] for t in two_names())
            assert abs(first - second).max() > 1e-3


def two_names():
    return [task.name for task in two_tasks()]


def test_inputs_may_be_features_or_tensors():
    features = {"numbers": Numeric(0.0, 1.0, (4,)), "positions": Numeric(0.0, 1.0, (4, 3))}
    tensors = {
        "z": keras.Input((None,), dtype="int32", name="z"),
        "r": keras.Input((None, 3), name="r"),
    }
    assert small(features).input["positions"].shape == (None, 4, 3)
    model = small(tensors, numbers="z", positions="r")
    assert model.predict({"z": NUMBERS, "r": POSITIONS}, verbose=0)["energy"].shape == (3, 1)


@pytest.mark.slow
def test_it_learns_a_sum_over_pairs():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, 3, (256, 6))
    positions = rng.normal(scale=1.5, size=(256, 6, 3)).astype("float32")
    apart = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    charges = (numbers[:, :, None] * numbers[:, None]) * (1 - np.eye(6))
    energy = (charges * np.exp(-apart)).sum(axis=(1, 2))
    energy = (energy - energy.mean()) / energy.std()
    tasks, adam = [mtl.RegressionTask("energy")], keras.optimizers.Adam(0.01)
    model = joint_molecule(tasks, 6, units=16, num_layers=2, num_basis=8, optimizer=adam)
    x, y = {"numbers": numbers, "positions": positions}, {"energy": energy}
    loss = model.fit(x, y, epochs=40, batch_size=64, verbose=0).history["loss"][-1]
    assert loss < 0.1, loss


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({"numbers": Numeric(0.0, 1.0, (4,))}, {}, "dict of 'numbers' and 'positions'"),
        ((4, 3), {}, "dict of 'numbers' and 'positions'"),
        (
            {"numbers": Numeric(0.0, 1.0, (4,)), "positions": Numeric(0.0, 1.0, (5, 3))},
            {},
            r"shapes \(atoms,\) for 'numbers'.*Received",
        ),
        (4, {"pooling": "last"}, "`pooling` must be one of"),
        (4, {"num_layers": 0}, "`num_layers` must be a whole number of at least 1"),
        (4, {"max_number": 0}, "`max_number` must be a whole number of at least 1"),
        (4, {"share": 2}, "`share` must be a number from 0 to 1"),
    ],
)
def test_bad_arguments_are_refused(inputs, options, message):
    with pytest.raises(ValueError, match=message):
        small(inputs, **options)


def test_tasks_that_label_positions_are_refused():
    with pytest.raises(ValueError, match=r"one label a molecule.*\['atom'\]"):
        joint_molecule([mtl.TokenTask("atom", 5)], 4)
