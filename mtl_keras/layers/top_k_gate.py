"""TopKGate: a row is served by its k best experts."""

import math
from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count, checked_positive
from mtl_keras.layers.copies import independent_initializer
from mtl_keras.layers.gate import Gate, exact
from mtl_keras.layers.layer_metric import log_key
from mtl_keras.layers.training_mean import TrainingMean


@keras.saving.register_keras_serializable(package="mtl_keras")
class TopKGate(Gate):
    """Noisy top-k gating: softmax over the k largest logits, 0 for the other experts.

    While training, logits are H(x) = W x + N(0, 1) softplus(V x) (Shazeer, equation 4), and two
    losses are added and reported under `<layer path>_load_balancing_loss` and `_z_loss`:

    - load balancing, E sum_e f_e P_e, with f_e the share of assignments that expert e gets and
      P_e its mean softmax probability; 1 when balanced (Fedus, equations 4 to 6);
    - z loss, the mean of logsumexp(logits)^2, which keeps logits small (Zoph, equation 5).

    With a capacity factor c an expert takes at most ceil(c k rows / E) rows of a batch, the
    first ones; a row that comes later loses that expert's share, and its weights sum to less
    than one. Rows then depend on each other, and `MixtureOfExperts` can skip the work of
    experts that were not chosen.

    Args:
        num_experts: number of experts; `None` in the pattern of a mixture.
        k: experts a row; default 2.
        noisy: whether training adds noise; default `True`.
        capacity_factor: c in training; default `None`, no limit.
        inference_capacity_factor: c otherwise; default `None`, no limit: what a row gets does
            not depend on its neighbours.
        load_balancing: weight of that loss; default 0.01.
        z_loss: weight of that loss; default 0.001.
        kernel_initializer: of W; V starts at zero. Default "glorot_uniform".
        seed: of the noise.

    Call arguments:
        features: (batch, ..., channels).
        mask: (batch, ...); masked positions count in neither loss and take no capacity.

    Output shape:
        (batch, ..., num_experts)

    Raises:
        ValueError: for bad counts or factors, and k above the number of experts.

    Example:

    >>> gate = mtl_keras.layers.TopKGate(4, k=2)
    >>> weights = gate(np.random.default_rng(0).normal(size=(3, 5)))
    >>> (weights.numpy() > 0).sum(-1).tolist()
    [2, 2, 2]

    Reference:
        Shazeer et al., 2017, Outrageously Large Neural Networks, equations 3 to 5; Fedus et
        al., 2021, Switch Transformers; Zoph et al., 2022, ST-MoE.
    """

    def __init__(
        self,
        num_experts: int | None = None,
        k: int = 2,
        noisy: bool = True,
        capacity_factor: float | None = None,
        inference_capacity_factor: float | None = None,
        load_balancing: float = 0.01,
        z_loss: float = 0.001,
        kernel_initializer: Any = "glorot_uniform",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(num_experts, **kwargs)
        self.k = checked_count(k, "k")
        if num_experts is not None and k > num_experts:
            raise ValueError(f"`k` must not be above `num_experts`, {num_experts}. Received: k={k}")
        self.noisy = noisy
        self.capacity_factor = _checked_factor(capacity_factor, "capacity_factor")
        self.inference_capacity_factor = _checked_factor(
            inference_capacity_factor, "inference_capacity_factor"
        )
        self.load_balancing = load_balancing and checked_positive(load_balancing, "load_balancing")
        self.z_loss = z_loss and checked_positive(z_loss, "z_loss")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, features_shape: tuple) -> None:
        """Makes the weights, and the trackers of the losses."""
        super().build(features_shape)
        shape = (features_shape[-1], self.num_experts)
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=independent_initializer(self.kernel_initializer)
        )
        if self.noisy:
            self.noise_kernel = self.add_weight(
                name="noise_kernel", shape=shape, initializer="zeros"
            )
        self.trackers = {
            name: TrainingMean(name=log_key(self, name))
            for name in ("load_balancing_loss", "z_loss")
        }

    def call(self, features: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Weights of the experts, 0 for those not chosen."""
        logits = clean = exact(ops.matmul(features, self.kernel))
        if self.noisy and training:
            scale = ops.softplus(exact(ops.matmul(features, self.noise_kernel)))
            noise = keras.random.normal(
                ops.shape(logits), dtype=logits.dtype, seed=self.seed_generator
            )
            logits = clean + noise * scale
        chosen = self._largest(logits)
        gates = ops.softmax(ops.where(chosen > 0, logits, -1e30), axis=-1)
        if mask is not None:
            chosen = chosen * ops.expand_dims(ops.cast(mask, chosen.dtype), -1)
        if training:
            self._add_losses(clean, chosen, mask)
        gates = self._within_capacity(gates, chosen, training)
        return ops.cast(gates, self.compute_dtype)

    def _largest(self, logits):
        # One by one: k is small, ties stay k, and what JAX makes of top_k no SavedModel reads.
        chosen = ops.zeros_like(logits)
        for _ in range(self.k):
            left = ops.where(chosen > 0, -math.inf, logits)
            best = ops.argmax(left, axis=-1)
            chosen = chosen + ops.one_hot(best, self.num_experts, dtype=logits.dtype)
        return chosen

    def _add_losses(self, logits, chosen, mask):
        rows = ops.ones_like(logits[..., 0]) if mask is None else ops.cast(mask, logits.dtype)
        count = ops.maximum(ops.sum(rows), 1.0)
        rows = ops.expand_dims(rows, -1)
        axes = tuple(range(len(logits.shape) - 1))
        assigned = ops.sum(chosen, axis=axes) / (count * self.k)
        probability = ops.sum(ops.softmax(logits, axis=-1) * rows, axis=axes) / count
        sizes = ops.logsumexp(logits, axis=-1, keepdims=True)
        losses = {
            "load_balancing_loss": self.num_experts * ops.sum(assigned * probability),
            "z_loss": ops.sum(ops.square(sizes) * rows) / count,
        }
        weights = {"load_balancing_loss": self.load_balancing, "z_loss": self.z_loss}
        for name, loss in losses.items():
            self.trackers[name].update_state(loss)
            if weights[name]:
                self.add_loss(weights[name] * loss)

    def _within_capacity(self, gates, chosen, training):
        flat = ops.reshape(ops.cast(chosen, "int32"), (-1, self.num_experts))
        capacity = self.capacity(ops.shape(flat)[0], training)
        if capacity is None:
            return gates
        served = ops.logical_and(flat > 0, ops.cumsum(flat, axis=0) <= capacity)
        return ops.where(ops.reshape(served, ops.shape(gates)), gates, 0.0)

    def capacity(self, num_rows: Any, training: bool | None) -> Any:
        """ceil(c k rows / E); `None` without a factor."""
        factor = self.capacity_factor if training else self.inference_capacity_factor
        if factor is None:
            return None
        share = factor * self.k / self.num_experts
        if isinstance(num_rows, int):
            # A number that shapes can be made of while a graph is traced.
            return math.ceil(share * num_rows)
        return ops.cast(ops.ceil(share * ops.cast(num_rows, "float32")), "int32")

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "k": self.k,
            "noisy": self.noisy,
            "capacity_factor": self.capacity_factor,
            "inference_capacity_factor": self.inference_capacity_factor,
            "load_balancing": self.load_balancing,
            "z_loss": self.z_loss,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "seed": self.seed,
        }


def _checked_factor(factor, argument):
    return None if factor is None else checked_positive(factor, argument)
