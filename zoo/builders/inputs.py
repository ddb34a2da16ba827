"""The inputs of a builder, in any of their forms, as Keras inputs and what a trunk reads."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from mtl_keras.layers import LearnedDefault
from zoo.features import KINDS, Categorical, Feature, Numeric


def encode_inputs(inputs: Any, adapt: Any = None, as_vector: bool = True) -> tuple[Any, Any]:
    """Keras inputs of a model, and the tensor (or structure of tensors) for its trunk.

    Args:
        inputs: a shape without the batch, `None` for a length that varies; a dict from name
            to `Feature`, or to the kind ("numeric", "categorical", "text"); an adapted
            `keras.utils.FeatureSpace`; or Keras inputs in any structure.
        adapt: data that missing statistics are learned from: a dict of arrays, or a
            `tf.data.Dataset` of such dicts, alone or with labels.
        as_vector: whether the trunk reads one vector a row, (batch, width). Otherwise a
            single feature keeps its form (image, token ids), and Keras inputs stay as they are.

    Raises:
        ValueError: for inputs of no such form, an unknown kind, statistics that are missing,
            and features that the backend cannot process.
    """
    if isinstance(inputs, keras.utils.FeatureSpace):
        encoded = inputs.get_encoded_features()
        if as_vector:
            encoded = _vector([_flat(t) for t in keras.tree.flatten(encoded)])
        # A plain dict; with its own kind Keras warns of the structure at every call.
        return dict(inputs.get_inputs()), encoded
    tensors = keras.tree.flatten(inputs)
    if tensors and all(isinstance(tensor, keras.KerasTensor) for tensor in tensors):
        return inputs, _vector([_flat(t) for t in tensors]) if as_vector else inputs
    if isinstance(inputs, Mapping) and inputs:
        return _encode_features(inputs, adapt, as_vector)
    shape = (inputs,) if isinstance(inputs, int) else inputs
    if isinstance(shape, (list, tuple)) and shape and all(map(_is_size, shape)):
        tensor = keras.Input(shape, name="features")
        return tensor, _flat(tensor) if as_vector else tensor
    raise ValueError(
        "`inputs` must be a shape, a dict of features, a FeatureSpace or Keras inputs. "
        f"Received: inputs={inputs!r}"
    )


def _encode_features(features, adapt, as_vector):
    features = {name: _feature(name, feature, adapt) for name, feature in features.items()}
    raw = {name: feature.input(name) for name, feature in features.items()}
    encoded = {name: feature.preprocessor(name)(raw[name]) for name, feature in features.items()}
    first = next(iter(encoded.values()))
    if len(encoded) == 1 and len(first.shape) > 1 and not as_vector:
        encoded = first
    else:
        encoded = _vector([features[name].vector(encoded[name], name) for name in features])
    # One model within the model: a summary shows the architecture, not forty lookups.
    preprocess = keras.Model(raw, encoded, name="preprocessing")
    inputs = {name: feature.input(name) for name, feature in features.items()}
    return inputs, preprocess(inputs)


def encode_optional(
    features: Mapping[str, Any], adapt: Any, hidden: float, name: str
) -> tuple[dict, Any]:
    """Keras inputs and one vector a row of features that may be unknown.

    Unknown are NaN, ids that are no category, and what is not in a vocabulary; a learned vector
    stands for each feature there, see `LearnedDefault`.

    Args:
        features: dict from name to `Numeric` or `Categorical`, or to their kinds by name.
        adapt: as in `encode_inputs`.
        hidden: share of rows in which a feature is taken for unknown, in training.
        name: of the model of their preprocessing.

    Raises:
        ValueError: as `encode_inputs`, and for other features.
    """
    features = {name: _feature(name, feature, adapt) for name, feature in features.items()}
    raw = {name: feature.input(name) for name, feature in features.items()}
    vectors = []
    for own, feature in features.items():
        encoded, known = _encode_optional(raw[own], feature, own)
        vectors.append(LearnedDefault(hidden, name=f"{own}_or_default")(encoded, known))
    preprocess = keras.Model(raw, _vector(vectors), name=name)
    inputs = {name: feature.input(name) for name, feature in features.items()}
    return inputs, preprocess(inputs)


def _encode_optional(raw, feature, name):
    """A feature as a vector, finite where it is unknown, and where it is known, (batch,)."""
    encode = feature.preprocessor(name)
    if isinstance(feature, Numeric):
        broken = keras.ops.isnan(raw)
        axes = tuple(range(1, len(raw.shape)))
        known = keras.ops.logical_not(keras.ops.any(broken, axes) if axes else broken)
        return feature.vector(encode(keras.ops.where(broken, 0.0, raw)), name), known
    if not isinstance(feature, Categorical):
        raise ValueError(
            f"Feature '{name}', which may be unknown, must be numeric or categorical. "
            f"Received: {feature}"
        )
    if feature.num_categories is None:
        encoded = encode(raw)
        # The first column is that of all that is not in the vocabulary.
        return encoded, keras.ops.equal(encoded[:, 0], 0)
    known = keras.ops.logical_and(raw >= 0, raw < feature.num_categories)
    return encode(keras.ops.where(known, raw, 0)), known


def _is_size(size):
    return size is None or (isinstance(size, int) and size > 0 and size is not True)


def _feature(name, feature, adapt):
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError(
            "Names of features must be of letters, digits, '_', '.' and '-', as TensorFlow "
            f"requires. Received: {name!r}"
        )
    if isinstance(feature, str) and feature in KINDS:
        feature = KINDS[feature]()
    if not isinstance(feature, Feature):
        raise ValueError(
            f"Feature '{name}' must be one of {list(KINDS)} or a zoo.features object, such as "
            f"zoo.features.Image(shape). Received: {feature!r}"
        )
    if feature.needs_tensorflow and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Feature '{name}' is looked up in a vocabulary, which needs the TensorFlow backend. "
            "Elsewhere give it as ids, Categorical(num_categories=...). "
            f"Received: backend {keras.backend.backend()!r}"
        )
    return _adapted(name, feature, adapt) if feature.needs_adapt else feature


def _adapted(name, feature, adapt):
    if adapt is None:
        raise ValueError(
            f"Feature '{name}' has no statistics: give them (mean and variance, vocabulary), or "
            f"the training data as `adapt`. Received: {feature}, adapt=None"
        )
    try:
        return feature.adapted(_batches(adapt, name))
    except (ValueError, TypeError) as error:
        raise ValueError(f"Feature '{name}' cannot learn from `adapt`. {error}") from error


def _batches(data, name):
    stream = hasattr(data, "element_spec")
    columns = data.element_spec if stream else data
    columns = columns[0] if stream and isinstance(columns, tuple) else columns
    if not isinstance(columns, Mapping) or name not in columns:
        raise ValueError(
            f"It must hold '{name}': a dict of arrays or a tf.data.Dataset of dicts. "
            f"Received: adapt of type {type(data).__name__}"
            + (f" with {list(columns)}" if isinstance(columns, Mapping) else "")
        )
    if stream:
        return data.map(lambda x, *labels: x[name]).as_numpy_iterator()
    return [np.asarray(data[name])]


def _vector(tensors):
    return (
        tensors[0] if len(tensors) == 1 else keras.layers.Concatenate(name="side_by_side")(tensors)
    )


def _flat(tensor):
    return tensor if len(tensor.shape) == 2 else keras.layers.Flatten()(tensor)
