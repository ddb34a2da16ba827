"""Hard maximum: only the worst task is trained."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.present import number
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_length, checked_weights


@rule("hard_max", source="Bowman, 1976, On the relationship of the Tchebycheff norm")
class HardMax(LossBalancer):
    """total = max_k p_k L_k: min-max, the (weighted) Tchebycheff scalarisation.

    The worst of the tasks that are present gets weight p_k, the others 0; tasks that tie for
    the worst share it equally, so that no order of tasks matters. The neighbours that give
    every task a share are `GroupDRO` and `SmoothTchebycheff`.

    Args:
        preference: what each loss is multiplied by before the comparison, at least 0; losses
            of different scales need it. Defaults to 1 each.

    Raises:
        ValueError: for a negative preference, or another number of entries than of tasks.

    Example:

    >>> float(HardMax().total([1.0, 3.0]))
    3.0
    """

    def __init__(self, preference: Any = None):
        super().__init__()
        self.preference = checked_weights(preference, "preference")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Checks the length of the preference."""
        checked_length(self.preference, "preference", num_tasks)

    def weigh(self, losses: Any, present: Any) -> Any:
        """p_k for the worst, shared by those that tie."""
        scale = ops.ones_like(losses)
        if self.preference is not None:
            scale = ops.convert_to_tensor(self.preference, losses.dtype)
        scaled = ops.where(present, losses * scale, float("-inf"))
        worst = ops.logical_and(present, scaled == ops.max(scaled))
        return ops.where(worst, scale / number(worst, losses.dtype), ops.zeros_like(losses))

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"preference": self.preference}
