"""The builder under TFDS's own test case, and the data set that is loaded through it."""

import csv
import gzip
import hashlib
import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds

import zoo.datasets
from zoo.datasets.prepared import is_prepared
from zoo.datasets.qm9 import files, split
from zoo.datasets.qm9.properties import PROPERTIES, make_labels
from zoo.datasets.qm9.qm9 import Qm9
from zoo.datasets.qm9.scales import SCALES, scales_of
from zoo.datasets.source_file import SourceFile

ROWS = 14
SIZES = {"train": 8, "validation": 2}
SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
NAMES = [name for name, _ in PROPERTIES.values()]
HEADER = ["XYZ_file", "Index", "SMILES", "Elements", "XYZ_Ang", *NAMES]
DUMMY = tempfile.TemporaryDirectory(prefix="qm9-")


def wheel_of(lines):
    """A wheel of such tables as the publishers', the lines dealt to its three parts."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, part in enumerate(np.array_split(np.arange(len(lines)), 3)):
            table = io.StringIO()
            writer = csv.writer(table, lineterminator="\n")
            writer.writerows([HEADER, *(lines[row] for row in part)])
            archive.writestr(f"qm9pack/data/qm9_part{k + 1}.csv", table.getvalue())
    return packed.getvalue()


def line_of(index, smiles, numbers, positions, values):
    """A line of the table, with numbers as the publishers write them: "3." and not "3.0"."""
    elements = "[" + ",".join(f"'{SYMBOLS[number]}'" for number in numbers) + "]"
    atoms = [",".join(f"{x:.10f}".rstrip("0") for x in position) for position in positions]
    xyz = f"[{','.join(f'[{atom}]' for atom in atoms)}]"
    return [f"dsgdb9nsd_{index:06d}.xyz", index, smiles, elements, xyz, *values]


def invented(row):
    """A molecule that tells where it stands: as many atoms as its row, plus one, or all 29."""
    rng = np.random.RandomState(row)
    atoms = 29 if row == ROWS - 1 else row + 1
    numbers = rng.choice(list(SYMBOLS), atoms)
    positions = rng.normal(0, 4, (atoms, 3))
    positions[0] = (0, -3, 10.1819566786)
    return 2 * row + 1, "C" * (row + 1), numbers, positions, rng.normal(0, 500, 12).round(6)


MOLECULES = [invented(row) for row in range(ROWS)]


def written_file(content, folder):
    """A wheel in the place of the official one."""
    official = files.source_files()["wheel"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / official.name).write_bytes(content)
    return {"wheel": SourceFile(official.name, hashlib.sha256(content).hexdigest(), official.url)}


SOURCES = written_file(wheel_of([line_of(*molecule) for molecule in MOLECULES]), Path(DUMMY.name))


@pytest.fixture
def dummy_files():
    with (
        mock.patch.object(files, "source_files", lambda: SOURCES),
        mock.patch.object(files, "MOLECULES", ROWS),
        mock.patch.object(split, "SIZES", SIZES),
    ):
        yield Path(DUMMY.name)


@pytest.mark.usefixtures("dummy_files")
class Qm9Test(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Qm9
    EXAMPLE_DIR = DUMMY.name
    SPLITS = SIZES | {"test": 4}


@pytest.fixture
def data_dir(dummy_files, tmp_path):
    shutil.copytree(dummy_files, tmp_path / "downloads" / "manual")
    return tmp_path


def test_every_molecule_is_there_with_its_atoms_and_labels(data_dir, no_network):
    data = zoo.datasets.load("qm9", data_dir=data_dir, batch_size=3)
    assert data.source == "tfds"
    assert [task.name for task in data.tasks] == list(PROPERTIES)
    seen = []
    for part, rows in split.rows_of_splits(ROWS).items():
        found = data.splits[part]
        assert data.sizes[part] == len(rows) == len(found)
        for i, row in enumerate(rows):
            _, _, numbers, positions, values = MOLECULES[row]
            padding = 29 - len(numbers)
            np.testing.assert_array_equal(found.inputs["numbers"][i], np.pad(numbers, (0, padding)))
            np.testing.assert_allclose(
                found.inputs["positions"][i], np.pad(positions, ((0, padding), (0, 0))), atol=6e-4
            )
            raw = {task: values[[k]] for k, task in enumerate(PROPERTIES)}
            for task, label in make_labels(raw, numbers[None]).items():
                assert found.labels[task][i] == label[0]
        seen.extend(rows)
    assert sorted(seen) == list(range(ROWS))


def test_types_of_a_batch_and_its_features(data_dir):
    data = zoo.datasets.load("qm9", data_dir=data_dir, batch_size=3)
    x, y = next(iter(data.train.as_numpy_iterator()))
    longest = int((x["numbers"] > 0).sum(axis=1).max())
    assert longest < 29
    assert {name: (v.shape, v.dtype.name) for name, v in x.items()} == {
        "numbers": ((3, longest), "int32"),
        "positions": ((3, longest, 3), "float32"),
    }
    assert {(v.shape, v.dtype.name) for v in y.values()} == {((3,), "float32")}
    assert {name: feature.shape for name, feature in data.features.items()} == {
        "numbers": (None,),
        "positions": (None, 3),
    }


def test_the_builder_gives_what_is_published_to_the_last_digit(data_dir):
    builder = Qm9(data_dir=data_dir)
    builder.download_and_prepare()
    rows = split.rows_of_splits(ROWS)["test"]
    examples = list(builder.as_dataset(split="test").as_numpy_iterator())
    for row, example in zip(rows, examples, strict=True):
        index, smiles, _, positions, values = MOLECULES[row]
        assert (example["index"], example["smiles"].decode()) == (index, smiles)
        assert [example[task] for task in PROPERTIES] == values.tolist()
        assert example["positions"].dtype == np.int16
        np.testing.assert_array_equal(
            example["positions"][: len(positions)], np.rint(positions * 1000)
        )


@pytest.mark.slow
def test_a_model_trains_on_it(data_dir):
    data = zoo.datasets.load("qm9", data_dir=data_dir, batch_size=4)
    model = zoo.shared_trunk(data.tasks, data.features, [4])
    history = model.fit(data.train, validation_data=data.validation, epochs=1, verbose=0).history
    assert np.isfinite([history[f"val_{task}_loss"][0] for task in PROPERTIES]).all()


def test_the_split_is_that_of_dimenet():
    rows = split.rows_of_splits(130_831)
    assert {part: len(found) for part, found in rows.items()} == {
        "train": 110_000,
        "validation": 10_000,
        "test": 10_831,
    }
    joined = np.concatenate(list(rows.values()))
    np.testing.assert_array_equal(np.sort(joined), np.arange(130_831))
    # Their code: permutation of the rows by RandomState(42), train, validation, test in turn.
    order = np.random.RandomState(seed=42).permutation(np.arange(130_831))
    assert set(order[110_000:120_000]) == set(rows["validation"])
    # Fixed for good: a library that drew other numbers would make another data set.
    assert rows["test"][:6].tolist() == [55, 60, 66, 77, 112, 117]


def test_it_does_not_hide_the_data_set_of_that_name_of_tfds():
    assert Qm9.name == "qm9"
    assert "qm9" not in tfds.core.registered._DATASET_REGISTRY


def test_other_content_is_refused_and_nothing_is_left(data_dir):
    (wheel,) = (data_dir / "downloads" / "manual").iterdir()
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"official qm9pack-1\.0\.3.*Received: SHA-256"):
        zoo.datasets.load("qm9", data_dir=data_dir)
    assert not is_prepared("qm9", data_dir)


BROKEN = {
    "another element": ("Elements", "['C','Cl']"),
    "fewer positions": ("XYZ_Ang", "[[0.,0.,0.]]"),
    "half a position": ("XYZ_Ang", "[[0.,0.,0.],[0.,0.]]"),
    "too far away": ("XYZ_Ang", "[[0.,0.,0.],[0.,0.,40.]]"),
    "nowhere": ("XYZ_Ang", "[[0.,0.,0.],[0.,0.,nan]]"),
    "thirty atoms": ("Elements", "[" + ",".join(["'C'"] * 30) + "]"),
    "no number": ("HOMO_au", "low"),
}


@pytest.mark.parametrize(("column", "value"), BROKEN.values(), ids=BROKEN)
def test_lines_of_another_form_are_refused(column, value):
    fine = line_of(1, "CC", [6, 6], np.zeros((2, 3)), [0.5] * 12)
    broken = [*fine]
    broken[HEADER.index(column)] = value
    wheel = wheel_of([fine, fine, broken, fine])
    assert len(list(files.molecules(wheel, np.array([0, 1, 3])))) == 3
    with pytest.raises(ValueError, match=r"QM9: lines must hold.*Received: \['dsgdb9nsd_000001"):
        list(files.molecules(wheel, np.array([0, 1, 2])))


def test_a_line_that_is_cut_off_is_refused():
    cut = line_of(1, "CC", [6, 6], np.zeros((2, 3)), [0.5] * 12)[:-1]
    with pytest.raises(ValueError, match="twelve properties"):
        list(files.molecules(wheel_of([cut]), np.array([0])))


@pytest.fixture(scope="module")
def published(official):
    """Numbers, positions in 1/1000 angstrom, and the table, as extracted from the wheel."""
    folder = official("qm9")
    atoms = np.load(folder / "qm9_xyz_f16.npz")
    with gzip.open(folder / "qm9_smiles_targets.csv.gz", "rt", encoding="ascii") as file:
        header, *lines = csv.reader(file)
    return atoms["Z"], atoms["R"], header, lines


def test_the_scales_are_those_of_the_official_labels(published):
    numbers, _, header, lines = published
    assert len(lines) == len(numbers) == files.MOLECULES
    assert {int(z) for z in np.unique(numbers)} == {0, *SYMBOLS}
    raw = {
        task: np.array([float(line[header.index(name)]) for line in lines])
        for task, (name, _) in PROPERTIES.items()
    }
    labels = make_labels(raw, numbers)
    # Methane, the first molecule; 395.9996 kcal/mol in the publishers' own table.
    assert labels["u0"][0] == pytest.approx(-395.9996 / 23.060548, rel=1e-5)
    np.testing.assert_allclose(labels["gap"], labels["lumo"] - labels["homo"], atol=4e-3)
    train = split.rows_of_splits(len(lines))["train"]
    assert scales_of({task: values[train] for task, values in labels.items()}) == SCALES


@pytest.mark.slow
def test_all_official_molecules_come_out_as_they_went_in(published, tmp_path, no_network):
    numbers, positions, header, lines = published
    columns = [header.index(name) for name in ("Index", "SMILES", *NAMES)]
    written = []
    for z, r, line in zip(numbers, positions, lines, strict=True):
        index, smiles, *values = (line[k] for k in columns)
        atoms = int((z > 0).sum())
        written.append(line_of(int(index), smiles, z[:atoms], r[:atoms] / 1000, values))
    source = written_file(wheel_of(written), tmp_path / "downloads" / "manual")
    with mock.patch.object(files, "source_files", lambda: source):
        data = zoo.datasets.load("qm9", data_dir=tmp_path)
    assert data.sizes == zoo.datasets.info("qm9").counts.sizes
    for part, rows in split.rows_of_splits(len(lines)).items():
        found = data.splits[part].inputs
        np.testing.assert_array_equal(found["numbers"], numbers[rows])
        np.testing.assert_array_equal(np.rint(found["positions"] * 1000), positions[rows])
    assert scales_of(data.splits["train"].labels) == SCALES
