"""SpanF1: entities found, by exact span and type."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from mtl_keras.labels import LabelSpec, spread


@keras.saving.register_keras_serializable(package="mtl_keras")
class SpanF1(keras.metrics.Metric):
    """F1 of the chunks of a tagged sequence, for a `TokenTask` whose classes are IOB tags.

    Chunks are read off labels and predictions as `conlleval` does (Tjong Kim Sang & Buchholz
    2000): one begins at B-X, and at I-X after another type or outside, and lasts while I-X
    follows. One is found when a predicted chunk has its first and last position and its type;
    with n found, p predicted and a actual ones, of all sequences together, the result is
    2 n / (p + a), NaN where there are none of either.

    Positions without a label are skipped, as if they were not in the sequence: padding, and what
    of a word comes after its first piece.

    Args:
        tags: names of the classes in order: "O", "B-..." and "I-...".
        labels: `LabelSpec` of kind "class"; default: -1 missing.
        name: name of the metric.

    Call arguments:
        y_true: class ids (batch, length).
        y_pred: scores of the classes (batch, length, classes), of which the highest counts.
        sample_weight: (batch,) or (batch, length); a chunk counts as much as its first position.

    Raises:
        ValueError: for tags of another form, and outputs that do not go with them.

    Example:

    >>> metric = SpanF1(["O", "B-city", "I-city", "B-year"])
    >>> predicted = [[1, 2, 0, 3], [0, 1, 0, 0]]
    >>> metric.update_state([[1, 2, 0, 3], [0, 1, 2, -1]], keras.ops.one_hot(predicted, 4))
    >>> round(float(metric.result()), 4)  # The second city was cut short.
    0.6667
    """

    def __init__(self, tags: Sequence[str], labels: LabelSpec | None = None, name: str = "span_f1"):
        super().__init__(name=name)
        self.tags = _checked_tags(tags)
        self.labels = labels or LabelSpec("class", -1, len(self.tags))
        types = {tag[2:]: None for tag in self.tags if tag != "O"}
        # 0 is outside.
        number = dict(zip(types, range(1, len(types) + 1), strict=True))
        self._types = np.array([number.get(tag[2:], 0) for tag in self.tags], "int32")
        self._begins = np.array([tag.startswith("B-") for tag in self.tags])
        # Chunks found, predicted and actual.
        self.counts = self.add_variable((3,), "zeros", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch."""
        if len(y_pred.shape) != 3 or y_pred.shape[-1] != len(self.tags):
            raise ValueError(
                f"`y_pred` must have the shape (batch, length, {len(self.tags)}), one score a tag. "
                f"Received: shape {tuple(y_pred.shape)}"
            )
        labels = self.labels.read(y_true, y_pred)
        labelled, weight = labels.labelled, ops.ones_like(labels.values)
        if sample_weight is not None:
            weight = spread(sample_weight, weight)
        # What has no label goes behind what has one: a chunk may last beyond it.
        place = ops.broadcast_to(ops.arange(ops.shape(labelled)[1]), ops.shape(labelled))
        order = ops.argsort(ops.where(labelled, place, place + ops.shape(labelled)[1]), axis=1)
        labelled, weight, actual, predicted = (
            ops.take_along_axis(ops.cast(values, dtype), order, axis=1)
            for values, dtype in (
                (labelled, "bool"),
                (weight, weight.dtype),
                (labels.values, "int32"),
                (ops.argmax(y_pred, axis=-1), "int32"),
            )
        )
        actual, predicted = self._chunks(actual, labelled), self._chunks(predicted, labelled)
        chunks = (_found(actual, predicted), predicted[0], actual[0])
        self.counts.assign_add(
            ops.stack([ops.sum(weight * ops.cast(c, weight.dtype)) for c in chunks])
        )

    def _chunks(self, tags, labelled):
        """Where chunks begin, where they end, and the type at each position, 0 outside."""
        types = ops.where(labelled, ops.take(ops.convert_to_tensor(self._types), tags, axis=0), 0)
        begins = ops.take(ops.convert_to_tensor(self._begins), tags, axis=0)
        inside = ops.not_equal(types, 0)
        before = ops.pad(types[:, :-1], ((0, 0), (1, 0)))
        first = ops.logical_and(inside, ops.logical_or(begins, ops.not_equal(types, before)))
        goes_on = ops.cast(ops.logical_and(inside, ops.logical_not(first)), "int32")
        goes_on = ops.cast(ops.pad(goes_on[:, 1:], ((0, 0), (0, 1))), "bool")
        return first, ops.logical_and(inside, ops.logical_not(goes_on)), types

    def result(self):
        """F1 of all chunks seen; NaN where there are none."""
        found, predicted, actual = ops.unstack(ops.convert_to_tensor(self.counts), 3)
        # Of none it is 0 / 0, which is NaN.
        return 2 * found / (predicted + actual)

    def get_config(self) -> dict:
        """Constructor arguments."""
        labels = keras.saving.serialize_keras_object(self.labels)
        return {"tags": list(self.tags), "labels": labels, "name": self.name}

    @classmethod
    def from_config(cls, config: dict) -> "SpanF1":
        """The inverse of `get_config`."""
        labels = keras.saving.deserialize_keras_object(config["labels"])
        return cls(**(config | {"labels": labels}))


def _found(actual, predicted):
    """Where an actual chunk begins that is predicted."""
    differs = [ops.not_equal(a, p) for a, p in zip(actual, predicted, strict=True)]
    differs = ops.logical_or(ops.logical_or(*differs[:2]), differs[2])
    # A chunk is predicted where nothing differs from its first position to its last. Positions
    # are numbered by the chunk that they are in or after; 0 comes before any.
    first, _, types = actual
    chunk = ops.cumsum(ops.cast(ops.reshape(first, (-1,)), "int32"))
    wrong = ops.cast(ops.logical_and(differs, ops.not_equal(types, 0)), "int32")
    wrong = ops.segment_sum(ops.reshape(wrong, (-1,)), chunk, ops.shape(chunk)[0] + 1)
    whole = ops.equal(ops.take(wrong, chunk, axis=0), 0)
    return ops.logical_and(first, ops.reshape(whole, ops.shape(first)))


def _checked_tags(tags):
    names = () if isinstance(tags, str) else tuple(tags)
    valid = [tag == "O" or (tag[:2] in ("B-", "I-") and len(tag) > 2) for tag in map(str, names)]
    if not names or not all(valid) or len(set(names)) < len(names):
        raise ValueError(
            "`tags` must be different names, one a class: 'O', and 'B-' or 'I-' before a type. "
            f"Received: tags={tags!r}"
        )
    return names
