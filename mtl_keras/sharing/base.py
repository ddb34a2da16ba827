"""Sharing: a penalty that draws the corresponding weights of several towers together."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from mtl_keras.checks import checked_nonnegative

RESERVED_NAMES = ("loss", "score", "tasks")


class Sharing:
    """Base of soft sharing: R = strength * sum_w factor_w * penalty(w_1, ..., w_K).

    Every task has a tower of its own, and weights at the same path in the K towers are drawn
    together. `compile(sharing=...)` takes one or several; each adds R to `loss` and reports it
    under its name. To write one's own, state `penalty`:

    >>> @keras.saving.register_keras_serializable(package="example")
    ... class L1Sharing(sharing.Sharing):
    ...     def penalty(self, weights):
    ...         mean = sum(weights) / len(weights)
    ...         return sum(keras.ops.sum(keras.ops.abs(w - mean)) for w in weights)

    Args:
        strength: a number, or a `keras.optimizers.schedules` schedule of the training step.
        towers: the towers' layers: a pattern with "{task}", or a tuple of names, one a tower;
            or a list of those, for more than one part of a task's network, such as
            ["{task}_tower", "{task}"] for towers and heads.
        exclude: regular expressions; weights whose path within the tower one of them finds are
            left out, such as ("bias", "embeddings").
        layer_strengths: from regular expressions on paths to factors; the first that is found
            counts, 1 without one, 0 leaves out.
        proximal: whether R acts by a step of its own after each update, of the optimizer's
            learning rate, in place of by its gradient. For penalties with `proximal_step`.
        name: the log key; default the name of the class in snake case.

    Raises:
        ValueError: for a strength that is negative, bad expressions, and `proximal` without a
            proximal step.

    Example:

    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> model = zoo.soft_sharing(tasks, 4, [8], sharing=L1Sharing(0.01))
    >>> y = {"clicked": np.ones(8), "price": np.zeros(8)}
    >>> "l1_sharing" in model.fit(np.ones((8, 4)), y, verbose=0).history
    True
    """

    has_proximal_step: ClassVar[bool] = False
    every = 1

    def __init__(
        self,
        strength: Any = 1e-3,
        *,
        towers: str | Sequence = "{task}_tower",
        exclude: Sequence[str] = (),
        layer_strengths: Mapping[str, float] | None = None,
        proximal: bool = False,
        name: str | None = None,
    ):
        self.strength = checked_strength(strength, "strength")
        self.towers = _checked_towers(towers)
        self.exclude = tuple(_checked_expression(e, "exclude") for e in _listed(exclude))
        self.layer_strengths = {
            _checked_expression(expression, "layer_strengths"): checked_nonnegative(
                factor, f"layer_strengths['{expression}']"
            )
            for expression, factor in (layer_strengths or {}).items()
        }
        if proximal and not self.has_proximal_step:
            raise ValueError(
                f"`proximal` needs a penalty that states `proximal_step`. "
                f"Received: proximal={proximal} for {type(self).__name__}"
            )
        self.proximal = bool(proximal)
        self.name = _checked_name(name or _snake_case(type(self).__name__))

    def penalty(self, weights: tuple) -> Any:
        """The penalty of K tensors of one shape, a scalar; differentiable."""
        raise NotImplementedError

    def proximal_step(self, weights: tuple, amount: Any) -> tuple:
        """The K tensors z that minimise amount * penalty(z) + sum_t |z_t - w_t|^2 / 2."""
        raise NotImplementedError

    def factor(self, path: str) -> float:
        """What the strength is multiplied by at a path; 0 for what is left out."""
        if any(re.search(expression, path) for expression in self.exclude):
            return 0.0
        found = (f for e, f in self.layer_strengths.items() if re.search(e, path))
        return next(found, 1.0)

    def value(self, weights: tuple, factor: float, step: Any) -> Any:
        """What K tensors add to the loss at a training step."""
        return factor * strength_at(self.strength, step) * self.penalty(weights)

    def updated(self, weights: tuple, factor: float, step: Any, rate: Any) -> tuple:
        """K tensors after the penalty's own step, of a learning rate."""
        return self.proximal_step(weights, rate * factor * strength_at(self.strength, step))

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            "strength": saved_strength(self.strength),
            "towers": self.towers,
            "exclude": list(self.exclude),
            "layer_strengths": self.layer_strengths,
            "proximal": self.proximal,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Sharing":
        """The inverse of `get_config`."""
        revive = keras.saving.deserialize_keras_object
        config = {k: revive(v) if isinstance(v, dict) else v for k, v in config.items()}
        return cls(**config | {"towers": _read_towers(config["towers"])})

    def __repr__(self):
        return f"{type(self).__name__}({self.strength!r})"


def checked_strength(strength: Any, argument: str) -> Any:
    """`strength` when it is a finite number of at least 0, or a schedule.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if isinstance(strength, keras.optimizers.schedules.LearningRateSchedule):
        return strength
    return checked_nonnegative(strength, argument)


def strength_at(strength: Any, step: Any) -> Any:
    """The value at a step, of a number or a schedule."""
    return ops.cast(strength(step), "float32") if callable(strength) else strength


def saved_strength(strength: Any) -> Any:
    """A number as it is, a schedule as its config."""
    return keras.saving.serialize_keras_object(strength) if callable(strength) else strength


def _listed(value):
    return [value] if isinstance(value, str) else list(value)


def _read_towers(towers):
    """Towers as they were given; JSON makes lists of tuples."""
    if not isinstance(towers, list):
        return towers
    parts = [tuple(part) if isinstance(part, list) else part for part in towers]
    patterns = [part for part in parts if isinstance(part, tuple) or "{task}" in part]
    return parts if patterns else tuple(parts)


def _checked_towers(towers):
    parts = towers if isinstance(towers, list) else [towers]
    for part in parts:
        names = isinstance(part, tuple) and all(isinstance(name, str) for name in part)
        if not names and not (isinstance(part, str) and "{task}" in part):
            raise ValueError(
                "`towers` must be a pattern with '{task}', a tuple of names of layers, or a list "
                f"of those. Received: towers={towers!r}"
            )
    return towers


def _checked_expression(expression, argument):
    try:
        re.compile(expression)
    except (re.error, TypeError) as error:
        raise ValueError(
            f"`{argument}` must hold regular expressions. Received: {expression!r} ({error})"
        ) from error
    return expression


def _checked_name(name):
    if not isinstance(name, str) or not name.isidentifier() or name in RESERVED_NAMES:
        raise ValueError(
            f"`name` must be an identifier, and none of {list(RESERVED_NAMES)}. "
            f"Received: name={name!r}"
        )
    return name


def _snake_case(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
