import hashlib
from importlib import resources

import pytest

from zoo.datasets.census_income import sample
from zoo.datasets.census_income.columns import COLUMNS

FOLDER = resources.files("zoo.datasets.census_income")


def test_the_sample_is_small_and_its_digest_is_in_the_attribution():
    content = (FOLDER / sample.FILE_NAME).read_bytes()
    assert len(content) <= 1_100_000
    digest = hashlib.sha256(content).hexdigest()
    assert digest == sample.SHA256
    assert digest in (FOLDER / "ATTRIBUTION.md").read_text()


def test_rows_have_all_columns():
    for columns in sample.read_columns().values():
        assert tuple(columns) == COLUMNS
        assert len({len(column) for column in columns.values()}) == 1


def test_unpack_inverts_pack():
    splits = {
        split: {name: [f"{name} - {row}." for row in range(rows)] for name in COLUMNS}
        for split, rows in {"train": 3, "test": 1}.items()
    }
    assert sample.unpack(sample.pack(splits)) == splits


def test_a_damaged_sample_is_refused(monkeypatch):
    monkeypatch.setattr(sample, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"sample\.csv\.bz2 is damaged.*Received"):
        sample.read_sample()
