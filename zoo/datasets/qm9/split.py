"""The split of QM9: 110,000 molecules to train, 10,000 to validate, the rest to test, by chance.

It is the split of DimeNet (Gasteiger et al. 2020), which several papers after it share: the
molecules in the order of their index, permuted by NumPy's `RandomState` with the seed 42. Its
numbers NumPy keeps the same in all versions.
"""

import numpy as np

SIZES = {"train": 110_000, "validation": 10_000}
_SEED = 42


def rows_of_splits(molecules: int) -> dict[str, np.ndarray]:
    """Split to the rows of its molecules, ascending.

    Args:
        molecules: how many there are; 130,831 without those that the publishers exclude.
    """
    order = np.random.RandomState(_SEED).permutation(molecules)
    parts = np.split(order, np.cumsum(list(SIZES.values())))
    return {split: np.sort(rows) for split, rows in zip((*SIZES, "test"), parts, strict=True)}
