"""SubNetworkRouting: learned connections from sub-networks to the next level's."""

import math
from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count, checked_positive
from mtl_keras.layers.copies import StackedInitializer
from mtl_keras.layers.layer_metric import log_key
from mtl_keras.layers.towers import checked_towers, joint_mask, mixed, tower_shape
from mtl_keras.layers.training_mean import TrainingMean


@keras.saving.register_keras_serializable(package="mtl_keras")
class SubNetworkRouting(keras.layers.Layer):
    """v_j = sum_i z_ij W_ij u_i: which of N sub-networks feeds which of M, and how much.

    Connections z_ij between 0 and 1 are drawn from hard concrete distributions, one draw a
    training step: s = sigmoid((log u - log(1 - u) + log_alpha) / beta) with u uniform, and
    z = clip(s (zeta - gamma) + gamma, 0, 1). Gates are thus exactly 0 or 1 part of the time,
    and an L0 penalty closes those that do not pay. Inference uses the fixed
    z = clip(sigmoid(log_alpha) (zeta - gamma) + gamma, 0, 1); `routing` tells it, and what is
    0 need not be computed when the model is served. With a mixture of experts the weights
    depend on the input; here they belong to the model.

    The penalty, the expected number of open connections sum_ij sigmoid(log_alpha_ij - beta
    log(-gamma / zeta)), is added while training and reported under `<layer path>_l0_loss`.

    Args:
        num_outputs: M, the sub-networks (or tasks) of the next level.
        kind: "transform", with matrices W_ij (SNR-Trans), or "average", without (SNR-Aver).
        units: width of v_j with "transform"; default that of u_i.
        l0_penalty: weight of the penalty; default 0, none. It is to be tuned.
        beta: temperature; default 2/3, that of Louizos et al.
        gamma: below 0; default -0.1, likewise.
        zeta: above 1; default 1.1, likewise.
        kernel_initializer: of each W_ij; default "glorot_uniform".
        seed: of the draws.

    Call arguments:
        features: a tuple of N tensors of one shape (batch, ..., channels).

    Output shape:
        A tuple of M shapes (batch, ..., units).

    Raises:
        ValueError: for bad arguments, and for features that differ in shape or number.

    Example:

    >>> layer = mtl_keras.layers.SubNetworkRouting(3, units=4)
    >>> outputs = layer((np.ones((2, 5)), np.ones((2, 5))))
    >>> len(outputs), outputs[0].shape
    (3, TensorShape([2, 4]))
    >>> layer.routing().numpy().tolist()
    [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]

    Reference:
        Ma et al., 2019, SNR: Sub-Network Routing for Flexible Parameter Sharing in Multi-Task
        Learning; gates: Louizos et al., 2018, Learning Sparse Neural Networks through L0
        Regularization, equations 10 to 13.
    """

    def __init__(
        self,
        num_outputs: int,
        kind: str = "transform",
        units: int | None = None,
        l0_penalty: float = 0.0,
        beta: float = 2 / 3,
        gamma: float = -0.1,
        zeta: float = 1.1,
        kernel_initializer: Any = "glorot_uniform",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_outputs = checked_count(num_outputs, "num_outputs")
        self.kind = _checked_kind(kind, units)
        self.units = units if units is None else checked_count(units, "units")
        self.l0_penalty = l0_penalty and checked_positive(l0_penalty, "l0_penalty")
        self.beta = checked_positive(beta, "beta")
        if not gamma < 0 or not zeta > 1:
            raise ValueError(
                "`gamma` must be below 0 and `zeta` above 1. "
                f"Received: gamma={gamma!r}, zeta={zeta!r}"
            )
        self.gamma = float(gamma)
        self.zeta = float(zeta)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, features_shape: tuple) -> None:
        """Makes log_alpha, (N, M), and kernels (N, channels, M, units)."""
        self.count = len(features_shape)
        channels = tower_shape(features_shape, "features")[-1]
        self.log_alpha = self.add_weight(
            name="log_alpha",
            shape=(self.count, self.num_outputs),
            initializer="zeros",
            # Half precision would blur which gates are open.
            autocast=False,
        )
        if self.kind == "transform":
            self.kernel = self.add_weight(
                name="kernel",
                shape=(self.count, channels, self.num_outputs, self.units or channels),
                initializer=self._draw_kernels,
            )
        if self.l0_penalty:
            self.tracker = TrainingMean(name=log_key(self, "l0_loss"))

    def _draw_kernels(self, shape, dtype=None):
        count, channels, outputs, units = shape
        draw = StackedInitializer(self.kernel_initializer, 0)
        kernels = draw((count * outputs, channels, units), dtype=dtype)
        kernels = ops.reshape(kernels, (count, outputs, channels, units))
        return ops.transpose(kernels, (0, 2, 1, 3))

    def routing(self) -> Any:
        """The connections z of inference, (N, M)."""
        return self._stretched(ops.sigmoid(self.log_alpha))

    def call(self, features: Any, training: bool | None = None) -> tuple:
        """What arrives at each sub-network of the next level."""
        features = checked_towers(features, self.count, "features")
        gates = self._drawn_gates() if training else self.routing()
        gates = ops.cast(gates, self.compute_dtype)
        if training and self.l0_penalty:
            self._add_penalty()
        if self.kind == "average":
            return mixed(ops.transpose(gates), features)
        # Kernels are smaller than features: gate them, then one product for all connections.
        kernel = self.kernel * gates[:, None, :, None]
        everything = ops.concatenate(features, axis=-1)
        kernel = ops.reshape(kernel, (everything.shape[-1], -1))
        return tuple(ops.split(ops.matmul(everything, kernel), self.num_outputs, axis=-1))

    def _drawn_gates(self):
        dtype = keras.backend.standardize_dtype(self.log_alpha.dtype)
        # Neither logarithm may see 0.
        uniform = keras.random.uniform(
            self.log_alpha.shape, 1e-6, 1 - 1e-6, dtype=dtype, seed=self.seed_generator
        )
        noise = ops.log(uniform) - ops.log(1 - uniform)
        return self._stretched(ops.sigmoid((noise + self.log_alpha) / self.beta))

    def _stretched(self, gates):
        return ops.clip(gates * (self.zeta - self.gamma) + self.gamma, 0.0, 1.0)

    def _add_penalty(self):
        shift = self.beta * math.log(-self.gamma / self.zeta)
        penalty = ops.sum(ops.sigmoid(self.log_alpha - shift))
        self.tracker.update_state(penalty)
        self.add_loss(self.l0_penalty * penalty)

    def compute_mask(self, features: Any, previous_mask: Any = None) -> tuple:
        """Valid where all sub-networks are."""
        return (joint_mask(previous_mask),) * self.num_outputs

    def compute_output_shape(self, features_shape: tuple) -> tuple:
        """A shape for each sub-network of the next level."""
        *positions, channels = features_shape[0]
        return ((*positions, self.units or channels),) * self.num_outputs

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "num_outputs": self.num_outputs,
            "kind": self.kind,
            "units": self.units,
            "l0_penalty": self.l0_penalty,
            "beta": self.beta,
            "gamma": self.gamma,
            "zeta": self.zeta,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "seed": self.seed,
        }


def _checked_kind(kind, units):
    if kind not in ("transform", "average"):
        raise ValueError(f'`kind` must be "transform" or "average". Received: kind={kind!r}')
    if kind == "average" and units is not None:
        raise ValueError(f'`units` must be None with kind="average". Received: units={units!r}')
    return kind
