"""DSelectKGate: at most k experts, chosen differentiably."""

from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.checks import checked_count, checked_positive
from mtl_keras.layers.copies import StackedInitializer, independent_initializer
from mtl_keras.layers.gate import Gate, exact
from mtl_keras.layers.layer_metric import log_key
from mtl_keras.layers.training_mean import TrainingMean

# Below it a selector is as good as lost: all its weight is on codes of no expert.
_REACHED = 1e-6


@keras.saving.register_keras_serializable(package="mtl_keras")
class DSelectKGate(Gate):
    """q = sum_i softmax(alpha)_i r(z_i): k selectors, each of which ends on one expert.

    Selector i has a code z_i of m = ceil(log2 E) numbers. A smooth step S, cubic between
    -gamma / 2 and gamma / 2, then exactly 0 or 1, turns them into soft bits, and
    r(z)_e = prod_j S(z_j)^b_j (1 - S(z_j))^(1 - b_j) for expert e with the bits b. Unlike
    `TopKGate` it has a gradient everywhere, and is dense at first. Codes and alpha are G x and
    W x of the features, or weights alone (`static`): then the choice belongs to the task.

    While training two losses are added and reported under `<layer path>_entropy_loss` and
    `_reachability_loss`, both a mean over rows (the authors' code sums over the batch):

    - the entropy of each r, summed over the selectors, which presses them to one expert;
    - where E is no power of two, some codes are of no expert: 1 / max(sum_e r_e, 1e-6) - 1,
      summed over the selectors, keeps them away from those. The authors' code has it without
      the - 1, and their weights sum to less than one; here q is divided by its sum. A row
      for which all selectors miss, a sum under 1e-6, gets equal weights.

    Args:
        num_experts: E; `None` in the pattern of a mixture.
        k: selectors, the most experts a row; default 1.
        gamma: width of the smooth step; default 1. Smaller chooses sooner.
        entropy_weight: default 1e-6, as in the authors' code; larger chooses sooner.
        reachability_weight: default 1, as in the authors' code.
        static: whether all rows are given the same weights; default `False`.
        code_initializer: of G; default uniform from -gamma / 100 to gamma / 100.
        selector_initializer: of W; default "random_uniform".

    Call arguments:
        features: (batch, ..., channels).
        mask: (batch, ...); masked positions count in neither loss.

    Output shape:
        (batch, ..., num_experts)

    Raises:
        ValueError: for bad counts or weights, and k above the number of experts.

    Example:

    >>> gate = mtl_keras.layers.DSelectKGate(5, k=2)
    >>> weights = gate(np.ones((3, 4))).numpy()
    >>> weights.shape, bool(np.allclose(weights.sum(-1), 1))
    ((3, 5), True)

    Reference:
        Hazimeh et al., 2021, DSelect-k: Differentiable Selection in the Mixture of Experts
        with Applications to Multi-Task Learning, section 3.
    """

    def __init__(
        self,
        num_experts: int | None = None,
        k: int = 1,
        gamma: float = 1.0,
        entropy_weight: float = 1e-6,
        reachability_weight: float = 1.0,
        static: bool = False,
        code_initializer: Any = None,
        selector_initializer: Any = "random_uniform",
        **kwargs: Any,
    ):
        super().__init__(num_experts, **kwargs)
        self.k = checked_count(k, "k")
        if num_experts is not None and k > num_experts:
            raise ValueError(f"`k` must not be above `num_experts`, {num_experts}. Received: k={k}")
        self.gamma = checked_positive(gamma, "gamma")
        self.entropy_weight = entropy_weight and checked_positive(entropy_weight, "entropy_weight")
        self.reachability_weight = reachability_weight and checked_positive(
            reachability_weight, "reachability_weight"
        )
        self.static = bool(static)
        self.code_initializer = keras.initializers.get(code_initializer)
        self.selector_initializer = keras.initializers.get(selector_initializer)

    def build(self, features_shape: tuple) -> None:
        """Makes codes ([channels,] k, bits) and selectors ([channels,] k), and the trackers."""
        super().build(features_shape)
        if self.num_experts == 1:
            return
        numbers = np.arange(self.num_experts)[:, None]
        width = int(self.num_experts - 1).bit_length()
        self.bits = (numbers >> np.arange(width)) % 2 == 1
        self.every_code_is_an_expert = self.num_experts == 2**width
        channels = () if self.static else (features_shape[-1],)
        self.codes = self.add_weight(
            name="codes",
            shape=(*channels, self.k, width),
            initializer=StackedInitializer(self._code_initializer(), len(channels)),
            autocast=not self.static,
        )
        # The softmax of one selector is 1, whatever its weight.
        if self.k > 1:
            self.selectors = self.add_weight(
                name="selectors",
                shape=(*channels, self.k),
                initializer=independent_initializer(self.selector_initializer),
                autocast=not self.static,
            )
        self.trackers = {
            name: TrainingMean(name=log_key(self, name)) for name in self._loss_weights()
        }

    def _code_initializer(self):
        if self.code_initializer is not None:
            return self.code_initializer
        return keras.initializers.RandomUniform(-self.gamma / 100, self.gamma / 100)

    def _loss_weights(self):
        weights = {"entropy_loss": self.entropy_weight}
        if not self.every_code_is_an_expert:
            weights["reachability_loss"] = self.reachability_weight
        return weights

    def call(self, features: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Weights of the experts."""
        if self.num_experts == 1:
            return ops.ones_like(features[..., :1])
        chosen = self._chosen(features)
        if training:
            self._add_losses(chosen, None if self.static else mask)
        gates = self._normalised(self._over_selectors(chosen, features))
        if self.static:
            gates = ops.broadcast_to(gates, (*ops.shape(features)[:-1], self.num_experts))
        return ops.cast(gates, self.compute_dtype)

    def _chosen(self, features):
        """r of each selector, (..., k, experts)."""
        steps = self._smooth_step(self._logits(features, self.codes))
        chosen = 1.0
        for bit in range(self.bits.shape[1]):
            step = steps[..., bit : bit + 1]
            chosen = chosen * ops.where(self.bits[:, bit], step, 1 - step)
        return chosen

    def _logits(self, features, weights):
        return exact(weights if self.static else ops.tensordot(features, weights, axes=1))

    def _smooth_step(self, codes):
        t = ops.clip(codes / self.gamma, -0.5, 0.5)
        return 0.5 + t * (1.5 - 2 * ops.square(t))

    def _over_selectors(self, chosen, features):
        if self.k == 1:
            return chosen[..., 0, :]
        shares = ops.softmax(self._logits(features, self.selectors), axis=-1)
        return ops.sum(ops.expand_dims(shares, -1) * chosen, axis=-2)

    def _normalised(self, gates):
        if self.every_code_is_an_expert:
            return gates
        total = ops.sum(gates, axis=-1, keepdims=True)
        reached = total > _REACHED
        return ops.where(reached, gates / ops.where(reached, total, 1.0), 1 / self.num_experts)

    def _add_losses(self, chosen, mask):
        entropies = -ops.sum(chosen * ops.log(chosen + 1e-6), axis=(-2, -1))
        reached = ops.maximum(ops.sum(chosen, axis=-1), _REACHED)
        losses = {
            "entropy_loss": entropies,
            "reachability_loss": ops.sum(1 / reached - 1, axis=-1),
        }
        for name, weight in self._loss_weights().items():
            loss = _mean(losses[name], mask)
            self.trackers[name].update_state(loss)
            if weight:
                self.add_loss(weight * loss)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "k": self.k,
            "gamma": self.gamma,
            "entropy_weight": self.entropy_weight,
            "reachability_weight": self.reachability_weight,
            "static": self.static,
            "code_initializer": keras.initializers.serialize(self.code_initializer),
            "selector_initializer": keras.initializers.serialize(self.selector_initializer),
        }


def _mean(values, mask):
    if mask is None:
        return ops.mean(values)
    rows = ops.cast(mask, values.dtype)
    return ops.sum(values * rows) / ops.maximum(ops.sum(rows), 1.0)
