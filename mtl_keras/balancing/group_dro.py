"""Group DRO: weights that grow exponentially with the losses."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.present import softmax
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_positive


@rule("group_dro", source="Sagawa et al., 2020, Distributionally Robust Neural Networks")
class GroupDRO(LossBalancer):
    """q_k <- q_k exp(eta L_k), normalised; total = sum_k q_k L_k (algorithm 1, tasks as groups).

    Exponentiated-gradient ascent on the worst mixture of tasks: a smooth, averaging `HardMax`.
    q starts equal, is kept as logarithms (so that losses of 1e8 are harmless) and moves
    before it weighs, as in the official code. An absent task keeps its q, and the others share
    the weight of 1: the official code lets an absent group keep its share of the normalisation.
    Losses may be negative. Losses of different scales make the largest win: scale them first.

    Args:
        eta: step of the ascent, above 0. Defaults to 0.01.

    Raises:
        ValueError: for eta that is not above 0.

    Example:

    >>> rule = GroupDRO(eta=1.0)
    >>> np.round(np.float64(rule.weights([1.0, 2.0])), 3).tolist()
    [0.269, 0.731]
    >>> np.round(np.float64(rule.weights([1.0, 2.0])), 3).tolist()
    [0.119, 0.881]
    """

    def __init__(self, eta: float = 0.01):
        super().__init__()
        self.eta = checked_positive(eta, "eta")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """log q, up to a constant."""
        self.logits = self.add_variable("logits", (num_tasks,), dtype=dtype)

    def weigh(self, losses: Any, present: Any) -> Any:
        """q after its step."""
        moved = ops.cast(self.logits, losses.dtype) + self.eta * ops.stop_gradient(losses)
        highest = ops.max(ops.where(present, moved, float("-inf")))
        moved = moved - ops.where(ops.any(present), highest, ops.zeros_like(highest))
        self.logits.assign(moved)
        return softmax(moved, present)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"eta": self.eta}
