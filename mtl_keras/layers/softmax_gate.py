"""SoftmaxGate: every expert has a share."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_positive, checked_rate
from mtl_keras.layers.gate import Gate, exact


@keras.saving.register_keras_serializable(package="mtl_keras")
class SoftmaxGate(Gate):
    """g(x) = softmax(W x / temperature): weights of all experts, which sum to one.

    A low temperature is close to choosing one expert, a high one to their mean. Gate dropout
    takes experts out of a row while training and lets the others share its weight, which
    keeps a gate from resting on one expert. See `TopKGate` for work that is skipped.

    Args:
        num_experts: number of experts; `None` in the pattern of a mixture.
        temperature: above 0; default 1.
        dropout: share of experts taken out of each row in training; default 0.
        use_bias: whether logits have a bias; default `False`, as in the paper.
        kernel_initializer: of W; default "glorot_uniform".
        kernel_regularizer: of W.
        seed: of the dropout.

    Call arguments:
        features: (batch, ..., channels).

    Output shape:
        (batch, ..., num_experts)

    Raises:
        ValueError: for a bad count, temperature or dropout.

    Example:

    >>> gate = mtl_keras.layers.SoftmaxGate(3)
    >>> weights = gate(np.ones((2, 4)))
    >>> weights.shape, bool(np.allclose(weights.numpy().sum(-1), 1))
    (TensorShape([2, 3]), True)

    Reference:
        Ma et al., 2018, Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, equation 6; dropout: Zhao et al., 2019, Recommending What Video to
        Watch Next.
    """

    def __init__(
        self,
        num_experts: int | None = None,
        temperature: float = 1.0,
        dropout: float = 0.0,
        use_bias: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(num_experts, **kwargs)
        self.temperature = checked_positive(temperature, "temperature")
        self.dropout = checked_rate(dropout, "dropout")
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, features_shape: tuple) -> None:
        """Makes the weights."""
        super().build(features_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(features_shape[-1], self.num_experts),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.num_experts,), initializer="zeros")

    def call(self, features: Any, training: bool | None = None) -> Any:
        """Weights of the experts."""
        logits = exact(ops.matmul(features, self.kernel))
        if self.bias is not None:
            logits = logits + ops.cast(self.bias, logits.dtype)
        gates = ops.softmax(logits / self.temperature, axis=-1)
        if training and self.dropout:
            gates = self._dropped(gates)
        return ops.cast(gates, self.compute_dtype)

    def _dropped(self, gates):
        draw = keras.random.uniform(ops.shape(gates), seed=self.seed_generator)
        kept = ops.where(draw >= self.dropout, gates, 0.0)
        total = ops.sum(kept, axis=-1, keepdims=True)
        # A row whose experts were all drawn keeps them all.
        return ops.where(total > 0, kept / ops.where(total > 0, total, 1.0), gates)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "seed": self.seed,
        }
