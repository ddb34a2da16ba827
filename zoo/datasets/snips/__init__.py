"""SNIPS: what 14,484 spoken requests want (7 intents), and a tag for each of their words.

The input "text" is lower-case, its words between single spaces; `slots` labels word t at position
t with an IOB tag and all positions after the last word with -1, so that `missing_rates` count
padding too. The split is that of Goo et al. 2018. All tags and intents occur in the train split.
26 of the test split's requests and 15 of the validation split's occur in it as well, word by
word. Reading the data needs TensorFlow Datasets; there is no sample in the package, as the
publisher of the files states no licence.
"""

import os

from zoo.datasets.columns import Split


def make_tasks() -> tuple:
    """Intent and slots, as fresh objects; slots are scored by the F1 of whole entities."""
    from mtl_keras import CategoricalTask, SpanF1, TokenTask
    from zoo.datasets.snips.files import INTENTS, SLOTS

    metrics = ("accuracy", SpanF1(SLOTS))
    return (
        CategoricalTask("intent", len(INTENTS)),
        TokenTask("slots", len(SLOTS), metrics=metrics, score="span_f1"),
    )


def make_class_names() -> dict[str, tuple[str, ...]]:
    """What the classes are called, by task."""
    from zoo.datasets.snips.files import INTENTS, SLOTS

    return {"intent": INTENTS, "slots": SLOTS}


def read_full(data_dir: str | os.PathLike | None) -> dict[str, Split]:
    """The splits of the full data; prepares them in `data_dir` where they are not."""
    from zoo.datasets.snips.full import read_full

    return read_full(data_dir)
