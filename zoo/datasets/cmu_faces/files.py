"""The two files of CMU faces, one a size: which they are and how their arrays are read.

A file is an archive of NumPy, in one of two forms. The publisher's, as the code beside it reads
it: `data`, brightness from 0 to 1, and `labels`, texts such as "alex_forward_happy_eyes". Or
`images`, bytes, and `labels`, codes of person, pose, expression and sunglasses in each row. What is
verified is what both have in common, the SHA-256 of codes and bytes in the order of the codes: that
of the publisher's files themselves is not known.
"""

import hashlib
import io
import zipfile

import numpy as np

from zoo.datasets.cmu_faces import PERSONS, POSES

HOMEPAGE = "https://archive.ics.uci.edu/ml/datasets/cmu+face+images"
_URL = "https://raw.githubusercontent.com/Calysto/conx-data/master/cmu_faces/"

EXPRESSIONS = ("angry", "happy", "neutral", "sad")
EYES = ("eyes", "sunglasses")

SHAPES = {"half": (60, 64), "quarter": (30, 32)}
"""Variant to height and width."""

SHA256 = {
    "half": "e725ee0a346442419064f7381be74a94a808cd393c031c42771e0946bf3c4d90",
    "quarter": "bf215f75df0497b2b292398d31ff3f97662c4dd70c9101f0b6fae13f903ce536",
}
"""Variant to the digest of its content."""


def names(variant: str) -> tuple[str, str]:
    """The names that a file may have, the publisher's first."""
    return f"cmu_faces_{variant}_size.npz", f"cmu_faces_{variant}.npz"


def url(variant: str) -> str:
    """Where the publisher has it."""
    return _URL + names(variant)[0]


def parsed(content: bytes, variant: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (rows, height, width) and codes (rows, 4), uint8, in the order of the codes.

    Raises:
        ValueError: when the content is not the official one.
    """
    try:
        images, codes = _arrays(content, SHAPES[variant])
    except (KeyError, IndexError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{names(variant)[0]} must be an archive of NumPy with `data` or `images` of "
            f"{SHAPES[variant]} pixels and `labels`, texts or codes. Received: {error}"
        ) from error
    digest = hashlib.sha256(codes.tobytes() + images.tobytes()).hexdigest()
    if digest != SHA256[variant]:
        raise ValueError(
            f"The content must be that of the official {names(variant)[0]}: SHA-256 "
            f"{SHA256[variant]} of codes and pictures. Received: SHA-256 {digest}"
        )
    return images, codes


def _arrays(content, shape):
    # Without pickles, which could run anything.
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        images = np.rint(255 * arrays["data"]) if "data" in arrays else arrays["images"]
        codes = _codes(arrays["labels"])
    order = np.lexsort(codes.T[::-1])
    return images.astype(np.uint8).reshape(-1, *shape)[order], codes[order]


def _codes(labels):
    if labels.dtype.kind != "U":
        return labels.astype(np.uint8)
    classes = (PERSONS, POSES, EXPRESSIONS, EYES)
    rows = [zip(classes, text.split("_"), strict=True) for text in labels.tolist()]
    return np.array([[of.index(word) for of, word in row] for row in rows], np.uint8)
