"""The builder under TFDS's own test case, and the data sets that are loaded through it."""

import gzip
import hashlib
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import zoo.datasets
from zoo.datasets.movie_sentiment import VARIANTS, files
from zoo.datasets.movie_sentiment.movie_sentiment import MovieSentiment
from zoo.datasets.prepared import is_prepared
from zoo.datasets.source_file import SourceFile

ROWS = {"train": 9, "dev": 3, "test": 4, "pos": 30, "neg": 20}
SPLITS = {"train": "train", "validation": "dev", "test": "test"}
DUMMY = tempfile.TemporaryDirectory(prefix="movie-sentiment-")


def sentence(part, i):
    """Words that occur often, rarely and once; some are punctuation."""
    return " ".join(["a", "film", "--", "cliché", *[".", "!"][: i % 3], f"{part}{i}", f"n{i % 4}"])


def invented(part):
    if part in ("pos", "neg"):
        # A space at the end, as in the official files; the last two sentences are one.
        lines = [f"{sentence(part, min(i, ROWS[part] - 2))} " for i in range(ROWS[part])]
    else:
        lines = [f"{sentence(part, i)}\t{i % 2}" for i in range(ROWS[part])]
    return ("\n".join(lines) + "\n").encode()


def written_files():
    """Invented files in the place of the official ones, by variant; one of each is packed."""
    sources = {}
    for variant in VARIANTS:
        sources[variant] = {}
        for part, official in files.source_files(variant).items():
            content = invented(part)
            path = Path(DUMMY.name) / official.name
            path.parent.mkdir(exist_ok=True)
            if part in ("test", "neg"):
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
            else:
                path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            sources[variant][part] = SourceFile(official.name, digest, official.url)
    return sources


SOURCES = written_files()


@pytest.fixture
def dummy_files():
    with mock.patch.object(files, "source_files", SOURCES.get):
        yield Path(DUMMY.name)


