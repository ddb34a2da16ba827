"""Masked metrics: computed on labelled entries only, NaN where they are undefined."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.labels import LabelSpec, spread
from mtl_keras.losses import unit_length
from mtl_keras.span_f1 import SpanF1

# Without labels of both classes, or without positives, these have no value (Keras says 0).
_NEEDS_BOTH_CLASSES = (
    keras.metrics.AUC,
    keras.metrics.SensitivityAtSpecificity,
    keras.metrics.SpecificityAtSensitivity,
)
_NEEDS_POSITIVES = (
    keras.metrics.Recall,
    keras.metrics.PrecisionAtRecall,
    keras.metrics.RecallAtPrecision,
)


@keras.saving.register_keras_serializable(package="mtl_keras")
class MaskedMetric(keras.metrics.Metric):
    """Any Keras metric, fed with the labelled entries only.

    NaN when it saw no label, and when the labels that it saw leave it undefined (an AUC of one
    class, a recall without positives). Elements of dense labels count one by one, as if
    each were a row.

    Args:
        metric: name, function or `keras.metrics.Metric`.
        labels: `LabelSpec`; default: real numbers, NaN missing.
        name: name of the metric; default that of `metric`.

    Example:

    >>> metric = MaskedMetric("mean_absolute_error")
    >>> metric.update_state([[1.0], [float("nan")]], keras.ops.zeros((2, 1)))
    >>> float(metric.result())
    1.0
    """

    def __init__(self, metric: Any, labels: LabelSpec | None = None, name: str | None = None):
        labels = labels or LabelSpec()
        inner = _keras_metric(metric, labels)
        super().__init__(name=name or inner.name)
        self.metric = metric
        self.inner = inner
        self.labels = labels
        # Labelled entries, and how much of them is positive.
        self.seen = self.add_variable((2,), "zeros", name="seen")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch; `sample_weight` multiplies into the mask."""
        labels = self.labels.read(y_true, y_pred)
        y_pred = ops.cast(y_pred, labels.values.dtype)
        weight = ops.cast(labels.labelled, labels.values.dtype)
        positive = ops.sum(weight * labels.values) if self.labels.kind != "vector" else 0.0
        self.seen.assign_add(ops.stack([ops.sum(weight), positive]))
        if sample_weight is not None:
            weight = weight * spread(sample_weight, weight)
        # A missing row's prediction may be NaN as well: 0 * NaN must not enter the sums.
        width = 1 if self.labels.elementwise else y_pred.shape[-1]
        y_pred, weight = ops.reshape(y_pred, (-1, width)), ops.reshape(weight, (-1,))
        y_true = ops.reshape(labels.values, (-1, width) if self.labels.like_output else (-1,))
        self.inner.update_state(y_true, y_pred, sample_weight=weight)

    def result(self):
        """The metric; NaN where undefined."""
        labelled, positive = self.seen[0], self.seen[1]
        defined = labelled > 0
        if isinstance(self.inner, _NEEDS_BOTH_CLASSES):
            defined = ops.logical_and(positive > 0, positive < labelled)
        elif isinstance(self.inner, _NEEDS_POSITIVES):
            defined = positive > 0
        value = self.inner.result()
        return ops.where(defined, value, ops.full_like(value, math.nan))

    def reset_state(self):
        """Forgets every batch."""
        self.seen.assign(ops.zeros((2,)))
        self.inner.reset_state()

    def get_config(self) -> dict:
        """Constructor arguments."""
        return _serialize({"metric": self.metric, "labels": self.labels}) | {"name": self.name}

    @classmethod
    def from_config(cls, config: dict) -> "MaskedMetric":
        """The inverse of `get_config`."""
        return cls(**_deserialize(config, ("metric", "labels")))


