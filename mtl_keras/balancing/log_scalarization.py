"""Sum of the logarithms of the losses: no loss's scale matters."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.present import above
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_length, checked_numbers, checked_weights


@rule("log", source="Navon et al., 2022, Multi-Task Learning as a Bargaining Game")
class LogScalarization(LossBalancer):
    """total = sum_k p_k log(L_k - b_k): the scale-invariant baseline of Nash-MTL and FAMO.

    A task's gradient is divided by its loss, so that all tasks fall by the same share. The
    weights grow without end as a loss comes near its bound. A loss at or under its bound has
    no logarithm: its task takes no part.

    Args:
        preference: p, at least 0, taken as it is. Defaults to 1 each.
        lower_bounds: b, what no loss falls below; needed when losses can be negative.
            Defaults to 0 each.

    Raises:
        ValueError: for a negative preference, or another number of entries than of tasks.

    Example:

    >>> LogScalarization().weights([0.5, 4.0]).numpy().tolist()
    [2.0, 0.25]
    """

    def __init__(self, preference: Any = None, lower_bounds: Any = None):
        super().__init__()
        self.preference = checked_weights(preference, "preference")
        self.lower_bounds = checked_numbers(lower_bounds, "lower_bounds")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Checks lengths."""
        checked_length(self.preference, "preference", num_tasks)
        checked_length(self.lower_bounds, "lower_bounds", num_tasks)

    def combine(self, losses: Any, present: Any) -> Any:
        """The sum of logarithms; that of a task that takes no part is 0."""
        distances, _ = above(losses, present, self.lower_bounds)
        return ops.sum(self._preference(losses) * ops.log(distances))

    def weigh(self, losses: Any, present: Any) -> Any:
        """p_k / (L_k - b_k)."""
        distances, present = above(losses, present, self.lower_bounds)
        return ops.where(present, self._preference(losses) / distances, ops.zeros_like(losses))

    def _preference(self, losses):
        if self.preference is None:
            return ops.ones_like(losses)
        return ops.convert_to_tensor(self.preference, losses.dtype)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"preference": self.preference, "lower_bounds": self.lower_bounds}
