"""Scheduled weights: constants that change with the step, as planned beforehand."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import (
    checked_choice,
    checked_count,
    checked_length,
    checked_weights,
)


@rule("scheduled_weights", source="Bengio et al., 2009, Curriculum Learning")
class ScheduledWeights(LossBalancer):
    """total = sum_k w_k(t) L_k, w(t) given at some steps and by a line or a jump between them.

    For warm-ups, curricula, and tasks that join or leave. t counts the calls, from 0, and is
    saved with the rule. Before the first given step the first weights hold, after the last the
    last; nothing is renormalised, also when a task is absent.

    Args:
        steps: whole numbers from 0, rising. Defaults to [0].
        weights: for each of these steps one number of at least 0 a task. Defaults to 1 each.
        interpolation: "linear", or "constant" (weights hold until the next given step).
            Defaults to "linear".

    Raises:
        ValueError: for steps that do not rise, weights of another number than steps or tasks,
            or another interpolation.

    Example:

    >>> rule = ScheduledWeights(steps=[0, 2], weights=[[1.0, 0.0], [1.0, 1.0]])
    >>> [float(rule.weights([5.0, 5.0])[1]) for _ in range(4)]
    [0.0, 0.5, 1.0, 1.0]
    """

    def __init__(self, steps: Any = (0,), weights: Any = None, interpolation: str = "linear"):
        super().__init__()
        self.steps = [checked_count(step, "steps", minimum=0) for step in steps]
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not rising:
            raise ValueError(f"`steps` must be at least one and rise. Received: steps={steps!r}")
        if (1 if weights is None else len(weights)) != len(self.steps):
            raise ValueError(
                f"`weights` must be a list of weights for each of the {len(self.steps)} steps. "
                f"Received: weights={weights!r}"
            )
        self.points = None if weights is None else [checked_weights(w, "weights") for w in weights]
        self.interpolation = checked_choice(interpolation, "interpolation", ("linear", "constant"))

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """The step."""
        for point in self.points or []:
            checked_length(point, "weights", num_tasks)
        self.step = self.add_variable("step", (), dtype="int32")

    def weigh(self, losses: Any, present: Any) -> Any:
        """The first weights, and of each change the share that is due."""
        step = ops.copy(self.step.value)
        self.step.assign(step + 1)
        if self.points is None:
            return ops.ones_like(losses)
        points = ops.convert_to_tensor(self.points, losses.dtype)
        return points[0] + ops.sum(self._due(step, losses.dtype) * (points[1:] - points[:-1]), 0)

    def _due(self, step, dtype):
        """How much of each change, (changes, 1), has happened by now: 0 to 1."""
        starts = ops.reshape(ops.convert_to_tensor(self.steps[:-1], "int32"), (-1, 1))
        ends = ops.reshape(ops.convert_to_tensor(self.steps[1:], "int32"), (-1, 1))
        if self.interpolation == "constant":
            return ops.cast(step >= ends, dtype)
        gone = ops.cast(step - starts, dtype) / ops.cast(ends - starts, dtype)
        return ops.clip(gone, 0.0, 1.0)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"steps": self.steps, "weights": self.points, "interpolation": self.interpolation}
