"""The builder under TFDS's own test case, and the data set that is loaded through it."""

import gzip
import hashlib
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds

import zoo.datasets
from zoo.datasets.fdu_mtl import files
from zoo.datasets.fdu_mtl.fdu_mtl import FduMtl
from zoo.datasets.prepared import is_prepared
from zoo.datasets.source_file import SourceFile

ROWS = {"train": 5, "test": 3}
DUMMY = tempfile.TemporaryDirectory(prefix="fdu-mtl-")


def invented(domain, part):
    """Rows that tell where they stand; the first has a byte that is no UTF-8."""
    lines = [f"{i % 2}\t{domain} {part} {i}".encode() for i in range(ROWS[part])]
    return b"\n".join([lines[0] + b" \xe9", *lines[1:]]) + b"\n"


def written_files():
    """Invented files in the place of the official ones; those for testing are packed."""
    sources = {}
    for (domain, part), official in files.source_files().items():
        content = invented(domain, part)
        ending, packed = ("", content) if part == "train" else (".gz", gzip.compress(content))
        (Path(DUMMY.name) / (official.name + ending)).write_bytes(packed)
        digest = hashlib.sha256(content).hexdigest()
        sources[domain, part] = SourceFile(official.name, digest, official.url)
    return sources


SOURCES = written_files()


@pytest.fixture
def dummy_files():
    with (
        mock.patch.object(files, "source_files", lambda: SOURCES),
        mock.patch.object(files, "DEVELOPMENT", 2),
    ):
        yield Path(DUMMY.name)


@pytest.mark.usefixtures("dummy_files")
class FduMtlTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = FduMtl
    EXAMPLE_DIR = DUMMY.name
    SPLITS = {"train": 48, "validation": 32, "test": 48}  # noqa: RUF012


@pytest.fixture
def data_dir(dummy_files, tmp_path):
    shutil.copytree(dummy_files, tmp_path / "downloads" / "manual")
    return tmp_path


def rows_of(split):
    batches = list(split.as_numpy_iterator())
    return [
        (text.decode(), int(domain), float(label))
        for x, y in batches
        for text, domain, label in zip(x["text"], x["domain"], y["positive"], strict=True)
    ]


def test_every_row_is_there_with_its_domain_and_label(data_dir, no_network):
    data = zoo.datasets.load("fdu_mtl", data_dir=data_dir, batch_size=7)
    assert data.source == "tfds"
    parts = {
        "train": ("train", range(3)),
        "validation": ("train", (3, 4)),
        "test": ("test", range(3)),
    }
    for split, (part, kept) in parts.items():
        expected = [
            (f"{domain} {part} {i}" + " \ufffd" * (i == 0), k, float(i % 2))
            for k, domain in enumerate(files.DOMAINS)
            for i in kept
        ]
        assert sorted(rows_of(getattr(data, split))) == sorted(expected)
        assert data.sizes[split] == len(expected)


def test_the_domain_is_whose_a_row_is_and_no_feature(data_dir):
    data = zoo.datasets.load("fdu_mtl", data_dir=data_dir)
    assert data.row_tasks == {"domain": files.DOMAINS}
    assert list(data.features) == ["text"]
    assert data.label_rates["test"]["positive"] == pytest.approx(1 / 3)
    assert data.missing_rates["test"] == {"positive": 0}


def test_as_outputs_each_domain_labels_its_own_rows_alone(data_dir):
    rows = zoo.datasets.load("fdu_mtl", data_dir=data_dir)
    outputs = zoo.datasets.load("fdu_mtl", data_dir=data_dir, variant="outputs", batch_size=1000)
    assert tuple(task.name for task in outputs.tasks) == files.DOMAINS
    assert list(outputs.features) == ["text"] and not outputs.row_tasks
    x, y = next(outputs.train.as_numpy_iterator())
    assert set(x) == {"text"}
    labels = np.stack([y[domain] for domain in files.DOMAINS], axis=1)
    assert labels.dtype == "float32"
    labelled = [
        (text.decode(), int(domain), float(labels[row, domain]))
        for row, text in enumerate(x["text"])
        for domain in np.flatnonzero(~np.isnan(labels[row]))
    ]
    assert sorted(labelled) == sorted(rows_of(rows.train))
    assert outputs.missing_rates["train"] == dict.fromkeys(files.DOMAINS, 15 / 16)
    assert outputs.label_rates["train"] == pytest.approx(dict.fromkeys(files.DOMAINS, 1 / 3))


def test_a_model_that_is_told_the_domain_trains_on_it(data_dir):
    data = zoo.datasets.load("fdu_mtl", data_dir=data_dir, batch_size=16)
    model = zoo.task_conditioned(
        data.tasks,
        data.features,
        [4],
        row_input="domain",
        num_row_tasks=16,
        adapt=data.train.map(lambda x, y: x),
    )
    history = model.fit(data.train, validation_data=data.validation, epochs=1, verbose=0).history
    assert np.isfinite(history["val_positive_loss"][0])


def test_other_content_is_refused_and_nothing_is_left(data_dir):
    (data_dir / "downloads" / "manual" / "dvd.task.train").write_bytes(b"1\tgood\n")
    with pytest.raises(ValueError, match=r"official dvd\.task\.train.*Received: SHA-256"):
        zoo.datasets.load("fdu_mtl", data_dir=data_dir)
    assert not is_prepared("fdu_mtl", data_dir)


@pytest.mark.parametrize("line", [b"2\ttext", b"no tab", b"1\ttwo\ttabs", b""])
def test_lines_of_another_form_are_refused(line):
    with pytest.raises(ValueError, match="lines must hold 0 or 1, a tab and a text"):
        files.parsed(b"1\tfine\n" + line + b"\n0\tfine\n")


def test_the_official_files_are_those_of_the_paper(official, tmp_path, no_network):
    shutil.copytree(official("fdu-mtl"), tmp_path / "downloads" / "manual")
    data = zoo.datasets.load("fdu_mtl", data_dir=tmp_path)
    # 25,380 rows to train and develop with, 400 of each domain to test.
    assert data.sizes == {"train": 22_180, "validation": 3_200, "test": 6_400}
    domains = np.concatenate([x["domain"] for x, _ in data.test.as_numpy_iterator()])
    np.testing.assert_array_equal(np.bincount(domains), [400] * 16)
