"""All that a multi-task model reports about its tasks, as one Keras metric."""

import math
from collections.abc import Mapping, Sequence

import keras
from keras import ops

from mtl_keras.labels import VIOLATIONS
from mtl_keras.metrics import TaskScore


class TaskMetrics(keras.metrics.Metric):
    """All that a multi-task model reports, under `<task>_<metric>` keys and `score`.

    For each task: the mean loss over the labels seen (NaN before the first one, and when a
    label was invalid), its metrics, and the number of labels. The sums are exact however rows
    are spread over batches and replicas.
    """

    def __init__(self, tasks: Sequence, metrics: Mapping[str, Sequence], score: TaskScore):
        super().__init__(name="tasks")
        self.tasks = list(tasks)
        # Lists of (metric, whether it takes sample weights), by task.
        self.by_task = {task.name: list(metrics[task.name]) for task in tasks}
        self.children = [m for pairs in self.by_task.values() for m, _ in pairs]
        self.score = score
        # Of the loss and the number of labels, by task.
        self.log_keys = {task.name: (f"{task.name}_loss", f"{task.name}_labels") for task in tasks}
        self._check_keys()
        # A column a task: loss sum, labels, then violations by kind.
        self.tally = self.add_variable((2 + len(VIOLATIONS), len(tasks)), "zeros", name="tally")

    def _check_keys(self):
        keys = ["score", *(key for pair in self.log_keys.values() for key in pair)]
        keys += [f"{n}_{m.name}" for n, pairs in self.by_task.items() for m, _ in pairs]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise ValueError(
                "Task and metric names must give different log keys. "
                f"Received: {repeated} more than once"
            )

    def update_losses(self, terms: Sequence) -> None:
        """Adds the `LossTerms` of a batch, one a task, in task order."""
        rows = zip(*((t.total, t.labelled, *t.violations) for t in terms), strict=True)
        values = ops.stack([value for row in rows for value in row])
        self.tally.assign_add(ops.reshape(values, self.tally.shape))

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch: dicts by task, in which labels may be absent."""
        for name, pairs in self.by_task.items():
            if y_true.get(name) is None:
                continue
            for metric, weighted in pairs:
                weight = (sample_weight or {}).get(name) if weighted else None
                metric.update_state(y_true[name], y_pred[name], sample_weight=weight)

    def result(self) -> dict:
        """The report, in task order."""
        # All tasks at once: in a small network every operation is felt.
        total, labelled, *invalid = ops.unstack(
            ops.convert_to_tensor(self.tally), 2 + len(VIOLATIONS)
        )
        invalid = sum(invalid)
        # Without a label 0 / 0, which is NaN.
        losses = ops.unstack(total / ops.where(invalid > 0, math.nan, labelled), len(self.tasks))
        labels = ops.unstack(labelled + invalid, len(self.tasks))
        report, scores = {}, {}
        for column, task in enumerate(self.tasks):
            values = {"loss": losses[column]}
            values |= {metric.name: metric.result() for metric, _ in self.by_task[task.name]}
            scores[task.name] = values[task.score]
            values["labels"] = labels[column]
            report |= {f"{task.name}_{key}": value for key, value in values.items()}
        directions = {task.name: task.direction for task in self.tasks}
        report["score"] = self.score(scores, directions)
        return report

    def tallied(self) -> dict[str, float]:
        """Loss sums (not means) and label counts under their log keys, summed over replicas."""
        rows = ops.convert_to_numpy(self.tally)
        report = {}
        for task, row in zip(self.tasks, rows.T, strict=True):
            invalid = row[2:].sum()
            loss, labels = self.log_keys[task.name]
            report[loss] = math.nan if invalid else float(row[0])
            report[labels] = float(row[1] + invalid)
        return report

    def violations(self) -> dict[str, dict[str, int]]:
        """Invalid labels seen, by task and kind; only tasks that had some."""
        counts = ops.convert_to_numpy(self.tally).T[:, 2:]
        return {
            task.name: {kind: int(n) for kind, n in zip(VIOLATIONS, row, strict=True) if n}
            for task, row in zip(self.tasks, counts, strict=True)
            if row.any()
        }

    def reset_state(self):
        """Forgets every batch."""
        self.tally.assign(ops.zeros(self.tally.shape))
        for metric in self.children:
            metric.reset_state()
