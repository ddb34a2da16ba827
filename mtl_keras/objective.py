"""What a model is compiled to minimise and to report: the tasks, and what overrides them."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from mtl_keras.batches import by_task
from mtl_keras.checks import checked_weight
from mtl_keras.losses import LossTerms, masked_mean, sum_over_replicas, terms_by_task
from mtl_keras.metrics import TaskScore
from mtl_keras.task_metrics import TaskMetrics
from mtl_keras.tasks import Task


class Objective:
    """Losses, loss weights and metrics by task, resolved from the arguments of `compile`.

    A plain object: Keras would track, and save a second time, what it finds on the model.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        score: TaskScore | None = None,
    ):
        # As given: with these, a loaded model compiles again.
        self.arguments = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "score": score,
        }
        score = score or TaskScore()
        score.check_tasks([task.name for task in tasks])
        self.tasks = tuple(tasks)
        self.losses = self._resolve_losses(loss)
        self.weights = self._resolve_weights(loss_weights)
        self.metrics = TaskMetrics(tasks, self._resolve_metrics(metrics, weighted_metrics), score)

    def _resolve_losses(self, loss):
        if loss is not None and not isinstance(loss, (Mapping, list, tuple)):
            loss = {task.name: loss for task in self.tasks}
        given = by_task(loss, self.tasks, "loss")
        return {task.name: task.masked_loss(given.get(task.name)) for task in self.tasks}

    def _resolve_weights(self, loss_weights):
        given = by_task(loss_weights, self.tasks, "loss_weights")
        return {
            task.name: checked_weight(
                given.get(task.name, task.weight), f"`loss_weights['{task.name}']`"
            )
            for task in self.tasks
        }

    def _resolve_metrics(self, metrics, weighted_metrics):
        metrics = by_task(metrics, self.tasks, "metrics")
        weighted = by_task(weighted_metrics, self.tasks, "weighted_metrics")
        return {
            task.name: _task_metrics(task, metrics.get(task.name), weighted.get(task.name))
            for task in self.tasks
        }

    def terms(
        self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any, members: Any = None
    ) -> dict[str, LossTerms]:
        """Each task's loss on a batch before the division, in task order.

        With `members` (batch, G), each task's losses over the rows of G groups.
        """
        labels, weights = by_task(y, self.tasks, "y"), self._sample_weights(sample_weight)
        labels = {
            name: labels[name] if name in labels else _no_label(loss, y_pred[name])
            for name, loss in self.losses.items()
        }
        return terms_by_task(self.losses, labels, y_pred, weights, members)

    def weighted(self, terms: Mapping[str, LossTerms]) -> dict[str, Any]:
        """Each task's mean loss times its weight; the means are over all replicas."""
        counts = sum_over_replicas([term.labelled for term in terms.values()])
        return {
            name: masked_mean(term.total, count, self.weights[name])
            for (name, term), count in zip(terms.items(), counts, strict=True)
        }

    def update_metrics(self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any) -> None:
        """Adds a batch to the metrics of the tasks that it has labels for."""
        labels, weights = by_task(y, self.tasks, "y"), self._sample_weights(sample_weight)
        self.metrics.update_state(labels, y_pred, weights)

    def _sample_weights(self, sample_weight):
        if sample_weight is None:
            return {}
        if isinstance(sample_weight, (Mapping, list, tuple)):
            return by_task(sample_weight, self.tasks, "sample_weight")
        return {task.name: sample_weight for task in self.tasks}


def _no_label(loss, y_pred):
    like = y_pred if loss.labels.like_output else y_pred[..., 0]
    return ops.full_like(ops.cast(like, keras.config.floatx()), float("nan"))


def _task_metrics(task, metrics, weighted):
    own = task.masked_metrics(_listed(metrics))
    if task.score != "loss" and task.score not in [metric.name for metric in own]:
        own += [metric for metric in task.masked_metrics() if metric.name == task.score]
    weighted = task.masked_metrics(_listed(weighted) or [])
    return [(metric, False) for metric in own] + [(metric, True) for metric in weighted]


def _listed(metrics):
    return metrics if metrics is None or isinstance(metrics, (list, tuple)) else [metrics]
