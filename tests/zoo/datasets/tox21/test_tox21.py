"""The builder under TFDS's own test case, and the data set that is loaded through it.

Fingerprints are invented, so that none of this needs RDKit.
"""

import hashlib
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds

import zoo.datasets
from zoo.datasets.prepared import is_prepared
from zoo.datasets.source_file import SourceFile
from zoo.datasets.tox21 import files, tox21
from zoo.datasets.tox21.split import split_of

HEADER = ",".join([*files.COLUMNS, "mol_id", "smiles"])
ROWS = 60
DUMMY = tempfile.TemporaryDirectory(prefix="tox21-")


def smiles_of(row):
    """Every third molecule is the one before it, written the other way round."""
    return f"C{'N' * row}O" if row % 3 < 2 else f"O{'N' * (row - 1)}C"


def labels_of(row):
    """Labels that tell where they stand; the sixth assay has none in every second row."""
    labels = [str((row + task) % 2) for task in range(12)]
    labels[5] = "" if row % 2 else "1"
    return labels


def invented(smiles):
    """In place of fingerprints: the same bits for the same letters."""
    if any("Al" in text for text in smiles):
        raise ValueError("aluminium")
    seeds = [hashlib.sha256("".join(sorted(text)).encode()).digest() for text in smiles]
    draws = [np.random.RandomState(int.from_bytes(seed[:4], "big")) for seed in seeds]
    return np.stack([draw.randint(2, size=1024) for draw in draws]).astype("uint8")


BITS = invented([smiles_of(row) for row in range(ROWS)])
SPLITS = Counter(map(split_of, BITS))


