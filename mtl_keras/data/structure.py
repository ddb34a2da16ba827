"""Structure: the one structure that examples of several data sets are brought into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from mtl_keras.tasks import Task


@dataclass(frozen=True)
class Spec:
    """Shape, with None for what is not fixed, and type of a part of one example."""

    shape: tuple[int | None, ...] | None
    dtype: str


class Structure:
    """What the examples of several data sets have in common, and what each lacks.

    Args:
        examples: name of a data set to its (x, y) or (x, y, sample_weight), of `Spec`s.
        tasks: the tasks, when they name missing values of their own.
        task_input: name of the input that is to tell whose each example is, or None.
        fill_inputs: whether inputs that a data set lacks are filled.

    Attributes:
        labels: name of a data set to its labels, task to `Spec`.
        lacking: name of a data set to the inputs that it lacks, name to `Spec`.
        missing: task to the label of examples that have none, in the order of the tasks.
        weighted: names of the data sets with sample weights.
        task_input: as given.

    Raises:
        ValueError: for data sets that do not go together.
    """

    def __init__(
        self,
        examples: Mapping[str, Any],
        tasks: Sequence[Task] | None,
        task_input: str | None,
        fill_inputs: bool,
    ):
        self.task_input = task_input
        parts = {name: _parts(name, example) for name, example in examples.items()}
        inputs = {name: x for name, (x, _, _) in parts.items()}
        self.lacking = _lacking_inputs(inputs, fill_inputs)
        if any(task_input in x for x in inputs.values() if isinstance(x, Mapping)):
            raise ValueError(
                f"`task_input` must be a name that no input has. Received: '{task_input}'"
            )
        self.labels = {name: _labels(name, y) for name, (_, y, _) in parts.items()}
        self.missing = _missing_values(self.labels, tasks)
        self.weighted = [name for name, (_, _, weight) in parts.items() if weight is not None]


def by_task(name: str, y: Any) -> dict[str, Any]:
    """Labels as a dict: what is none is the label of the task of the data set's name."""
    return dict(y) if isinstance(y, Mapping) else {name: y}


def with_task_input(x: Any, task_input: str | None, ids: Any) -> Any:
    """Inputs and one more, if it has a name; an input without a name is called "features"."""
    if task_input is None:
        return x
    return {**(x if isinstance(x, Mapping) else {"features": x}), task_input: ids}


def _parts(name, example):
    if not isinstance(example, tuple) or len(example) not in (2, 3):
        raise ValueError(
            f"Data set '{name}' must give (x, y) or (x, y, sample_weight). Received: {example}"
        )
    x, y, weight = (*example, None)[:3]
    if weight is not None and getattr(weight, "shape", None) != ():
        raise ValueError(
            f"Data set '{name}': the sample weight of an example must be one number. "
            f"Received: {weight}"
        )
    return x, y, weight


def _labels(name, y):
    labels = by_task(name, y)
    for task, spec in labels.items():
        if spec is None or spec.shape is None or None in spec.shape:
            raise ValueError(
                f"Data set '{name}': labels of '{task}' must have a fixed shape: give single "
                "examples (`.unbatch()`), and pad sequences to one length. "
                f"Received: {spec}"
            )
    return labels


def _missing_values(labels, tasks):
    kinds = {}
    for name, own in labels.items():
        for task, kind in own.items():
            if kinds.setdefault(task, kind) != kind:
                raise ValueError(
                    f"Task '{task}': labels must have one shape and type in all data sets. "
                    f"Received: {kinds[task]} and, in '{name}', {kind}"
                )
    known = {task.name: task.missing_value for task in tasks or ()}
    unknown = [task for task in kinds if tasks is not None and task not in known]
    if unknown:
        raise ValueError(f"Labels must be of `tasks`, {list(known)}. Received: {unknown}")
    order = [task for task in known if task in kinds] or list(kinds)
    # Where all data sets label a task, none need be missing.
    everywhere = [task for task in kinds if all(task in own for own in labels.values())]
    return {
        task: 0 if task in everywhere else _missing_value(task, kinds[task].dtype, known.get(task))
        for task in order
    }


def _missing_value(task, dtype, value):
    if "float" in dtype:
        return np.nan if value is None else value
    if dtype.startswith("int") and (value is None or value == np.floor(value)):
        return -1 if value is None else int(value)
    raise ValueError(
        f"Task '{task}': labels must be of a type that has a value for 'missing', float32 for "
        f"NaN or int32 for -1. Received: {dtype}, missing value {value}"
    )


def _lacking_inputs(inputs, fill):
    first, *others = inputs
    if not fill:
        for name in others:
            _check_alike(inputs[first], inputs[name], first, name)
        return {name: {} for name in inputs}
    union = {}
    for name, x in inputs.items():
        if not isinstance(x, Mapping):
            raise ValueError(
                f"Data set '{name}': inputs must be dicts for `fill_inputs`. Received: {x}"
            )
        for key, spec in x.items():
            if union.setdefault(key, spec) != spec or spec.shape is None or None in spec.shape:
                raise ValueError(
                    f"Data set '{name}': input '{key}' must have one fixed shape and one type in "
                    f"all data sets. Received: {union[key]} and {spec}"
                )
    return {
        name: {key: spec for key, spec in union.items() if key not in x}
        for name, x in inputs.items()
    }


def _check_alike(expected, x, first, name):
    try:
        alike = all(keras.tree.flatten(keras.tree.map_structure(_fits, expected, x)))
    except (TypeError, ValueError):
        alike = False
    if not alike:
        raise ValueError(
            f"Data set '{name}': inputs must be those of '{first}', {expected}, or be filled by "
            f"`fill_inputs`. Received: {x}"
        )


def _fits(a, b):
    if a.shape is None or b.shape is None:
        return a.dtype == b.dtype
    return a.dtype == b.dtype and len(a.shape) == len(b.shape)
