"""GroupSharing: tasks use the same weights, or leave the same ones out."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_choice
from mtl_keras.sharing.base import Sharing


@keras.saving.register_keras_serializable(package="mtl_keras")
class GroupSharing(Sharing):
    """strength * sum_j |(w_1j, ..., w_Kj)|_2: the l2,1 norm, with a group over the tasks.

    Within a group weights may differ; groups as a whole go to zero. So tasks select features
    together: with `group="input"` a group holds all weights of an input feature (the last axis
    but one of a kernel, all outputs, all tasks), with "entry" one weight of all tasks. A zero
    group has gradient 0; by its gradient a group comes near zero, with `proximal=True` it
    reaches it.

    Args:
        strength: see `Sharing`.
        group: "entry" or "input"; where weights are vectors, both are "entry".
        options: further arguments of `Sharing`.

    Raises:
        ValueError: for another `group`, and as `Sharing`.

    Example:

    >>> pair = np.array([[3.0], [0.0]]), np.array([[4.0], [0.0]])
    >>> float(sharing.GroupSharing().penalty(pair))
    5.0

    Reference:
        Obozinski, Taskar, Jordan, 2006, Multi-task Feature Selection; Argyriou, Evgeniou,
        Pontil, 2008, Convex Multi-task Feature Learning.
    """

    has_proximal_step = True

    def __init__(self, strength: Any = 1e-3, *, group: str = "entry", **options: Any):
        super().__init__(strength, **options)
        self.group = checked_choice(group, "group", ("entry", "input"))

    def penalty(self, weights: tuple) -> Any:
        """The sum of the groups' norms."""
        squares = self._squares(weights)
        # The derivative of a root at 0 is infinite; that of the norm is taken to be 0.
        positive = squares > 0
        norms = ops.sqrt(ops.where(positive, squares, 1.0))
        return ops.sum(ops.where(positive, norms, 0.0))

    def proximal_step(self, weights: tuple, amount: Any) -> tuple:
        """Each group shorter by the amount, or zero."""
        norms = ops.sqrt(self._squares(weights))
        kept = ops.where(norms > amount, 1 - amount / ops.where(norms > 0, norms, 1.0), 0.0)
        return tuple(kept * w for w in weights)

    def _squares(self, weights):
        squares = sum(ops.square(w) for w in weights)
        rank = len(squares.shape)
        if self.group == "entry" or rank < 2:
            return squares
        axes = tuple(axis for axis in range(rank) if axis != rank - 2)
        return ops.sum(squares, axis=axes, keepdims=True)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {**super().get_config(), "group": self.group}
