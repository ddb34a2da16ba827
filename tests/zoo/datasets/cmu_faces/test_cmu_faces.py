"""The builder under TFDS's own test case, and the data set that is loaded through it."""

import hashlib
import io
import itertools
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds

import zoo.datasets
from zoo.datasets.cmu_faces import PERSONS, POSES, VARIANTS, files
from zoo.datasets.cmu_faces.cmu_faces import CmuFaces
from zoo.datasets.cmu_faces.split import parts
from zoo.datasets.prepared import is_prepared

DUMMY = tempfile.TemporaryDirectory(prefix="cmu-faces-")
# Two people at either side of the ten, all poses, two expressions, with sunglasses and without.
CODES = np.array([*itertools.product((2, 17), range(4), (0, 3), range(2))], np.uint8)


def pictures(variant):
    """Grey pictures that tell their code, with a bright pixel of its own at the top left."""
    person, pose, expression, sunglasses = CODES.T
    images = np.empty((len(CODES), *files.SHAPES[variant]), np.uint8)
    images[:] = (person * 8 + pose * 2 + sunglasses + expression * 20)[:, None, None]
    images[:, 0, 0] = 255
    return images


def archive(shuffled=True, **arrays):
    """An archive of NumPy, its rows in another order."""
    order = np.random.default_rng(0).permutation(len(CODES)) if shuffled else slice(None)
    content = io.BytesIO()
    np.savez(content, **{name: array[order] for name, array in arrays.items()})
    return content.getvalue()


def texts():
    classes = (PERSONS, POSES, files.EXPRESSIONS, files.EYES)
    return np.array(["_".join(of[c] for of, c in zip(classes, row, strict=True)) for row in CODES])


def written_files():
    """Invented files in the place of the official ones, one in each form; digests by variant."""
    half = archive(data=(pictures("half") / 255).astype("float32"), labels=texts())
    (Path(DUMMY.name) / "cmu_faces_half_size.npz").write_bytes(half)
    quarter = archive(images=pictures("quarter"), labels=CODES.astype("int64"))
    (Path(DUMMY.name) / "cmu_faces_quarter.npz").write_bytes(quarter)
    return {
        v: hashlib.sha256(CODES.tobytes() + pictures(v).tobytes()).hexdigest() for v in VARIANTS
    }


DIGESTS = written_files()


@pytest.fixture
def dummy_files():
    with mock.patch.object(files, "SHA256", DIGESTS):
        yield Path(DUMMY.name)


@pytest.mark.usefixtures("dummy_files")
class CmuFacesTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = CmuFaces
    EXAMPLE_DIR = DUMMY.name
    SPLITS = {"train": 20, "validation": 6, "test": 6}  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = list(VARIANTS)  # noqa: RUF012
    # The checksums of the publisher's files are unknown; what is in them is verified instead.
    SKIP_CHECKSUMS = True


@pytest.fixture
def data_dir(dummy_files, tmp_path):
    shutil.copytree(dummy_files, tmp_path / "downloads" / "manual")
    return tmp_path


def columns(split):
    batches = list(split.as_numpy_iterator())
    labels = [np.concatenate([y[t] for _, y in batches]) for t in ("person", "pose", "sunglasses")]
    return np.concatenate([x["image"] for x, _ in batches]), *labels


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_picture_is_there_with_its_labels(variant, data_dir, no_network):
    data = zoo.datasets.load("cmu_faces", data_dir=data_dir, batch_size=5, variant=variant)
    assert [task.name for task in data.tasks] == ["person", "pose", "sunglasses"]
    assert data.features["image"].shape == (*files.SHAPES[variant], 1)
    part = parts(*CODES[:, [0, 1, 3]].T)
    for k, split in enumerate(("validation", "test"), 1):
        image, *labels = columns(getattr(data, split))
        assert image.dtype == "uint8" and labels[2].dtype == "float32"
        np.testing.assert_array_equal(image[..., 0], pictures(variant)[part == k])
        np.testing.assert_array_equal(np.stack(labels, 1), CODES[part == k][:, [0, 1, 3]])
    image, *labels = columns(data.train)
    found = {(*row, bytes(pixels)) for *row, pixels in zip(*labels, image, strict=True)}
    shown = zip(CODES[part == 0][:, [0, 1, 3]], pictures(variant)[part == 0], strict=True)
    assert found == {(*row, bytes(pixels)) for row, pixels in shown}


