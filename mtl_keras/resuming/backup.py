"""Backup: the files of `keras.callbacks.BackupAndRestore`, which must agree."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras

from mtl_keras.atomic import atomic_replacement


class Position(NamedTuple):
    """Where a fit was when it was saved: epochs finished, and batches of the next one."""

    epoch: int
    batch: int


class Backup:
    """What a `BackupAndRestore` has saved.

    It writes the weights, then the number of the epoch into a second file, in place. A process
    that is killed between the two leaves the weights of one epoch with the number of another, or
    of none; killed in the second, half a file, at which a restart fails. And in a restarted
    process it numbers epochs from 0 until one ends. The weights' own file says what they have
    seen, and is written whole: the second one is made to agree with it.

    Args:
        callbacks: the callbacks of a fit; the first `BackupAndRestore` among them counts.
    """

    def __init__(self, callbacks: Any):
        found = [c for c in callbacks if isinstance(c, keras.callbacks.BackupAndRestore)]
        folder = Path(str(found[0].backup_dir)) if found else None
        self._files = (
            []
            if folder is None
            else [
                (folder / f"latest.weights.h5{end}", folder / f"training_metadata.json{end}")
                # Keras goes back to the one before when it cannot read the last one.
                for end in ("", ".bkp")
            ]
        )

    @property
    def position(self) -> Position | None:
        """Where the weights are that Keras will restore; None without weights of a fit."""
        for weights, _ in self._files:
            position = _position(weights)
            if position is not None:
                return position
        return None

    def agree(self) -> None:
        """Makes the second file of each pair say what the weights do.

        Raises:
            OSError: when it is wrong and cannot be written.
        """
        for weights, metadata in self._files:
            position = _position(weights)
            if position is not None and _epoch(metadata) != position.epoch:
                with atomic_replacement(metadata) as temporary:
                    temporary.write_text(json.dumps(position._asdict()))
            elif not weights.exists() and metadata.exists():
                # What a process leaves that is killed while it removes both.
                metadata.unlink()


def _position(weights):
    try:
        with h5py.File(weights, "r") as file:
            epoch, batch, _ = file["progress/vars/position"][:]
    except (OSError, KeyError):
        return None
    return Position(int(epoch), int(batch))


def _epoch(metadata):
    # All that Keras reads of it.
    try:
        return json.loads(metadata.read_text())["epoch"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
