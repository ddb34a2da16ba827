"""`real_data`: directory of the official files; `dummy_archive`: invented ones in their place."""

import tarfile
import zipfile
from pathlib import Path
from unittest import mock

import pytest

from zoo.datasets.census_income import source

DUMMY = Path(__file__).parent / "dummy_data"


@pytest.fixture(scope="session")
def real_data(official):
    return official("census-income-kdd")


@pytest.fixture
def unpack_beside():
    """Extracts an archive into a new folder beside it, as `source.find` asks for."""

    def unpack(path):
        target = path.parent / f"{path.name}.unpacked"
        opener = zipfile.ZipFile if path.name.endswith(".zip") else tarfile.open
        with opener(path) as archive:
            archive.extractall(target)
        return target

    return unpack


@pytest.fixture
def dummy_archive():
    """Path of a zip packed as UCI packs (a zip of a tar.gz of .gz files), 40 and 20 rows."""
    files = {
        "train": source.SourceFile(
            "census-income.data",
            "5d9b15e30a150f19b78c913164834a64ebf74f24bc3583dbd552c8e9de1d156e",
        ),
        "test": source.SourceFile(
            "census-income.test",
            "bb1e642d0ff6e98921ec4e56459c4b118d349f1d020dc1626c8f9edee25226f7",
        ),
    }
    with mock.patch.dict(source.FILES, files):
        yield DUMMY / "census+income+kdd.zip"
