"""Quadratic programs and fair roots against exact solutions, in float64 where there is one."""

import os
import subprocess
import sys

import numpy as np
import pytest
from keras import ops
from scipy.optimize import nnls, root

from conformance.exact_programs import DTYPE, EXACT, ON_JAX, best_subset
from mtl_keras.balancing import solvers


def units(tasks, size, seed):
    rows = np.random.default_rng(seed).normal(size=(tasks, size))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosines_of(rows):
    gramian = ops.convert_to_tensor((rows @ rows.T).astype(DTYPE))
    return solvers.definite(gramian, gramian)


def minimum(matrix, linear):
    linear = ops.convert_to_tensor(np.asarray(linear, DTYPE))
    return ops.convert_to_numpy(solvers.nonnegative_minimum(matrix, linear))


def fair(matrix, scales, alpha):
    scales = ops.convert_to_tensor(np.asarray(scales, DTYPE))
    return ops.convert_to_numpy(solvers.fair_root(matrix, scales, alpha)).astype("float64")


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_minimum_is_that_of_the_best_subset(tasks):
    rows = units(tasks, tasks + 3, seed=tasks)
    matrix = rows @ rows.T
    linear = np.random.default_rng(0).normal(size=(20, tasks))
    found = minimum(cosines_of(rows), linear)
    np.testing.assert_allclose(found, [best_subset(matrix, q) for q in linear], **EXACT)


def test_minimum_is_that_of_nonnegative_least_squares():
    rows = units(40, 60, seed=0)
    targets = np.random.default_rng(1).normal(size=(10, 60))
    found = minimum(cosines_of(rows), -targets @ rows.T)
    exact = [nnls(rows.T, target)[0] for target in targets]
    # The smallest eigenvalue is 0.03, which is what float32 loses.
    tolerance = 3e-3 if ON_JAX else 1e-6
    np.testing.assert_allclose(found, exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shift", [1.5, 0.3, -1.0])
def test_minimum_of_many_rows_is_that_of_nonnegative_least_squares(shift):
    if ON_JAX and shift != 0.3:
        pytest.skip("JAX compiles for seconds")
    # Few, half or most entries are free; beyond 58 tasks systems are cut to the free ones.
    rows = units(64, 128, seed=0)
    targets = np.linalg.pinv(rows) @ np.random.default_rng(1).normal(-shift, size=(64, 64))
    found = minimum(cosines_of(rows), -(rows @ targets).T)
    exact = [nnls(rows.T, target)[0] for target in targets.T]
    np.testing.assert_allclose(found, exact, rtol=0, atol=EXACT["atol"] * (10 if ON_JAX else 1))


def test_rows_that_cycle_are_rescued():
    # Exchanging all violations goes round and round for some of these.
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(8, 2))
    matrix = loadings @ loadings.T + 1e-3 * np.eye(8)
    linear = rng.normal(size=(300, 8))
    if ON_JAX:
        pytest.skip("needs float64: the matrix is nearly singular")
    found = minimum(ops.convert_to_tensor(matrix), linear)
    slope = found @ matrix + linear
    assert found.min() >= 0
    assert slope.min() > -1e-9
    assert np.abs(found * slope).max() < 1e-7


@pytest.mark.parametrize("kind", ["equal", "opposite", "rank two"])
def test_dependent_rows_have_a_minimum(kind):
    one, two = units(2, 6, seed=0)
    mix = np.random.default_rng(1).normal(size=(6, 2)) @ [one, two]
    rows = {"equal": [one, one, two], "opposite": [one, -one, two], "rank two": mix}[kind]
    rows = np.asarray(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    found = minimum(cosines_of(rows), rows @ rows.T)
    for row, solution in zip(rows, found, strict=True):
        exact = nnls(rows.T, -row)[0]
        # The minimum is one, its coordinates are not.
        np.testing.assert_allclose(solution @ rows, exact @ rows, rtol=0, atol=EXACT["atol"] * 10)


def test_independent_rows_are_not_changed():
    rows = units(5, 20, seed=0)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(cosines_of(rows)), (rows @ rows.T).astype(DTYPE)
    )


def test_what_an_imprecise_accelerator_breaks_is_lifted():
    # Opposite rows, as multiplied with ten bits of mantissa.
    gramian = ops.convert_to_tensor(np.array([[1, -1.001], [-1.001, 1]], "float32"))
    lifted = ops.convert_to_numpy(solvers.definite(gramian, gramian))
    assert np.linalg.eigvalsh(lifted).min() > 1e-3