def test_a_group_is_in_one_split_and_each_person_in_all():
    codes = np.array([*itertools.product(range(20), range(4), range(2))])
    part = parts(*codes.T)
    for person in range(20):
        counts = np.bincount(part[codes[:, 0] == person])
        assert counts.tolist() == ([5, 1, 2] if person < 10 else [5, 2, 1])
    for split in range(3):
        assert len(np.unique(codes[part == split][:, 1:], axis=0)) == 8
    # All poses, with sunglasses and without, of everybody.
    for person in range(20):
        own = codes[(part == 0) & (codes[:, 0] == person)]
        assert len(set(own[:, 1])) == 4 and len(set(own[:, 2])) == 2


def test_a_network_of_three_heads_trains_on_it(data_dir):
    data = zoo.datasets.load("cmu_faces", data_dir=data_dir, batch_size=8, variant="quarter")
    model = zoo.shared_trunk(data.tasks, data.features, [4])
    history = model.fit(data.train, validation_data=data.validation, epochs=1, verbose=0).history
    losses = [history[f"val_{task.name}_loss"][0] for task in data.tasks]
    assert np.isfinite(losses).all()


def test_other_content_is_refused_and_nothing_is_left(data_dir):
    other = pictures("quarter")
    other[0, 5, 5] ^= 1
    path = data_dir / "downloads" / "manual" / "cmu_faces_quarter.npz"
    path.write_bytes(archive(images=other, labels=CODES))
    with pytest.raises(ValueError, match=r"official cmu_faces_quarter_size\.npz.*Received: SHA-"):
        zoo.datasets.load("cmu_faces", data_dir=data_dir, variant="quarter")
    assert not is_prepared("cmu_faces", data_dir, "quarter")


def test_swapped_labels_are_refused(dummy_files):
    with pytest.raises(ValueError, match="SHA-256"):
        files.parsed(archive(images=pictures("half"), labels=CODES[::-1]), "half")


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        archive(images=pictures("half"), labels=CODES)[:-400],
        archive(images=pictures("half")),
        archive(images=pictures("quarter")[:, 1:], labels=CODES),
        archive(images=pictures("quarter"), labels=np.array(["al_up_sad_eyes"] * len(CODES))),
        archive(images=pictures("quarter"), labels=np.array(["tom_up_sad"] * len(CODES))),
        archive(images=pictures("quarter"), labels=texts().astype(object)),
    ],
    ids=["bytes", "cut", "no labels", "size", "name", "words", "pickled"],
)
def test_files_of_another_form_are_refused(content):
    with pytest.raises(ValueError, match=r"must be an archive of NumPy with `data`.*Received"):
        files.parsed(content, "quarter")


def test_the_official_pictures(official, tmp_path, no_network):
    manual = tmp_path / "downloads" / "manual"
    shutil.copytree(official("cmu-faces"), manual)
    data = zoo.datasets.load("cmu_faces", data_dir=tmp_path)
    # 640 pictures but for 16 that were spoilt.
    assert data.sizes == {"train": 388, "validation": 117, "test": 119}
    small = zoo.datasets.load("cmu_faces", data_dir=tmp_path, variant="quarter")
    for split in ("validation", "test"):
        image, *labels = columns(getattr(data, split))
        small_image, *small_labels = columns(getattr(small, split))
        np.testing.assert_array_equal(labels, small_labels)
        assert set(labels[0]) == set(range(20))
        # The same pictures: a pixel is the mean of four, rounded twice.
        four = image[..., 0].reshape(-1, 30, 2, 32, 2).mean((2, 4))
        assert np.abs(four - small_image[..., 0]).max() < 4
    _, codes = files.parsed((manual / "cmu_faces_half.npz").read_bytes(), "half")
    lacking = {*itertools.product(range(20), range(4), range(4), range(2))} - {*map(tuple, codes)}
    # UCI spoilt mitchell_straight_angry_open, _right_angry_sunglasses, _up_happy_sunglasses and
    # _up_neutral_sunglasses: Mitchell is tom, and who looks to his right looks left in the picture.
    tom = PERSONS.index("tom")
    assert len(lacking) == 16
    assert {
        (POSES[pose], files.EXPRESSIONS[expression], files.EYES[eyes])
        for person, pose, expression, eyes in lacking
        if person == tom
    } == {
        ("forward", "angry", "eyes"),
        ("left", "angry", "sunglasses"),
        ("up", "happy", "sunglasses"),
        ("up", "neutral", "sunglasses"),
    }
