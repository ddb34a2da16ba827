"""Trimmed mean: each entry without its extremes."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import JacobianBalancer
from mtl_keras.balancing.present import number
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_rate


@rule("trimmed_mean", source="Yin et al., 2018, Byzantine-Robust Distributed Learning")
class TrimmedMean(JacobianBalancer):
    """d_p = mean of the entries g_kp without the b largest and the b smallest, b = floor(share K).

    Robust against up to b gradients that are arbitrarily wrong (Definition 2 of the paper, the
    coordinate-wise trimmed mean). K counts the rows that are not zero. With share K < 1 nothing
    is trimmed and the rule is the mean: K = 1 returns the gradient, no row returns zero.

    Args:
        share: what is trimmed at each end, from 0 to below 0.5. 0.2: one gradient at each end
            from five tasks on. The paper leaves it open (at least the share of wrong gradients).

    Raises:
        ValueError: for a share outside of that.

    Example:

    >>> import numpy as np
    >>> rows = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 90.0], [-80.0, 2.0], [4.0, 3.0]])
    >>> np.asarray(TrimmedMean().direction(rows)).tolist()
    [2.0, 2.0]
    """

    def __init__(self, share: float = 0.2):
        super().__init__()
        self.share = checked_rate(share, "share")
        if self.share >= 0.5:
            raise ValueError(f"`share` must be below 0.5. Received: share={share!r}")

    def aggregate(self, jacobian: Any, present: Any, losses: Any) -> Any:
        """The mean of the middle ranks; zero rows rank last, as infinity."""
        last = ops.full_like(jacobian, float("inf"))
        ranked = ops.sort(ops.where(present[:, None], jacobian, last), axis=0)
        count = ops.sum(ops.cast(present, "int32"))
        # A share of 0.29 of 100 is 29, which floats may miss by a hair.
        trimmed = ops.cast(ops.cast(count, "float32") * self.share + 1e-4, "int32")
        rank = ops.arange(jacobian.shape[0], dtype="int32")
        middle = (rank >= trimmed) & (rank < count - trimmed)
        kept = ops.where(middle[:, None], ranked, ops.zeros_like(ranked))
        return ops.sum(kept / number(middle, jacobian.dtype), axis=0)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"share": self.share}
