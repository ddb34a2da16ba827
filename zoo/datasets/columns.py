"""Columns of one split in memory: arrays, coded categories and labels."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.datasets.words import Words


@dataclass(frozen=True)
class Categories:
    """A column of categories: `values[codes[i]]` is the category of row i.

    Codes keep a column of strings small and make its vocabulary free.

    Args:
        codes: int32 array (rows,), positions in `values`.
        values: the distinct categories of this column, sorted.
    """

    codes: np.ndarray
    values: tuple[str, ...]

    @classmethod
    def encode(cls, column: Sequence[str]) -> "Categories":
        """Codes a sequence of strings.

        >>> Categories.encode(["b", "a", "b"]).codes
        array([1, 0, 1], dtype=int32)
        """
        # One pass over the strings: each new one gets the next code; then codes are sorted.
        position = defaultdict()
        position.default_factory = position.__len__
        codes = np.fromiter(map(position.__getitem__, column), np.int32, len(column))
        values = tuple(sorted(position))
        rank = np.empty(len(values), np.int32)
        for code, value in enumerate(values):
            rank[position[value]] = code
        return cls(rank[codes], values)

    def take(self, rows: np.ndarray) -> "Categories":
        """The rows at these positions; `values` keeps only what occurs in them."""
        kept, codes = np.unique(self.codes[rows], return_inverse=True)
        return Categories(codes.astype(np.int32), tuple(self.values[code] for code in kept))


@dataclass(frozen=True)
class Split:
    """One split in memory: inputs and labels by name, all with as many rows.

    Args:
        inputs: name to an array (rows, ...), or to `Categories` or `Words` of as many rows.
        labels: task name to array (rows, ...); NaN, or -1 in integers, where there is none.
    """

    inputs: dict[str, np.ndarray | Categories | Words]
    labels: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.labels.values())))

    def take(self, rows: np.ndarray) -> "Split":
        """The rows at these positions."""
        inputs = {
            name: values.take(rows) if isinstance(values, (Categories, Words)) else values[rows]
            for name, values in self.inputs.items()
        }
        return Split(inputs, {name: values[rows] for name, values in self.labels.items()})


def content_of(column: np.ndarray | Categories | Words) -> bytes:
    """What a column holds, as bytes that are the same on every machine.

    >>> content_of(Categories.encode(["b", "a", "b"])) == content_of(np.array(["b", "a", "b"]))
    True
    """
    if isinstance(column, Categories):
        column = np.array(column.values, object)[column.codes]
    if isinstance(column, Words):
        column = column.texts
    if column.dtype.kind in "OU":
        texts = (text if isinstance(text, bytes) else str(text).encode() for text in column)
        return b"\0".join(texts)
    return np.ascontiguousarray(column, column.dtype.newbyteorder("<")).tobytes()
