"""What stops a fit that would go on in vain: bad labels, NaN losses, tasks without labels."""

import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from mtl_keras.batches import EMPTY


class TrainingGuard(keras.callbacks.Callback):
    """Stops `fit` and `evaluate` with an error that names the task and the step.

    A label outside the range, a loss that is not finite, a trained task that met no label in
    a whole epoch, an empty data set. `MultiTaskModel` adds it by itself.
    """

    def on_train_begin(self, logs=None):
        """Starts counting."""
        self._watch("fit")

    def on_epoch_begin(self, epoch, logs=None):
        """Starts counting the epoch's steps."""
        self._watch("fit", epoch)

    def on_train_batch_end(self, batch, logs=None):
        """Checks the step before this one."""
        self._step(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        """Checks the last step, and that each trained task has met labels."""
        self._watched.update(where="fit", epoch=epoch)
        self._finish(logs)
        for task in self.model.tasks:
            if self.model.loss_weights[task.name] and logs.get(f"{task.name}_labels") == 0:
                raise ValueError(
                    f"Task '{task.name}' met no label in epoch {epoch + 1}. Give it labels "
                    f"(`y['{task.name}']`), or a loss weight of 0 if it is not to be trained."
                )
        self._check_weights(epoch)

    def _check_weights(self, epoch):
        # TensorFlow's relu turns NaN into 0: the loss can stay finite while weights do not.
        for variable in self.model.trainable_variables:
            # NaN and infinity survive a sum.
            if not math.isfinite(ops.convert_to_numpy(ops.sum(variable))):
                raise ValueError(
                    f"Weights must be finite. Received: NaN or infinity in '{variable.path}' "
                    f"after epoch {epoch + 1}. Look for NaN in the inputs."
                )

    def on_test_begin(self, logs=None):
        """Starts counting; within a fit its epoch is checked already."""
        self._fit, self._watched = getattr(self, "_watched", None), None
        self._watch("evaluate")

    def on_test_batch_end(self, batch, logs=None):
        """Checks the step before this one."""
        self._step(batch, logs)

    def on_test_end(self, logs=None):
        """Checks the last step."""
        self._finish(logs)
        self._watched = self._fit

    def _watch(self, where, epoch=None):
        self._watched = {"where": where, "epoch": epoch, "last": None, "steps": 0}

    def _step(self, batch, logs):
        # One step late: reading the newest logs would wait for the device at each step.
        if self._watched["last"] is not None:
            self._check(*self._watched["last"])
        self._watched.update(last=(batch, logs), steps=self._watched["steps"] + 1)

    def _finish(self, logs):
        if not self._watched["steps"]:
            raise ValueError(EMPTY)
        self._check(self._watched["last"][0], logs or self._watched["last"][1])

    def _check(self, batch, logs):
        place = f"step {batch + 1} of `{self._watched['where']}`"
        if self._watched["epoch"] is not None:
            place += f", epoch {self._watched['epoch'] + 1}"
        check_logs(self.model, logs, place)


def check_logs(model: Any, logs: Mapping[str, Any], place: str) -> None:
    """Raises ValueError when `logs` show a task with invalid labels or a bad loss.

    Args:
        model: a compiled `MultiTaskModel`.
        logs: what a train or test step of it returned.
        place: where it happened, for the message.
    """
    objective = model._objective
    if _replicated(model):
        # A step's logs are one replica's, which may have met no label of a task.
        logs = objective.metrics.tallied()
    failed = _failed_tasks([task.name for task in model.tasks], logs)
    if not failed:
        return
    if keras.backend.backend() == "jax":
        # Within a fit, variables have no value until they are asked for.
        model.jax_state_sync()
    for name, counts in objective.metrics.violations().items():
        received = ", ".join(f"{n} {kind}" for kind, n in counts.items())
        raise ValueError(
            f"Task '{name}': labels must be {objective.losses[name].labels.expectation}. "
            f"Received: labels {received}, by {place}. A label that stands for "
            "'missing' is named by the task's `missing_value`."
        )
    rows = model._balanced_step.row_tasks
    ids = f", or ids in input '{rows.name}' that are not 0 to {rows.count - 1}" if rows else ""
    raise ValueError(
        f"Task '{failed[0]}': the loss must be finite. "
        f"Received: {float(logs[f'{failed[0]}_loss'])} by {place}. Look for NaN in the "
        "inputs, a learning rate that is too high, or a loss that overflows"
        f"{ids}."
    )


def _replicated(model):
    if keras.backend.backend() != "tensorflow":
        return False
    return model.distribute_strategy.num_replicas_in_sync > 1


def _failed_tasks(names, logs):
    # Whose loss is not finite although they have labels.
    return [
        name
        for name in names
        if not math.isfinite(float(logs.get(f"{name}_loss", 0.0)))
        # A row that no task owns makes their number NaN too.
        and float(logs.get(f"{name}_labels", 0.0)) != 0
    ]
