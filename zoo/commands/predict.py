"""`mtl-zoo predict NAME INPUT`: what a model answers."""

import json
from typing import Any

from zoo import registry
from zoo.commands.answers import as_lists, said, words_of
from zoo.commands.output import answer, table
from zoo.commands.rows import parsed

_WIDE = 2000  # Letters of an example that a reader can take in.


def run(options: Any) -> None:
    """Prints every row's answers; as JSON, the outputs themselves.

    Raises:
        ValueError, OSError: as `zoo.commands.rows.parsed`.
    """
    manifest = registry.manifest_of(options.name)
    if options.input is None:
        x = registry.example(options.name)
    else:
        x = parsed(options.input, manifest["inputs"])
    # The slow part comes after all mistakes are found.
    model = registry.load(options.name)
    outputs = model.predict(registry.encoded(options.name, x), verbose=0)
    classes = manifest.get("classes", {})
    shown = () if options.json else [_table(model, x, outputs, classes)]
    if options.input is None:
        shown = [_about_example(x), *shown]
    answer(options, {"outputs": as_lists(outputs)}, *shown)


def _table(model, x, outputs, classes):
    words = words_of(model, x)
    rows = []
    for i in range(len(next(iter(x.values())))):
        answers = [
            (task.name, said(task, outputs[task.name][i], i, words, classes.get(task.name)))
            for task in model.tasks
        ]
        rows += [("", *own) for own in answers]
        rows[-len(answers)] = (i + 1, *answers[0])
        rows.append(())
    return table(("row", "task", "answer"), rows[:-1])


def _about_example(x):
    count = len(next(iter(x.values())))
    first = json.dumps({name: values[:1].tolist()[0] for name, values in x.items()})
    text = f"The entry's own example, {count} rows."
    return f"{text} The first: {first}" if len(first) <= _WIDE else text
