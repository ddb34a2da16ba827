"""UPGrad: every gradient projected until it harms no task."""

from typing import Any

from keras import ops

from mtl_keras.balancing.preferring import PreferringBalancer
from mtl_keras.balancing.present import shares
from mtl_keras.balancing.registry import rule
from mtl_keras.balancing.solvers import definite, nonnegative_minimum, unit_rows


@rule("upgrad", source="Quinton and Rey, 2024, Jacobian Descent, arXiv 2406.16232")
class UPGrad(PreferringBalancer):
    """update = sum_k p_k P(g_k): P projects on the updates d that harm no task, J d >= 0.

    P(g_k) = J^T w with w = argmin of w'Gw / 2 over w >= e_k: K quadratic programs, solved at
    once. p is the preference, 1/K each by default. The update never conflicts with a task, and
    it is linear in each gradient's length: a task with a gradient ten times longer has ten
    times the say.

    The authors' code adds 1e-4 of the trace to the Gramian, after which an update conflicts
    with gradients much shorter than the longest, and it returns the mean of small gradients;
    the paper has neither, nor has this. Dependent rows leave many weights for one update: the
    shortest are returned. Opposite rows cancel. K = 1 returns the gradient.

    Args:
        preference: one number of at least 0 a task, made to sum to 1; None: equal.

    Raises:
        ValueError: when `preference` is negative, all 0, or of another length than the losses.

    Example:

    >>> gramian = [[18.0, -22.0], [-22.0, 38.0]]  # gradients (-4, 1, 1) and (6, 1, 1)
    >>> [round(float(w), 3) for w in UPGrad().weights(gramian)]
    [1.111, 0.789]
    """

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """One quadratic program a task, in units of its gradient."""
        cosines, norms = unit_rows(gramian, present)
        cosines = definite(cosines, gramian)
        identity = ops.eye(norms.shape[0], dtype=norms.dtype)
        projections = identity + nonnegative_minimum(cosines, cosines)
        says = shares(self.preference, present, norms.dtype) * norms
        return (says[None] @ projections)[0] / norms
