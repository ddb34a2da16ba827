"""Layers that are right in every point, for the tests of the layer suite."""

import keras
import numpy as np
from keras import ops

from conformance.layer_suite import LayerCase

MIXED = ("mixed_float16", "mixed_bfloat16")

registered = keras.saving.register_keras_serializable(package="conformance")


def draw(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


@registered
class Linear(keras.layers.Layer):
    """scale * features W; the broken layers each change one thing of it."""

    def __init__(self, units, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.scale = scale
        self.supports_masking = True

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units))

    def call(self, inputs):
        return self.scale * ops.matmul(inputs, self.kernel)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "scale": self.scale}


def linear_statement(weights, inputs):
    return 2.0 * inputs @ weights["kernel"]


def linear_case(layer_class, **changes):
    fields = {
        "layer_class": layer_class,
        "config": {"units": 3, "scale": 2.0},
        "inputs": (draw(4, 5),),
        "expected": linear_statement,
    }
    return LayerCase(**(fields | changes))


@registered
class AddContext(keras.layers.Layer):
    """W1 h + W2 z, for a sequence h."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.supports_masking = True

    def build(self, features_shape, context_shape):
        self.kernel = self.add_weight(name="kernel", shape=(features_shape[-1], self.units))
        self.context_kernel = self.add_weight(
            name="context_kernel", shape=(context_shape[-1], self.units)
        )

    def call(self, features, context):
        shift = ops.matmul(context, self.context_kernel)
        return ops.matmul(features, self.kernel) + ops.expand_dims(shift, 1)

    def compute_output_shape(self, features_shape, context_shape):
        return (*features_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def add_context_statement(weights, features, context):
    return features @ weights["kernel"] + (context @ weights["context_kernel"])[:, None]


@registered
class Perceptron(keras.layers.Layer):
    """Two dense sublayers with dropout between them."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.supports_masking = True
        self.hidden = keras.layers.Dense(units, "tanh", name="hidden", dtype=self.dtype_policy)
        self.dropout = keras.layers.Dropout(0.2, name="dropout", dtype=self.dtype_policy)
        self.out = self.new_out()

    def new_out(self):
        return keras.layers.Dense(self.units, name="out", dtype=self.dtype_policy)

    def build(self, input_shape):
        hidden_shape = (*input_shape[:-1], self.units)
        self.hidden.build(input_shape)
        self.dropout.build(hidden_shape)
        self.out.build(hidden_shape)

    def call(self, inputs, training=None):
        return self.out(self.dropout(self.hidden(inputs), training=training))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def perceptron_statement(weights, inputs):
    hidden = np.tanh(inputs @ weights["hidden/kernel"] + weights["hidden/bias"])
    return hidden @ weights["out/kernel"] + weights["out/bias"]


def perceptron_case(layer_class, **changes):
    fields = {
        "layer_class": layer_class,
        "config": {"units": 8},
        "inputs": (draw(4, 5),),
        "expected": perceptron_statement,
        "training_differs": True,
    }
    return LayerCase(**(fields | changes))


@registered
class MeanOverTime(Linear):
    """The mean of the unmasked steps, projected; the time axis and its mask end here."""

    def call(self, inputs, mask=None):
        if mask is None:
            mask = ops.ones(ops.shape(inputs)[:2], "bool")
        keep = ops.expand_dims(ops.cast(mask, inputs.dtype), -1)
        mean = ops.sum(inputs * keep, 1) / ops.maximum(ops.sum(keep, 1), 1)
        return super().call(mean)

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.units)


def mean_over_time_statement(weights, inputs):
    return 2.0 * inputs.mean(1) @ weights["kernel"]


MASK = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool)


def sequence_case(layer_class, **changes):
    fields = {"inputs": (draw(4, 3, 5),), "masks": (MASK,), "expected": mean_over_time_statement}
    return linear_case(layer_class, **(fields | changes))


@registered
class Choice(Linear):
    """A dict with a float and an integer output."""

    def call(self, inputs):
        scores = super().call(inputs)
        return {"scores": scores, "best": ops.cast(ops.argmax(scores, -1), "int32")}

    def compute_output_shape(self, input_shape):
        return {"scores": (*input_shape[:-1], self.units), "best": tuple(input_shape[:-1])}

    def compute_output_spec(self, inputs):
        shapes = self.compute_output_shape(inputs.shape)
        return {
            "scores": keras.KerasTensor(shapes["scores"], dtype=self.compute_dtype),
            "best": keras.KerasTensor(shapes["best"], dtype="int32"),
        }


def choice_statement(weights, inputs):
    scores = linear_statement(weights, inputs)
    return {"scores": scores, "best": scores.argmax(-1)}


@registered
class Exchange(keras.layers.Layer):
    """A tuple of task features in, the same number of mixtures of them out."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, features_shape):
        count = len(features_shape)
        self.mixing = self.add_weight(name="mixing", shape=(count, count), initializer="identity")

    def call(self, features):
        mixed = ops.einsum("ij,j...->i...", self.mixing, ops.stack(features))
        return tuple(mixed[index] for index in range(len(features)))

    def compute_output_shape(self, features_shape):
        return tuple(tuple(shape) for shape in features_shape)


def exchange_statement(weights, features):
    return tuple(np.einsum("ij,j...->i...", weights["mixing"], np.stack(features)))


GOOD = [
    LayerCase(
        layer_class=keras.layers.Dense,
        config={"units": 3, "activation": "tanh"},
        inputs=(draw(4, 5),),
        expected=lambda weights, x: np.tanh(x @ weights["kernel"] + weights["bias"]),
    ),
    LayerCase(
        layer_class=keras.layers.Dropout,
        config={"rate": 0.5},
        inputs=(draw(4, 5),),
        expected=lambda weights, x: x,
        training_differs=True,
    ),
    LayerCase(
        layer_class=keras.layers.Embedding,
        config={"input_dim": 3, "output_dim": 2},
        inputs=(np.array([[0, 1], [2, 0]], "int32"),),
        expected=lambda weights, ids: weights["embeddings"][ids],
        exempt={"masks": "an Embedding makes masks, it takes none"},
    ),
    LayerCase(
        layer_class=keras.layers.TimeDistributed,
        config={"layer": keras.layers.Dense(2, name="inner")},
        inputs=(draw(4, 3, 5),),
        expected=lambda weights, x: x @ weights["inner/kernel"] + weights["inner/bias"],
        exempt=dict.fromkeys(
            ("mixed_float16", "mixed_bfloat16", "numerical_gradients"),
            "TimeDistributed leaves the policy to the layer it wraps",
        ),
    ),
    linear_case(Linear),
    LayerCase(
        layer_class=AddContext,
        config={"units": 3},
        inputs=(draw(4, 3, 5), draw(4, 2)),
        masks=(MASK, None),
        expected=add_context_statement,
    ),
    perceptron_case(Perceptron),
    sequence_case(MeanOverTime),
    linear_case(Choice, expected=choice_statement),
    LayerCase(
        layer_class=Exchange,
        config={},
        inputs=((draw(4, 5), draw(4, 5) + 1),),
        expected=exchange_statement,
    ),
]
