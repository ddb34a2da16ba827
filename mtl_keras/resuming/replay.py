"""Replay: callbacks of a fit that goes on in the middle of an epoch."""

from collections.abc import Callable
from typing import Any

import keras

from mtl_keras.guard import TrainingGuard


class Replay(keras.callbacks.CallbackList):
    """Lets the batches of an epoch pass that were trained on before the fit was interrupted.

    They are read, so that the next ones are those that would have come, and nothing else: neither
    the model nor a callback sees them. After them the epoch goes on, and ends, as any other.

    Args:
        callbacks: the callbacks.
        model: the model.
        batches: how many batches pass, of the first epoch.
        params: see `keras.callbacks.CallbackList`.
    """

    def __init__(self, callbacks: list, model: Any, batches: int, **params: Any):
        self._left, self._steps, self._train = batches, model.steps_per_execution, None
        super().__init__(
            callbacks,
            add_history=True,
            add_progbar=params["verbose"] != 0,
            model=model,
            **params,
        )

    def on_epoch_begin(self, epoch, logs=None):
        """Puts what only reads a batch in the place of the training step."""
        super().on_epoch_begin(epoch, logs)
        if self._left > 0:
            self._train = self.model.train_function
            self.model.train_function = self._pass_over(self.model.get_metrics_result())

    def on_train_batch_begin(self, batch, logs=None):
        """Tells the callbacks, unless the batch is an old one."""
        if self._left <= 0:
            super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        """Tells the callbacks, unless the batch is an old one."""
        if self._left <= 0:
            super().on_train_batch_end(batch, logs)
            return
        for callback in self.callbacks:
            if isinstance(callback, TrainingGuard):
                # Or an epoch of which nothing was left would be an empty one.
                callback.on_train_batch_end(batch, logs)
        self._left -= self._steps
        if self._left <= 0:
            self.close()
            # Now, as reading data draws from them too.
            self.model.progress.restore_generators()

    def on_epoch_end(self, epoch, logs=None):
        """Ends the replay, also of an epoch that has become shorter."""
        self._left = 0
        self.close()
        super().on_epoch_end(epoch, logs)

    def close(self) -> None:
        """Gives the model its training step back."""
        if self._train is not None:
            self.model.train_function, self._train = self._train, None

    def _pass_over(self, logs) -> Callable:
        # What a backend's trainer calls in place of its training step.
        backend, steps = keras.backend.backend(), self._steps
        if backend == "torch":
            return lambda data: logs
        if backend == "jax":
            return lambda state, iterator: (_read(iterator, steps), (logs, state))[1]
        return lambda iterator: (_read(iterator, steps), logs)[1]


def _read(iterator, steps):
    # Without the first one, the epoch ends; the others may be missing at its end.
    next(iterator)
    for _ in range(steps - 1):
        next(iterator, None)
