"""ExpertHealth: whether all experts are of use, and different from each other."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.layers.layer_metric import LayerMetric


class ExpertHealth(LayerMetric, keras.metrics.Metric):
    """What gates and experts did in training, under log keys that begin with the layer's path.

    - `_utilisation`: exp(entropy of the mean gate) / E, a mean over gates: 1 when all experts
      are used alike, 1 / E when one of them is all that is used.
    - `_gate_entropy`: mean entropy of a row's gate over log E: 0 when rows choose one expert.
    - `_expert_similarity`: mean cosine of the outputs of two experts over the batch.

    Made by a mixture with `track_health=True` and updated while training only, so evaluation
    reports NaN and prediction costs nothing.

    Args:
        prefix: of the log keys.
        sizes: number of experts of each gate.
    """

    def __init__(self, prefix: str, sizes: Sequence[int]):
        super().__init__(name=f"{prefix}_health")
        self.prefix = prefix
        self.usages = [
            self.add_variable((size,), "zeros", name=f"usage_{i}") for i, size in enumerate(sizes)
        ]
        self.entropy = self.add_variable((), "zeros", name="entropy")
        self.similarity = self.add_variable((), "zeros", name="similarity")
        self.batches = self.add_variable((), "zeros", name="batches")

    def add(self, gates: Sequence, experts: Any) -> None:
        """Adds a batch.

        Args:
            gates: (..., E_g) each.
            experts: (batch, ..., E, channels), the experts of all gates.
        """
        entropies = []
        for usage, gate in zip(self.usages, gates, strict=True):
            gate = ops.reshape(ops.cast(gate, self.dtype), (-1, usage.shape[0]))
            usage.assign_add(ops.mean(gate, axis=0))
            entropies.append(ops.mean(_entropy(gate)) / math.log(max(usage.shape[0], 2)))
        self.entropy.assign_add(ops.mean(ops.stack(entropies)))
        self.similarity.assign_add(_similarity(ops.cast(experts, self.dtype)))
        self.batches.assign_add(1.0)

    def result(self) -> dict:
        """The report; NaN before the first batch."""
        batches = ops.convert_to_tensor(self.batches)
        batches = ops.where(batches > 0, batches, float("nan"))
        shares = [ops.exp(_entropy(u / batches)) / u.shape[0] for u in self.usages]
        return {
            f"{self.prefix}_utilisation": ops.mean(ops.stack(shares)),
            f"{self.prefix}_gate_entropy": self.entropy / batches,
            f"{self.prefix}_expert_similarity": self.similarity / batches,
        }

    def by_expert(self) -> list[np.ndarray]:
        """The mean weight of each expert since the last reset, an array a gate."""
        batches = max(float(self.batches), 1.0)
        return [ops.convert_to_numpy(usage) / batches for usage in self.usages]


def _entropy(shares):
    # x log x is 0 at 0.
    return -ops.sum(shares * ops.log(ops.where(shares > 0, shares, 1.0)), axis=-1)


def _similarity(experts):
    count = experts.shape[-2]
    if count == 1:
        return ops.full((), float("nan"))
    flat = ops.reshape(ops.moveaxis(experts, -2, 0), (count, -1))
    norms = ops.sqrt(ops.sum(ops.square(flat), axis=1, keepdims=True))
    units = flat / ops.where(norms > 0, norms, 1.0)
    every = ops.matmul(units, ops.transpose(units))
    return (ops.sum(every) - ops.trace(every)) / (count * (count - 1))
