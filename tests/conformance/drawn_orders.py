"""Orders in which a rule's tasks meet each other, as lists."""

from typing import Any

import keras

from mtl_keras.balancing import orders


def whom_each_meets(count: int, draws: Any) -> list[list[int]]:
    """Next orders of a rule's generator: for each task all others, in its order."""
    drawn = keras.ops.convert_to_numpy(orders.drawn(count, draws))
    met = [[int(other) for other in column if other < count] for column in drawn.T]
    assert [sorted([*others, task]) for task, others in enumerate(met)] == [
        list(range(count))
    ] * count
    return met
