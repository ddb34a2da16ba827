"""Fits that are killed, as processes: `python -m conformance.killed_fit FIT FOLDER KILLS [SEED]`.

One process has imported everything; each fit is a fork of it, so that a restart takes no more than
a fit. Prints what came of it as JSON.
"""

import contextlib
import json
import os
import pathlib
import random
import signal
import sys
import time

import h5py
import keras
import numpy as np

from conformance import interrupted_fits

SAVE_EVERY = 3
# Where a process kills itself, at a call of that number: in the file of weights, before it gets
# its name, between it and Keras's own second file, in that one, and while both are removed.
PLACES = ("weights", "rename", "between", "metadata", "removal")


class Log(keras.callbacks.Callback):
    """Writes each batch that is trained on to a file, at once."""

    def __init__(self, path):
        super().__init__()
        self.file = open(path, "a", buffering=1)  # noqa: SIM115

    def on_train_begin(self, logs=None):
        self.file.write("start\n")

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.file.write(f"{self.epoch} {batch}\n")

    def on_epoch_end(self, epoch, logs=None):
        values = {key: float(value) for key, value in logs.items()}
        self.file.write(f"end {epoch} {json.dumps(values)}\n")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_itself(place, call):
    """Puts the end of this process where a checkpoint is written."""
    counts = iter(range(1, call + 1))

    def now():
        return next(counts, None) == call

    def replaced(owner, name, act):
        inner = getattr(owner, name)
        setattr(owner, name, lambda *args, **kwargs: act(inner, *args, **kwargs))

    def write(inner, path, content):
        if now():
            inner(path, bytes(content)[: len(content) // 2])
            die()
        return inner(path, content)

    def rename(inner, source, target):
        if place == "rename" and now():
            die()
        inner(source, target)
        if place == "between" and str(target).endswith(".weights.h5") and now():
            die()

    def dumps(inner, value, **options):
        # Keras has opened its file by then, which is empty.
        if isinstance(value, dict) and set(value) == {"epoch", "batch"} and now():
            die()
        return inner(value, **options)

    def remove(inner, path, *args, **kwargs):
        pathlib.Path(path, random.choice(["latest.weights.h5", "training_metadata.json"])).unlink()
        die()

    from keras.src.utils import file_utils

    {
        "weights": lambda: replaced(pathlib.Path, "write_bytes", write),
        "rename": lambda: replaced(os, "replace", rename),
        "between": lambda: replaced(os, "replace", rename),
        "metadata": lambda: replaced(json, "dumps", dumps),
        "removal": lambda: replaced(file_utils, "rmtree", remove),
    }[place]()


def train(fit, folder, backup):
    """The whole of a fit, or the rest of it; its end state in `folder`."""
    keras.utils.set_random_seed(7)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    model, arguments = getattr(interrupted_fits, fit)()
    callbacks = [Log(folder / "log.txt")]
    if backup:
        callbacks.append(keras.callbacks.BackupAndRestore(folder / "backup", SAVE_EVERY))
    arguments |= {"epochs": interrupted_fits.EPOCHS, "verbose": 0, "callbacks": callbacks}
    model.fit(**arguments)
    np.savez(folder / "end.npz", **interrupted_fits.state_of(model))


def started(fit, folder, place=None, call=1, backup=True):
    """The id of a process that trains."""
    process = os.fork()
    if process:
        return process
    try:
        if place:
            kill_itself(place, call)
        train(fit, folder, backup)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def lines(folder):
    log = folder / "log.txt"
    return log.read_text().splitlines() if log.exists() else []


def wait(process, folder, batches=None, delay=0.0):
    """The signal that ended a process, 0 if none: SIGKILL after some batches and a moment."""
    before = len(lines(folder))
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            if os.WIFEXITED(status) and os.WEXITSTATUS(status):
                raise RuntimeError(f"The fit failed in {folder}.")
            return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if batches is not None and len(lines(folder)) >= before + batches:
            time.sleep(delay)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            batches = None
        time.sleep(0.001)


def saved(folder):
    """Where the weights of the last checkpoint are: batches of the whole fit; 0 without one.

    Reading all of it fails for half a file.
    """
    path = folder / "backup" / "latest.weights.h5"
    if not path.exists():
        return 0
    with h5py.File(path, "r") as file:
        file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
        epoch, batch, _ = file["progress/vars/position"][:]
        return int(epoch * steps(folder) + batch)


def steps(folder):
    """Batches an epoch, read from the log of the fit that nobody interrupted."""
    whole = (folder.parent / "whole" / "log.txt").read_text().splitlines()
    return sum(line.startswith("0 ") for line in whole)


def first_batch(folder, since):
    """The first batch of the whole fit in the log after line `since`; None if there is none."""
    for line in lines(folder)[since:]:
        if line[0].isdigit():
            epoch, batch = map(int, line.split())
            return epoch * steps(folder) + batch
    return None


def interrupted(fit, folder, kills, draws):
    """Kills a fit again and again, until it is killed so often or ends; what was seen."""
    report = []
    while True:
        at, since = saved(folder), len(lines(folder))
        place, plan = None, {}
        if len(report) < kills:
            place = draws.choice((None,) * 5 + PLACES)
            if place is None:
                # From the start of the process on: "start" is a line too.
                plan = {"batches": draws.randint(0, 16), "delay": draws.uniform(0, 0.01)}
        ended = wait(started(fit, folder, place, draws.randint(1, 2)), folder, **plan)
        began = first_batch(folder, since)
        report.append({"place": place or "anywhere", "saved": at, "began": began})
        if not ended:
            report.pop()
            return report, {"saved": at, "began": began}


def difference(folder):
    """The largest difference of two end states, and whether all logs of epochs are the same."""
    ends = [np.load(folder / name / "end.npz") for name in ("whole", "killed")]
    if list(ends[0]) != list(ends[1]):
        raise RuntimeError("The two models have other variables.")
    largest = max(
        float(np.abs(np.subtract(*pair, dtype="float64")).max(initial=0))
        for pair in ([end[key] for end in ends] for key in ends[0])
    )
    logs = [
        {line for line in lines(folder / name) if line.startswith("end")}
        for name in ("whole", "killed")
    ]
    return largest, logs[0] == logs[1]


def main(fit, folder, kills, seed=0):
    """Prints the report of as many whole fits as it takes to kill so often."""
    folder, draws, report = pathlib.Path(folder), random.Random(int(seed)), []
    (folder / "whole").mkdir(parents=True)
    wait(started(fit, folder / "whole", backup=False), folder / "whole")
    runs = []
    while len(report) < int(kills):
        (folder / "killed").mkdir()
        found, last = interrupted(fit, folder / "killed", int(kills) - len(report), draws)
        largest, same_logs = difference(folder)
        left = sorted(path.name for path in (folder / "killed").iterdir())
        report += found
        runs.append({"last": last, "difference": largest, "same_logs": same_logs, "left": left})
        (folder / "killed").rename(folder / f"killed-{len(runs)}")
    print(json.dumps({"kills": report, "runs": runs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