@keras.saving.register_keras_serializable(package="mtl_keras")
class MaskedAUC(keras.metrics.Metric):
    """Area under the ROC curve of labelled entries, a column of the output at a time.

    The share of (positive, negative) pairs that are ordered rightly, ties counting half
    (Hanley & McNeil 1982), from histograms over the logit of the prediction: 2048 bins resolve
    what 200 thresholds on the probability scale do not, where the positives are rare. The
    result is the mean over the columns that have both classes; NaN if none has.

    Args:
        labels: `LabelSpec` of kind "probability"; default: NaN missing.
        columns: width of the output.
        bins: cells of the histogram, over logits from -16 to 16.
        name: name of the metric.

    Example:

    >>> auc = MaskedAUC()
    >>> auc.update_state([[0.0], [1.0], [float("nan")]], keras.ops.array([[0.2], [0.7], [0.1]]))
    >>> float(auc.result())
    1.0
    """

    def __init__(
        self,
        labels: LabelSpec | None = None,
        columns: int = 1,
        bins: int = 2048,
        name: str = "auc",
    ):
        super().__init__(name=name)
        self.labels = labels or LabelSpec("probability")
        self.columns = columns
        self.bins = bins
        # Rows: positives, negatives.
        self.histogram = self.add_variable((2, columns * bins), "zeros", name="histogram")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch; `sample_weight` multiplies into the mask."""
        labels = self.labels.read(y_true, y_pred)
        y_pred = ops.cast(y_pred, labels.values.dtype)
        weight = ops.cast(labels.labelled, labels.values.dtype)
        if sample_weight is not None:
            weight = weight * spread(sample_weight, weight)
        cells = ops.reshape(self._bin(y_pred) + self.bins * self._columns_of(y_pred), (-1,))
        counts = [
            ops.segment_sum(
                ops.reshape(weight * share, (-1,)), cells, num_segments=self.columns * self.bins
            )
            for share in (labels.values, 1 - labels.values)
        ]
        self.histogram.assign_add(ops.stack(counts))

    def _bin(self, probability):
        tiny = 1e-7
        p = ops.clip(probability, tiny, 1 - tiny)
        place = (ops.log(p) - ops.log1p(-p) + 16.0) / 32.0 * self.bins
        # A NaN prediction has no order; the loss reports it, so any bin will do here.
        place = ops.where(ops.isnan(place), ops.zeros_like(place), place)
        return ops.cast(ops.clip(place, 0, self.bins - 1), "int32")

    def _columns_of(self, y_pred):
        columns = ops.arange(self.columns, dtype="int32")
        return ops.broadcast_to(columns, ops.shape(y_pred)) if self.columns > 1 else 0

    def result(self):
        """Mean AUC over the columns that have both classes; NaN if none has."""
        positive, negative = ops.split(
            ops.reshape(self.histogram, (2, self.columns, self.bins)), 2, axis=0
        )
        below = ops.cumsum(negative, axis=-1) - negative / 2
        pairs = ops.sum(positive, axis=-1) * ops.sum(negative, axis=-1)
        auc = ops.divide_no_nan(ops.sum(positive * below, axis=-1), pairs)
        return _mean_of_defined(auc, pairs > 0)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return _serialize({"labels": self.labels}) | {
            "columns": self.columns,
            "bins": self.bins,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> "MaskedAUC":
        """The inverse of `get_config`."""
        return cls(**_deserialize(config, ("labels",)))


@keras.saving.register_keras_serializable(package="mtl_keras")
class TaskScore:
    """One number for a multi-task model, higher is better: what callbacks monitor as `score`.

    Without baselines: the mean over tasks of their scores, with the sign turned where lower is
    better. With baselines: `delta_m` in percent (Maninis et al. 2019, section 4), the mean
    relative gain over them, which alone compares scores of different units. Tasks whose score
    is undefined on the labels seen are left out; NaN if none is left.

    Args:
        baselines: dict from task name to the score to beat, of every task.

    Raises:
        ValueError: for a baseline of 0, which nothing is relative to.

    Example:

    >>> score = TaskScore(baselines={"income": 0.80, "age": 10.0})
    >>> round(float(score({"income": 0.84, "age": 9.0}, {"income": "max", "age": "min"})), 4)
    7.5
    """

    def __init__(self, baselines: Mapping[str, float] | None = None):
        self.baselines = None if baselines is None else {k: float(v) for k, v in baselines.items()}
        if self.baselines and not all(math.isfinite(b) and b for b in self.baselines.values()):
            raise ValueError(
                "`baselines` must be finite and not 0, gains are relative to them. "
                f"Received: baselines={self.baselines}"
            )

    def __call__(self, scores: Mapping[str, Any], directions: Mapping[str, str]):
        """The score, from each task's score and its direction ("max" or "min")."""
        self.check_tasks(list(scores))
        gains = ops.stack([ops.cast(v, keras.config.floatx()) for v in scores.values()])
        if self.baselines:
            base = ops.convert_to_tensor([self.baselines[name] for name in scores], gains.dtype)
            gains = 100.0 * (gains - base) / ops.abs(base)
        if "min" in directions.values():
            signs = [1.0 if directions[name] == "max" else -1.0 for name in scores]
            gains = gains * ops.convert_to_tensor(signs, gains.dtype)
        return _mean_of_defined(gains, ops.logical_not(ops.isnan(gains)))

    def check_tasks(self, names: Sequence[str]) -> None:
        """Raises ValueError unless the baselines are those of the tasks `names`."""
        if self.baselines is not None and set(self.baselines) != set(names):
            raise ValueError(
                f"`baselines` must name every task, {list(names)}. "
                f"Received: baselines for {list(self.baselines)}"
            )

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"baselines": self.baselines}

    @classmethod
    def from_config(cls, config: dict) -> "TaskScore":
        """The inverse of `get_config`."""
        return cls(**config)


