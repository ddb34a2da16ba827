"""Lookups of words outside the model, for backends whose models cannot take strings.

Keras looks words up in TensorFlow alone. On JAX and PyTorch a model reads ids instead, which
`Lookups` makes of the words in NumPy as Keras's layers would.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

_PUNCTUATION = re.compile(r"[!\"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']")
# What Keras's layers keep for words that they do not know; 0 pads texts.
_UNKNOWN_WORD = 1


@dataclass(frozen=True)
class Lookup:
    """What one input's layer looks up.

    Args:
        words: word to id.
        unknown: the id of other words.
        size: how many ids there are.
        length: ids of a text; None for one category a row.
        standardize: of a text, as in `keras.layers.TextVectorization`.
    """

    words: Mapping[Any, int]
    unknown: int
    size: int
    length: int | None = None
    standardize: str | None = None

    def ids(self, values: Any) -> np.ndarray:
        """Ids of values (batch,): (batch,), or (batch, length) of texts."""
        values = np.asarray(values)
        rows = [_text(value) for value in values.ravel()]
        if self.length is None:
            ids = [self.words.get(value, self.unknown) for value in rows]
            return np.array(ids, "int32").reshape(values.shape)
        ids = np.zeros((len(rows), self.length), "int32")
        for row, text in zip(ids, rows, strict=True):
            words = _standardized(text, self.standardize).split()[: self.length]
            row[: len(words)] = [self.words.get(word, self.unknown) for word in words]
        return ids


def encoded(lookups: Mapping[str, Lookup], x: Mapping[str, Any]) -> dict[str, Any]:
    """`x` with ids in the place of what is looked up, by input."""
    return {name: lookups[name].ids(v) if name in lookups else v for name, v in x.items()}


def lookups_of(config: Any) -> dict[str, Lookup]:
    """Input name to its lookup, of all in a model's config."""
    return {
        _source(layer): _LAYERS[layer["class_name"]][0](layer["config"])
        for layer in _layers(config)
        if layer["class_name"] in _LAYERS
    }


def without_lookups(config: Any) -> Any:
    """Changes a model's config in place: it takes ids where there were lookups.

    Returns:
        The same config.
    """
    lookups = lookups_of(config)
    for layer in _layers(config):
        if layer["class_name"] in _LAYERS:
            lookup = lookups[_source(layer)]
            name, arguments = _LAYERS[layer["class_name"]][1](lookup)
            layer["config"] = {"name": layer["config"]["name"], **arguments}
            layer |= {"module": "keras.layers", "class_name": name, "registered_name": None}
            layer.pop("build_config", None)
        elif layer["class_name"] == "InputLayer" and layer["config"]["name"] in lookups:
            layer["config"] |= _ids_of(lookups[layer["config"]["name"]], "batch_shape")
    for tensor in _tensors(config):
        if tensor["keras_history"][0] in lookups:
            tensor |= _ids_of(lookups[tensor["keras_history"][0]], "shape")
    return config


def needed() -> bool:
    """Whether models of this backend cannot take strings."""
    return keras.backend.backend() != "tensorflow"


def _ids_of(lookup, shape):
    return {shape: [None] if lookup.length is None else [None, lookup.length], "dtype": "int32"}


def _layers(config) -> Iterator[dict]:
    """The layers of all graphs, innermost too."""
    inside = config.get("config", {})
    for layer in inside.get("layers", ()) if isinstance(inside, Mapping) else ():
        yield layer
        yield from _layers(layer)


def _tensors(value) -> Iterator[dict]:
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _tensors(item)


def _source(layer):
    """The name of the input that a lookup reads."""
    (tensor,) = _tensors(layer["inbound_nodes"])
    return tensor["keras_history"][0]


def _category(config):
    start = config["num_oov_indices"]
    words = {word: i + start for i, word in enumerate(config["vocabulary"])}
    return Lookup(words, unknown=0, size=len(words) + start)


def _words(config):
    # 0 is padding, 1 what is unknown.
    words = {word: i + 2 for i, word in enumerate(config["vocabulary"])}
    length, standardize = config["output_sequence_length"], config["standardize"]
    return Lookup(words, _UNKNOWN_WORD, len(words) + 2, length, standardize)


def _one_hot(lookup):
    return "CategoryEncoding", {"num_tokens": lookup.size, "output_mode": "one_hot"}


# How a layer's config is read, and which layer stands in its place.
_LAYERS = {
    "StringLookup": (_category, _one_hot),
    "IntegerLookup": (_category, _one_hot),
    "TextVectorization": (_words, lambda lookup: ("Identity", {})),
}


def _text(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.generic) else value


def _standardized(text, how):
    if how in ("lower", "lower_and_strip_punctuation"):
        # ASCII alone, as TensorFlow does.
        text = re.sub("[A-Z]+", lambda found: found[0].lower(), text)
    if how in ("strip_punctuation", "lower_and_strip_punctuation"):
        text = _PUNCTUATION.sub("", text)
    return text
