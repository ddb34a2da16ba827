"""Jacobians that balancers meet: K gradients of one length, from harmless to degenerate."""

import numpy as np


def harmless(tasks: int, size: int = 7, seed: int = 0) -> np.ndarray:
    """Rows of similar norms, some of which conflict."""
    return np.random.default_rng(seed).normal(size=(tasks, size))


def degenerate(tasks: int, size: int = 7, seed: int = 0) -> dict[str, np.ndarray]:
    """By name: equal, opposite, dependent, vanishing and dominant rows; all finite."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(tasks, size))
    alternate = np.where(np.arange(tasks) % 2, -1.0, 1.0)[:, None]
    steep = 10.0 ** np.linspace(-3, 3, tasks)[:, None]
    one = np.eye(tasks, 1)
    return {
        "tiny": rows * 1e-8,
        "huge": rows * 1e8,
        "equal": np.repeat(rows[:1], tasks, axis=0),
        "opposite": alternate * rows[:1],
        "parallel": np.arange(1.0, tasks + 1)[:, None] * rows[:1],
        "rank one": rng.normal(size=(tasks, 1)) * rows[:1],
        "rank two": rng.normal(size=(tasks, 2)) @ rows[:2] if tasks > 1 else rows,
        "unequal": steep * rows,
        "unequal and opposite": steep * alternate * rows[:1],
        "one dominant": np.where(one > 0, 1e6, 1.0) * rows,
        "one vanishing": np.where(one > 0, 1e-8, 1.0) * rows,
        "one zero": np.where(one > 0, 0.0, 1.0) * rows,
        "all zero": 0.0 * rows,
        "one column": np.concatenate([rows[:, :1], 0.0 * rows[:, 1:]], axis=1),
    }
