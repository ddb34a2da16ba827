"""Experts: a bank of networks of equal shape, each with weights of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count, checked_rate
from mtl_keras.layers.copies import StackedInitializer, independent_layer, pattern_config

NORMALIZATIONS = (None, "batch", "layer")


@keras.saving.register_keras_serializable(package="mtl_keras")
class Experts(keras.layers.Layer):
    """Applies E networks to the same features and stacks what they give.

    Each is an MLP, h <- dropout(activation(norm(W_e h + b_e))) once a width. The kernels of a
    layer are stored together, (in, E, out), and the first layer is one matrix product for all
    experts. Each expert is drawn on its own, with the fan of one expert. A `Dense` layer of
    E times the width is the same function, with one draw for all and no way to mix.

    With `expert` they are networks of any kind instead: convolutions, transformer blocks.

    Args:
        num_experts: E.
        units: width, or widths of several layers.
        activation: of every layer; default "relu".
        use_bias: default `True`.
        normalization: before the activation, of each expert on its own: `None`, "batch" or
            "layer", with a scale and a shift.
        dropout: after the activation; default 0.
        feature_gate_rank: with a rank r, expert e reads x * 2 sigmoid(x A_e B_e), A_e (in, r)
            and B_e (r, in), instead of x: its own choice of the features (HoME). Default `None`.
        kernel_initializer: of one expert's kernel; default "glorot_uniform".
        bias_initializer: default "zeros".
        kernel_regularizer: of the stacked kernels.
        expert: instead of `units`: a layer, copied with draws of its own for each expert; or a
            function from the expert's index to a layer; or a list of E layers.
        seed: of the dropout.

    Call arguments:
        features: (batch, ..., channels).

    Output shape:
        (batch, ..., E, units): the axis of the experts is the last but one.

    Raises:
        ValueError: for bad counts or widths, for both or neither of `units` and `expert`, and
            for experts whose outputs differ in shape.

    Example:

    >>> experts = mtl_keras.layers.Experts(4, (16, 8))
    >>> experts(np.ones((2, 5))).shape
    TensorShape([2, 4, 8])
    >>> pattern = keras.layers.Conv2D(6, 3, padding="same", activation="relu")
    >>> mtl_keras.layers.Experts(3, expert=pattern)(np.ones((2, 8, 8, 1))).shape
    TensorShape([2, 8, 8, 3, 6])

    Reference:
        Jacobs et al., 1991, Adaptive Mixtures of Local Experts; Ma et al., 2018, equation 5;
        normalisation and feature gate: Wang et al., 2024, HoME.
    """

    def __init__(
        self,
        num_experts: int,
        units: int | Sequence[int] | None = None,
        activation: Any = "relu",
        use_bias: bool = True,
        normalization: str | None = None,
        dropout: float = 0.0,
        feature_gate_rank: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        expert: keras.layers.Layer | Callable[[int], Any] | Sequence | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_experts = checked_count(num_experts, "num_experts")
        if (units is None) == (expert is None):
            raise ValueError(
                "Exactly one of `units` and `expert` must be given. "
                f"Received: units={units}, expert={expert}"
            )
        self.units = None if units is None else _checked_units(units)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"`normalization` must be one of {list(NORMALIZATIONS)}. "
                f"Received: normalization={normalization!r}"
            )
        self.normalization = normalization
        self.dropout = checked_rate(dropout, "dropout")
        if feature_gate_rank is not None:
            checked_count(feature_gate_rank, "feature_gate_rank")
        self.feature_gate_rank = feature_gate_rank
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.seed = seed
        self.supports_masking = True
        self.networks = None if expert is None else self._made_networks(expert)
        if expert is None:
            self._make_sublayers()

    def _make_sublayers(self):
        depth = len(self.units)
        self.dropouts = [
            keras.layers.Dropout(
                self.dropout, seed=self.seed, name=f"dropout_{i}", dtype=self.dtype_policy
            )
            for i in range(depth if self.dropout else 0)
        ]
        make = {
            None: None,
            "batch": lambda **names: keras.layers.BatchNormalization(**names),
            "layer": lambda **names: keras.layers.LayerNormalization(
                center=False, scale=False, **names
            ),
        }[self.normalization]
        self.norms = [
            make(name=f"norm_{i}", dtype=self.dtype_policy) for i in range(depth if make else 0)
        ]

    def _made_networks(self, expert):
        """One layer an expert; the caller's own objects stay untouched."""
        names = [f"expert_{index}" for index in range(self.num_experts)]
        if isinstance(expert, keras.layers.Layer):
            return [
                independent_layer(expert, i, name=name, **self._policy_of(expert))
                for i, name in enumerate(names)
            ]
        made = [expert(i) for i in range(self.num_experts)] if callable(expert) else list(expert)
        if len(made) != self.num_experts or len({id(layer) for layer in made}) != len(made):
            raise ValueError(
                f"`expert` must give {self.num_experts} layers, each another object. "
                f"Received: expert={expert}"
            )
        return [
            independent_layer(layer, name=name, **self._policy_of(layer))
            for layer, name in zip(made, names, strict=True)
        ]

    def _policy_of(self, layer):
        # A model has no policy of its own to set: its layers have theirs.
        return {} if isinstance(layer, keras.Model) else {"dtype": self.dtype_policy}

    def build(self, features_shape: tuple) -> None:
        """Makes the weights of all experts."""
        if self.networks is not None:
            for network in self.networks:
                network.build(features_shape)
            self._checked_shapes(features_shape)
            return
        width = features_shape[-1]
        if self.feature_gate_rank is not None:
            self._build_feature_gate(width)
        self.kernels, self.biases, self.gammas, self.betas = [], [], [], []
        for i, units in enumerate(self.units):
            self.kernels.append(self._stacked(f"kernel_{i}", width, units, i))
            stack = (self.num_experts, units)
            if self.use_bias:
                bias = self.add_weight(
                    name=f"bias_{i}", shape=stack, initializer=self._each(self.bias_initializer, i)
                )
                self.biases.append(bias)
            if self.normalization == "batch":
                self.norms[i].build((*features_shape[:-1], self.num_experts * units))
            if self.normalization == "layer":
                self.norms[i].build((*features_shape[:-1], *stack))
                self.gammas.append(
                    self.add_weight(name=f"gamma_{i}", shape=stack, initializer="ones")
                )
                self.betas.append(
                    self.add_weight(name=f"beta_{i}", shape=stack, initializer="zeros")
                )
            if self.dropout:
                self.dropouts[i].build((*features_shape[:-1], *stack))
            width = units

    def _build_feature_gate(self, width):
        rank = self.feature_gate_rank
        self.gate_down = self._stacked("feature_gate_down", width, rank, len(self.units))
        self.gate_up = self._stacked("feature_gate_up", rank, width, len(self.units) + 1)

    def _stacked(self, name, width, units, index):
        return self.add_weight(
            name=name,
            shape=(width, self.num_experts, units),
            initializer=StackedInitializer(self.kernel_initializer, 1, index),
            regularizer=self.kernel_regularizer,
        )

    def _each(self, initializer, index):
        return StackedInitializer(initializer, 0, len(self.kernels), index)

    def call(self, features: Any, training: bool | None = None) -> Any:
        """What each expert makes of the features."""
        if self.networks is not None:
            outputs = [network(features, training=training) for network in self.networks]
            return ops.stack(outputs, axis=-2)
        if self.feature_gate_rank is None:
            return self._forward(features, False, training)
        return self._forward(self._gated(features), True, training)

    def _gated(self, features):
        low = _shared(features, self.gate_down)
        gate = 2 * ops.sigmoid(_per_expert(low, self.gate_up))
        return ops.expand_dims(features, -2) * gate

    def _forward(self, x, per_expert, training):
        """The layers; `per_expert` when `x` has an axis of experts, before the channels."""
        for i, kernel in enumerate(self.kernels):
            x = _per_expert(x, kernel) if per_expert or i else _shared(x, kernel)
            if self.use_bias:
                x = x + self.biases[i]
            x = self.activation(self._normalized(x, i, training))
            if self.dropout:
                x = self.dropouts[i](x, training=training)
        return x

    def _normalized(self, x, i, training):
        if self.normalization == "batch":
            shape = ops.shape(x)
            flat = ops.reshape(x, (*shape[:-2], self.num_experts * self.units[i]))
            return ops.reshape(self.norms[i](flat, training=training), shape)
        if self.normalization == "layer":
            return self.norms[i](x) * self.gammas[i] + self.betas[i]
        return x

    @property
    def dispatchable(self) -> bool:
        """Whether `dispatched` works: rows of one layer's experts do not see each other."""
        rowwise = self.networks is None and self.normalization != "batch"
        return rowwise and self.feature_gate_rank is None

    def dispatched(self, features: Any, gates: Any, k: int, capacity: Any, training: bool) -> Any:
        """sum_e gates_e f_e(features), computed for chosen experts alone.

        Args:
            features: (rows, channels).
            gates: (rows, E), at most `k` of a row and `capacity` of an expert not zero.
            k: experts a row.
            capacity: rows an expert, a number or a scalar tensor.
            training: whether dropout is on.
        """
        weights, chosen = ops.top_k(gates, k)
        queue = ops.cumsum(ops.cast(gates > 0, "int32"), axis=0) - 1
        place = ops.take_along_axis(queue, chosen, axis=1)
        slots = capacity * self.num_experts
        slot = ops.where(weights > 0, place * self.num_experts + chosen, slots)
        row = ops.broadcast_to(
            ops.expand_dims(ops.arange(ops.shape(gates)[0], dtype="int32"), 1), ops.shape(slot)
        )
        # The last slot takes what was not served; empty slots read row 0, and nobody them.
        reader = ops.scatter(ops.reshape(slot, (-1, 1)), ops.reshape(row, (-1,)), (slots + 1,))
        served = ops.take(features, reader[:-1], axis=0)
        served = ops.reshape(served, (-1, self.num_experts, features.shape[-1]))
        outputs = ops.reshape(self._forward(served, True, training), (-1, self.units[-1]))
        mine = ops.take(outputs, ops.minimum(slot, slots - 1), axis=0)
        return ops.sum(mine * ops.expand_dims(weights, -1), axis=1)

    def _checked_shapes(self, features_shape):
        shapes = [tuple(n.compute_output_shape(features_shape)) for n in self.networks]
        if len(set(shapes)) != 1:
            raise ValueError(
                "`expert` must give layers with outputs of one shape. "
                f"Received: outputs of shapes {shapes}"
            )
        return shapes[0]

    def compute_output_shape(self, features_shape: tuple) -> tuple:
        """The experts' axis goes before the channels."""
        if self.networks is not None:
            shape = self._checked_shapes(features_shape)
            return (*shape[:-1], self.num_experts, shape[-1])
        return (*features_shape[:-1], self.num_experts, self.units[-1])

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "normalization": self.normalization,
            "dropout": self.dropout,
            "feature_gate_rank": self.feature_gate_rank,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "expert": None if self.networks is None else [pattern_config(n) for n in self.networks],
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Experts":
        """The inverse of `get_config`."""
        config = dict(config)
        if config.get("expert") is not None:
            config["expert"] = [
                keras.saving.deserialize_keras_object(layer) for layer in config["expert"]
            ]
        return cls(**config)


def _shared(x, kernel):
    """Every expert reads the same features: one matrix product."""
    width, experts, units = kernel.shape
    product = ops.matmul(x, ops.reshape(kernel, (width, experts * units)))
    return ops.reshape(product, (*ops.shape(x)[:-1], experts, units))


def _per_expert(x, kernel):
    """Every expert reads features of its own: (..., experts, width)."""
    width, experts, units = kernel.shape
    # Not "...ei": for TensorFlow an ellipsis is a batch of tiny products, 50 times slower.
    product = ops.einsum("nei,ieo->neo", ops.reshape(x, (-1, experts, width)), kernel)
    return ops.reshape(product, (*ops.shape(x)[:-1], units))


def _checked_units(units):
    units = [units] if isinstance(units, int) else list(units)
    if not units:
        raise ValueError("`units` must hold at least one width. Received: units=[]")
    return [checked_count(width, "units") for width in units]
