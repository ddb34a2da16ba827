"""Which balancers there are, and how a name becomes one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from mtl_keras.balancing.base import Balancer

_RULES: dict[str, type[Balancer]] = {}


class BalancerInfo(NamedTuple):
    """What is known of a rule: its name, family, source and what it needs."""

    name: str
    family: str
    source: str
    needs: tuple[str, ...]


def rule(key: str, source: str) -> Callable[[type], type]:
    """Decorator: registers a balancer under `key`, for `get` and for saving.

    Args:
        key: what `compile(balancer=...)` calls it.
        source: author, year, place.
    """

    def register(cls):
        cls.key, cls.source = key, source
        _RULES[key] = cls
        return keras.saving.register_keras_serializable(package="mtl_keras")(cls)

    return register


def available() -> list[BalancerInfo]:
    """All rules, sorted by family and name.

    Example:

    >>> [info.family for info in available() if info.name == "sum"]
    ['loss']
    """
    rules = [BalancerInfo(c.key, c.family, c.source, c.needs) for c in _RULES.values()]
    return sorted(rules, key=lambda info: (info.family, info.name))


def get(balancer: Any) -> Balancer | None:
    """A balancer from its name, config or itself; None stays None.

    Raises:
        ValueError: for an unknown name.

    Example:

    >>> get("sum")
    Sum()
    """
    if balancer is None or isinstance(balancer, Balancer):
        return balancer
    if isinstance(balancer, dict):
        return keras.saving.deserialize_keras_object(balancer)
    if isinstance(balancer, str) and balancer.lower() in _RULES:
        return _RULES[balancer.lower()]()
    raise ValueError(
        f"`balancer` must be a Balancer or one of {sorted(_RULES)}. Received: balancer={balancer!r}"
    )
