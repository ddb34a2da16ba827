"""The 32 files of FDU-MTL, a training and a test file a domain, and how a line is read."""

import csv
from importlib import resources

from zoo.datasets.source_file import SourceFile

HOMEPAGE = "https://github.com/ccsasuke/man"

DOMAINS = (
    "apparel",
    "baby",
    "books",
    "camera_photo",
    "dvd",
    "electronics",
    "health_personal_care",
    "imdb",
    "kitchen_housewares",
    "magazines",
    "mr",
    "music",
    "software",
    "sports_outdoors",
    "toys_games",
    "video",
)
"""The domains in the order of their ids; `mr` are sentences of movie reviews, `imdb` whole ones,
the others reviews of Amazon's products."""

DEVELOPMENT = 200
"""So many last rows of a training file are the development set."""


def source_files() -> dict[tuple[str, str], SourceFile]:
    """(domain, "train" or "test") to the file, as listed in `checksums.tsv`."""
    listed = (resources.files(__package__) / "checksums.tsv").read_text("ascii")
    files = {}
    for url, _, sha256, name in csv.reader(listed.splitlines(), delimiter="\t"):
        domain, _, part = name.lower().split(".")
        files[domain, part] = SourceFile(name, sha256, url=url)
    return files


def parsed(content: bytes) -> tuple[list[str], list[int]]:
    """Texts and labels, 1 for a positive review, of a file's lines.

    Some bytes are no UTF-8: in their place stands U+FFFD.
    """
    lines = content.decode("utf-8", "replace").rstrip("\n").split("\n")
    rows = [line.split("\t") for line in lines]
    if not all(len(row) == 2 and row[0] in ("0", "1") for row in rows):
        raise ValueError(
            "FDU-MTL: lines must hold 0 or 1, a tab and a text. "
            f"Received: {next(r for r in rows if len(r) != 2 or r[0] not in ('0', '1'))}"
        )
    return [text for _, text in rows], [int(label) for label, _ in rows]