def delta_m(
    scores: Mapping[str, float],
    baselines: Mapping[str, float],
    directions: Mapping[str, str],
) -> float:
    """Mean relative gain over baselines, in percent; higher is better.

    The mean over tasks of (-1)^{lower is better} (M - B) / |B| (Maninis et al. 2019).

    Args:
        scores: each task's score of the model in question.
        baselines: each task's score to compare with, usually the single-task models'.
        directions: "max" or "min" for each task.

    Raises:
        ValueError: when the tasks differ or a baseline is 0.

    Example:

    >>> round(delta_m({"a": 0.9, "b": 2.0}, {"a": 0.8, "b": 1.0}, {"a": "max", "b": "min"}), 3)
    -43.75
    """
    TaskScore(baselines).check_tasks(list(scores))
    gains = [
        (scores[t] - baselines[t]) / abs(baselines[t]) * (1 if directions[t] == "max" else -1)
        for t in scores
    ]
    return float(np.mean(gains)) * 100.0


@keras.saving.register_keras_serializable(package="mtl_keras")
def angular_error(y_true: Any, y_pred: Any) -> Any:
    """The angle between two vectors in degrees, 0 to 180."""
    y_true, y_pred = unit_length(y_true), unit_length(y_pred)
    # Not the arc cosine, which is good to a hundredth of a degree in float32.
    apart, together = y_true - y_pred, y_true + y_pred
    lengths = [ops.sqrt(ops.sum(ops.square(side), axis=-1)) for side in (apart, together)]
    return ops.arctan2(*lengths) * (360.0 / math.pi)


def masked_metric(metric: Any, labels: LabelSpec, columns: int) -> keras.metrics.Metric:
    """A fresh masked metric; "auc" is `MaskedAUC`, "accuracy" and the like suit the labels."""
    if isinstance(metric, (MaskedMetric, MaskedAUC, SpanF1)):
        # A copy: two models that share a task object must not share its counts.
        return type(metric).from_config(metric.get_config())
    if metric == "auc" and labels.kind == "probability":
        return MaskedAUC(labels, columns)
    return MaskedMetric(metric, labels)


def _keras_metric(metric, labels):
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    names = {"rmse": keras.metrics.RootMeanSquaredError}
    names["accuracy"] = names["acc"] = (
        keras.metrics.BinaryAccuracy
        if labels.elementwise
        else keras.metrics.SparseCategoricalAccuracy
    )
    if metric == "mean_iou" and labels.kind == "class":
        # Not of integers, as by default, which cut off sample weights.
        return keras.metrics.MeanIoU(
            labels.num_classes, sparse_y_pred=False, name=metric, dtype="float32"
        )
    if isinstance(metric, str) and metric in names:
        return names[metric](name=metric)
    found = keras.metrics.get(metric)
    if found is None:
        raise ValueError("`metric` must be a metric. Received: metric=None")
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", None)
    if isinstance(found, keras.metrics.Metric):
        return type(found).from_config(found.get_config() | {"name": name or found.name})
    return keras.metrics.MeanMetricWrapper(found, name=name)


def _mean_of_defined(values, defined):
    # Of none it is 0 / 0, which is NaN.
    count = ops.sum(ops.cast(defined, values.dtype))
    return ops.sum(ops.where(defined, values, 0.0)) / count


def _serialize(items):
    return {key: keras.saving.serialize_keras_object(item) for key, item in items.items()}


def _deserialize(config, keys):
    config = dict(config)
    for key in keys:
        config[key] = keras.saving.deserialize_keras_object(config[key])
    return config
