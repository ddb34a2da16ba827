"""The split of Tox21: by fingerprint, so that no test molecule has been seen.

The data come without a split. Of the 8,006 rows 7,823 are distinct molecules (canonical SMILES)
and 7,437 distinct fingerprints: these know neither the length of a chain nor which mirror image
a molecule is. A model cannot tell molecules of one fingerprint apart, so that one of them in
training and another in testing would test memory. Equal molecules have equal fingerprints, so to
keep fingerprints together keeps molecules together; only two salts that differ in where a proton
sits, one molecule to InChI, are in train and validation. The SHA-256 of the bits decides, and
neither the order of the rows nor canonical SMILES, which differ between versions of RDKit, matter.
"""

import hashlib

import numpy as np

_TENTHS = ("train",) * 8 + ("validation", "test")


def split_of(fingerprint: np.ndarray) -> str:
    """The split of all molecules of a fingerprint: train in about eight of ten, or one of the rest.

    Args:
        fingerprint: bits 0 and 1, (1024,).

    Example:

    >>> split_of(np.zeros(1024, "uint8"))
    'train'
    """
    digest = hashlib.sha256(np.packbits(fingerprint).tobytes()).digest()
    return _TENTHS[int.from_bytes(digest[:8], "big") % len(_TENTHS)]
