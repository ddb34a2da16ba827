"""The builder under TFDS's own test case, and the data set that is loaded through it."""

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
from zoo.datasets.prepared import is_prepared
from zoo.datasets.snips import files
from zoo.datasets.snips.snips import Snips
from zoo.datasets.source_file import SourceFile

ROWS = {"train": 6, "valid": 3, "test": 4}
SPLITS = {"train": "train", "validation": "valid", "test": "test"}
DUMMY = tempfile.TemporaryDirectory(prefix="snips-")


def invented(part, i):
    """A row that tells where it stands: words, some of them punctuation, tags and intent."""
    words = ["play", "r&b", "&", f"{part}{i}", "…", "beyoncé", *["!"] * (i % 3)]
    tags = ["O", "B-genre", "I-genre", "I-genre", "O", "B-artist", *["O"] * (i % 3)]
    return words, tags, files.INTENTS[i % 7]


def written_files():
    """Invented files in the place of the official ones; those for testing are packed."""
    sources = {}
    for (part, kind), official in files.source_files().items():
        rows = [invented(part, i) for i in range(ROWS[part])]
        lines = {
            # Several spaces between words and one at the end, as in the official files.
            "seq.in": ["  ".join(words) + " " for words, *_ in rows],
            "seq.out": [" ".join(tags) + " " for _, tags, _ in rows],
            "label": [intent for *_, intent in rows],
        }[kind]
        content = ("\n".join(lines) + "\n").encode()
        path = Path(DUMMY.name) / official.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if part == "test":
            path.with_name(f"{kind}.gz").write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        sources[part, kind] = SourceFile(official.name, digest, official.url)
    return sources


SOURCES = written_files()


@pytest.fixture
def dummy_files():
    with mock.patch.object(files, "source_files", lambda: SOURCES):
        yield Path(DUMMY.name)


@pytest.mark.usefixtures("dummy_files")
class SnipsTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Snips
    EXAMPLE_DIR = DUMMY.name
    SPLITS = {"train": 6, "validation": 3, "test": 4}  # noqa: RUF012


@pytest.fixture
def data_dir(dummy_files, tmp_path):
    shutil.copytree(dummy_files, tmp_path / "downloads" / "manual")
    return tmp_path


def rows_of(split):
    return [
        (text.decode(), slots.tolist(), int(intent))
        for x, y in split.as_numpy_iterator()
        for text, slots, intent in zip(x["text"], y["slots"], y["intent"], strict=True)
    ]


def test_every_row_is_there_with_a_tag_at_each_word(data_dir, no_network):
    data = zoo.datasets.load("snips", data_dir=data_dir, batch_size=4)
    assert data.source == "tfds"
    for split, part in SPLITS.items():
        expected = []
        for i in range(ROWS[part]):
            words, tags, intent = invented(part, i)
            slots = [files.SLOTS.index(tag) for tag in tags] + [-1] * (files.LENGTH - len(tags))
            expected.append((" ".join(words), slots, files.INTENTS.index(intent)))
        found = rows_of(getattr(data, split))
        assert (sorted(found) if split == "train" else found) == sorted(expected)
        assert data.sizes[split] == ROWS[part]
    _, y = next(iter(data.test.as_numpy_iterator()))
    assert y["slots"].dtype == y["intent"].dtype == np.int32


def test_position_t_of_what_a_model_reads_is_word_t(data_dir):
    data = zoo.datasets.load("snips", data_dir=data_dir)
    feature = data.features["text"]
    # Of the train split's words alone, and without those that occur once.
    assert feature.vocabulary == ("!", "&", "beyoncé", "play", "r&b", "…")
    ids = {word: i for i, word in enumerate(feature.vocabulary, 2)}
    words, tags, _ = invented("test", 2)
    (found,) = feature.preprocessor("text")(tf.constant([" ".join(words)])).numpy().tolist()
    assert found == [ids.get(word, 1) for word in words] + [0] * (files.LENGTH - len(words))
    # Stripping punctuation, the tag of "beyoncé" would stand at another word.
    stripped = zoo.features.Text(feature.vocabulary, sequence_length=files.LENGTH)
    (shifted,) = stripped.preprocessor("text")(tf.constant([" ".join(words)])).numpy().tolist()
    assert shifted.index(ids["beyoncé"]) != tags.index("B-artist") == found.index(ids["beyoncé"])


