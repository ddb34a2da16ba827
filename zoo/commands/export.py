"""`mtl-zoo export NAME PATH`: the SavedModel of an entry, for serving."""

from typing import Any

import numpy as np

from mtl_keras.atomic import atomic_output
from zoo import query_saved_model, registry
from zoo.commands.output import answer
from zoo.entries.entry import check_golden


def run(options: Any) -> None:
    """Writes the SavedModel; it appears once a fresh process got the golden output from it.

    Raises:
        FileExistsError: when the path exists.
        ValueError: when the SavedModel answers otherwise than the entry.
    """
    manifest = registry.manifest_of(options.name)
    model = registry.load(options.name)
    with atomic_output(options.path) as served:
        model.export(served)
        difference = check_golden(_Served(served), registry.folder_of(options.name))
    inputs = [own["name"] for own in manifest["inputs"]]
    outputs = [task["name"] for task in manifest["tasks"]]
    answer(
        options,
        {"path": options.path, "inputs": inputs, "outputs": outputs, "difference": difference},
        f"Written to {options.path}: a SavedModel from {_listed(inputs)} to {_listed(outputs)}.",
        "A new process, plain TensorFlow, got the golden output from it "
        f"(difference {difference:.1g} at most).",
    )


class _Served:
    """A SavedModel, asked in a process of its own, that predicts as a model does."""

    def __init__(self, folder):
        self._folder = folder

    def predict(self, inputs, verbose=0):
        request = {name: np.asarray(values).tolist() for name, values in inputs.items()}
        answer = query_saved_model.ask_new_process(self._folder, request)
        return {task: np.asarray(values) for task, values in answer["outputs"].items()}


def _listed(names):
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
