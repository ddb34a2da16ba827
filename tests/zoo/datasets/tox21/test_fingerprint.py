"""Fingerprints of molecules, against what is known of them and against the published ones."""

import builtins
import gzip
import sys

import numpy as np
import pytest

from zoo.datasets.tox21 import files
from zoo.datasets.tox21.fingerprint import BITS, fingerprints
from zoo.datasets.tox21.split import split_of


def test_without_rdkit_the_error_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def without_rdkit(name, *args, **kwargs):
        if name.partition(".")[0] == "rdkit":
            raise ModuleNotFoundError("No module named 'rdkit'")
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.partition(".")[0] == "rdkit"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_rdkit)
    with pytest.raises(ImportError, match=r'pip install "mtl-keras\[chem\]".*No module'):
        fingerprints(["CO"])


def test_one_molecule_in_place_of_several_is_refused():
    pytest.importorskip("rdkit")
    with pytest.raises(ValueError, match=r"sequence of strings\. Received: smiles='CO'"):
        fingerprints("CO")


def test_a_fingerprint_is_of_the_molecule_and_not_of_its_spelling():
    pytest.importorskip("rdkit")
    bits = fingerprints(["CCO", "OCC", "C(O)C", "COC"])
    assert bits.shape == (4, BITS) and bits.dtype == np.uint8
    assert set(np.unique(bits)) == {0, 1}
    assert (bits[:3] == bits[0]).all()
    assert (bits[3] != bits[0]).any()


def test_it_reaches_two_bonds_far_and_knows_no_mirror_images():
    pytest.importorskip("rdkit")
    hexane, heptane, decane = fingerprints(["C" * n for n in (6, 7, 10)])
    # Only from seven atoms on is there one whose neighbours' neighbours are no ends.
    assert (hexane != heptane).any()
    assert (heptane == decane).all()
    left, right = fingerprints(["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"])
    assert (left == right).all()


def test_strings_that_are_no_molecules_are_named():
    pytest.importorskip("rdkit")
    with pytest.raises(ValueError, match=r"Received: 3 that RDKit .*\['CO\)', '', 'C\[AlH3\]C'\]"):
        fingerprints(["CO", "CO)", "", "C[AlH3]C"])


def test_no_molecules_have_no_fingerprints():
    pytest.importorskip("rdkit")
    assert fingerprints([]).shape == (0, BITS)


def test_those_of_the_official_file_are_the_published_bits(official):
    pytest.importorskip("rdkit")
    published = np.load(official("tox21") / "tox21_ecfp4_1024.npz")
    _, smiles, labels = files.parsed(gzip.decompress(_file(official).read_bytes()))
    assert len(smiles) == 8006
    assert smiles == published["smiles"].tolist()
    np.testing.assert_array_equal(labels, published["y"])
    np.testing.assert_array_equal(fingerprints(smiles), np.unpackbits(published["fp"], axis=1))


def test_what_is_left_out_cannot_be_read(official):
    pytest.importorskip("rdkit")
    lines = gzip.decompress(_file(official).read_bytes()).decode().splitlines()
    left_out = [line.split(",")[-2:] for line in lines if line.split(",")[-2] in files.UNREADABLE]
    assert len(left_out) == 8
    for _, smiles in left_out:
        with pytest.raises(ValueError, match="1 that RDKit"):
            fingerprints([smiles])


def test_a_molecule_is_in_one_split_however_it_is_written(official):
    chem = pytest.importorskip("rdkit.Chem")
    published = np.load(official("tox21") / "tox21_ecfp4_1024.npz")
    splits = {}
    unpacked = np.unpackbits(published["fp"], axis=1)
    for smiles, bits in zip(published["smiles"].tolist(), unpacked, strict=True):
        molecule = chem.MolToSmiles(chem.MolFromSmiles(smiles))
        splits.setdefault(molecule, set()).add(split_of(bits))
    assert len(splits) == 7823
    assert {len(found) for found in splits.values()} == {1}


def _file(official):
    return official("tox21") / "tox21.csv.gz"