def test_a_model_of_both_tasks_trains_on_it(data_dir):
    data = zoo.datasets.load("snips", data_dir=data_dir, batch_size=4)
    assert [task.score for task in data.tasks] == ["accuracy", "span_f1"]
    # Needs nothing to adapt to.
    model = zoo.joint_text(data.tasks, data.features, encoder="cnn", embedding=4, units=8)
    history = model.fit(data.train, validation_data=data.validation, epochs=1, verbose=0).history
    assert np.isfinite(history["val_intent_loss"] + history["val_slots_loss"]).all()
    assert 0 <= history["val_slots_span_f1"][0] <= 1
    assert history["val_slots_labels"] == [sum(len(invented("valid", i)[0]) for i in range(3))]


def test_other_content_is_refused_and_nothing_is_left(data_dir):
    (data_dir / "downloads/manual/snips/valid/seq.out").write_bytes(b"O O O\n")
    with pytest.raises(ValueError, match=r"official snips/valid/seq\.out: SHA-256"):
        zoo.datasets.load("snips", data_dir=data_dir)
    assert not is_prepared("snips", data_dir)


@pytest.mark.parametrize(
    ("words", "tags", "intent"),
    [
        (b"play jazz", b"O", b"PlayMusic"),
        (b"play jazz", b"O B-jazz", b"PlayMusic"),
        (b"play jazz", b"O I-year", b"PlayMusic"),
        (b"play jazz", b"O B-genre", b"Play"),
        (b"", b"O B-genre", b"PlayMusic"),
    ],
)
def test_lines_that_do_not_go_together_are_refused(words, tags, intent):
    good = (b"play it", b"O O", b"PlayMusic")
    contents = [a + b"\n" + b + b"\n" for a, b in zip(good, (words, tags, intent), strict=True)]
    with pytest.raises(ValueError, match="one known tag a word, and a known intent"):
        files.parsed(*contents)


def test_files_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"as many lines\. Received: 2, 1, 1 lines"):
        files.parsed(b"play\nplay\n", b"O\n", b"PlayMusic\n")


def test_tags_are_those_of_the_paper():
    assert len(files.SLOTS) == len(set(files.SLOTS)) == 72
    assert len({tag[2:] for tag in files.SLOTS if tag != "O"}) == 39
    assert len(files.INTENTS) == 7


def test_the_official_files_are_those_of_the_paper(official, tmp_path, no_network):
    manual = tmp_path / "downloads" / "manual"
    shutil.copytree(official("joint-nlu") / "snips", manual / "snips")
    data = zoo.datasets.load("snips", data_dir=tmp_path)
    assert data.sizes == {"train": 13_084, "validation": 700, "test": 700}
    known = zoo.datasets.info("snips").counts
    assert known.sizes == data.sizes
    assert known.missing_rates["test"] == pytest.approx(data.missing_rates["test"], abs=1e-6)
    train, validation, test = (data.splits[split] for split in SPLITS)
    # All tags and intents are in the train split, and the longest request.
    assert set(train.labels["slots"].ravel()) == set(range(-1, 72))
    assert set(train.labels["intent"]) == set(range(7))
    assert (train.labels["slots"][:, -1] >= 0).sum() == 1
    seen = set(train.inputs["text"].texts)
    for split, shared in ((validation, 15), (test, 26)):
        assert sum(text in seen for text in split.inputs["text"].texts) == shared
    # Tags stand where a model reads their words, in every row.
    layer = data.features["text"].preprocessor("text")
    for split in (train, validation, test):
        words = split.inputs["text"]
        ids = words.ids()
        np.testing.assert_array_equal(layer(tf.constant(words.texts)), ids)
        np.testing.assert_array_equal(ids > 0, split.labels["slots"] >= 0)
