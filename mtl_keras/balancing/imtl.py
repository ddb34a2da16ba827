"""IMTL: impartial to losses and to gradients."""

from typing import Any

from keras import ops

from mtl_keras.balancing.imtl_g import IMTLG
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_positive


@rule("imtl", source="Liu et al., 2021, Towards Impartial Multi-Task Learning")
class IMTL(IMTLG):
    """update = J^T w, w_k = exp(s_k) a_k: `IMTLG` on the losses as `IMTLL` scales them.

    s descends on exp(s_k) L_k - s_k, whose lowest point is s_k = -log L_k. a, with sum 1, makes
    the projections on all gradients equal; scaling the gradients by exp(s_k) first changes the
    length of that update, not its direction.

    In the paper the optimizer of the model trains s, and heads get their gradients times
    exp(s_k). Heads get their own gradients here, as with every rule of the family, and s takes
    one step of `learning_rate` a call; the slope is cut to [-1, 1], so that a loss of 1e8 does
    not end the descent. Undefined cases are those of `IMTLG`; an absent task's s stays, and so
    does that of a loss below 0, which has no lowest point. K = 1 returns exp(s) times the
    gradient.

    Args:
        learning_rate: of s.

    Raises:
        ValueError: when `learning_rate` is not above 0.

    Example:

    >>> gramian = [[18.0, -22.0], [-22.0, 38.0]]  # gradients (-4, 1, 1) and (6, 1, 1)
    >>> [round(float(w), 4) for w in IMTL().weights(gramian, losses=[1.0, 1.0])]
    [0.5923, 0.4077]
    """

    needs = ("losses",)

    def __init__(self, learning_rate: float = 1e-3):
        super().__init__()
        self.learning_rate = checked_positive(learning_rate, "learning_rate")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """The logarithms of the scales."""
        self.log_scales = self.add_variable("log_scales", (num_tasks,), dtype=dtype)

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """The gradients are those of scaled losses; then a step of the scales."""
        log_scales = ops.convert_to_tensor(self.log_scales)
        scales = ops.exp(ops.cast(log_scales, gramian.dtype))
        weights = scales * ops.cast(
            super().solve(scales[:, None] * gramian * scales[None, :], present, losses),
            gramian.dtype,
        )
        slope = ops.clip(scales * losses - 1, -1.0, 1.0)
        moves = ops.where(present & (losses > 0), slope, ops.zeros_like(slope))
        self.log_scales.assign(log_scales - self.learning_rate * ops.cast(moves, log_scales.dtype))
        return weights

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"learning_rate": self.learning_rate}
