"""`mtl-zoo export NAME PATH`: an entry for serving, in one of several formats."""

import warnings
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from mtl_keras.atomic import atomic_output
from mtl_keras.export.exportable import SAVED_MODEL, in_short
from mtl_keras.export.part import Part
from zoo import query_saved_model, registry
from zoo.commands.output import answer, table
from zoo.commands.training import loaded_data, recipe_of
from zoo.entries.entry import as_taken, check_golden, golden_input, golden_part
from zoo.recipes.evaluation import evaluated


def run(options: Any) -> None:
    """Writes the entry; a SavedModel appears once a fresh process got the golden output from it.

    Where weights are stored in fewer bytes, that is the output of the entry with such weights,
    and what they change is said: of the golden output, and of the metrics if there are data.

    Raises:
        FileExistsError: when the path exists.
        ValueError: when the SavedModel answers otherwise than the entry, and as
            `MultiTaskModel.export`.
        ImportError: when a package that the format needs is not installed.
    """
    manifest, model = registry.manifest_of(options.name), registry.load(options.name)
    tasks = options.tasks or [task["name"] for task in manifest["tasks"]]
    kind = options.quantize or options.dtype
    how = {"tasks": tasks, "signatures": options.signatures, "quantize": options.quantize}
    how["dtype"] = options.dtype or "float32"
    stored = Part.of(model, tasks).with_weights(kind).stored if kind else None
    with stored.in_place() if stored else nullcontext():
        golden = model.predict(as_taken(golden_input(manifest), _folder(options)), verbose=0)
    if options.format == SAVED_MODEL:
        value, lines = _saved_model(options, model, manifest, how, golden if stored else None)
    else:
        value, lines = _portable(options, model, how)
    if stored:
        own, shown = _cost(options, model, manifest, stored, golden)
        value, lines = value | own, [*lines, *shown]
    answer(options, {"path": options.path} | value, *lines)


def _folder(options):
    return registry.folder_of(options.name)


def _saved_model(options, model, manifest, how, golden):
    tasks = how["tasks"]
    with atomic_output(options.path) as served:
        model.export(served, **how)
        # The default signature is that of all tasks, or of the first.
        checked = tasks[:1] if options.signatures == "per_task" else tasks
        difference = check_golden(_Served(served), _folder(options), checked, golden)
    inputs = [own["name"] for own in manifest["inputs"]]
    return {"inputs": inputs, "outputs": tasks, "difference": difference}, [
        f"Written to {options.path}: a SavedModel from {in_short(inputs)} to {in_short(tasks)}.",
        "A new process, plain TensorFlow, got the golden output from it "
        f"(difference {difference:.1g} at most).",
    ]


def _portable(options, model, how):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        written = model.export(options.path, options.format, **how)
    notes = [str(own.message) for own in said if "holds no strings" in str(own.message)]
    paths = [str(path) for path in written]
    return {"written": paths, "outputs": how["tasks"], "notes": notes}, [
        f"Written: {', '.join(paths)}, with the outputs {in_short(how['tasks'])}.",
        *notes,
    ]


def _cost(options, model, manifest, stored, golden):
    """What weights in fewer bytes change."""
    kept = manifest["golden"]["output"]
    part = golden_part(manifest, golden)
    moved = max(np.abs(part[task] - np.asarray(kept[task])).max() for task in kept)
    line = f"Weights as {stored.kind} move the golden output by {moved:.2g} at most."
    value = {"weights": stored.kind, "moved": float(moved)}
    if not (options.sample or options.data_dir):
        return value, [line, "--data-dir or --sample shows what they do to the metrics."]
    _, recipe = recipe_of(options.name, options.sample)
    data = loaded_data(recipe, options.data_dir)
    measure = partial(evaluated, model, data, encode=partial(registry.encoded, options.name))
    before = measure()
    with stored.in_place():
        after = measure()
    rows = [
        (
            f"{task} {name}",
            f"{old:.5f}",
            f"{after[task][name]:.5f}",
            f"{after[task][name] - old:+.5f}",
        )
        for task, found in before.items()
        for name, old in found.items()
    ]
    columns = ("test split", "float32", stored.kind, "change")
    return value | {"float32": before, stored.kind: after}, [
        line,
        table(columns, rows, columns[1:]),
    ]


class _Served:
    """A SavedModel, asked in a process of its own, that predicts as a model does."""

    def __init__(self, folder):
        self._folder = folder

    def predict(self, inputs, verbose=0):
        request = {name: np.asarray(values).tolist() for name, values in inputs.items()}
        answer = query_saved_model.ask_new_process(self._folder, request)
        return {task: np.asarray(values) for task, values in answer["outputs"].items()}
