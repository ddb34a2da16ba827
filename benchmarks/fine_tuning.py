"""Does a pretrained trunk help where labels are few? New tasks, pretrained against from scratch.

    python benchmarks/fine_tuning.py [--rows 200 1000] [--seeds 10]

The tasks are not those of the entry: whether a person is divorced, is widowed, has a bachelor's
degree, did not finish high school. Their labels come from columns that are no inputs; rows are of
the sample in the package, training rows of its train split, AUC on its whole test split. Both sides
are the same network with the same new heads, the same rows in the same order, batches and steps;
one starts from the entry's weights, the other from a draw. `frozen` trains the new heads alone.
"""

import argparse

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mtl_keras as mtl
import zoo
from zoo.comparison import roc_auc
from zoo.datasets.census_income.columns import to_split
from zoo.datasets.census_income.sample import read_columns

NEW_TASKS = {
    "divorced": ("marital_stat", ("Divorced",)),
    "widowed": ("marital_stat", ("Widowed",)),
    "bachelor": (
        "education",
        (
            "Bachelors degree(BA AB BS)",
            "Masters degree(MA MS MEng MEd MSW MBA)",
            "Prof school degree (MD DDS DVM LLB JD)",
            "Doctorate degree(PhD EdD)",
        ),
    ),
    "left_school": (
        "education",
        (
            "Less than 1st grade",
            "1st 2nd 3rd or 4th grade",
            "5th or 6th grade",
            "7th and 8th grade",
            "9th grade",
            "10th grade",
            "11th grade",
            "12th grade no diploma",
        ),
    ),
}
# Which of the entry's tasks a new one continues, where tasks have gates and towers.
LIKE = {
    "divorced": "never_married",
    "widowed": "never_married",
    "bachelor": "college",
    "left_school": "college",
}
BATCH, STEPS = 64, 200
WAYS = ("from scratch", "pretrained", "frozen")


def split_of(columns):
    """Inputs and labels of the new tasks, as arrays."""
    inputs = {
        name: np.array(values.values, object)[values.codes] if hasattr(values, "codes") else values
        for name, values in to_split(columns, ()).inputs.items()
    }
    labels = {
        task: np.isin(columns[column], positive).astype("float32")
        for task, (column, positive) in NEW_TASKS.items()
    }
    return inputs, labels


def model_for(entry, way, seed):
    """The entry's network with heads for the new tasks."""
    keras.utils.set_random_seed(seed)
    tasks = [mtl.BinaryTask(name) for name in NEW_TASKS]
    model = zoo.load(entry, tasks=tasks, like=LIKE, pretrained=way != "from scratch")
    if way == "frozen":
        for layer in model.layers:
            layer.trainable = layer.name in NEW_TASKS
        model.compile("adam")
    return model


def trained_auc(entry, way, seed, rows, train, test):
    """AUC by task after `STEPS` steps on `rows` rows."""
    model = model_for(entry, way, seed)
    rng = np.random.default_rng(seed)
    some = rng.permutation(len(train[1]["divorced"]))[:rows]
    for _ in range(STEPS):
        batch = rng.choice(some, BATCH)
        x, y = ({name: values[batch] for name, values in part.items()} for part in train)
        model.train_on_batch(x, y)
    predicted = model.predict(test[0], batch_size=4096, verbose=0)
    return {task: roc_auc(test[1][task], predicted[task][:, 0]) for task in NEW_TASKS}


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entry", default="mmoe_census")
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    columns = read_columns()
    train, test = split_of(columns["train"]), split_of(columns["test"])
    console = Console(width=100)
    found = {}
    runs = [(n, way, seed) for n in options.rows for way in WAYS for seed in range(options.seeds)]
    for n, way, seed in track(runs, "training", console=Console(stderr=True)):
        found[n, way, seed] = trained_auc(options.entry, way, seed, n, train, test)
    for n in options.rows:
        title = f"{options.entry}: test AUC after {STEPS} steps on {n} rows, {options.seeds} seeds"
        table = Table("new task", *WAYS, "pretrained - from scratch", title=title)
        for task in NEW_TASKS:
            of = {w: [found[n, w, seed][task] for seed in range(options.seeds)] for w in WAYS}
            gain = np.subtract(of["pretrained"], of["from scratch"])
            cells = [f"{np.mean(v):.4f} ± {np.std(v, ddof=1):.4f}" for v in (*of.values(), gain)]
            table.add_row(task, *cells)
        console.print(table)


if __name__ == "__main__":
    main()
