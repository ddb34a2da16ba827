"""DualProj: the mean gradient projected until it harms no task."""

from typing import Any

from mtl_keras.balancing.preferring import PreferringBalancer
from mtl_keras.balancing.present import shares
from mtl_keras.balancing.registry import rule
from mtl_keras.balancing.solvers import definite, nonnegative_minimum, unit_rows


@rule("dualproj", source="Lopez-Paz and Ranzato, 2017, Gradient Episodic Memory, arXiv 1706.08840")
class DualProj(PreferringBalancer):
    """update = P(sum_k p_k g_k): P projects on the updates d that harm no task, J d >= 0.

    It is J^T w with w = argmin of w'Gw / 2 over w >= p (equation 11 of the paper, whose memories
    are tasks here); p is the preference, 1/K each by default. `UPGrad` projects each gradient
    instead of their mean; both leave a mean that harms nobody as it is.

    The paper's code adds 1e-3 to the Gramian's diagonal, and peers more of it; nothing is added
    here. Dependent rows leave many weights for one update: the shortest are returned. Opposite
    rows cancel. K = 1 returns the gradient.

    Args:
        preference: one number of at least 0 a task, made to sum to 1; None: equal.

    Raises:
        ValueError: when `preference` is negative, all 0, or of another length than the losses.

    Example:

    >>> gramian = [[18.0, -22.0], [-22.0, 38.0]]  # gradients (-4, 1, 1) and (6, 1, 1)
    >>> [round(float(w), 3) for w in DualProj().weights(gramian)]
    [0.611, 0.5]
    """

    matrix_free = True

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """One quadratic program, in units of the gradients."""
        cosines, norms = unit_rows(gramian, present)
        cosines = definite(cosines, gramian)
        mean = (shares(self.preference, present, norms.dtype) * norms)[None]
        return (mean + nonnegative_minimum(cosines, mean @ cosines))[0] / norms
