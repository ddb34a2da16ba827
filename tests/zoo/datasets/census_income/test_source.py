import gzip
import shutil

import pytest

from zoo.datasets.census_income import source


def test_files_are_found_in_nested_archives(dummy_archive, tmp_path, unpack_beside):
    shutil.copy(dummy_archive, tmp_path)
    found = source.find(tmp_path, unpack_beside)
    assert {split: path.name for split, path in found.items()} == {
        "train": "census-income.data.gz",
        "test": "census-income.test.gz",
    }
    texts = [source.FILES[split].read(found[split]).decode("ascii") for split in found]
    assert [text.count("\n") for text in texts] == [40, 20]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_files_are_found_in_folders(tmp_path, unpack_beside, ending):
    (tmp_path / "deep").mkdir()
    for file in source.FILES.values():
        (tmp_path / "deep" / (file.name + ending)).touch()
    assert set(source.find(tmp_path, unpack_beside)) == {"train", "test"}


def test_one_file_alone_is_not_enough(tmp_path, unpack_beside):
    (tmp_path / "census-income.data").touch()
    assert source.find(tmp_path, unpack_beside) is None


def test_other_content_is_refused(tmp_path):
    path = tmp_path / "census-income.test.gz"
    path.write_bytes(gzip.compress(b"38, Private\n"))
    with pytest.raises(ValueError, match=r"official census-income\.test.*Received: SHA-256"):
        source.FILES["test"].read(path)


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"x" * 1000)[:-9]], ids=["no gzip", "cut short"]
)
def test_a_broken_gzip_file_is_named(tmp_path, content):
    path = tmp_path / "census-income.test.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"census-income\.test\.gz is no complete gzip file"):
        source.FILES["test"].read(path)
