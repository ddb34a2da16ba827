"""Small programs solved on the host in float64, independently of the package."""

import functools
import itertools

import keras
import numpy as np
from scipy.optimize import nnls

from conformance.compiled import compiled

# What a solution owes an exact one; JAX computes in float32.
ON_JAX = keras.backend.backend() == "jax"
EXACT = {"rtol": 0.0, "atol": 3e-4 if ON_JAX else 1e-6}
DTYPE = "float32" if ON_JAX else "float64"

# The pair that several libraries test with.
PAIR = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])


def best_subset(matrix: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """argmin over s >= 0 of s'As/2 + q's: the best of all sets of free entries."""
    best, lowest = np.zeros(len(linear)), 0.0
    for chosen in itertools.product([False, True], repeat=len(linear)):
        free = np.array(chosen)
        solution = np.zeros(len(linear))
        solution[free] = np.linalg.lstsq(matrix[free][:, free], -linear[free], rcond=None)[0]
        value = solution @ matrix @ solution / 2 + linear @ solution
        if solution.min() >= 0 and value < lowest:
            best, lowest = solution, value
    return best


def harmless_projection(jacobian: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The point nearest to `gradient` among those d with J d >= 0."""
    scale = np.linalg.norm(jacobian, axis=1, keepdims=True)
    units = jacobian / np.where(scale > 0, scale, 1.0)
    return gradient + units.T @ nnls(units.T, -gradient, maxiter=10_000)[0]


def shortest_in_hull(jacobian: np.ndarray) -> np.ndarray:
    """Weights of the shortest convex combination of the rows."""
    # |J^T s|^2 + (sum s - 1)^2 is least along the shortest.
    shortest = np.linalg.norm(jacobian, axis=1).min()
    rows = np.concatenate([jacobian.T / shortest, np.ones((1, len(jacobian)))])
    solution = nnls(rows, np.eye(len(rows))[-1], maxiter=10_000)[0]
    return solution / solution.sum()


_METHODS = {}


def weights_of(balancer, jacobian, losses=None) -> np.ndarray:
    """A rule's weights, as exact as the backend can."""
    gramian = (jacobian @ jacobian.T).astype(DTYPE)
    if ON_JAX and losses is None:
        # JAX compiles loops on every call, unless the whole is: one for all equal rules.
        balancer.build(len(gramian))
        method = _METHODS.setdefault((repr(balancer), len(gramian)), compiled(balancer.weights))
    else:
        method = functools.partial(balancer.weights, losses=losses)
    return keras.ops.convert_to_numpy(method(gramian)).astype("float64")


def spread_rows(tasks: int, ratio: float, seed: int = 0) -> np.ndarray:
    """Independent rows that conflict, with norms from 1 to `ratio`."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(tasks, tasks + 2)) - rng.normal(size=(tasks, 1)) ** 2
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows * np.geomspace(1.0, ratio, tasks)[:, None]
