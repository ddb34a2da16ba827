"""The labels of QM9: free atoms, units, and what a model needs to standardise them."""

import keras
import numpy as np
import pytest

import zoo
from mtl_keras.tasks import RegressionTask
from zoo.datasets.qm9.properties import FREE_ATOMS, HARTREE, PROPERTIES, make_labels
from zoo.datasets.qm9.scales import SCALES, scales_of

BOLTZMANN = 3.166811563e-6
"""Hartree per kelvin."""


def test_energies_are_what_the_atoms_lose_when_they_bind():
    water = np.array([[8, 1, 1, 0], [1, 0, 0, 0]])
    raw = {task: np.array([-76.4, -0.5]) for task in ("u0", "u298", "h298", "g298")}
    labels = make_labels(raw, water)
    for task, values in labels.items():
        atoms = FREE_ATOMS[task]
        expected = [-76.4 - atoms[8] - 2 * atoms[1], -0.5 - atoms[1]]
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, np.multiply(expected, HARTREE), rtol=1e-6)


def test_a_total_of_seven_hundred_hartree_loses_no_digit():
    numbers = np.array([[9] * 7])
    total = np.array([7 * FREE_ATOMS["u0"][9] + 1e-6])
    # In float32, neighbours of that total are 6e-5 apart.
    np.testing.assert_allclose(make_labels({"u0": total}, numbers)["u0"], 1e-6 * HARTREE, rtol=1e-4)


def test_only_energies_change_their_unit():
    raw = {task: np.array([0.25]) for task in PROPERTIES if task not in FREE_ATOMS}
    labels = make_labels(raw, np.array([[6]]))
    in_hartree = {task for task, values in labels.items() if values[0] != 0.25}
    assert in_hartree == {"homo", "lumo", "gap", "zpve"}
    assert all(labels[task][0] == np.float32(0.25 * HARTREE) for task in in_hartree)


def test_free_atoms_are_ideal_gases():
    temperature = 298.15
    for number, energy in FREE_ATOMS["u0"].items():
        internal, enthalpy, free = (FREE_ATOMS[t][number] for t in ("u298", "h298", "g298"))
        # The table has six decimals: a typing error in any of them shows.
        assert internal - energy == pytest.approx(1.5 * BOLTZMANN * temperature, abs=1.6e-6)
        assert enthalpy - internal == pytest.approx(BOLTZMANN * temperature, abs=1.6e-6)
        # Entropies of atoms, 27 to 38 cal / (mol K).
        assert 27 < (enthalpy - free) / temperature * 627_509.5 < 38


def test_scales_are_mean_and_standard_deviation():
    values = np.random.RandomState(0).normal(5, 2, 1000).astype("float32")
    mean, deviation = scales_of({"mu": values})["mu"]
    assert mean == pytest.approx(values.mean(), rel=1e-5)
    assert deviation == pytest.approx(values.std(), rel=1e-5)
    assert list(SCALES) == list(PROPERTIES)


def test_a_head_that_undoes_the_weight_gives_units_and_standardised_gradients():
    mean, deviation = SCALES["u0"]
    x = np.random.RandomState(0).normal(size=(64, 3)).astype("float32")
    y = mean + deviation * x[:, 0]

    def fitted(task, labels):
        keras.utils.set_random_seed(0)
        model = zoo.shared_trunk([task], 3, trunk=[4])
        model.compile(optimizer=keras.optimizers.SGD(0.1))
        model.fit(x, {"u0": labels}, batch_size=64, epochs=3, verbose=0, shuffle=False)
        return np.ravel(model.predict(x, verbose=0)["u0"])

    head = keras.Sequential([keras.layers.Dense(1), keras.layers.Rescaling(deviation, mean)])
    in_units = fitted(RegressionTask("u0", head=head, weight=deviation**-2), y)
    standardised = fitted(RegressionTask("u0"), (y - mean) / deviation)
    np.testing.assert_allclose((in_units - mean) / deviation, standardised, atol=1e-3)
