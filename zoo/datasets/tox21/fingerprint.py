"""fingerprints: from SMILES strings to the bits that a model of Tox21 reads."""

from collections.abc import Sequence

import numpy as np

BITS = 1024
_RADIUS = 2


def fingerprints(smiles: Sequence[str]) -> np.ndarray:
    """Morgan fingerprints of molecules: radius 2 (ECFP4), folded to 1,024 bits, no chirality.

    A bit stands for the surroundings of an atom up to two bonds away, and, as there are more of
    these than bits, for others too. Needs RDKit: `pip install "mtl-keras[chem]"`.

    Args:
        smiles: SMILES strings, one a molecule.

    Returns:
        Bits 0 and 1, uint8 (molecules, 1024).

    Raises:
        ImportError: when RDKit is not installed.
        ValueError: for one string in place of several, and for strings that are no molecules.

    Example:

    ```python
    model.predict({"fingerprint": fingerprints(["CCO", "c1ccccc1"])})
    ```

    Reference:
        Rogers & Hahn 2010, "Extended-Connectivity Fingerprints", doi:10.1021/ci100050t.
    """
    try:
        from rdkit import rdBase
        from rdkit.Chem import MolFromSmiles
        from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
    except ImportError as error:
        raise ImportError(
            f'Fingerprints need RDKit: pip install "mtl-keras[chem]". Received: {error}'
        ) from error
    # A string is a sequence of strings too, and of molecules: "CO" would be C and O.
    if isinstance(smiles, str):
        raise ValueError(f"`smiles` must be a sequence of strings. Received: smiles={smiles!r}")
    with rdBase.BlockLogs():
        molecules = [MolFromSmiles(text) for text in smiles]
    bad = [text for text, m in zip(smiles, molecules, strict=True) if not (m and m.GetNumAtoms())]
    if bad:
        raise ValueError(
            f"`smiles` must be SMILES of molecules. Received: {len(bad)} that RDKit "
            f"{rdBase.rdkitVersion} cannot read, the first of them {bad[:10]}"
        )
    bits_of = GetMorganGenerator(radius=_RADIUS, fpSize=BITS).GetFingerprintAsNumPy
    return np.array([bits_of(molecule) for molecule in molecules], "uint8").reshape(-1, BITS)