@pytest.mark.parametrize("alpha", [0.1, 0.3, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("tasks", [1, 2, 8])
def test_fair_root_solves_its_equation(tasks, alpha):
    rows = units(tasks, 2 * tasks, seed=0)
    matrix = rows @ rows.T
    scales = 10 ** np.random.default_rng(0).uniform(-2, 2, size=tasks)
    found = fair(cosines_of(rows), scales, alpha)
    error = matrix @ found - scales * (scales / found) ** (1 / alpha)
    # In units of what is summed on the left.
    assert np.abs(error / (np.abs(matrix) @ found)).max() < 10 * EXACT["atol"]


@pytest.mark.parametrize("seed", [17, 57, 80])
def test_fair_root_is_found_where_full_steps_lose_it(seed):
    if ON_JAX:
        pytest.skip("needs float64: entries differ by more than float32 holds")
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(8, 16)) + 10 * rng.normal(size=(8, 1)) * rng.normal(size=16)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    matrix, scales = rows @ rows.T, 10 ** rng.uniform(-3, 3, size=8)
    found = fair(cosines_of(rows), scales, 10.0)
    error = matrix @ found - scales * (scales / found) ** 0.1
    assert np.abs(error / (np.abs(matrix) @ found)).max() < 1e-9


def test_fair_root_is_that_of_a_general_solver():
    rows = units(6, 9, seed=3)
    matrix = rows @ rows.T
    general = root(lambda x: matrix @ np.exp(x) - np.exp(-x), np.zeros(6), tol=1e-12)
    assert general.success
    np.testing.assert_allclose(fair(cosines_of(rows), np.ones(6), 1.0), np.exp(general.x), **EXACT)


def test_a_singular_matrix_may_have_a_fair_root():
    one, two = units(2, 6, seed=0)
    rows = np.stack([one, one, two])
    found = fair(cosines_of(rows), np.ones(3), 1.0)
    np.testing.assert_allclose(rows @ rows.T @ found * found, 1.0, rtol=0, atol=EXACT["atol"])
    np.testing.assert_allclose(found[0], found[1], **EXACT)


def test_without_a_fair_root_the_combination_vanishes():
    one, two = units(2, 6, seed=0)
    rows = np.stack([one, -one, two - (two @ one) * one])
    found = fair(cosines_of(rows), np.ones(3), 1.0)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0] / found[1], 1.0, rtol=EXACT["atol"])
    # The third has its way, alone.
    np.testing.assert_allclose(found[2] * np.linalg.norm(rows[2]), 1.0, rtol=1e-4)


@pytest.mark.parametrize("radius", [0.0, 0.5, 2.0])
def test_best_worst_is_best(radius):
    rng = np.random.default_rng(0)
    rows, rates = units(5, 8, seed=0), rng.uniform(0.01, 1.0, size=5)
    linear = rng.normal(size=5)
    tensors = [ops.convert_to_tensor(value.astype(DTYPE)) for value in (linear, rates)]
    solution = ops.convert_to_numpy(solvers.best_worst(cosines_of(rows), *tensors, radius))
    found = solution @ rows
    np.testing.assert_allclose(np.linalg.norm(found), radius, **EXACT)
    levels = (rows @ found + linear) / rates
    assert solution.min() >= 0
    if radius:
        # Tasks that pull are all worst off: what makes the optimum of a concave problem.
        assert np.ptp(levels[solution > 1e-3]) < 100 * EXACT["atol"]
        assert levels.min() > levels[solution > 1e-3].max() - 100 * EXACT["atol"]


@pytest.mark.skipif(not ON_JAX, reason="the others have float64 anyway")
def test_jax_computes_in_float64_when_asked():
    # The setting holds for a whole process.
    program = """
import numpy as np
from mtl_keras.balancing import MGDA
weights = np.asarray(MGDA().weights(np.array([[18.0, -22.0], [-22.0, 38.0]])))
print(weights.dtype, abs(weights - [0.6, 0.4]).max() < 1e-14)
"""
    environment = {**os.environ, "JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-c", program]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.stdout.split() == ["float64", "True"], process.stderr


def test_an_absent_task_is_alone():
    gramian = ops.convert_to_tensor(
        np.array([[4.0, 0.0, 3.0], [0, 0, 0], [3.0, 0, 9.0]], "float32")
    )
    cosines, norms = solvers.unit_rows(gramian, ops.diagonal(gramian) > 0)
    np.testing.assert_allclose(ops.convert_to_numpy(norms), [2, 1, 3], rtol=1e-6)
    expected = [[1, 0, 0.5], [0, 1, 0], [0.5, 0, 1]]
    np.testing.assert_allclose(ops.convert_to_numpy(cosines), expected, rtol=1e-6)
