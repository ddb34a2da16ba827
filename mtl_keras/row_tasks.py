"""Tasks as rows: one input of a task-conditioned model says whose each row is."""

from collections.abc import Mapping
from typing import Any

import keras

from mtl_keras.layers.context import context_vector, context_width


class RowTasks:
    """Reads which rows of a batch belong to which task.

    Args:
        inputs: the model's input tensors.
        given: what `compile(row_tasks=...)` was given: {name of an input: number of tasks}.

    Attributes:
        count: the number of tasks.
        name: the name of the input.

    Raises:
        ValueError: for an input that does not exist or does not fit the number of tasks.
    """

    def __init__(self, inputs: list, given: Mapping[str, int]):
        if not isinstance(given, Mapping) or len(given) != 1:
            raise ValueError(
                "`row_tasks` must name one input and say how many tasks it tells apart, such as "
                f"{{'task': 3}}. Received: row_tasks={given!r}"
            )
        ((self.name, self.count),) = given.items()
        names = [tensor.name for tensor in inputs]
        if self.name not in names:
            raise ValueError(f"`row_tasks` must name one of {names}. Received: '{self.name}'")
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise ValueError(
                f"`row_tasks` must be 1 task or more. Received: row_tasks={dict(given)}"
            )
        self._position = names.index(self.name)
        shape = inputs[self._position].shape
        if context_width(shape, self.count) != self.count:
            raise ValueError(
                f"`row_tasks`: input '{self.name}' must hold task ids or be {self.count} wide. "
                f"Received: shape {tuple(shape)}"
            )

    def members(self, inputs: list) -> Any:
        """(batch, count): 1 where the row is the task's; NaN rows for an id out of range."""
        ids = inputs[self._position]
        return context_vector(ids, self.count, keras.config.floatx(), argument=self.name)
