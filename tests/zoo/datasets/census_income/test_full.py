import shutil
import socket
import time

import numpy as np
import pytest

import zoo.datasets
from zoo.datasets.census_income import columns, source
from zoo.datasets.census_income.columns import halves, make_labels, make_strata, parse
from zoo.datasets.prepared import is_prepared


def in_order(batches, name):
    return np.concatenate([x[name] for x, _ in batches.as_numpy_iterator()])


@pytest.fixture
def manual_dir(dummy_archive, tmp_path):
    directory = tmp_path / "downloads" / "manual"
    directory.mkdir(parents=True)
    shutil.copy(dummy_archive, directory)
    return directory


def test_files_in_the_manual_folder_need_no_network(manual_dir, tmp_path, no_network):
    data = zoo.datasets.load("census_income", source="tfds", data_dir=tmp_path)
    assert data.source == "tfds"
    assert data.sizes["train"] == 40
    assert data.sizes["validation"] + data.sizes["test"] == 20
    # The dummy rows are numbered by age, from 10 on in train and from 50 on in test.
    assert sorted(in_order(data.train, "age")) == list(range(10, 50))
    ages = [in_order(split, "age").tolist() for split in (data.validation, data.test)]
    assert sorted(ages[0] + ages[1]) == list(range(50, 70))
    assert ages == [sorted(part) for part in ages]


def test_auto_takes_what_is_prepared(manual_dir, tmp_path, no_network):
    assert zoo.datasets.load("census_income", data_dir=tmp_path).source == "embedded"
    zoo.datasets.load("census_income", source="tfds", data_dir=tmp_path)
    shutil.rmtree(manual_dir)
    data = zoo.datasets.load("census_income", data_dir=tmp_path)
    assert data.source == "tfds"
    assert data.sizes["train"] == 40


def test_the_archive_is_downloaded_and_searched(dummy_archive, tmp_path, monkeypatch):
    # TFDS copies what is no web address, through the same code as a download.
    monkeypatch.setattr(source, "URL", str(dummy_archive))
    data = zoo.datasets.load("census_income", source="tfds", data_dir=tmp_path)
    assert data.sizes["train"] == 40


def test_other_content_is_refused_and_nothing_is_left(manual_dir, tmp_path, monkeypatch):
    wrong = source.SourceFile("census-income.data", "0" * 64)
    monkeypatch.setitem(source.FILES, "train", wrong)
    with pytest.raises(ValueError, match=r"official census-income\.data"):
        zoo.datasets.load("census_income", source="tfds", data_dir=tmp_path)
    assert not is_prepared("census_income", tmp_path)
    assert not list(tmp_path.glob("census_income/*"))


def test_without_network_the_error_is_quick_and_names_the_folder(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=r"census-income\.data\.gz.*manual.*embedded"):
        zoo.datasets.load("census_income", source="tfds", data_dir=tmp_path)
    # TFDS itself retries for minutes; loading TFDS may take some seconds.
    assert time.monotonic() - start < 30


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"`data_dir` must be a directory .*Received: data_dir="):
        zoo.datasets.load("census_income", source="tfds", data_dir=tmp_path / "file")


def test_the_variants_share_what_is_prepared(manual_dir, tmp_path, no_network, monkeypatch):
    # The dummy rows know no degrees; 25 of the 40 to train on have this education.
    monkeypatch.setitem(columns.LABELS, "college", ("education", ("other educ",)))
    two = zoo.datasets.load("census_income", source="tfds", data_dir=tmp_path)
    shutil.rmtree(manual_dir)
    three = zoo.datasets.load("census_income", data_dir=tmp_path, variant="three_tasks")
    assert three.source == "tfds"
    assert [task.name for task in three.tasks] == ["income", "never_married", "college"]
    assert dict(three.features) == dict(two.features)
    for split, rates in two.label_rates.items():
        assert rates.items() < three.label_rates[split].items()
    assert three.label_rates["train"]["college"] == 25 / 40


@pytest.mark.slow
def test_the_official_files_give_the_full_data(real_data, tmp_path, no_network):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    for file in source.FILES.values():
        shutil.copy(real_data / f"{file.name}.gz", manual)
    data = zoo.datasets.load("census_income", source="tfds", data_dir=tmp_path)
    assert data.sizes == {"train": 199_523, "validation": 49_882, "test": 49_880}
    assert data.label_rates["train"]["income"] == pytest.approx(0.0621, abs=1e-4)
    three = zoo.datasets.load("census_income", data_dir=tmp_path, variant="three_tasks")
    assert three.label_rates["train"]["college"] == pytest.approx(0.1964, abs=1e-4)

    # The order of the file survives TFDS's shards, so the halves are those of the protocol.
    path = manual / "census-income.test.gz"
    raw = parse(source.FILES["test"].read(path).decode("ascii"))
    rows = halves(make_strata(make_labels(raw)))
    for split, taken in zip((data.validation, data.test), rows, strict=True):
        for name in ("age", "weeks_worked"):
            wanted = np.array(raw[name], "float32")[taken]
            np.testing.assert_array_equal(in_order(split, name), wanted)
