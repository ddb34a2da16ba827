"""Random orders in which tasks meet each other."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops


def drawn(count: int, seeds: Any) -> Any:
    """For each of `count` tasks (columns) a random order of all, itself among them; int32.

    Row s holds whom each task meets in step s. Itself is given as `count`, which is nobody.
    """
    orders = ops.argsort(keras.random.uniform((count, count), seed=seeds), axis=1)
    orders = ops.transpose(ops.cast(orders, "int32"))
    return ops.where(orders == ops.arange(count, dtype="int32")[None, :], count, orders)


# A turn of a loop costs more than the arithmetic of a step: so many steps a turn.
_STEPS = 10


def encounters(
    cosines: Any,
    order: Any,
    meet: Callable[..., tuple[Any, tuple]],
    state: tuple = (),
    tables: Sequence[Any] = (),
) -> list:
    """Each task's gradient meets the others in its order and takes something of each.

    Args:
        cosines: (K, K), of the gradients, which have length 1 at first.
        order: from `drawn`.
        meet: called with the products of the gradients, such as they are by then, with those that
            they meet, (K,), the tensors of `state`, and of each of `tables` what is known of those
            that they meet, (K,). Returns how much is taken, (K,), and the new state.
        state: tensors that `meet` carries on, (K,) each.
        tables: what each task (rows) knows of each other, (K, K) each.

    Returns:
        What was taken, the products and the state before, (K, K) each: of each task (rows), with
        whom it met. The diagonal is 0.
    """
    count = order.shape[0]
    steps = min(count, _STEPS)
    turns = -(-count // steps)

    # Nobody, whom the last turn is filled up with, is the last row and column.
    fill = (0, turns * steps - count), (0, 0)
    others = ops.pad(order, fill, constant_values=count)
    others = ops.reshape(others, (turns, steps, count))
    places = others + (count + 1) * ops.arange(count, dtype="int32")
    met = ops.pad(cosines, ((0, 1), (0, 1)))
    tables = [_picked(ops.pad(table, ((0, 0), (0, 1))), places) for table in tables]

    def turn(index, products, state, *found):
        rows = (ops.unstack(table[index]) for table in (others, places, *tables))
        came = []
        for other, place, *told in zip(*rows, strict=True):
            before = _picked(products, place), *state
            taken, state = meet(*before, *told)
            products = products + taken[:, None] * ops.take(met, other, axis=0)
            came.append((taken, *before))
        columns = (ops.stack(kind)[None] for kind in zip(*came, strict=True))
        # Quicker than to write at `index`, and than all kinds in one larger tensor.
        longer = (ops.concatenate([old[1:], new]) for old, new in zip(found, columns, strict=True))
        return products, state, *longer

    kinds = 2 + len(state)
    found = [ops.zeros((turns, steps, count), cosines.dtype)] * kinds
    start = met[:count], state, *found
    _, _, *found = ops.fori_loop(0, turns, lambda index, state: turn(index, *state), start)
    found = ops.stack([ops.reshape(kind, (-1,)) for kind in found], axis=1)
    pairs = ops.scatter(ops.reshape(places, (-1, 1)), found, (count * (count + 1), kinds))
    return ops.unstack(ops.reshape(pairs, (count, count + 1, kinds))[:, :count], axis=2)


def _picked(table, places):
    return ops.take(ops.reshape(table, (-1,)), places)
