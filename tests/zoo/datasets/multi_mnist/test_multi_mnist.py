"""The builder under TFDS's own test case, and the data sets that are loaded through it."""

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
from zoo.datasets.multi_mnist import VARIANTS, files, multi_mnist
from zoo.datasets.prepared import is_prepared

ROWS = {"train": 12, "t10k": 10}
PARTS = {
    "train": ("train", slice(None, -4), 0),
    "validation": ("train", slice(-4, None), 1),
    "test": ("t10k", slice(None), 2),
}
DUMMY = tempfile.TemporaryDirectory(prefix="multi-mnist-")


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def written_files():
    """Invented files in the place of the official ones; their digests by name."""
    rng = np.random.default_rng(0)
    digests = {}
    for name in files._SHA256:
        part, kind, *_ = name.split("/")[1].split("-")
        rows = ROWS[part]
        images = rng.integers(0, 256, (rows, 28, 28)).astype("uint8")
        content = idx(images if kind == "images" else (np.arange(rows) % 10).astype("uint8"))
        path = Path(DUMMY.name) / f"{name}.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(content))
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


DIGESTS = written_files()


@pytest.fixture
def dummy_files():
    with (
        mock.patch.object(files, "_SHA256", DIGESTS),
        mock.patch.object(multi_mnist, "_PARTS", PARTS),
    ):
        yield Path(DUMMY.name)


@pytest.mark.usefixtures("dummy_files")
class MultiMnistTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = multi_mnist.MultiMnist
    EXAMPLE_DIR = DUMMY.name
    SPLITS = {"train": 8, "validation": 4, "test": 10}  # noqa: RUF012
    # The other protocol makes twice as many.
    BUILDER_CONFIG_NAMES_TO_TEST = [v for v in VARIANTS if v.endswith("sener2018")]  # noqa: RUF012


@pytest.fixture
def data_dir(dummy_files, tmp_path):
    shutil.copytree(dummy_files, tmp_path / "downloads" / "manual")
    return tmp_path


def columns(split):
    batches = list(split.as_numpy_iterator())
    image = np.concatenate([x["image"] for x, _ in batches])[..., 0]
    return image, *(np.concatenate([y[task] for _, y in batches]) for task in ("left", "right"))


def dummy_array(folder, part, kind):
    path = Path(DUMMY.name) / folder / f"{part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte.gz"
    return files.parsed(gzip.decompress(path.read_bytes()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_composed_of_its_images(variant, data_dir, no_network):
    data = zoo.datasets.load("multi_mnist", data_dir=data_dir, batch_size=3, variant=variant)
    folders = {"mnist": "mnist", "fashion": "fashion-mnist"}
    left, right = (folders[variant.split("_")[i]] for i in (0, 2 if "and" in variant else 0))
    protocol = variant.rpartition("_")[2]
    for split in ("validation", "test"):
        part, rows, seed = PARTS[split]
        sides = [
            (dummy_array(f, part, "images")[rows], dummy_array(f, part, "labels")[rows])
            for f in (left, right)
        ]
        expected = getattr(multi_mnist.composition, protocol)(*sides, seed)
        for found, wanted in zip(columns(getattr(data, split)), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert data.sizes["train"] == (8 if protocol == "sener2018" else 16)


def test_a_network_of_two_heads_trains_on_it(data_dir):
    data = zoo.datasets.load("multi_mnist", data_dir=data_dir, batch_size=4)
    assert [task.name for task in data.tasks] == ["left", "right"]
    model = zoo.shared_trunk(data.tasks, data.features, [4])
    history = model.fit(data.train, validation_data=data.validation, epochs=1, verbose=0).history
    assert np.isfinite(history["val_left_loss"] + history["val_right_loss"]).all()


def test_variants_are_prepared_one_by_one(data_dir):
    zoo.datasets.load("multi_mnist", data_dir=data_dir)
    assert is_prepared("multi_mnist/mnist_sener2018", data_dir)
    assert not is_prepared("multi_mnist/mnist_lin2019", data_dir)


def test_other_content_is_refused_and_nothing_is_left(data_dir):
    manual = data_dir / "downloads" / "manual"
    shutil.copy(
        manual / "mnist/t10k-labels-idx1-ubyte.gz", manual / "mnist/train-labels-idx1-ubyte.gz"
    )
    with pytest.raises(ValueError, match=r"official mnist/train-labels-idx1-ubyte: SHA-256"):
        zoo.datasets.load("multi_mnist", data_dir=data_dir)
    assert not is_prepared("multi_mnist/mnist_sener2018", data_dir)


@pytest.mark.parametrize("name", ["census_income", "multi_mnist"])
def test_unknown_variants_are_named(name):
    with pytest.raises(ValueError, match=r"`variant` must be one of .*Received: variant='cifar'"):
        zoo.datasets.load(name, variant="cifar")


@pytest.mark.slow
def test_the_official_files_give_the_sizes_of_the_papers(official, tmp_path, no_network):
    for folder in ("mnist", "fashion-mnist"):
        shutil.copytree(official(folder), tmp_path / "downloads" / "manual" / folder)
    data = zoo.datasets.load("multi_mnist", data_dir=tmp_path)
    assert data.sizes == {"train": 55_000, "validation": 5_000, "test": 10_000}
    data = zoo.datasets.load("multi_mnist", data_dir=tmp_path, variant="fashion_and_mnist_lin2019")
    assert data.sizes == {"train": 110_000, "validation": 10_000, "test": 20_000}
