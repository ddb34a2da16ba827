"""ConFIG: an update at equal angles to all gradients."""

from typing import Any

from keras import ops

from mtl_keras.balancing.preferring import PreferringBalancer
from mtl_keras.balancing.present import shares
from mtl_keras.balancing.registry import rule
from mtl_keras.balancing.solvers import spectrum, unit_rows


@rule("config", source="Liu, Chu and Thuerey, 2024, ConFIG, arXiv 2408.11104")
class ConFIG(PreferringBalancer):
    """update = (sum_k g_k.v) v, v the unit vector along pinv(U) p; U holds the unit gradients.

    v has the same angle to all gradients, or cosines in the ratios of the preference p; its
    length is the sum of the gradients' projections on it. Independent gradients never conflict
    with it.

    Dependent rows get cosines as near to equal as can be (least squares), which may be
    negative. Where that leaves no direction (opposite rows) the update is 0. K = 1 returns the
    gradient.

    Args:
        preference: one number of at least 0 a task; None: equal.

    Raises:
        ValueError: when `preference` is negative, all 0, or of another length than the losses.

    Example:

    >>> gramian = [[18.0, -22.0], [-22.0, 38.0]]  # gradients (-4, 1, 1) and (6, 1, 1)
    >>> [round(float(w), 3) for w in ConFIG().weights(gramian)]
    [1.226, 0.844]
    """

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """pinv(U) p = U^T pinv(U U^T) p."""
        cosines, norms = unit_rows(gramian, present)
        values, vectors, noise = spectrum(cosines, gramian)
        inverses = ops.where(values > noise, 1 / ops.where(values > noise, values, 1.0), 0.0)
        preference = shares(self.preference, present, norms.dtype)
        along = ((preference[None] @ vectors) * inverses @ ops.transpose(vectors))[0]
        projections = (along[None] @ cosines)[0]
        square = ops.sum(along * projections)
        sound = square > noise
        size = ops.sum(ops.where(present, norms, 0.0) * projections)
        return ops.where(sound, size / ops.where(sound, square, 1.0), 0.0) * along / norms
