"""What a model takes, and what it does to each input itself."""

from typing import Any

import keras


def described_inputs(model: keras.Model) -> list[dict[str, Any]]:
    """Name, shape of a row, type and, in words, preprocessing of each input."""
    layers = dict(_preprocessing(model))
    described = []
    for tensor in keras.tree.flatten(model.inputs):
        own = {"name": tensor.name, "shape": list(tensor.shape[1:]), "dtype": tensor.dtype}
        said = [_in_words(layer) for name, layer in layers.items() if _reads(name, tensor.name)]
        described.append(own | ({"preprocessing": ", ".join(said)} if said else {}))
    return described


def _preprocessing(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from ((inner.name, inner) for inner in layer.layers if type(inner) in _WORDS)


def _reads(layer, name):
    return layer.partition("_")[2] == name


def _in_words(layer):
    return _WORDS[type(layer)](layer)


_WORDS = {
    keras.layers.Normalization: lambda layer: "standardised",
    keras.layers.Rescaling: lambda layer: f"multiplied by {layer.scale:.4g}",
    keras.layers.StringLookup: lambda layer: (
        f"one of {layer.vocabulary_size() - 1} categories, or unknown"
    ),
    keras.layers.IntegerLookup: lambda layer: (
        f"one of {layer.vocabulary_size() - 1} categories, or unknown"
    ),
    keras.layers.CategoryEncoding: lambda layer: f"one of {layer.num_tokens} categories",
    keras.layers.TextVectorization: lambda layer: (
        f"split at spaces into {layer.vocabulary_size() - 2:,} known words, the first "
        f"{layer._output_sequence_length} of a text"
    ),
}
