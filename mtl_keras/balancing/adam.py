"""Adam (Kingma and Ba, 2015) for what a rule learns itself, one entry a task."""

import math
from typing import Any

from keras import ops

# Adam's constants, as official codes of rules leave them.
_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Moments of each task's gradient, kept with the rule's state.

    Args:
        balancer: the rule.
        num_tasks: K.
        dtype: of the moments.
    """

    def __init__(self, balancer: Any, num_tasks: int, dtype: str):
        for name in ("first", "second", "steps"):
            setattr(self, name, balancer.add_variable(name, (num_tasks,), dtype=dtype))

    def step(self, gradient: Any, moving: Any) -> Any:
        """What to subtract at a learning rate of 1, (K,); a task that is not moving keeps all."""
        steps = ops.convert_to_tensor(self.steps) + ops.cast(moving, self.steps.dtype)
        first = _FIRST * ops.convert_to_tensor(self.first) + (1 - _FIRST) * gradient
        second = _SECOND * ops.convert_to_tensor(self.second) + (1 - _SECOND) * gradient**2
        # Before a task's first step nothing of this is kept.
        count = ops.where(steps > 0, steps, ops.ones_like(steps))
        mean = first / -ops.expm1(count * math.log(_FIRST))
        square = second / -ops.expm1(count * math.log(_SECOND))
        self.first.assign(ops.where(moving, first, self.first.value))
        self.second.assign(ops.where(moving, second, self.second.value))
        self.steps.assign(steps)
        return ops.where(moving, mean / (ops.sqrt(square) + _EPSILON), ops.zeros_like(mean))