def written_file():
    """Invented lines in the place of the official ones, one of them of a molecule left out."""
    lines = [",".join([*labels_of(row), f"TOX{row}", smiles_of(row)]) for row in range(ROWS)]
    lines.insert(7, ",".join([*labels_of(0), files.UNREADABLE[3], "O[AlH3]O"]))
    content = "\n".join([HEADER, *lines]).encode() + b"\n"
    official = files.source_files()["molecules"]
    (Path(DUMMY.name) / official.name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return {"molecules": SourceFile(official.name, digest, official.url)}


SOURCES = written_file()


@pytest.fixture
def dummy_files():
    with (
        mock.patch.object(files, "source_files", lambda: SOURCES),
        mock.patch.object(tox21, "fingerprints", invented),
    ):
        yield Path(DUMMY.name)


@pytest.mark.usefixtures("dummy_files")
class Tox21Test(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = tox21.Tox21
    EXAMPLE_DIR = DUMMY.name
    SPLITS = dict(SPLITS)  # noqa: RUF012


@pytest.fixture
def data_dir(dummy_files, tmp_path):
    shutil.copytree(dummy_files, tmp_path / "downloads" / "manual")
    return tmp_path


def test_every_row_is_there_with_its_bits_and_labels(data_dir, no_network):
    data = zoo.datasets.load("tox21", data_dir=data_dir, batch_size=7)
    assert data.source == "tfds"
    assert dict(data.sizes) == SPLITS
    assert [task.name for task in data.tasks] == list(files.ASSAYS)
    for split in SPLITS:
        rows = [row for row in range(ROWS) if split_of(BITS[row]) == split]
        found = data.splits[split]
        np.testing.assert_array_equal(found.inputs["fingerprint"], BITS[rows])
        labels = [[float(label or "nan") for label in labels_of(row)] for row in rows]
        for task, expected in zip(files.ASSAYS, np.array(labels, "float32").T, strict=True):
            assert found.labels[task].dtype == np.float32
            np.testing.assert_array_equal(found.labels[task], expected)


def test_rates_are_of_the_labels_that_are_there(data_dir):
    data = zoo.datasets.load("tox21", data_dir=data_dir)
    rows = [row for row in range(ROWS) if split_of(BITS[row]) == "train"]
    odd = np.mean([row % 2 for row in rows])
    assert data.missing_rates["train"]["nr_er_lbd"] == pytest.approx(odd)
    assert data.label_rates["train"]["nr_er_lbd"] == 1
    assert data.label_rates["train"]["nr_ar"] == pytest.approx(odd)
    assert data.missing_rates["train"]["nr_ar"] == 0


def test_the_builder_keeps_what_the_file_says_of_a_molecule(data_dir):
    builder = tox21.Tox21(data_dir=data_dir)
    builder.download_and_prepare()
    found = {
        example["mol_id"].decode(): example["smiles"].decode()
        for split in SPLITS
        for example in builder.as_dataset(split=split).as_numpy_iterator()
    }
    assert found == {f"TOX{row}": smiles_of(row) for row in range(ROWS)}


def test_a_model_reads_the_bits_as_they_are_and_trains(data_dir):
    data = zoo.datasets.load("tox21", data_dir=data_dir, batch_size=16)
    x, _ = next(iter(data.test))
    model = zoo.shared_trunk(data.tasks, data.features, [4])
    np.testing.assert_array_equal(model.get_layer("preprocessing")(x), x["fingerprint"])
    history = model.fit(data.train, validation_data=data.validation, epochs=1, verbose=0).history
    losses = [history[f"val_{task}_loss"][0] for task in files.ASSAYS]
    assert np.isfinite(losses).all()


def test_the_split_is_a_function_of_the_bits_alone():
    rng = np.random.RandomState(0)
    bits = rng.randint(2, size=(2000, 1024)).astype("uint8")
    splits = [split_of(row) for row in bits]
    assert splits == [split_of(row) for row in bits.astype(bool)]
    # Three standard deviations of 2,000 draws are 0.027 and 0.02.
    shares = {split: count / 2000 for split, count in Counter(splits).items()}
    assert shares["train"] == pytest.approx(0.8, abs=0.03)
    assert shares["validation"] == pytest.approx(0.1, abs=0.02)
    assert shares["test"] == pytest.approx(0.1, abs=0.02)
    # Fixed for good: another rule would give another data set.
    assert "".join(split[0] for split in splits[:24]) == "tttttvtvttttttttvvtttttt"


def test_other_content_is_refused_and_nothing_is_left(data_dir):
    path = data_dir / "downloads" / "manual" / "tox21.csv"
    path.write_bytes(path.read_bytes().replace(b"TOX5,", b"TOX6,"))
    with pytest.raises(ValueError, match=r"official tox21\.csv: .*Received: SHA-256"):
        zoo.datasets.load("tox21", data_dir=data_dir)
    assert not is_prepared("tox21", data_dir)


def test_without_rdkit_it_is_not_prepared_and_nothing_is_left(data_dir, no_network):
    with (
        mock.patch.object(tox21, "fingerprints", side_effect=ImportError('"mtl-keras[chem]"')),
        pytest.raises(ImportError, match=r"mtl-keras\[chem\]"),
    ):
        zoo.datasets.load("tox21", data_dir=data_dir)
    assert not is_prepared("tox21", data_dir)


def test_what_is_prepared_is_read_without_rdkit(data_dir):
    zoo.datasets.load("tox21", data_dir=data_dir)
    with mock.patch.object(tox21, "fingerprints", side_effect=ImportError):
        assert zoo.datasets.load("tox21", data_dir=data_dir).sizes["train"] == SPLITS["train"]


@pytest.mark.parametrize(
    "line",
    [
        "0,0,0,0,0,0,0,0,0,0,0,TOX1,CO",
        "0,0,0,0,0,0,0,0,0,0,0,2,TOX1,CO",
        "0,0,0,0,0,0,0,0,0,0,0,0,,CO",
        "0,0,0,0,0,0,0,0,0,0,0,0,TOX1,",
        "",
    ],
)
def test_lines_of_another_form_are_refused(line):
    fine = ",".join([*labels_of(0), "TOX0", "CO"])
    with pytest.raises(ValueError, match="twelve labels, each 0, 1 or nothing, an id and a SMILES"):
        files.parsed("\n".join([HEADER, fine, line, fine]).encode())


def test_columns_in_another_order_are_refused():
    header = HEADER.replace("NR-AR,NR-AR-LBD", "NR-AR-LBD,NR-AR")
    with pytest.raises(ValueError, match="the header must be NR-AR,NR-AR-LBD"):
        files.parsed(f"{header}\n".encode())


def test_the_official_fingerprints_make_the_published_splits(official):
    published = np.load(official("tox21") / "tox21_ecfp4_1024.npz")
    splits = [split_of(bits) for bits in np.unpackbits(published["fp"], axis=1)]
    sizes = zoo.datasets.info("tox21").counts.sizes
    assert dict(Counter(splits)) == sizes == {"train": 6378, "validation": 824, "test": 804}
    parts = {
        split: {
            bits.tobytes() for bits, s in zip(published["fp"], splits, strict=True) if s == split
        }
        for split in sizes
    }
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 7437


def test_the_official_file_is_read_in_full(official, tmp_path, no_network):
    pytest.importorskip("rdkit")
    shutil.copytree(official("tox21"), tmp_path / "downloads" / "manual")
    data = zoo.datasets.load("tox21", data_dir=tmp_path)
    known = zoo.datasets.info("tox21").counts
    assert dict(data.sizes) == known.sizes
    for split, rates in known.missing_rates.items():
        assert data.missing_rates[split] == pytest.approx(rates, abs=1e-6)
        assert data.label_rates[split] == pytest.approx(known.label_rates[split], abs=1e-6)
    labels = [split.labels[task] for split in data.splits.values() for task in files.ASSAYS]
    labels = np.concatenate(labels)
    assert np.isnan(labels).mean() == pytest.approx(0.1726, abs=1e-4)
    assert np.nanmean(labels) == pytest.approx(0.0749, abs=1e-4)
