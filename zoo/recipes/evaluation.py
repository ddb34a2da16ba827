"""Metrics of a model's predictions, by task, or by whose the rows are."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from mtl_keras import MultiTaskModel, Task
from zoo.comparison import roc_auc
from zoo.datasets.dataset import Dataset


def evaluated(
    model: MultiTaskModel,
    data: Dataset,
    split: str = "test",
    encode: Callable[[dict[str, Any]], Mapping[str, Any]] = dict,
) -> dict[str, dict[str, float]]:
    """Every task's metrics on a split, over its labelled entries.

    These are the task's own metrics and its loss; for yes-or-no tasks also "accuracy", and "auc"
    exactly (while a model trains it is counted in bins). Where each row belongs to one of several
    tasks, they stand in place of the model's outputs, each with metrics over its own rows.

    Args:
        model: a model of the data's tasks, or of some.
        data: a data set.
        split: "train", "validation" or "test".
        encode: makes of a batch's inputs what the model takes, see `zoo.encoded`.

    Returns:
        Task name to metric name to value; NaN where it is undefined.

    Raises:
        ValueError: for a model of several tasks on rows of several tasks.
    """
    if data.row_tasks and len(model.tasks) > 1:
        raise ValueError(
            "Where each row belongs to one of several tasks, the model must have one task. "
            f"Received: {[task.name for task in model.tasks]}"
        )
    counts: dict[str, _Counts] = {}
    for x, y in getattr(data, split):
        predicted = model.predict_on_batch(encode(inputs_of(model, x)))
        for task in model.tasks:
            labels, outputs = np.asarray(y[task.name]), np.asarray(predicted[task.name])
            for name, rows in _owners(task.name, x, data.row_tasks):
                counts.setdefault(name, _Counts(task)).add(labels[rows], outputs[rows])
    return {name: counts[name].metrics() for name in _in_order(counts, model, data)}


def metric_names(task: Task) -> set[str]:
    """The names of the metrics that `evaluated` gives for a task."""
    own = {"loss"} | {metric.name for metric in task.masked_metrics()}
    return own | ({"auc", "accuracy"} if task.labels.kind == "probability" else set())


def inputs_of(model: keras.Model, x: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `x` that the model takes."""
    return {tensor.name: x[tensor.name] for tensor in keras.tree.flatten(model.inputs)}


def _in_order(counts, model, data):
    owners = [name for names in data.row_tasks.values() for name in names]
    return [name for name in owners or [task.name for task in model.tasks] if name in counts]


def _owners(
    task: str, x: Mapping[str, Any], row_tasks: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Names and rows of those whose the rows are: of the task itself where all rows are its."""
    if not row_tasks:
        yield task, slice(None)
    for column, names in row_tasks.items():
        ids = np.asarray(x[column])
        for k in np.unique(ids):
            yield names[k], ids == k


class _Counts:
    """What a task's metrics are counted from, batch by batch."""

    def __init__(self, task: Task):
        self.task, self.loss = task, task.masked_loss()
        self.metrics_seen = task.masked_metrics()
        self.total = self.labelled = 0.0
        # Labels and outputs of yes-or-no tasks, whose exact AUC needs them all.
        self.kept = [] if task.labels.kind == "probability" else None

    def add(self, labels, outputs):
        terms = self.loss.terms(labels, outputs)
        self.total += float(terms.total)
        self.labelled += float(terms.labelled)
        for metric in self.metrics_seen:
            metric.update_state(labels, outputs)
        if self.kept is not None:
            labels = np.where(labels == self.task.missing_value, np.nan, labels)
            self.kept.append((labels.reshape(outputs.shape), outputs))

    def metrics(self):
        loss = self.total / self.labelled if self.labelled else float("nan")
        found = {"loss": loss} | {m.name: float(m.result()) for m in self.metrics_seen}
        if self.kept is None:
            return found
        labels, outputs = (np.concatenate(column) for column in zip(*self.kept, strict=True))
        return found | binary_metrics(labels, outputs)


def binary_metrics(labels: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Exact AUC, the mean over columns where it is defined, and accuracy at 0.5.

    >>> binary_metrics(np.array([[0], [1], [np.nan]]), np.array([[0.2], [0.7], [0.9]]))
    {'auc': 1.0, 'accuracy': 1.0}
    """
    known = np.isfinite(labels)
    columns = [(y[k], p[k]) for y, p, k in zip(labels.T, outputs.T, known.T, strict=True)]
    areas = [roc_auc(y, p) for y, p in columns if np.array_equal(np.unique(y), (0, 1))]
    right = (outputs > 0.5) == (labels > 0.5)
    return {
        "auc": float(np.mean(areas)) if areas else float("nan"),
        "accuracy": float(right[known].mean()) if known.any() else float("nan"),
    }
