"""Masked losses: missing labels never touch a gradient."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mtl_keras.labels import LabelSpec, spread


class LossTerms(NamedTuple):
    """A masked loss before the division: what replicas and batches may add up.

    `total` is the weighted sum over labelled entries, `labelled` their number, `violations`
    the numbers of invalid labels, in the order of `labels.VIOLATIONS`.
    """

    total: Any
    labelled: Any
    violations: Any


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

    def terms(self, y_true, y_pred, sample_weight=None) -> LossTerms:
        """Numerator, denominator and label violations of the masked mean."""
        y_pred = _convert(y_pred, self.dtype)
        labels = self.labels.read(y_true, y_pred)
        values = self._entry_values(labels.values, y_pred)
        if self.class_weight:
            values = values * self._class_weights(labels.values)
        if sample_weight is not None:
            values = values * spread(sample_weight, values)
        # After the products, so that a NaN weight of a missing row does not count either.
        total = ops.sum(ops.where(labels.labelled, values, ops.zeros_like(values)))
        return LossTerms(total, ops.sum(ops.cast(labels.labelled, self.dtype)), labels.violations)

    def call(self, y_true, y_pred):
        """The loss of each entry, 0 where the label is missing."""
        labels = self.labels.read(y_true, y_pred)
        values = self._entry_values(labels.values, y_pred)
        return ops.where(labels.labelled, values, ops.zeros_like(values))

    def _entry_values(self, values, y_pred):
        if self.labels.elementwise:
            # Keras losses average the last axis: give each element one of its own.
            values, y_pred = ops.expand_dims(values, -1), _expand_with_logits(y_pred)
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


def masked_mean(total: Any, labelled: Any, weight: float = 1.0) -> Any:
    """`weight * total / labelled`; without a label `total` is 0, and so is this."""
    # A product with what has no gradient: that of a quotient costs five operations more.
    return total * (weight / ops.maximum(labelled, 1.0))


def sum_over_replicas(values: list) -> list:
    """Each scalar summed over the replicas of `tf.distribute`, in one exchange."""
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
    classes = {"real": 0, "probability": 2, "class": labels.num_classes}[labels.kind]
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
