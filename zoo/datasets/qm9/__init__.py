"""QM9: twelve computed properties of 130,831 small molecules, a regression task each.

Inputs are atomic numbers (atoms,), 0 where there is no atom, and positions (atoms, 3) in angstrom,
of up to 29 atoms: batches are as wide as their largest molecule. The labels, with their units,
stand in `properties`: the four energies are given relative to the free atoms, all energies in
electronvolt. Labels are as large as they are: their standard deviations, in `scales`, differ
470-fold, so a model wants them standardised. Many a paper leaves `gap` out, which is `lumo` less
`homo`. Reading the data needs TensorFlow Datasets.
"""

import os
from typing import Any

from zoo.datasets.columns import Split


def make_tasks() -> tuple:
    """The twelve properties in their usual order, as fresh objects."""
    from mtl_keras.tasks import RegressionTask
    from zoo.datasets.qm9.properties import PROPERTIES

    return tuple(RegressionTask(name) for name in PROPERTIES)


def make_features() -> dict[str, Any]:
    """Numbers and positions as they are: both mean something to a model of atoms."""
    from zoo.features import Numeric

    shapes = {"numbers": (None,), "positions": (None, 3)}
    return {name: Numeric(mean=0.0, variance=1.0, shape=shape) for name, shape in shapes.items()}


def read_full(data_dir: str | os.PathLike | None) -> dict[str, Split]:
    """The splits of the full data; prepares them in `data_dir` where they are not."""
    from zoo.datasets.qm9.full import read_full

    return read_full(data_dir)
