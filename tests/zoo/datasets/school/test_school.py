"""The builder under TFDS's own test case, and the data set that is loaded through it."""

import builtins
import hashlib
import io
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds
from scipy.io import savemat

import zoo.datasets
from zoo.datasets.prepared import is_prepared
from zoo.datasets.school import files
from zoo.datasets.school.school import School
from zoo.datasets.school.split import parts
from zoo.datasets.source_file import SourceFile

STUDENTS = (20, 8)
DUMMY = tempfile.TemporaryDirectory(prefix="school-")


def cells(arrays):
    found = np.empty((1, len(arrays)), object)
    found[0] = arrays
    return found


def matlab(columns=28, scores=1):
    """Two schools whose students' columns and scores tell school and row."""
    content = io.BytesIO()
    x = [row_of(school)[:, :columns] for school in range(2)]
    y = [np.tile(row_of(school)[:, [4]], scores) for school in range(2)]
    savemat(content, {"X": cells(x), "Y": cells(y)}, do_compression=True)
    return content.getvalue()


def row_of(school):
    rows = np.zeros((STUDENTS[school], 28), np.uint8)
    rows[:, 3], rows[:, 4], rows[:, 27] = 40 + school, np.arange(1, 1 + len(rows)), 1
    return rows


def written_file():
    """An invented file in the place of the official one."""
    content = matlab()
    official = files.source_files()["school"]
    (Path(DUMMY.name) / official.name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return {"school": SourceFile(official.name, digest, official.url)}


SOURCE = written_file()


@pytest.fixture
def dummy_files():
    with mock.patch.object(files, "source_files", lambda: SOURCE):
        yield Path(DUMMY.name)


@pytest.mark.usefixtures("dummy_files")
class SchoolTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = School
    EXAMPLE_DIR = DUMMY.name
    SPLITS = {"train": 17, "validation": 4, "test": 7}  # noqa: RUF012


@pytest.fixture
def data_dir(dummy_files, tmp_path):
    shutil.copytree(dummy_files, tmp_path / "downloads" / "manual")
    return tmp_path


def rows_of(split):
    batches = list(split.as_numpy_iterator())
    columns = [x["student"] for x, _ in batches], [x["school"] for x, _ in batches]
    return *map(np.concatenate, columns), np.concatenate([y["exam_score"] for _, y in batches])


def test_every_student_is_there_with_school_and_score(data_dir, no_network):
    data = zoo.datasets.load("school", data_dir=data_dir, batch_size=5)
    assert data.source == "tfds"
    for part, split in enumerate(("train", "validation", "test")):
        student, school, score = rows_of(getattr(data, split))
        assert student.dtype == score.dtype == "float32" and school.dtype == "int32"
        expected = [
            (k, *row) for k in range(2) for row in row_of(k)[parts(k, STUDENTS[k]) == part].tolist()
        ]
        found = np.column_stack([school, student])
        assert sorted(map(tuple, found.tolist())) == sorted(expected)
        np.testing.assert_array_equal(score, student[:, 4])
        assert data.sizes[split] == len(expected)


def test_the_school_is_whose_a_student_is_and_no_feature(data_dir):
    data = zoo.datasets.load("school", data_dir=data_dir)
    assert [len(names) for names in data.row_tasks.values()] == [139]
    assert list(data.features) == ["student"]
    assert len(data.label_rates["train"]) == 0


def test_percentages_become_shares(data_dir):
    data = zoo.datasets.load("school", data_dir=data_dir)
    encoded = data.features["student"].preprocessor("student")(row_of(1).astype("float32"))
    np.testing.assert_allclose(encoded[:, 3], 0.41, rtol=1e-6)
    np.testing.assert_allclose(encoded[:, 27], 1, rtol=1e-6)


def test_a_model_that_is_told_the_school_trains_on_it(data_dir):
    data = zoo.datasets.load("school", data_dir=data_dir, batch_size=8)
    model = zoo.task_conditioned(
        data.tasks, data.features, [4], row_input="school", num_row_tasks=139
    )
    history = model.fit(data.train, validation_data=data.validation, epochs=1, verbose=0).history
    assert np.isfinite(history["val_exam_score_loss"][0])


@pytest.mark.parametrize("students", [22, 23, 24, 25, 251])
def test_the_split_of_a_school_is_near_60_15_and_25_percent(students):
    found = parts(3, students)
    assert np.abs(np.bincount(found) - students * np.array([0.6, 0.15, 0.25])).max() <= 1
    assert (parts(4, students) != found).any()


def test_other_content_is_refused_and_nothing_is_left(data_dir):
    path = data_dir / "downloads" / "manual" / "school.mat"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"official school\.mat.*Received: SHA-256"):
        zoo.datasets.load("school", data_dir=data_dir)
    assert not is_prepared("school", data_dir)


@pytest.mark.parametrize("form", [{"columns": 27}, {"scores": 2}])
def test_arrays_of_another_form_are_refused(form):
    with pytest.raises(ValueError, match=r"\(students, 28\) numbers a school.*Received: shapes"):
        files.parsed(matlab(**form))


def test_without_scipy_the_error_says_how_to_install_it(data_dir, monkeypatch):
    real = builtins.__import__

    def without_scipy(name, *args, **kwargs):
        if name == "scipy.io":
            raise ModuleNotFoundError("No module named 'scipy'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(ImportError, match=r'pip install "mtl-keras\[matlab\]"'):
        zoo.datasets.load("school", data_dir=data_dir)


def test_the_official_file_is_that_of_the_papers(official, tmp_path, no_network):
    shutil.copytree(official("school"), tmp_path / "downloads" / "manual")
    data = zoo.datasets.load("school", data_dir=tmp_path)
    assert data.sizes == {"train": 9_199, "validation": 2_306, "test": 3_857}
    student, school, score = (
        np.concatenate(column)
        for column in zip(*map(rows_of, (data.train, data.validation, data.test)), strict=True)
    )
    assert len(school) == 15_362 and set(school) == set(range(139))
    assert (score.min(), score.max()) == (1, 70)
    columns = dict(zip(files.COLUMNS, student.T, strict=True))
    percentages = [name for name in columns if name.startswith("percent")]
    assert all(set(columns[name]) <= {0, 1} for name in columns if name not in percentages)
    assert (columns["one"] == 1).all()
    # Of each set of exclusive columns one is 1, but for students of no band.
    for first, last in (
        ("year_1985", "year_1987"),
        ("female", "male"),
        ("mixed_school", "girls_school"),
    ):
        where = slice(files.COLUMNS.index(first), files.COLUMNS.index(last) + 1)
        assert (student[:, where].sum(1) == 1).all()
    bands = columns["band_1"] + columns["band_2"] + columns["band_3"]
    assert (bands == 0).sum() == 15
    means = [score[columns[f"band_{band}"] == 1].mean() for band in (1, 2, 3)]
    assert means == sorted(means, reverse=True)
    assert (columns["female"][columns["girls_school"] == 1] == 1).all()
    # All boys but for one.
    assert (columns["female"][columns["boys_school"] == 1] == 1).sum() == 1
