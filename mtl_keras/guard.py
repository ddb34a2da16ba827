"""What stops a fit that would go on in vain: bad labels, NaN losses, tasks without labels."""

import math

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
        self.model.check_logs(logs, place)


def failed_tasks(names, logs) -> list[str]:
    """The tasks among `names` whose loss is not finite although they have labels."""
    return [
        name
        for name in names
        if not math.isfinite(float(logs.get(f"{name}_loss", 0.0)))
        # A row that no task owns makes their number NaN too.
        and float(logs.get(f"{name}_labels", 0.0)) != 0
    ]
