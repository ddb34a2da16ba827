"""`mtl-zoo export NAME PATH`: an entry for serving, in one of several formats."""

import warnings
from typing import Any

import numpy as np

from mtl_keras.atomic import atomic_output
from mtl_keras.export.exportable import SAVED_MODEL, in_short
from zoo import query_saved_model, registry
from zoo.commands.output import answer
from zoo.entries.entry import check_golden


def run(options: Any) -> None:
    """Writes the entry; a SavedModel appears once a fresh process got the golden output from it.

    Raises:
        FileExistsError: when the path exists.
        ValueError: when the SavedModel answers otherwise than the entry, and as
            `MultiTaskModel.export`.
        ImportError: when a package that the format needs is not installed.
    """
    manifest = registry.manifest_of(options.name)
    model = registry.load(options.name)
    tasks = options.tasks or [task["name"] for task in manifest["tasks"]]
    how = {"tasks": tasks, "signatures": options.signatures}
    if options.format != SAVED_MODEL:
        _portable(options, model, how)
        return
    with atomic_output(options.path) as served:
        model.export(served, **how)
        # The default signature is that of all tasks, or of the first.
        checked = tasks[:1] if options.signatures == "per_task" else tasks
        folder = registry.folder_of(options.name)
        difference = check_golden(_Served(served), folder, checked)
    inputs = [own["name"] for own in manifest["inputs"]]
    answer(
        options,
        {"path": options.path, "inputs": inputs, "outputs": tasks, "difference": difference},
        f"Written to {options.path}: a SavedModel from {in_short(inputs)} to {in_short(tasks)}.",
        "A new process, plain TensorFlow, got the golden output from it "
        f"(difference {difference:.1g} at most).",
    )


def _portable(options, model, how):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        written = model.export(options.path, options.format, **how)
    notes = [str(own.message) for own in said if "holds no strings" in str(own.message)]
    paths = [str(path) for path in written]
    answer(
        options,
        {"path": options.path, "written": paths, "outputs": how["tasks"], "notes": notes},
        f"Written: {', '.join(paths)}, with the outputs {in_short(how['tasks'])}.",
        *notes,
    )


class _Served:
    """A SavedModel, asked in a process of its own, that predicts as a model does."""

    def __init__(self, folder):
        self._folder = folder

    def predict(self, inputs, verbose=0):
        request = {name: np.asarray(values).tolist() for name, values in inputs.items()}
        answer = query_saved_model.ask_new_process(self._folder, request)
        return {task: np.asarray(values) for task, values in answer["outputs"].items()}
