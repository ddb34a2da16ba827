"""Words: a column of texts, and the words of them that a model tells apart."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zoo.features import Text


@dataclass(frozen=True)
class Words:
    """A column of texts, and the words of them that a model tells apart.

    Words stand between white space, whatever they are made of, so that each has a position for
    a label of its own. Ids are 0 for padding, 1 for a word that is not in the vocabulary, then
    the vocabulary's: those of the feature that `feature` gives.

    Args:
        texts: object array (rows,) of UTF-8, lower-case.
        vocabulary: the words in the order of their ids, see `frequent`.
        length: words kept of a text.
        max_tokens: number of ids, of which some may stand for no word.
    """

    texts: np.ndarray
    vocabulary: tuple[str, ...]
    length: int
    max_tokens: int

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> "Words":
        """The rows at these positions; the vocabulary stays."""
        return replace(self, texts=self.texts[rows])

    def ids(self) -> np.ndarray:
        """The ids of all texts, int32 (rows, length).

        >>> words = Words(np.array([b"a & b", b"b"], object), ("b", "&"), 4, 5)
        >>> words.ids()
        array([[1, 3, 2, 0],
               [2, 0, 0, 0]], dtype=int32)
        """
        known = {word.encode(): i for i, word in enumerate(self.vocabulary, 2)}
        ids = np.zeros((len(self), self.length), np.int32)
        for row, text in zip(ids, self.texts, strict=True):
            own = [known.get(word, 1) for word in text.split()[: self.length]]
            row[: len(own)] = own
        return ids

    def feature(self) -> "Text":
        """The feature from which a model has the same ids, also of text in capitals."""
        from zoo.features import Text

        return Text(self.vocabulary, self.max_tokens, self.length, standardize="lower")


def frequent(texts: Iterable[bytes], most: int | None = None) -> tuple[str, ...]:
    """The words that occur twice or more, by frequency, then by the alphabet.

    Those that occur once are left for a model to learn from what an unknown word is.

    Args:
        texts: UTF-8, words between white space.
        most: so many of them at most.

    Example:

    >>> frequent([b"to b or", b"not to b", b"that is"])
    ('b', 'to')
    """
    counts = Counter(word for text in texts for word in text.split())
    words = sorted((-count, word.decode()) for word, count in counts.items() if count > 1)
    return tuple(word for _, word in words[:most])
