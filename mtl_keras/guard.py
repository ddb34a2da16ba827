"""What stops a fit that would go on in vain: bad labels, NaN losses, tasks without labels."""

import math
import threading
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from mtl_keras.batches import EMPTY

# Seconds that a fit which has failed waits for threads, to name the first step that did. There may
# be no thread to wait for: data of unknown length end after a step has begun.
PATIENCE = 1.0


class TrainingGuard(keras.callbacks.Callback):
    """Stops `fit` and `evaluate` with an error that names the task and the step.

    A label outside the range, a loss that is not finite, a trained task that met no label in
    a whole epoch, an empty data set. `MultiTaskModel` adds it by itself. Where Keras reads the logs
    of steps in threads, so that a fit need not wait for the device (JAX), the error comes some
    steps later; it names the right one.
    """

    async_safe = True

    def __init__(self):
        super().__init__()
        self._epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        """Starts counting the epoch's steps."""
        self._epoch = _Steps(self.model, "fit", epoch)

    def on_train_batch_begin(self, batch, logs=None):
        """Stops if a thread has found that a step failed."""
        self._epoch.begin()

    def on_train_batch_end(self, batch, logs=None):
        """Checks the step."""
        self._epoch.step(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        """Checks that there were steps, and that each trained task has met labels."""
        self._epoch.finish()
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
        """Starts counting; the epoch before, if there is one, must have been in order."""
        if self._epoch is not None:
            self._epoch.check_tally()
        self._evaluation = _Steps(self.model, "evaluate")

    def on_test_batch_begin(self, batch, logs=None):
        """Stops if a thread has found that a step failed."""
        self._evaluation.begin()

    def on_test_batch_end(self, batch, logs=None):
        """Checks the step."""
        self._evaluation.step(batch, logs)

    def on_test_end(self, logs=None):
        """Checks that there were steps."""
        self._evaluation.finish()


class _Steps:
    """The steps of an epoch, or of an evaluation."""

    def __init__(self, model, where, epoch=None):
        self._model, self._where, self._epoch = model, where, epoch
        # Asked once: these cost more than the rest of a step's check. On JAX a callback's `model`
        # even gets the whole state back from the device, and must not where threads look at logs.
        self._metrics, self._replicated = model._objective.metrics, _replicated(model)
        self._thread = threading.get_ident()
        self._begun, self._ended, self._looked_at = 0, False, threading.Semaphore(0)
        self._failed = []

    def begin(self):
        if self._failed:
            self._stop()
        self._begun += 1

    def step(self, batch, logs):
        self._ended = True
        failed = _failed_tasks(self._metrics, self._metrics.tallied() if self._replicated else logs)
        if failed:
            self._failed.append((batch, logs))
        if threading.get_ident() != self._thread:
            self._looked_at.release()
            return
        self._begun -= 1
        # At once, or a checkpoint would be written of it.
        if failed:
            self._stop()

    def check_tally(self):
        # An evaluation clears it, which tells a bad label from a loss that is not finite otherwise.
        if _failed_tasks(self._metrics, self._metrics.tallied()):
            self._stop()

    def finish(self):
        if self._failed:
            self._stop()
        if not self._ended:
            raise ValueError(EMPTY)

    def _stop(self):
        # A step before the one that failed may have failed too, and its thread be later.
        while self._begun and self._looked_at.acquire(timeout=PATIENCE):
            self._begun -= 1
        if not self._failed:
            return
        batch, logs = min(self._failed, key=lambda step: step[0])
        place = f"step {batch + 1} of `{self._where}`"
        if self._epoch is not None:
            place += f", epoch {self._epoch + 1}"
        check_logs(self._model, logs, place)


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
    failed = _failed_tasks(objective.metrics, logs)
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
    (task, loss), *_ = failed.items()
    raise ValueError(
        f"Task '{task}': the loss must be finite. Received: {loss} by {place}. Look for NaN in "
        f"the inputs, a learning rate that is too high, or a loss that overflows{ids}."
    )


def _failed_tasks(metrics, logs):
    """The losses of tasks that are not finite although they have labels, by task."""
    failed = {}
    for name, (loss, labels) in metrics.log_keys.items():
        value = float(logs.get(loss, 0.0))
        # A row that no task owns makes their number NaN too.
        if not math.isfinite(value) and float(logs.get(labels, 0.0)) != 0:
            failed[name] = value
    return failed


def _replicated(model):
    if keras.backend.backend() != "tensorflow":
        return False
    return model.distribute_strategy.num_replicas_in_sync > 1
