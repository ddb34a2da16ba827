"""Masked losses: missing labels never touch a gradient."""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mtl_keras.labels import LabelSpec, spread

# Losses that may be computed on a stack of tasks: they see one entry at a time. Another's author
# may count on seeing the rows of one task.
STACKABLE = (
    keras.losses.binary_crossentropy,
    keras.losses.binary_focal_crossentropy,
    keras.losses.huber,
    keras.losses.log_cosh,
    keras.losses.mean_absolute_error,
    keras.losses.mean_squared_error,
)


class LossTerms(NamedTuple):
    """A masked loss before the division: what replicas and batches may add up.

    `total` is the weighted sum over labelled entries, `labelled` their number, `violations`
    the numbers of invalid labels, in the order of `labels.VIOLATIONS`.
    """

    total: Any
    labelled: Any
    violations: Any

    def over_groups(self) -> "LossTerms":
        """Of groups of rows, all together."""
        return LossTerms(ops.sum(self.total), ops.sum(self.labelled), self.violations)


@keras.saving.register_keras_serializable(package="mtl_keras")
class MaskedLoss(keras.losses.Loss):
    """Mean of a Keras loss over the labelled entries of a batch.

    sum_i m_i c(y_i) w_i l(y_i, p_i) / sum_i m_i, where m marks the labelled entries, c is the
    class weight and w the sample weight. Missing labels are replaced before `l` sees them, so
    neither they nor a NaN among them reach a gradient; with no label at all, loss and gradient
    are 0. With every label present it equals the plain Keras loss. Under `tf.distribute` the
    number of labels is summed over replicas, so that replicas with few labels weigh little.

    Args:
        loss: name, function or `keras.losses.Loss`: what is averaged. It is applied to each
            entry on its own.
        labels: `LabelSpec`; default: real numbers, NaN missing.
        class_weight: dict from class to weight, for probabilities (classes 0 and 1; a label
            between them gets a weight between theirs) and class ids. Classes not named weigh 1.
        name: name of the loss.

    Raises:
        ValueError: for class weights of real labels or of classes that do not exist.

    Example:

    >>> loss = MaskedLoss("mean_squared_error")
    >>> float(loss([[1.0], [float("nan")]], keras.ops.zeros((2, 1))))
    1.0
    """

    def __init__(
        self,
        loss: Any,
        labels: LabelSpec | None = None,
        class_weight: dict[int, float] | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name or "masked_loss")
        self.loss = loss
        self.labels = labels or LabelSpec()
        self.class_weight = _checked_class_weight(class_weight, self.labels)
        resolved = keras.losses.get(loss)
        if resolved is None:
            raise ValueError("`loss` must be a loss. Received: loss=None")
        # `Loss.call` is the loss an entry, before masks, weights and reduction.
        self._entry_loss = resolved.call if isinstance(resolved, keras.losses.Loss) else resolved

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The masked mean, a scalar."""
        terms = self.terms(y_true, y_pred, sample_weight)
        (labelled,) = sum_over_replicas([terms.labelled])
        return masked_mean(terms.total, labelled)

    def terms(self, y_true, y_pred, sample_weight=None, members=None) -> LossTerms:
        """Numerator, denominator and label violations of the masked mean.

        With `members` (batch, G), weights of the rows in G groups, the first two are (G,).
        """
        return self._terms(y_true, _convert(y_pred, self.dtype), sample_weight, members)

    def _terms(self, y_true, y_pred, sample_weight, members=None, stacked=False):
        labels = self.labels.read(y_true, y_pred, stacked)
        values = self._entry_values(labels.values, y_pred)
        if self.class_weight:
            values = values * self._class_weights(labels.values)
        if sample_weight is not None:
            values = values * spread(sample_weight, values)
        # After the products, so that a NaN weight of a missing row does not count either.
        values = ops.where(labels.labelled, values, 0.0)
        if members is not None:
            labelled = ops.cast(labels.labelled, values.dtype)
            found = (_by_group(entries, members, stacked) for entries in (values, labelled))
            return LossTerms(*found, labels.violations)
        total = ops.sum(values, tuple(range(int(stacked) - len(values.shape), 0)))
        return LossTerms(total, labels.count, labels.violations)

    def call(self, y_true, y_pred):
        """The loss of each entry, 0 where the label is missing."""
        labels = self.labels.read(y_true, y_pred)
        values = self._entry_values(labels.values, y_pred)
        return ops.where(labels.labelled, values, 0.0)

    def _entry_values(self, values, y_pred):
        if self.labels.elementwise:
            # Keras losses average the last axis: give each element one of its own.
            values, y_pred = ops.expand_dims(values, -1), _expand_with_logits(y_pred)
        if keras.backend.backend() == "torch" and self.labels.kind == "class":
            # PyTorch has no gradient for classes of images whose channels come last.
            rows = ops.reshape(values, (-1,)), ops.reshape(y_pred, (-1, y_pred.shape[-1]))
            return ops.reshape(self._entry_loss(*rows), ops.shape(values))
        if keras.backend.backend() != "torch" or self.labels.kind != "probability":
            return self._entry_loss(values, y_pred)
        # PyTorch raises on a NaN probability, with no word about the task: let NaN through.
        broken = ops.isnan(y_pred)
        entries = self._entry_loss(values, ops.where(broken, 0.5, y_pred))
        return ops.where(ops.squeeze(broken, -1), math.nan, entries)

    def _class_weights(self, values):
        if self.labels.kind == "probability":
            zero, one = (self.class_weight.get(c, 1.0) for c in (0, 1))
            return zero + (one - zero) * values
        table = np.ones(self.labels.num_classes, self.dtype)
        for index, weight in self.class_weight.items():
            table[index] = weight
        return ops.take(ops.convert_to_tensor(table), ops.cast(values, "int32"))

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            "loss": keras.saving.serialize_keras_object(self.loss),
            "labels": keras.saving.serialize_keras_object(self.labels),
            "class_weight": self.class_weight and list(self.class_weight.items()),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> "MaskedLoss":
        """The inverse of `get_config`."""
        config = dict(config)
        for key in ("loss", "labels"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)


@keras.saving.register_keras_serializable(package="mtl_keras")
def cosine_distance(y_true: Any, y_pred: Any) -> Any:
    """|y / |y| - p|^2 / 2: one minus the cosine, where the output p has length 1.

    Unlike the cosine of a short p its gradient stays bounded, and another length than 1 costs.
    """
    return ops.sum(ops.square(unit_length(y_true) - y_pred), axis=-1) / 2


@keras.saving.register_keras_serializable(package="mtl_keras")
def unit_length(x: Any) -> Any:
    """x / max(|x|, 0.001), along the last axis: the activation of outputs that are directions."""
    square = ops.sum(ops.square(x), axis=-1, keepdims=True)
    # The maximum before the root, whose slope at 0 is infinite.
    return x / ops.sqrt(ops.maximum(square, 1e-6))


def terms_by_task(
    losses: Mapping[str, MaskedLoss],
    y_true: Mapping[str, Any],
    y_pred: Mapping[str, Any],
    sample_weight: Mapping[str, Any],
    members: Any = None,
) -> dict[str, LossTerms]:
    """`MaskedLoss.terms` of each task, in the order of `losses`.

    Tasks of one kind are stacked and computed as one: a step of a small network costs what its
    operations are in number, not in size.
    """
    kinds, terms = {}, {}
    for name, loss in losses.items():
        given = (loss, y_true[name], _convert(y_pred[name], loss.dtype), sample_weight.get(name))
        kinds.setdefault(_kind(*given) or name, {})[name] = given
    for alike in kinds.values():
        if len(alike) > 1:
            found = _stacked_terms(*zip(*alike.values(), strict=True), members)
        else:
            found = [loss.terms(*given, members) for loss, *given in alike.values()]
        terms |= dict(zip(alike, found, strict=True))
    return {name: terms[name] for name in losses}


def _kind(loss, y_true, y_pred, sample_weight):
    """What tasks must have in common to be stacked; None for a task that stays alone."""
    if type(loss) is not MaskedLoss or loss._entry_loss not in STACKABLE:
        return None
    if len(y_pred.shape) != 2 or hasattr(y_pred, "_keras_mask"):
        return None
    given = y_pred.shape[-1], hasattr(y_pred, "_keras_logits"), sample_weight is not None
    spec = loss.labels.get_config() | {"task": type(loss.labels)}
    return loss._entry_loss, loss.dtype, str(loss.class_weight), *spec.values(), *given


def _stacked_terms(losses, y_true, y_pred, sample_weight, members):
    """The `LossTerms` of tasks of one kind, given in tuples."""
    labels = [
        # By each task's own: errors name it.
        loss.labels.align(ops.cast(y, keras.config.floatx()), p)
        for loss, y, p in zip(losses, y_true, y_pred, strict=True)
    ]
    weights = None
    if sample_weight[0] is not None:
        pairs = zip(sample_weight, labels, strict=True)
        weights = ops.stack([spread(weight, y) for weight, y in pairs])
    outputs = ops.stack(y_pred)
    if hasattr(y_pred[0], "_keras_logits"):
        outputs._keras_logits = ops.stack([p._keras_logits for p in y_pred])
    terms = losses[0]._terms(ops.stack(labels), outputs, weights, members, stacked=True)
    unstack = functools.partial(ops.unstack, num=len(losses))
    violations = zip(*map(unstack, terms.violations), strict=True)
    return map(LossTerms, unstack(terms.total), unstack(terms.labelled), violations)


def _by_group(entries, members, stacked):
    """Sums over the rows of each group and all other axes; the first is kept when stacked."""
    entries = ops.expand_dims(entries, -1)
    rows = ops.sum(entries, tuple(range(1 + int(stacked), len(entries.shape))))
    return ops.sum(ops.expand_dims(rows, -1) * ops.cast(members, rows.dtype), axis=-2)


def masked_mean(total: Any, labelled: Any, weight: float = 1.0) -> Any:
    """`weight * total / labelled`; without a label `total` is 0, and so is this."""
    # A product with what has no gradient: that of a quotient costs five operations more.
    return total * (weight / ops.maximum(labelled, 1.0))


def sum_over_replicas(values: list) -> list:
    """Each of several values of one shape summed over the replicas of `tf.distribute`."""
    if keras.backend.backend() != "tensorflow":
        return values
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    return tf.unstack(context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack(values)))


def _expand_with_logits(y_pred):
    expanded = ops.expand_dims(y_pred, -1)
    # Kept by Keras beside a sigmoid's output: with them the loss is exact where it saturates.
    logits = getattr(y_pred, "_keras_logits", None)
    if logits is not None:
        expanded._keras_logits = ops.expand_dims(logits, -1)
    return expanded


def _convert(y_pred, dtype):
    converted = ops.convert_to_tensor(y_pred, dtype=dtype)
    mask = getattr(y_pred, "_keras_mask", None)
    if mask is not None and converted is not y_pred:
        converted._keras_mask = mask
    return converted


def _checked_class_weight(class_weight, labels):
    if not class_weight:
        return None
    # JSON has no integer keys, so configs hold pairs.
    class_weight = {int(c): float(w) for c, w in dict(class_weight).items()}
    classes = {"probability": 2, "class": labels.num_classes}.get(labels.kind, 0)
    unknown = [c for c in class_weight if not 0 <= c < classes]
    if unknown:
        reason = "real labels have no classes" if not classes else f"0 to {classes - 1}"
        raise ValueError(
            f"`class_weight` may name existing classes only ({reason}). "
            f"Received: class_weight={class_weight}"
        )
    negative = {c: w for c, w in class_weight.items() if not w >= 0}
    if negative:
        raise ValueError(
            f"`class_weight` must not be negative. Received: class_weight={class_weight}"
        )
    return class_weight
