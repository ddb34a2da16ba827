"""What a model's outputs say, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from mtl_keras import MultiTaskModel, Task


@dataclass(frozen=True)
class Words:
    """The words that a model with one text input reads.

    Args:
        rows: a list of words a row of input.
        vocabulary: a word an id.
    """

    rows: Sequence[Sequence[str]]
    vocabulary: Sequence[str]


def words_of(model: MultiTaskModel, x: Mapping[str, np.ndarray]) -> Words | None:
    """The words at the positions that a model labels; None where it reads no text, or several."""
    layers = [layer for layer in _layers(model) if type(layer) is keras.layers.TextVectorization]
    texts = [values for values in x.values() if values.dtype == object]
    if len(layers) != 1 or len(texts) != 1:
        return None
    vocabulary = layers[0].get_vocabulary()
    ids = keras.ops.convert_to_numpy(layers[0](texts[0]))
    rows = [
        _words(text, row[row != 0], vocabulary) for text, row in zip(texts[0], ids, strict=True)
    ]
    return Words(rows, vocabulary)


def _layers(model):
    for layer in model.layers:
        yield from _layers(layer) if isinstance(layer, keras.Model) else [layer]


def _words(text, ids, vocabulary):
    """The words as they were typed, where they are the model's, else as it knows them."""
    known, typed = [vocabulary[k] for k in ids], text.split()[: len(ids)]
    unknown = vocabulary[1]
    same = [a.lower() == b.lower() or a == unknown for a, b in zip(known, typed, strict=False)]
    # A model may strip punctuation: then words would stand beside others' answers.
    return typed if len(typed) == len(known) and all(same) else known


def said(
    task: Task,
    output: np.ndarray,
    row: int = 0,
    words: Words | None = None,
    classes: Sequence[str] | None = None,
) -> str:
    """What a model answers to one row.

    Args:
        task: the task.
        output: what the model gives for that row, without the batch.
        row: which row it is.
        words: of all rows.
        classes: the names of the task's classes.

    Example:

    >>> said(BinaryTask("clicked"), np.array([0.25])), said(RegressionTask("price"), np.array([3]))
    ('25.0%', '3')
    >>> said(CategoricalTask("kind", 3), np.array([0.1, 0.7, 0.2]))
    'class 1 (70.0%)'
    >>> said(CategoricalTask("kind", 2), np.array([0.1, 0.9]), classes=("film", "book"))
    'book (90.0%)'
    """
    if task.positions == 1:
        return _said_of_positions(task, output, row, words, classes)
    if task.positions == 2:
        return _said_of_pixels(task, output)
    if task.labels.kind == "class":
        best = int(np.argmax(output))
        return f"{classes[best] if classes else f'class {best}'} ({output[best]:.1%})"
    return _said_of_values(task, output)


def _said_of_values(task, output):
    values = np.ravel(output)
    if task.labels.kind != "probability":
        return ", ".join(f"{value:.5g}" for value in values)
    if len(values) == 1:
        return f"{values[0]:.1%}"
    return ", ".join(f"label {i}: {value:.1%}" for i, value in enumerate(values))


def _said_of_positions(task, output, row, words, classes):
    """A word and its token a position; without words, the tokens in order."""
    vocabulary, read = classes, None
    if words is not None:
        read = words.rows[row][: len(output)]
        output = output[: len(read)]
        # As many classes as there are words: they are taken for words, as `joint_text` does.
        if task.units == len(words.vocabulary):
            vocabulary = words.vocabulary
    tokens = [_token(task, values, vocabulary) for values in output]
    if read is None:
        return " ".join(tokens)
    return ", ".join(f"{word} → {token}" for word, token in zip(read, tokens, strict=True))


def _token(task, values, vocabulary):
    if task.labels.kind != "class":
        return _said_of_values(task, values)
    best = int(np.argmax(values))
    return vocabulary[best] if vocabulary else str(best)


def _said_of_pixels(task, output):
    height, width = output.shape[:2]
    size = f"{height} x {width} pixels"
    if task.labels.kind == "class":
        counts = Counter(np.argmax(output, axis=-1).ravel().tolist()).most_common(3)
        shares = [f"class {k} at {n / (height * width):.0%}" for k, n in counts]
        return f"{size}: {', '.join(shares)}"
    return f"{size}: {output.min():.5g} to {output.max():.5g}, mean {output.mean():.5g}"


def as_lists(outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Outputs as JSON has them."""
    return {task: np.asarray(values).tolist() for task, values in outputs.items()}
