"""The files of SST-2 and of rt-polarity, how their lines are read, and what is in which split."""

import csv
import hashlib
from collections.abc import Mapping
from importlib import resources

from zoo.datasets.source_file import SourceFile

HOMEPAGES = {
    "sst2": "https://github.com/clairett/pytorch-sentiment-classification",
    "rt_polarity": "https://github.com/dennybritz/cnn-text-classification-tf",
}
"""Variant to who publishes its files."""

TOKENS = 7_000
"""Ids of words: padding, unknown, and the train split's most frequent words, all of which occur
twice or more. They are 94.5 % of the words of SST-2's train split, 92.2 % of rt-polarity's."""

LENGTH = 59
"""Words of the longest sentence, which is in rt-polarity; SST-2's has 53."""

SENTIMENTS = ("negative", "positive")
"""The sentiments in the order of their ids."""

_SST2 = {"train": "train", "dev": "validation", "test": "test"}


def source_files(variant: str) -> dict[str, SourceFile]:
    """Part to the file, as listed in `checksums.tsv`.

    Parts are "train", "dev" and "test" of SST-2, "pos" and "neg" of rt-polarity.
    """
    listed = (resources.files(__package__) / "checksums.tsv").read_text("ascii")
    files = {}
    for url, _, sha256, name in csv.reader(listed.splitlines(), delimiter="\t"):
        stem, _, ending = name.partition(".")
        if variant == "sst2" and ending == "tsv":
            files[stem] = SourceFile(f"sst2/{name}", sha256, url)
        elif variant == "rt_polarity" and ending != "tsv":
            files[ending] = SourceFile(name, sha256, url)
    return files


def splits(contents: Mapping[str, bytes]) -> dict[str, list[tuple[str, str]]]:
    """Split to its (sentence, sentiment) pairs, of the contents of all parts of a variant."""
    if "pos" not in contents:
        return {split: _labelled(contents[part]) for part, split in _SST2.items()}
    rows = [(text, SENTIMENTS[1]) for text in _sentences(contents["pos"])]
    rows += [(text, SENTIMENTS[0]) for text in _sentences(contents["neg"])]
    return {split: [row for row in rows if split_of(row[0]) == split] for split in _SST2.values()}


def split_of(sentence: str) -> str:
    """The split of a sentence of rt-polarity, which has no official one.

    SHA-256 of its UTF-8, as a number, modulo 10: 0 is test, 1 validation, the rest train. So it
    depends on nothing else, and equal sentences are together.

    >>> split_of("simplistic , silly and tedious .")
    'train'
    """
    last = int(hashlib.sha256(sentence.encode()).hexdigest(), 16) % 10
    return {0: "test", 1: "validation"}.get(last, "train")


def _labelled(content):
    rows = [line.split("\t") for line in _lines(content)]
    for row in rows:
        if len(row) != 2 or not row[0].strip() or row[1] not in ("0", "1"):
            raise ValueError(
                f"SST-2: lines must hold a sentence, a tab and 0 or 1. Received: {row}"
            )
    return [(" ".join(text.split()), SENTIMENTS[int(label)]) for text, label in rows]


def _sentences(content):
    sentences = [" ".join(line.split()) for line in _lines(content)]
    if not all(sentences):
        raise ValueError(
            "rt-polarity: lines must hold a sentence. "
            f"Received: none in line {sentences.index('') + 1}"
        )
    return sentences


def _lines(content):
    # UTF-8, which Pang & Lee's own files are not.
    return content.decode().removesuffix("\n").split("\n")
