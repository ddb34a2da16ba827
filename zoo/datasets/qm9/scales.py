"""Mean and standard deviation of each label of QM9, for models that learn standardised labels.

A task has no scale of its own. Either the labels change, and errors are in standard deviations:

```python
def standardised(x, y):
    return x, {task: (y[task] - mean) / deviation for task, (mean, deviation) in SCALES.items()}

model.fit(data.train.map(standardised))
```

or the head undoes what the loss weight does, and labels, predictions and errors keep their units:

```python
mean, deviation = SCALES["u0"]
head = [keras.layers.Dense(1), keras.layers.Rescaling(deviation, mean)]
task = RegressionTask("u0", head=keras.Sequential(head), weight=deviation**-2)
```

`python -m zoo.datasets.qm9.scales --data-dir DIR` counts them anew, in the train split of the full
data.
"""

import argparse

import numpy as np

SCALES = {
    "mu": (2.67328, 1.50291),
    "alpha": (75.3062, 8.16968),
    "homo": (-6.53513, 0.597314),
    "lumo": (0.322321, 1.27406),
    "gap": (6.85744, 1.28291),
    "r2": (1189.89, 280.593),
    "zpve": (4.05869, 0.901702),
    "u0": (-76.1443, 10.3152),
    "u298": (-76.609, 10.4066),
    "h298": (-77.0469, 10.4807),
    "g298": (-70.8631, 9.49016),
    "cv": (31.6276, 4.064),
}
"""Task to mean and standard deviation in the train split, in the units of `properties`."""


def counted(data_dir: str) -> dict[str, tuple[float, float]]:
    """What `SCALES` holds, from the full data: six digits of each."""
    from zoo.datasets.qm9.full import read_full

    return scales_of(read_full(data_dir)["train"].labels)


def scales_of(labels: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each task's labels, six digits of each.

    Example:

    >>> scales_of({"mu": np.array([1.0, 2.0, 6.0])})
    {'mu': (3.0, 2.16025)}
    """
    exact = {task: values.astype("float64") for task, values in labels.items()}
    return {
        task: (float(f"{values.mean():.6g}"), float(f"{values.std():.6g}"))
        for task, values in exact.items()
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True)
    for task, scale in counted(parser.parse_args().data_dir).items():
        print(f'    "{task}": {scale},')


if __name__ == "__main__":
    main()
