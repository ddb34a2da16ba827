"""Labels: which values a task accepts, which are missing, and how they meet an output."""

import functools
import math
from typing import Any, NamedTuple

import keras
from keras import ops

KINDS = {
    "real": "finite numbers",
    "probability": "numbers from 0 to 1",
    "class": "class ids from 0 to {last}",
    "vector": "vectors of finite numbers",
}
VIOLATIONS = ("below the range", "above the range", "not whole or not finite")


class Labels(NamedTuple):
    """Labels of one task and one batch, made safe to compute with.

    `values` has no missing or invalid entry left (0 stands there), `labelled` says which
    entries are real and `count` how many, `violations` counts the invalid ones, in the order
    of `VIOLATIONS`.
    """

    values: Any
    labelled: Any
    count: Any
    violations: Any


@keras.saving.register_keras_serializable(package="mtl_keras")
class LabelSpec:
    """What the labels of a task look like.

    NaN is always a missing label; `missing_value` names another one. Labels outside the
    range are not trained on: they are counted, and `fit` stops with an error.

    Args:
        kind: "real" and "probability" label every element of the output, which has the
            labels' shape; "class" labels every position with an id, and the output has one
            more axis, over classes; "vector" labels every position with a vector, in the
            output's shape, and it is there or missing as a whole.
        missing_value: the label that means "no label"; of a vector, all of its elements.
            Default NaN.
        num_classes: number of classes, for kind "class".
        task: name of the task, for error messages.

    Raises:
        ValueError: for an unknown kind, or classes given to another kind.

    Example:

    >>> spec = LabelSpec("class", missing_value=-1, num_classes=3)
    >>> labels = spec.read([2, -1, 7], keras.ops.ones((3, 3)))
    >>> [bool(b) for b in labels.labelled], [int(n) for n in labels.violations]
    ([True, False, False], [0, 1, 0])
    """

    def __init__(
        self,
        kind: str = "real",
        missing_value: float = math.nan,
        num_classes: int | None = None,
        task: str | None = None,
    ):
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {list(KINDS)}. Received: kind={kind!r}")
        if (kind == "class") != (num_classes is not None):
            raise ValueError(
                "`num_classes` goes with kind 'class' and no other. "
                f"Received: kind={kind!r}, num_classes={num_classes}"
            )
        self.kind = kind
        self.missing_value = math.nan if missing_value is None else float(missing_value)
        self.num_classes = num_classes
        self.task = task

    @property
    def elementwise(self) -> bool:
        """Whether every element of the output has a label of its own."""
        return self.kind in ("real", "probability")

    @property
    def like_output(self) -> bool:
        """Whether labels have the shape of the output."""
        return self.kind != "class"

    @property
    def expectation(self) -> str:
        """The valid labels in words."""
        valid = KINDS[self.kind].format(last=(self.num_classes or 1) - 1)
        missing = "" if math.isnan(self.missing_value) else f"{self.missing_value:g} or "
        return f"{valid}, or {missing}NaN where missing"

    def read(self, y_true, y_pred, stacked: bool = False) -> Labels:
        """Labels in the shape that goes with `y_pred`, with what is missing taken out.

        With `stacked`, the first axis is one of tasks, and the counts are theirs.
        """
        values = self.align(ops.cast(y_true, keras.config.floatx()), y_pred)
        missing = self._missing(values, getattr(y_pred, "_keras_mask", None))
        violations, unlabelled = self._violations(values), ops.isnan(values)
        if missing is not None:
            unlabelled = ops.logical_or(unlabelled, missing)
            present = ops.logical_not(missing)
            violations = {k: ops.logical_and(v, present) for k, v in violations.items()}
        unlabelled = functools.reduce(ops.logical_or, violations.values(), unlabelled)
        values = ops.where(unlabelled, 0.0, values)
        if self.kind == "vector":
            unlabelled = ops.any(unlabelled, axis=-1)
            values = ops.where(ops.expand_dims(unlabelled, -1), 0.0, values)
            violations = {k: ops.any(v, axis=-1) for k, v in violations.items()}
        labelled = ops.logical_not(unlabelled)
        # All counts at once: in a small network every operation is felt.
        flags = ops.cast(ops.stack([labelled, *violations.values()]), values.dtype)
        axes = tuple(range(int(stacked) - len(labelled.shape), 0))
        count, *counts = ops.unstack(ops.sum(flags, axes), 1 + len(violations))
        counts = dict(zip(violations, counts, strict=True))
        none = ops.zeros_like(count)
        counts = tuple(counts.get(kind, none) for kind in VIOLATIONS)
        return Labels(values, labelled, count, counts)

    def _missing(self, values, mask):
        # Beside NaN, which no comparison takes for a violation; None where nothing is.
        found = []
        if not math.isnan(self.missing_value):
            equal = ops.equal(values, self.missing_value)
            if self.kind == "vector":
                equal = ops.all(equal, axis=-1, keepdims=True)
            found.append(equal)
        if mask is not None:
            found.append(ops.logical_not(_expand(ops.cast(mask, "bool"), values)))
        return functools.reduce(ops.logical_or, found) if found else None

    def align(self, y_true, y_pred):
        """`y_true` in the shape of the output that it labels, see `label_shape`."""
        if getattr(y_true.shape, "rank", 0) is None:
            # TensorFlow may not know the rank while it traces; the output's is always known.
            return ops.reshape(y_true, ops.shape(y_pred if self.like_output else y_pred[..., 0]))
        shape = self.label_shape(y_true.shape, y_pred.shape)
        if len(shape) > len(y_true.shape):
            return ops.expand_dims(y_true, -1)
        return ops.squeeze(y_true, -1) if len(shape) < len(y_true.shape) else y_true

    def label_shape(self, shape, output_shape) -> tuple[int | None, ...]:
        """The shape that labels of `shape` take to go with an output of `output_shape`.

        A trailing axis of 1 may come or go. Raises ValueError when they do not go together.
        """
        shape, expected = tuple(shape), tuple(output_shape)
        expected = expected if self.like_output else expected[:-1]
        if _compatible(shape, expected):
            return shape
        if expected[1:] and expected[-1] == 1 and _compatible(shape, expected[:-1]):
            return (*shape, 1)
        if _compatible(shape, (*expected, 1)):
            return shape[:-1]
        raise ValueError(
            f"{self._owner}labels must have shape {expected}, to go with an output of shape "
            f"{tuple(output_shape)}. Received: labels of shape {shape}"
        )

    def _violations(self, values):
        # By kind; those that there may be.
        below, above, broken = VIOLATIONS
        if self.kind in ("real", "vector"):
            return {broken: ops.isinf(values)}
        if self.kind == "probability":
            return {below: ops.less(values, 0), above: ops.greater(values, 1)}
        return {
            below: ops.less(values, 0),
            above: ops.greater(values, self.num_classes - 1),
            broken: ops.greater(values - ops.floor(values), 0),
        }

    @property
    def _owner(self):
        return f"Task '{self.task}': " if self.task else ""

    def get_config(self) -> dict:
        """Constructor arguments; NaN is written as None, which JSON has."""
        missing = None if math.isnan(self.missing_value) else self.missing_value
        return {
            "kind": self.kind,
            "missing_value": missing,
            "num_classes": self.num_classes,
            "task": self.task,
        }

    @classmethod
    def from_config(cls, config: dict) -> "LabelSpec":
        """The inverse of `get_config`."""
        return cls(**config)


def spread(sample_weight, values):
    """Row weights brought to the rank of `values`, to multiply with them."""
    weight = ops.cast(sample_weight, values.dtype)
    if len(weight.shape) == len(values.shape) + 1 and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, -1)
    return _expand(weight, values)


def _expand(rows, values):
    while len(rows.shape) < len(values.shape):
        rows = ops.expand_dims(rows, -1)
    return ops.broadcast_to(rows, ops.shape(values))


def _compatible(shape, expected):
    return len(shape) == len(expected) and all(
        a == b or a is None or b is None for a, b in zip(shape, expected, strict=True)
    )
