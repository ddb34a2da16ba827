"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import functools
import os
from typing import Any

import numpy as np

from zoo.datasets.columns import Split
from zoo.datasets.movie_sentiment.files import HOMEPAGES, LENGTH, TOKENS, source_files
from zoo.datasets.prepared import prepared
from zoo.datasets.words import Words, frequent

_BY_HAND = {
    "sst2": "the three files of data/SST2 of {home} into {{manual}}/sst2",
    "rt_polarity": "the two files of data/rt-polaritydata of {home} into {{manual}}",
}


def read_full(data_dir: str | os.PathLike | None, variant: str) -> dict[str, Split]:
    """The three splits of a variant; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.
        variant: whose sentences.

    Raises:
        ImportError: when TensorFlow Datasets is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, the source not be reached.
        ValueError: when the files are not the official ones.
    """
    first = next(iter(source_files(variant).values()))
    builder = prepared(
        functools.partial(make_builder, variant),
        data_dir,
        first.url,
        _BY_HAND[variant].format(home=HOMEPAGES[variant]) + " and call again.",
        (f"/{first.name}", f"/{first.name}.gz"),
    )
    rows = {
        split: list(builder.as_dataset(split=split).as_numpy_iterator())
        for split in ("train", "validation", "test")
    }
    # Padding and unknown words are tokens too.
    vocabulary = frequent((row["text"] for row in rows["train"]), TOKENS - 2)
    return {split: _split(rows[split], vocabulary) for split in rows}


def make_builder(variant: str, data_dir: str | os.PathLike | None) -> Any:
    """The builder of TensorFlow Datasets, which is imported here and not before."""
    from zoo.datasets.movie_sentiment.movie_sentiment import MovieSentiment

    return MovieSentiment(config=variant, data_dir=data_dir)


def _split(rows, vocabulary):
    texts = np.array([row["text"] for row in rows], object)
    words = Words(texts, vocabulary, LENGTH, TOKENS)
    return Split(
        {"text": words},
        {
            "next_word": next_words(words.ids()),
            "sentiment": np.array([row["sentiment"] for row in rows], "float32"),
        },
    )


def next_words(ids: np.ndarray) -> np.ndarray:
    """At each position the id of the next word; -1 where there is none, or an unknown one.

    >>> next_words(np.array([[5, 1, 3, 0]]))
    array([[-1,  3, -1, -1]])
    """
    labels = np.full_like(ids, -1)
    labels[:, :-1] = np.where(ids[:, 1:] > 1, ids[:, 1:], -1)
    return labels
