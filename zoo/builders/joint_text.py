"""Joint text: tasks about tokens and tasks about sentences, one encoder."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.checks import checked_choice, checked_count
from mtl_keras.layers import MaskedConv1D, PositionalEmbedding, SequencePooling, TransformerBlock
from zoo.builders.backbone import Backbone
from zoo.builders.draft import Draft, ModelOptions
from zoo.features import Text

ENCODERS = ("gru", "lstm", "bilstm", "cnn", "transformer")


def joint_text(
    tasks: Sequence[Task],
    inputs: Any,
    vocabulary_size: int | None = None,
    *,
    encoder: str | keras.layers.Layer = "gru",
    embedding: int | None = 64,
    units: int = 64,
    num_layers: int = 1,
    causal: bool | None = None,
    pooling: str = "mean",
    share: float = 1.0,
    kernel_size: int = 3,
    num_heads: int = 4,
    dropout: float = 0.0,
    name: str = "joint_text",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model of token tasks and sentence tasks on one text encoder.

    Next word and sentiment, or slots and intent. Tokens become vectors, an encoder reads them in
    their context, `TokenTask` heads read every position h_t, the others one vector of the
    sentence, sum_t a_t h_t (Collobert & Weston 2008, with convolutions; Liu et al. 2016,
    recurrent). Token id 0 is padding: no output for another position depends on it, and labels
    at padded positions count for nothing.

    Args:
        tasks: the tasks. Next words are a `TokenTask` of `vocabulary_size` classes: labels are
            the ids, one position on, and -1 where there is no next one.
        inputs: a dict of one `zoo.features.Text` (or "text"); or for token ids a length, a shape
            `(length,)`, `None` for a length that varies, or a Keras input (batch, length).
        vocabulary_size: number of token ids, 0 included; that of a text feature is known.
        encoder: "gru", "lstm", "bilstm", "cnn" or "transformer"; or a Keras layer or model from
            (batch, length, embedding) to (batch, length, channels). A model with "sequence_output"
            and "pooled_output" has its own pooling.
        embedding: width of the token vectors; `None` where a layer as encoder reads the ids.
        units: width of an encoder layer: of each direction of "bilstm"; "transformer": of the
            hidden layer in each block, whose output is as wide as the embedding.
        num_layers: layers of the encoder.
        causal: whether position t must see no token after t, as where the next one is predicted.
            "gru" and "lstm" never do, "bilstm" always does. By default true where a `TokenTask`
            has as many classes as there are tokens, which is taken for next words. A layer as
            encoder is as it is.
        pooling: "mean", "last" or "attention", what sentence tasks read: see
            `mtl_keras.layers.SequencePooling`.
        share: how much of the depth is shared, the token vectors being the first layer: 0 gives
            separate networks, 1 all but pooling and heads; between, each task has the upper
            layers for itself.
        kernel_size: tokens that a "cnn" layer reads at once.
        num_heads: attention heads of "transformer".
        dropout: rate after the token vectors and each encoder layer.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: for an unknown encoder or pooling, a "bilstm" that would see the next word,
            `causal` beside a layer as encoder, a missing vocabulary size, inputs that are not
            one text, and as `zoo.shared_trunk`.

    Example:

    >>> tasks = [TokenTask("next_word", 50), BinaryTask("sentiment")]
    >>> model = joint_text(tasks, None, vocabulary_size=50, encoder="cnn", embedding=8)
    >>> ids = np.array([[7, 3, 9, 0], [4, 4, 2, 1]])
    >>> next_word = np.where(ids[:, 1:] == 0, -1, ids[:, 1:])
    >>> y = {"next_word": np.pad(next_word, ((0, 0), (0, 1)), constant_values=-1)}
    >>> logs = model.train_on_batch(ids, y | {"sentiment": np.array([1.0, 0.0])}, return_dict=True)
    >>> logs["next_word_labels"], logs["sentiment_labels"]
    (5.0, 2.0)
    """
    checked_choice(pooling, "pooling", ("mean", "last", "attention"))
    inputs, size = _text(inputs, vocabulary_size)
    draft = Draft(tasks, inputs, name, as_vector=False, **options)
    if isinstance(encoder, keras.layers.Layer):
        _check_as_it_is(causal, encoder)
        layers = encoder.layers if type(encoder) is keras.Sequential else [encoder]
    else:
        checked_choice(encoder, "encoder", ENCODERS)
        checked_count(embedding, "embedding")
        causal = _causal(draft.tasks, size, encoder, causal)
        layers = _encoder(encoder, units, num_layers, causal, kernel_size, num_heads, dropout)
    if embedding is not None:
        layers = [*_vectors(encoder, size, embedding, dropout), *layers]
        encoder = keras.Sequential(layers, name="encoder")
    backbone = Backbone(encoder, argument="encoder")
    count = backbone.num_shared(share)
    first = backbone.first(count, "encoder")
    features = first(draft.encoded) if first else draft.encoded
    features = backbone.towers(draft.names, features, start=count)
    return draft.model(
        {task.name: _pooled(features[task.name], task, pooling) for task in draft.tasks}
    )


