"""What holds for every data set; the files of each test what is its own."""

import socket

import pytest

import zoo.datasets
from zoo.datasets.prepared import is_prepared

# Files of another data set, or of another variant, that look like its own; default a stranger's.
OTHERS = {
    # The other set of the same publisher has files of the same names.
    "snips": "atis/train/seq.in",
    "cmu_faces": "cmu_faces_quarter.npz",
    "movie_sentiment": "train.tsv",
    "census_income": "train-images-idx3-ubyte.gz",
}
EVERY = zoo.datasets.list()


@pytest.fixture
def no_resolution(monkeypatch):
    """The network as it is where there is none: TFDS itself would retry for minutes."""

    def unreachable(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)


@pytest.mark.parametrize("name", EVERY)
def test_without_network_the_files_of_other_data_sets_are_no_help(name, tmp_path, no_resolution):
    other = tmp_path / "downloads" / "manual" / OTHERS.get(name, "census-income.data.gz")
    other.parent.mkdir(parents=True)
    other.touch()
    with pytest.raises(ConnectionError, match=rf"'{name}' could not be downloaded.*manual"):
        zoo.datasets.load(name, source="tfds", data_dir=tmp_path)
    assert not is_prepared(name, tmp_path)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "census_income"])
def test_there_is_no_sample(name):
    with pytest.raises(ValueError, match=rf"'{name}' has no sample\. Received: 'embedded'"):
        zoo.datasets.load(name, source="embedded")


@pytest.mark.parametrize("name", EVERY)
def test_an_unknown_variant_is_named(name):
    with pytest.raises(ValueError, match=r"`variant` must .*Received: variant='other'"):
        zoo.datasets.load(name, variant="other")
