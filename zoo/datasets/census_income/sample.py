"""The sample inside the package: 40,000 + 15,000 + 15,000 original rows, read without TFDS.

The file holds rows of the official files with all 42 columns, turned on their side: a line of
"# " and the name of the split, then one line a column, its values separated by commas. Like
values side by side compress well even in small blocks of bzip2, and small blocks unpack in half
the time. `draw_sample` draws it; `ATTRIBUTION.md` says whose data it is.
"""

import bz2
import hashlib
from importlib import resources

from zoo.datasets.census_income.columns import COLUMNS, TASKS, to_split
from zoo.datasets.columns import Split

FILE_NAME = "sample.csv.bz2"
SHA256 = "3f0c3024b8d465bebc4f72103452c11fbb820d2af1ac066f313ebc3a316a29b8"


def read_sample(variant: str = "two_tasks") -> dict[str, Split]:
    """The three splits of the sample.

    Args:
        variant: which tasks.

    Raises:
        ValueError: when the file is damaged.

    Example:

    >>> {name: len(split) for name, split in read_sample().items()}
    {'train': 40000, 'validation': 15000, 'test': 15000}
    """
    return {split: to_split(rows, TASKS[variant]) for split, rows in read_columns().items()}


def read_columns() -> dict[str, dict[str, list[str]]]:
    """All columns of the sample by split, after the digest of the file was compared."""
    packed = (resources.files(__package__) / FILE_NAME).read_bytes()
    digest = hashlib.sha256(packed).hexdigest()
    if digest != SHA256:
        raise ValueError(
            f"The embedded sample {FILE_NAME} is damaged; install the package again. "
            f"Its SHA-256 must be {SHA256}. Received: {digest}"
        )
    return unpack(packed)


def pack(splits: dict[str, dict[str, list[str]]]) -> bytes:
    """The file for these columns by split."""
    lines = []
    for split, columns in splits.items():
        lines += [f"# {split}", *(",".join(columns[name]) for name in COLUMNS)]
    return bz2.compress("\n".join(lines).encode("ascii"), compresslevel=1)


def unpack(packed: bytes) -> dict[str, dict[str, list[str]]]:
    """The inverse of `pack`."""
    lines = bz2.decompress(packed).decode("ascii").split("\n")
    step = 1 + len(COLUMNS)
    return {
        lines[start].removeprefix("# "): {
            name: line.split(",")
            for name, line in zip(COLUMNS, lines[start + 1 : start + step], strict=True)
        }
        for start in range(0, len(lines), step)
    }
