"""Recipe: what is trained, on what, and for how long."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Plan:
    """A model of a recipe.

    Args:
        builder: name of a builder of the zoo.
        arguments: its arguments but tasks, inputs and optimizer, as in `zoo.recipes.parts.made`.
        row_tasks: whether the model is told whose a row is, where the data has rows of several
            tasks.
        epochs: in place of the recipe's: a task that has a sixteenth of the rows takes as many
            fewer steps in an epoch.
        patience: the same.

    Raises:
        ValueError: for a number of epochs below 1.
    """

    builder: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    row_tasks: bool = False
    epochs: int | None = None
    patience: int | None = None

    def __post_init__(self):
        for name in ("epochs", "patience"):
            if getattr(self, name) is not None:
                _check_positive(name, getattr(self, name))


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and for how long: the content of a `recipe.json`.

    Args:
        title: one line about the model.
        data: arguments of `zoo.datasets.load`: name, variant, batch_size.
        model: what is trained.
        single_task: the same for each task alone: the first baseline.
        plain_sum: all tasks, the unweighted sum of their losses: the second baseline. None where
            the model itself is that.
        optimizer: see `zoo.recipes.parts.made`.
        epochs: epochs at most.
        patience: so many epochs without a better validation score end the training. The weights
            of the best epoch are kept.
        seeds: how many seeds a study has: 0, 1, ...
        jit_compile: "auto", or whether XLA compiles the training. False for convolutions, which
            XLA makes slow on a processor. The entry itself does not keep it.
        features: arguments of the data's features to change, by feature.
        tasks: arguments of the data's tasks to change, by task.
        weights_licence: the licence of the weights, one line.
        example: rows of input to show and to verify the entry with, by input: values, or
            {"noise": shape, "below": n} for random whole numbers; default rows of the test split.
        preparing: lines of Python that make `x`, the model's input, of what a user has, where the
            model cannot.
        published: figures of others to set beside ours: "source", "figures" (task to metric to
            value) and "difference" (in protocol and model).
        limits: what the model is not good for, one line each.

    Raises:
        ValueError: for a number of epochs or seeds below 1.
    """

    title: str
    data: Mapping[str, Any]
    model: Plan
    single_task: Plan
    plain_sum: Plan | None = None
    optimizer: Mapping[str, Any] = field(default_factory=lambda: {"optimizer": "Adam"})
    epochs: int = 10
    patience: int = 2
    seeds: int = 5
    jit_compile: bool | str = "auto"
    features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights_licence: str = ""
    example: Mapping[str, Any] = field(default_factory=dict)
    preparing: tuple[str, ...] = ()
    published: tuple[Mapping[str, Any], ...] = ()
    limits: tuple[str, ...] = ()

    def __post_init__(self):
        for name in ("epochs", "patience", "seeds"):
            _check_positive(name, getattr(self, name))
        if (self.model.epochs, self.model.patience) != (None, None):
            raise ValueError(
                "`epochs` and `patience` of the entry itself are those of the recipe; baselines "
                f"may have others. Received: model={self.model}"
            )
        if self.jit_compile not in (True, False, "auto"):
            raise ValueError(
                f"`jit_compile` must be true, false or 'auto'. Received: {self.jit_compile!r}"
            )

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Recipe":
        """The recipe of a `recipe.json`.

        Raises:
            OSError: when there is no such file.
            ValueError: when it holds something else.
        """
        path = Path(path)
        try:
            content = dict(json.loads(path.read_text("utf-8")))
            known = {own.name for own in fields(cls)}
            unknown = sorted(set(content) - known)
            if unknown:
                raise ValueError(f"keys must be of {sorted(known)}. Received: {unknown}")
            for name in ("model", "single_task", "plain_sum"):
                if content.get(name) is not None:
                    content[name] = Plan(**content[name])
            for name in ("preparing", "published", "limits"):
                content[name] = tuple(content.get(name, ()))
            return cls(**content)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is no recipe: {error}") from error

    def with_epochs(self, epochs: int | None) -> "Recipe":
        """The recipe with another number of epochs for the entry, or itself for `None`."""
        return self if epochs is None else replace(self, epochs=epochs)

    def budget(self, plan: Plan) -> dict[str, int]:
        """How long a plan may train: "epochs" and "patience"."""
        return {name: getattr(plan, name) or getattr(self, name) for name in ("epochs", "patience")}

    @property
    def roles(self) -> dict[str, Plan]:
        """The plans by what they are for: "entry", "single_task", "plain_sum"."""
        plans = {"entry": self.model, "single_task": self.single_task}
        return plans | ({"plain_sum": self.plain_sum} if self.plain_sum else {})


def _check_positive(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
