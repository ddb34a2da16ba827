"""Random orders in which tasks meet each other."""

from collections.abc import Callable
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


def places(order: Any) -> Any:
    """Where in a flat (K, K + 1) table with a row for each task it has whom it meets."""
    count = order.shape[1]
    return order + (count + 1) * ops.arange(count, dtype="int32")


# A turn of a loop costs more than the arithmetic of a step: so many steps a turn.
_STEPS = 10


def encounters(
    cosines: Any, order: Any, facts: Any, state: Any, meet: Callable[..., tuple[list, Any]]
) -> list:
    """Each task's gradient meets the others in its order and takes something of each.

    Args:
        cosines: (K, K), of the gradients, which have length 1 at first.
        order: from `drawn`.
        facts: (K, F, K), F numbers for each step and task.
        state: (K,), what `meet` carries on.
        meet: called with the products of the gradients, such as they are by then, with those that
            they meet, (K,); the step's facts, (F, K); and `state`. Returns a list of (K,) tensors,
            the first of them how much is taken, and the new state.

    Returns:
        A (K, K) tensor for each of that list: of each task (rows), with whom it met. The diagonal
        is 0: products with nobody are 0, and what is found there is dropped.
    """
    count = order.shape[0]
    steps = min(count, _STEPS)
    turns = -(-count // steps)
    fill = (0, turns * steps - count), (0, 0)
    order = ops.pad(order, fill, constant_values=count)
    whom = ops.reshape(ops.stack([order, places(order)], axis=1), (turns, steps, 2, count))
    facts = ops.pad(facts, (fill[0], (0, 0), (0, 0)))
    facts = ops.reshape(facts, (turns, steps, *facts.shape[1:]))
    # Nobody is the last row and column.
    met = ops.pad(cosines, ((0, 1), (0, 1)))

    def turn(index, products, state, *found):
        came = []
        for who, known in zip(ops.unstack(whom[index]), ops.unstack(facts[index]), strict=True):
            other, place = ops.unstack(who)
            taken, state = meet(ops.take(ops.reshape(products, (-1,)), place), known, state)
            products = products + taken[0][:, None] * ops.take(met, other, axis=0)
            came.append(taken)
        columns = [ops.stack(kind)[None] for kind in zip(*came, strict=True)]
        # Quicker than to write at `index`, and than all kinds in one larger tensor.
        longer = (ops.concatenate([old[1:], new]) for old, new in zip(found, columns, strict=True))
        return products, state, *longer

    kinds = len(meet(cosines[0], facts[0, 0], state)[0])
    found = [ops.zeros((turns, steps, count), cosines.dtype)] * kinds
    start = met[:count], state, *found
    _, _, *found = ops.fori_loop(0, turns, lambda index, state: turn(index, *state), start)
    found = ops.stack([ops.reshape(kind, (-1,)) for kind in found], axis=1)
    pairs = ops.scatter(ops.reshape(places(order), (-1, 1)), found, (count * (count + 1), kinds))
    return ops.unstack(ops.reshape(pairs, (count, count + 1, kinds))[:, :count], axis=2)
