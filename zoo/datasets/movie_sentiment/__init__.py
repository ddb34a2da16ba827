"""Movie sentiment: sentences of movie reviews, good or bad, and after each word the next one.

The variant "sst2" is the Stanford Sentiment Treebank's two-class sentences in their official
split, of which its publisher dropped accents and hyphens; two of its test sentences are in its
train split. "rt_polarity" are Pang & Lee's sentences, split by their SHA-256. Never mix the two:
SST-2 took its sentences from these, and the train split of the one holds more than half of the
test split of the other.

The input "text" is lower-case, its words between single spaces. `next_word` labels word t at
position t with the id of word t + 1, in the vocabulary of `data.features`, and with -1 the last
word, padding, and words before one that is not in the vocabulary. Reading the data needs
TensorFlow Datasets; there is no sample in the package, as no licence is stated.
"""

import os

from zoo.datasets.columns import Split

VARIANTS = ("sst2", "rt_polarity")
"""The first one is the default."""


def make_tasks(variant: str) -> tuple:
    """The next word and the sentiment, as fresh objects."""
    from mtl_keras.tasks import BinaryTask, TokenTask
    from zoo.datasets.movie_sentiment.files import TOKENS

    return TokenTask("next_word", TOKENS), BinaryTask("sentiment", metrics=("auc", "accuracy"))


def read_full(data_dir: str | os.PathLike | None, variant: str) -> dict[str, Split]:
    """The splits of a variant; prepares them in `data_dir` where they are not."""
    from zoo.datasets.movie_sentiment.full import read_full

    return read_full(data_dir, variant)