def _text(inputs, vocabulary_size):
    """Inputs for a draft, and the number of token ids."""
    if vocabulary_size is not None:
        vocabulary_size = checked_count(vocabulary_size, "vocabulary_size", minimum=2)
    if isinstance(inputs, Mapping) and len(inputs) == 1:
        (feature,) = inputs.values()
        feature = Text() if feature == "text" else feature
        if isinstance(feature, Text):
            if vocabulary_size not in (None, feature.max_tokens):
                raise ValueError(
                    "`vocabulary_size` is that of the text feature, "
                    f"{feature.max_tokens}. Received: vocabulary_size={vocabulary_size}"
                )
            return inputs, feature.max_tokens
    if isinstance(inputs, keras.KerasTensor) and len(inputs.shape) == 2:
        return inputs, vocabulary_size
    shape = tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)
    if len(shape) == 1 and (shape[0] is None or isinstance(shape[0], int)):
        return keras.Input(shape, dtype="int32", name="tokens"), vocabulary_size
    raise ValueError(
        "`inputs` must be one zoo.features.Text in a dict, a length of token ids, or a Keras "
        f"input (batch, length). Received: inputs={inputs!r}"
    )


def _check_as_it_is(causal, encoder):
    if causal is not None:
        raise ValueError(
            "`causal` goes with the name of an encoder; a layer is as it is. "
            f"Received: causal={causal}, encoder={encoder!r}"
        )


def _causal(tasks, size, encoder, causal):
    if causal is None:
        causal = any(task.per_position and task.units == size for task in tasks)
    if causal and encoder == "bilstm":
        raise ValueError(
            "`encoder` must not read ahead where the next word is predicted: 'lstm' does not. "
            "If no task predicts it, say causal=False. Received: encoder='bilstm'"
        )
    return causal


def _vectors(encoder, size, width, dropout):
    if size is None:
        raise ValueError(
            "`vocabulary_size` must be given with token ids. Received: vocabulary_size=None"
        )
    kind = PositionalEmbedding if encoder == "transformer" else keras.layers.Embedding
    yield kind(size, checked_count(width, "embedding"), mask_zero=True, name="vectors")
    if dropout:
        yield keras.layers.Dropout(dropout, name="vectors_dropout")


def _encoder(kind, units, num_layers, causal, kernel_size, num_heads, dropout):
    layers = []
    for i in range(checked_count(num_layers, "num_layers")):
        name = f"{kind}_{i}"
        if kind == "cnn":
            padding = "causal" if causal else "same"
            layer = MaskedConv1D(units, kernel_size, padding, activation="relu", name=name)
        elif kind == "transformer":
            layer = TransformerBlock(num_heads, units, causal, name=name)
        elif kind == "gru":
            layer = keras.layers.GRU(units, return_sequences=True, name=name)
        else:
            layer = keras.layers.LSTM(units, return_sequences=True, name=name)
        if kind == "bilstm":
            layer = keras.layers.Bidirectional(layer, name=name)
        layers.append(layer)
        if dropout:
            layers.append(keras.layers.Dropout(dropout, name=f"{kind}_dropout_{i}"))
    return layers


def _pooled(features, task, pooling):
    positions = isinstance(features, keras.KerasTensor) and len(features.shape) == 3
    if task.per_position or not positions:
        return features
    return SequencePooling(pooling, name=f"{task.name}_pool")(features)
