"""What a `MultiTaskModel` saves, whole or not at all, and how its fit goes on from there."""

import inspect
import io
import itertools
import os
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from mtl_keras.atomic import atomic_replacement
from mtl_keras.batches import is_stream
from mtl_keras.resuming.backup import Backup, Position
from mtl_keras.resuming.progress import Progress
from mtl_keras.resuming.replay import Replay


class Resumable:
    """A model whose checkpoints are whole, and whose fit under `BackupAndRestore` goes on exactly.

    Between `MultiTaskModel` and `keras.Model`.
    """

    # On the class: Keras looks at all attributes while the model is built.
    _progress_holder = None

    @property
    def progress(self) -> Progress:
        """Where its fit is; Keras saves and restores it with the model."""
        if self._progress_holder is None:
            # In a container that Keras does not look into: it is no layer of the model.
            self._progress_holder = _Holder(Progress(self))
        return self._progress_holder.progress

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **options: Any
    ) -> None:
        """`keras.Model.save`; a `.keras` file that exists stays until the new one is whole.

        Raises:
            OSError: when the file cannot be written.
        """
        if not _is_file(filepath, overwrite, (".keras", ".h5", ".hdf5")) or zipped is False:
            super().save(filepath, overwrite=overwrite, zipped=zipped, **options)
            return
        with atomic_replacement(filepath) as temporary:
            super().save(temporary, zipped=zipped, **options)

    def save_weights(
        self, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None
    ) -> None:
        """`keras.Model.save_weights`; a file that exists stays until the new one is whole.

        The file is made in memory first. With `max_shard_size`, and for remote paths, Keras writes
        in place.

        Raises:
            OSError: when the file cannot be written.
        """
        whole = _is_file(filepath, overwrite, (".weights.h5",)) and max_shard_size is None
        if not whole:
            super().save_weights(filepath, overwrite=overwrite, max_shard_size=max_shard_size)
            return
        with atomic_replacement(filepath) as temporary:
            temporary.write_bytes(_weights_file(self))

    def fit(self, x: Any = None, y: Any = None, *args: Any, callbacks: Any = None, **kwargs: Any):
        """`keras.Model.fit`; under `keras.callbacks.BackupAndRestore` it goes on exactly."""
        # Keras would begin a second fit of this model at the epoch at which it resumed the first.
        self._initial_epoch = None
        listed = callbacks.callbacks if _is_list(callbacks) else callbacks
        backup = Backup(listed)
        position = backup.position
        follower = _FollowProgress(self.progress, backup, position)
        if position is None:
            callbacks = _with_first(callbacks, follower)
            return super().fit(x, y, *args, callbacks=callbacks, **kwargs)
        given = inspect.signature(super().fit).bind(x, y, *args, **kwargs).arguments
        x = _gone_on(x, position.epoch, given.get("steps_per_epoch") or 0)
        if not position.batch:
            callbacks = _with_first(callbacks, follower)
            return super().fit(x, y, *args, callbacks=callbacks, **kwargs)
        params = {"verbose": given.get("verbose", "auto"), "epochs": given.get("epochs", 1)}
        params["steps"] = _steps(x, given)
        replay = Replay([follower, *listed], self, position.batch, **params)
        try:
            return super().fit(x, y, *args, callbacks=replay, **kwargs)
        finally:
            replay.close()


class _Holder:
    def __init__(self, progress):
        self.progress = progress


class _FollowProgress(keras.callbacks.Callback):
    # Before all others, so that what they save is up to date.
    async_safe = True

    def __init__(self, progress: Progress, backup: Backup, position: Position | None):
        super().__init__()
        self._progress, self._backup, self._position = progress, backup, position

    def on_train_begin(self, logs=None):
        self._progress.start()
        self._backup.agree()

    def on_epoch_begin(self, epoch, logs=None):
        position, self._position = self._position, None
        if position and position.batch and position.epoch == epoch:
            self._progress.restore_metrics()
            return
        self._progress.place.begin(epoch)
        if position:
            self._progress.restore_generators()

    def on_train_batch_begin(self, batch, logs=None):
        # Keras may tell of the end of a step later, in a thread.
        self._progress.place.reach(batch)

    def on_train_batch_end(self, batch, logs=None):
        self._progress.place.reach(batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        self._progress.place.begin(epoch + 1)


def _is_list(callbacks):
    return isinstance(callbacks, keras.callbacks.CallbackList)


def _with_first(callbacks, first):
    if not _is_list(callbacks):
        return [first, *callbacks]
    first.set_model(callbacks.model)
    callbacks.callbacks.insert(0, first)
    return callbacks


def _is_file(filepath, overwrite, endings):
    """Whether a file of this name is to be written here, without a question."""
    if not isinstance(filepath, (str, os.PathLike)) or "://" in str(filepath):
        return False
    return str(filepath).endswith(endings) and (overwrite or not os.path.exists(filepath))


def _weights_file(model):
    # HDF5 that writes to a disk that gets full ends the process by a segmentation fault, when it
    # closes the file. Keras has no public way to write to memory.
    from keras.src.saving.saving_lib import H5IOStore, _save_state

    file = io.BytesIO()
    store = H5IOStore(file, mode="w")
    _save_state(model, store, assets_store=None, inner_path="", visited_saveables=set())
    store.close()
    return file.getbuffer()


def _gone_on(x, epochs, steps):
    """A stream from which epochs take so many batches, without its first epochs.

    What has no `steps_per_epoch` begins again with each epoch.
    """
    ahead = epochs * steps
    if ahead and isinstance(x, Iterator):
        # Of iterators, Keras takes generators alone.
        return (batch for batch in itertools.islice(x, ahead, None))
    if not ahead or not hasattr(x, "skip"):
        return x
    length = int(x.cardinality())
    if length < 0:
        # Endless, or not known: of such a stream Keras asks that it lasts for all epochs.
        return x.skip(ahead)
    # Keras begins it again when it ends.
    ahead %= length
    return x.skip(ahead).concatenate(x.repeat()) if ahead else x


def _steps(x, given):
    """Batches an epoch, where that is easily known; for the progress bar."""
    if given.get("steps_per_epoch"):
        return given["steps_per_epoch"]
    if is_stream(x):
        return getattr(x, "num_batches", None)
    rows = len(keras.tree.flatten(x)[0]) * (1 - given.get("validation_split", 0.0))
    return int(np.ceil(int(rows) / (given.get("batch_size") or 32)))
