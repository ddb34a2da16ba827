"""get: from a name, a dict of weights or an object to a strategy."""

import math
from collections.abc import Mapping

from mtl_keras.data.strategies.base import Strategy
from mtl_keras.data.strategies.round_robin import RoundRobin
from mtl_keras.data.strategies.temperature import Temperature
from mtl_keras.data.strategies.weighted import Weighted

_NAMED = {
    "uniform": lambda: Temperature(math.inf),
    "round_robin": RoundRobin,
    "proportional": lambda: Temperature(1.0),
    "square_root": lambda: Temperature(2.0),
    "temperature": Temperature,
}


def get(strategy: str | Mapping[str, float] | Strategy) -> Strategy:
    """A strategy from its name, from weights by task, or itself.

    `Annealed`, `Capped` and `UniMax` have no name: they need to be told how long one trains or
    how much is too much.

    Raises:
        ValueError: for anything else.

    Example:

    >>> get("square_root")
    Temperature(temperature=2.0)
    """
    if isinstance(strategy, Strategy):
        return strategy
    if isinstance(strategy, Mapping):
        return Weighted(strategy)
    if isinstance(strategy, str) and strategy in _NAMED:
        return _NAMED[strategy]()
    raise ValueError(
        f"`strategy` must be one of {list(_NAMED)}, a dict of a weight for each task, or an "
        "object such as mtl.data.Annealed, Capped or UniMax. "
        f"Received: strategy={strategy!r}"
    )
