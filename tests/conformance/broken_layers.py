"""Layers that each do one thing wrong, for the tests of the layer suite."""

import keras
import numpy as np
from keras import ops

from conformance.good_layers import Exchange, Linear, MeanOverTime, Perceptron, registered


@registered
class ForgetsArgument(Linear):
    def get_config(self):
        config = super().get_config()
        del config["scale"]
        return config


class Unregistered(Linear):
    pass


@registered
class LiesAboutShape(Linear):
    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.units + 1)


@registered
class HasDeadWeight(Linear):
    def build(self, input_shape):
        super().build(input_shape)
        self.unused = self.add_weight(name="unused", shape=(2,))


@registered
class LeavesChildUnbuilt(Perceptron):
    def build(self, input_shape):
        self.hidden.build(input_shape)
        self.dropout.build((*input_shape[:-1], self.units))


@registered
class LeavesPlainChildUnbuilt(Linear):
    def __init__(self, units, scale=1.0, **kwargs):
        super().__init__(units, scale, **kwargs)
        self.plain = Exchange(name="plain", dtype=self.dtype_policy)


@registered
class CreatesWeightsInCall(Linear):
    def build(self, input_shape):
        self.kernel = None

    def call(self, inputs):
        if self.kernel is None:
            super().build(inputs.shape)
        return super().call(inputs)


@registered
class NamesChildrenByCount(Linear):
    def __init__(self, units, scale=1.0, **kwargs):
        super().__init__(units, scale, **kwargs)
        self.inner = keras.layers.Dense(units, use_bias=False, dtype=self.dtype_policy)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return self.scale * self.inner(inputs)


@registered
class KeepsPolicyFromChild(Perceptron):
    def new_out(self):
        return keras.layers.Dense(self.units, name="out")


@registered
class DrawsFromNumpyInCall(Linear):
    def call(self, inputs, training=None):
        noise = np.random.standard_normal(inputs.shape[-1]) if training else np.zeros(1)
        return super().call(inputs + ops.cast(noise, inputs.dtype))


@registered
class InitialisesFromNumpy(Linear):
    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=lambda shape, dtype: ops.cast(np.random.standard_normal(shape), dtype),
        )


@registered
class HardcodesSeed(Linear):
    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=keras.initializers.GlorotUniform(seed=1),
        )


@registered
class SharesInitializer(Linear):
    def build(self, input_shape):
        shape, once = (input_shape[-1], self.units), keras.initializers.GlorotUniform()
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=once)
        self.second = self.add_weight(name="second", shape=shape, initializer=once)

    def call(self, inputs):
        return super().call(inputs) + ops.matmul(inputs, self.second)


@registered
class HasWrongEquation(Linear):
    def call(self, inputs):
        return super().call(inputs) + 0.001


@registered
class HasNanWeightGradient(Linear):
    def call(self, inputs):
        return ops.sqrt(ops.square(super().call(inputs)))


@registered
class HasNanInputGradient(Linear):
    def call(self, inputs):
        norm = ops.sqrt(ops.sum(ops.square(inputs), -1, keepdims=True))
        return super().call(inputs) + norm


@registered
class WorksEagerlyOnly(Linear):
    def call(self, inputs):
        return super().call(ops.convert_to_tensor(np.abs(ops.convert_to_numpy(inputs))))


@registered
class CannotBeCompiled(Linear):
    def call(self, inputs):
        import tensorflow as tf

        outputs = super().call(tf.py_function(lambda tensor: tensor, [inputs], inputs.dtype))
        return tf.ensure_shape(outputs, (inputs.shape[0], self.units))


@registered
class IgnoresMask(MeanOverTime):
    def call(self, inputs):
        return super().call(inputs)


@registered
class MixesMaskedSteps(Linear):
    """Every step sees every other, and the mask passes through unused."""

    def call(self, inputs):
        return super().call(ops.mean(inputs, 1, keepdims=True) + inputs)


@registered
class DestroysMask(Linear):
    def __init__(self, units, scale=1.0, **kwargs):
        super().__init__(units, scale, **kwargs)
        self.supports_masking = False


@registered
class OverflowsFloat16(Linear):
    def call(self, inputs):
        return super().call(inputs) * 1e3 * 1e3 / 1e6


@registered
class StoresHalfPrecision(Linear):
    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.units), dtype="float16"
        )

    def call(self, inputs):
        return self.scale * ops.matmul(inputs, ops.cast(self.kernel, inputs.dtype))


@registered
class DependsOnOtherRows(Linear):
    def call(self, inputs):
        return super().call(inputs - ops.mean(inputs, 0, keepdims=True))


@registered
class LosesWeightsOnSave(Linear):
    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        pass


@registered
class ChangesWithOpenBatch(Linear):
    def call(self, inputs):
        factor = 1.0 if isinstance(inputs.shape[0], int) else 1.5
        return factor * super().call(inputs)


@registered
class TrainsDifferently(Linear):
    def call(self, inputs, training=None):
        return super().call(inputs) * (0.5 if training else 1.0)


@registered
class HasWrongGradient(Linear):
    def call(self, inputs):
        half = super().call(inputs) / 2
        return half + ops.stop_gradient(half)
