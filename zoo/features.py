"""Feature kinds: how a named raw input becomes something a trunk can read.

A feature only describes; the Keras layers that it makes live inside the model, so that
an exported model takes raw values.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np


class Feature(ABC):
    """One named raw input: its Keras input, its preprocessing layer, its encoding."""

    @abstractmethod
    def input(self, name: str) -> keras.KerasTensor:
        """The Keras input that receives the raw values."""

    @abstractmethod
    def preprocessor(self, name: str) -> keras.layers.Layer:
        """The preprocessing layer, not yet applied; needs the feature's statistics."""

    @property
    @abstractmethod
    def needs_adapt(self) -> bool:
        """Whether statistics (mean, vocabulary) must still be learned from data."""

    def adapted(self, batches: Iterable[np.ndarray]) -> "Feature":
        """The same feature with the statistics of training values, (rows, ...) a batch."""
        return self

    @property
    def needs_tensorflow(self) -> bool:
        """Whether the preprocessing runs on the TensorFlow backend only."""
        return False

    @abstractmethod
    def vector(self, encoded: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """The preprocessed value as one vector a row, (batch, width)."""


@dataclass(frozen=True)
class Numeric(Feature):
    """A number, or an array of numbers, standardised to mean 0 and variance 1.

    Args:
        mean: mean of the training values; `None` to learn it with `adapt=`.
        variance: variance of the training values, given together with `mean`.
        shape: shape of one row's value, without the batch; `()` is a scalar. `None` for an axis of
            any length, for builders that read the values as they are, as `zoo.joint_molecule`.
    """

    mean: float | Sequence[float] | None = None
    variance: float | Sequence[float] | None = None
    shape: tuple[int | None, ...] = ()

    def __post_init__(self):
        if (self.mean is None) != (self.variance is None):
            raise ValueError(
                "Numeric: `mean` and `variance` must be given together. "
                f"Received: mean={self.mean}, variance={self.variance}"
            )
        if self.mean is None:
            return
        if not np.isfinite(self.mean).all() or not (np.asarray(self.variance) >= 0).all():
            raise ValueError(
                "Numeric: `mean` and `variance` must be finite, the variance 0 or more. "
                f"Received: mean={self.mean}, variance={self.variance}"
            )

    def input(self, name):
        return keras.Input(self.shape, name=name, dtype="float32")

    def preprocessor(self, name):
        if None in self.shape:
            raise ValueError(
                f"Numeric: '{name}' must have a fixed shape to become a part of a vector. "
                f"Received: shape={tuple(self.shape)}"
            )
        # Scalars share one mean; arrays have one a channel.
        axis = -1 if self.shape else None
        return keras.layers.Normalization(
            axis=axis, mean=self.mean, variance=self.variance, name=f"normalize_{name}"
        )

    @property
    def needs_adapt(self):
        return self.mean is None

    def adapted(self, batches):
        rows, mean, squares = 0, 0.0, 0.0
        for batch in batches:
            values = np.asarray(batch, "float64")
            values = values.reshape(values.shape if self.shape else (-1,))
            if values.shape[1:] != tuple(self.shape):
                raise ValueError(
                    f"Numeric: values must have the shape (rows, *{tuple(self.shape)}). "
                    f"Received: shape {values.shape}"
                )
            # One number, or one a channel; batches are merged as in Chan et al. 1979.
            values = values.reshape((-1, *self.shape[-1:]))
            if not len(values):
                continue
            gap, share = values.mean(axis=0) - mean, len(values) / (rows + len(values))
            squares = squares + ((values - values.mean(axis=0)) ** 2).sum(axis=0)
            squares = squares + gap**2 * rows * share
            mean, rows = mean + gap * share, rows + len(values)
        if not rows:
            raise ValueError("Numeric: mean and variance need values. Received: 0 rows")
        return replace(self, mean=np.asarray(mean).tolist(), variance=(squares / rows).tolist())

    def vector(self, encoded, name):
        return _flatten(encoded, name)


@dataclass(frozen=True)
class Categorical(Feature):
    """A category, one-hot encoded; what is not in the vocabulary has a column of its own.

    Args:
        vocabulary: the categories, strings or integers; `None` to learn them with `adapt=`.
        num_categories: instead of a vocabulary, for ids that already are 0 ... n-1. This
            form runs on every backend; a vocabulary needs the TensorFlow backend. Other ids
            become zeros on TensorFlow and JAX, an error on PyTorch.
    """

    vocabulary: tuple[str, ...] | tuple[int, ...] | None = None
    num_categories: int | None = None

    def __post_init__(self):
        if self.vocabulary is not None and self.num_categories is not None:
            raise ValueError(
                "Categorical: give `vocabulary` or `num_categories`, not both. "
                f"Received: vocabulary={self.vocabulary}, num_categories={self.num_categories}"
            )
        if self.vocabulary is not None:
            object.__setattr__(self, "vocabulary", _checked_vocabulary(self))
        if self.num_categories is not None and self.num_categories < 1:
            raise ValueError(
                "Categorical: `num_categories` must be positive. "
                f"Received: num_categories={self.num_categories}"
            )

    @property
    def _integers(self):
        return self.num_categories is not None or (
            self.vocabulary is not None and all(isinstance(v, int) for v in self.vocabulary)
        )

    def input(self, name):
        return keras.Input((), name=name, dtype="int64" if self._integers else "string")

    def preprocessor(self, name):
        if self.num_categories is not None:
            return keras.layers.CategoryEncoding(
                self.num_categories, output_mode="one_hot", name=f"encode_{name}"
            )
        options = {"output_mode": "one_hot", "name": f"lookup_{name}"}
        if self._integers:
            # Keras's own token for what is unknown, -1, may be a category.
            unknown = min(-1, min(self.vocabulary) - 1)
            return keras.layers.IntegerLookup(
                vocabulary=self.vocabulary, oov_token=unknown, **options
            )
        return keras.layers.StringLookup(vocabulary=self.vocabulary, **options)

    @property
    def needs_adapt(self):
        return self.vocabulary is None and self.num_categories is None

    def adapted(self, batches):
        counts = Counter()
        for batch in batches:
            values, numbers = np.unique(np.asarray(batch), return_counts=True)
            counts.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
        words = {word: word.decode() if isinstance(word, bytes) else word for word in counts}
        if not all(isinstance(word, (str, int)) for word in words.values()):
            raise ValueError(
                "Categorical: categories must be strings or integers. "
                f"Received: {next(iter(words.values()))!r}"
            )
        frequent_first = sorted(counts, key=lambda word: (-counts[word], word))
        return replace(self, vocabulary=tuple(words[word] for word in frequent_first))

    @property
    def needs_tensorflow(self):
        return self.num_categories is None

    def vector(self, encoded, name):
        return encoded


@dataclass(frozen=True)
class Text(Feature):
    """A string, standardised, split at spaces, cut to a fixed number of tokens.

    A trunk of widths reads the average of learned word vectors; a layer or model as trunk
    reads the token ids (batch, sequence_length). Needs the TensorFlow backend.

    Args:
        vocabulary: the words in order of frequency; `None` to learn them with `adapt=`.
        max_tokens: size of the vocabulary, padding and unknown included.
        sequence_length: tokens kept of each text.
        embedding_dim: width of the word vectors.
        standardize: what happens before the split, as in `keras.layers.TextVectorization`:
            "lower_and_strip_punctuation", "lower", "strip_punctuation" or `None`. Where words
            have labels of their own nothing may be stripped: a word of punctuation would
            vanish, and all after it move.
    """

    vocabulary: tuple[str, ...] | None = None
    max_tokens: int = 20_000
    sequence_length: int = 128
    embedding_dim: int = 64
    standardize: str | None = "lower_and_strip_punctuation"

    def __post_init__(self):
        if self.vocabulary is not None:
            object.__setattr__(self, "vocabulary", _checked_vocabulary(self))
        kinds = ("lower_and_strip_punctuation", "lower", "strip_punctuation", None)
        if self.standardize not in kinds:
            raise ValueError(
                f"Text: `standardize` must be one of {', '.join(map(repr, kinds))}. "
                f"Received: standardize={self.standardize!r}"
            )

    def input(self, name):
        return keras.Input((), name=name, dtype="string")

    def preprocessor(self, name):
        return keras.layers.TextVectorization(
            max_tokens=self.max_tokens,
            standardize=self.standardize,
            output_sequence_length=self.sequence_length,
            vocabulary=self.vocabulary,
            name=f"vectorize_{name}",
        )

    @property
    def needs_adapt(self):
        return self.vocabulary is None

    def adapted(self, batches):
        layer = keras.layers.TextVectorization(self.max_tokens, self.standardize)
        layer.adapt(np.ravel(batch) for batch in batches)
        return replace(self, vocabulary=layer.get_vocabulary(include_special_tokens=False))

    needs_tensorflow = True

    def vector(self, encoded, name):
        words = keras.layers.Embedding(self.max_tokens, self.embedding_dim, name=f"embed_{name}")(
            encoded
        )
        # Not GlobalAveragePooling1D, which is NaN for a text without words.
        known = keras.ops.cast(keras.ops.not_equal(encoded, 0), words.dtype)
        known = keras.ops.expand_dims(known, axis=-1)
        number = keras.ops.maximum(keras.ops.sum(known, axis=1), 1)
        return keras.ops.sum(words * known, axis=1) / number


@dataclass(frozen=True)
class Image(Feature):
    """An image (height, width, channels), multiplied by `scale`.

    Args:
        shape: (height, width, channels).
        scale: 1/255 brings bytes to 0 ... 1.
    """

    shape: tuple[int, int, int]
    scale: float = 1 / 255

    def __post_init__(self):
        if not isinstance(self.shape, (list, tuple)) or len(self.shape) != 3:
            raise ValueError(
                f"Image: `shape` must be (height, width, channels). Received: shape={self.shape!r}"
            )

    def input(self, name):
        return keras.Input(tuple(self.shape), name=name, dtype="float32")

    def preprocessor(self, name):
        return keras.layers.Rescaling(self.scale, name=f"rescale_{name}")

    @property
    def needs_adapt(self):
        return False

    def vector(self, encoded, name):
        return _flatten(encoded, name)


def _checked_vocabulary(feature):
    words = () if isinstance(feature.vocabulary, str) else tuple(feature.vocabulary)
    if not words or len(set(words)) < len(words):
        raise ValueError(
            f"{type(feature).__name__}: `vocabulary` must be a sequence of different entries, one "
            f"or more. Received: vocabulary={feature.vocabulary!r}"
        )
    # NumPy's numbers and strings as Python's, which a config can hold.
    return tuple(word.item() if isinstance(word, np.generic) else word for word in words)


def _flatten(encoded, name):
    # Also turns a scalar a row, (batch,), into (batch, 1).
    return keras.layers.Flatten(name=f"flatten_{name}")(encoded)


KINDS = {"numeric": Numeric, "categorical": Categorical, "text": Text}
"""Kinds that may be given by name; an image needs its shape, so `Image(shape)` is written out."""