@pytest.mark.usefixtures("dummy_files")
class Sst2Test(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = MovieSentiment
    EXAMPLE_DIR = DUMMY.name
    SPLITS = {"train": 9, "validation": 3, "test": 4}  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = ["sst2"]  # noqa: RUF012


@pytest.mark.usefixtures("dummy_files")
class RtPolarityTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = MovieSentiment
    EXAMPLE_DIR = DUMMY.name
    SPLITS = {  # noqa: RUF012
        split: sum(
            files.split_of(sentence(part, min(i, ROWS[part] - 2))) == split
            for part in ("pos", "neg")
            for i in range(ROWS[part])
        )
        for split in SPLITS
    }
    BUILDER_CONFIG_NAMES_TO_TEST = ["rt_polarity"]  # noqa: RUF012


@pytest.fixture
def data_dir(dummy_files, tmp_path):
    shutil.copytree(dummy_files, tmp_path / "downloads" / "manual")
    return tmp_path


def rows_of(split):
    return [
        (text.decode(), float(sentiment), next_word.tolist())
        for x, y in split.as_numpy_iterator()
        for text, sentiment, next_word in zip(
            x["text"], y["sentiment"], y["next_word"], strict=True
        )
    ]


def expected_rows(variant, split):
    if variant == "sst2":
        part = SPLITS[split]
        return [(sentence(part, i), float(i % 2)) for i in range(ROWS[part])]
    rows = [
        (sentence(part, min(i, ROWS[part] - 2)), float(part == "pos"))
        for part in ("pos", "neg")
        for i in range(ROWS[part])
    ]
    return [row for row in rows if files.split_of(row[0]) == split]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_row_is_there_and_each_word_is_labelled_with_the_next(variant, data_dir, no_network):
    data = zoo.datasets.load("movie_sentiment", data_dir=data_dir, batch_size=4, variant=variant)
    assert data.source == "tfds"
    vocabulary = data.features["text"].vocabulary
    ids = {word: i for i, word in enumerate(vocabulary, 2)}
    for split in SPLITS:
        expected = []
        for text, sentiment in expected_rows(variant, split):
            labels = [ids.get(word, -1) for word in text.split()[1:]]
            labels += [-1] * (files.LENGTH - len(labels))
            expected.append((text, sentiment, labels))
        found = rows_of(getattr(data, split))
        if split == "train":
            found, expected = sorted(found), sorted(expected)
        assert found == expected and len(found) == data.sizes[split] > 0
    # Words that are in one sentence alone are unknown.
    assert {"film", "--", "cliché", ".", "!"} < set(vocabulary)
    assert not {"train3", "pos3", "neg3"} & set(vocabulary)


def test_labels_are_the_ids_that_a_model_reads_one_position_on(data_dir):
    data = zoo.datasets.load("movie_sentiment", data_dir=data_dir)
    layer = data.features["text"].preprocessor("text")
    for x, y in data.test:
        ids = layer(x["text"]).numpy()
        following = np.where(ids[:, 1:] > 1, ids[:, 1:], -1)
        np.testing.assert_array_equal(y["next_word"][:, :-1], following)
        np.testing.assert_array_equal(y["next_word"][:, -1], -1)
        assert (following > 1).any() and (ids == 1).any()


def test_equal_sentences_are_in_one_split():
    contents = {"pos": b"so so .\nfine \n", "neg": b"so  so .\ndull .\n"}
    splits = files.splits(contents)
    where = files.split_of("so so .")
    assert splits[where].count(("so so .", "positive")) == 1
    assert splits[where].count(("so so .", "negative")) == 1
    assert sorted(row for rows in splits.values() for row in rows) == [
        ("dull .", "negative"),
        ("fine", "positive"),
        ("so so .", "negative"),
        ("so so .", "positive"),
    ]


def test_the_split_is_that_of_the_digest():
    for text in ("dull .", "cliché", "fine"):
        last = int(hashlib.sha256(text.encode("utf-8")).hexdigest(), 16) % 10
        assert files.split_of(text) == ["test", "validation", *["train"] * 8][last]


def test_a_model_of_both_tasks_trains_on_it(data_dir):
    data = zoo.datasets.load("movie_sentiment", data_dir=data_dir, batch_size=4)
    assert [task.name for task in data.tasks] == ["next_word", "sentiment"]
    # Needs nothing to adapt to, and sees no word before it has predicted it.
    model = zoo.joint_text(data.tasks, data.features, encoder="cnn", embedding=4, units=8)
    with pytest.raises(ValueError, match="must not read ahead"):
        zoo.joint_text(data.tasks, data.features, encoder="bilstm")
    text, changed = tf.constant(["a film -- ."]), tf.constant(["a film -- cliché"])
    before, after = (model.predict({"text": x}, verbose=0)["next_word"] for x in (text, changed))
    np.testing.assert_allclose(before[:, :3], after[:, :3], rtol=1e-5)
    assert not np.allclose(before[:, 3], after[:, 3], rtol=1e-5)
    history = model.fit(data.train, validation_data=data.validation, epochs=1, verbose=0).history
    assert np.isfinite(history["val_next_word_loss"] + history["val_sentiment_loss"]).all()


def test_variants_are_prepared_one_by_one(data_dir):
    zoo.datasets.load("movie_sentiment", data_dir=data_dir)
    assert is_prepared("movie_sentiment", data_dir, "sst2")
    assert not is_prepared("movie_sentiment", data_dir, "rt_polarity")


@pytest.mark.parametrize(
    ("variant", "name"), [("sst2", "sst2/train.tsv"), ("rt_polarity", "rt-polarity.pos")]
)
def test_other_content_is_refused_and_nothing_is_left(variant, name, data_dir):
    (data_dir / "downloads" / "manual" / name).write_bytes(b"good\t1\n")
    with pytest.raises(ValueError, match=f"official {name}: SHA-256"):
        zoo.datasets.load("movie_sentiment", data_dir=data_dir, variant=variant)
    assert not is_prepared("movie_sentiment", data_dir, variant)


@pytest.mark.parametrize("line", [b"text\t2", b"no tab", b"two\ttabs\t1", b" \t1", b""])
def test_lines_of_another_form_are_refused(line):
    good = b"fine\t1\n"
    with pytest.raises(ValueError, match="lines must hold a sentence, a tab and 0 or 1"):
        files.splits({"train": good, "dev": good + line + b"\n", "test": good})


def test_lines_without_a_sentence_are_refused():
    with pytest.raises(ValueError, match=r"must hold a sentence\. Received: none in line 2"):
        files.splits({"pos": b"fine\n \nfine\n", "neg": b"dull\n"})


def test_the_official_files_are_those_of_the_papers(official, tmp_path, no_network):
    for folder in ("sst2", "rt-polarity"):
        shutil.copytree(official(folder), tmp_path / "downloads" / "manual" / folder)
    sst2, polarity = (
        zoo.datasets.load("movie_sentiment", data_dir=tmp_path, variant=variant)
        for variant in VARIANTS
    )
    assert sst2.sizes == {"train": 6_920, "validation": 872, "test": 1_821}
    assert polarity.sizes == {"train": 8_554, "validation": 1_047, "test": 1_061}
    assert sum(polarity.sizes.values()) == 2 * 5_331
    for data, variant in zip((sst2, polarity), VARIANTS, strict=True):
        known = zoo.datasets.info("movie_sentiment", variant).counts
        assert known.sizes == data.sizes
        for rates in ("label_rates", "missing_rates"):
            found, counted = getattr(data, rates)["test"], getattr(known, rates)["test"]
            assert counted == pytest.approx(dict(found), abs=1e-6)
    texts = {split: set(rows.inputs["text"].texts) for split, rows in sst2.splits.items()}
    assert len(texts["train"] & texts["test"]) == 2 and not texts["train"] & texts["validation"]
    longest = 0
    for data, known in ((sst2, 0.945), (polarity, 0.922)):
        assert len(data.features["text"].vocabulary) == files.TOKENS - 2
        layer = data.features["text"].preprocessor("text")
        for split in data.splits.values():
            words = split.inputs["text"]
            np.testing.assert_array_equal(layer(tf.constant(words.texts)), words.ids())
            longest = max(longest, *(len(text.split()) for text in words.texts))
        ids = data.splits["train"].inputs["text"].ids()
        assert (ids > 1).sum() / (ids > 0).sum() == pytest.approx(known, abs=5e-4)
    assert longest == files.LENGTH
