"""Gate: the base of what weighs experts."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count
from mtl_keras.layers.copies import independent_layer


class Gate(keras.layers.Layer):
    """Maps features (batch, ..., channels) to weights (batch, ..., num_experts) of experts.

    A mixture takes one gate as the pattern of all that it needs and copies it with
    `for_experts`; the pattern may leave `num_experts` open.

    Args:
        num_experts: number of experts; `None` in a pattern.

    Raises:
        ValueError: when it is built with the number still open.
    """

    def __init__(self, num_experts: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if num_experts is not None:
            num_experts = checked_count(num_experts, "num_experts")
        self.num_experts = num_experts
        self.supports_masking = True

    def for_experts(self, num_experts: int, *index: int, **changes: Any) -> "Gate":
        """A gate over `num_experts` with these arguments and draws of its own."""
        if self.num_experts not in (None, num_experts):
            raise ValueError(
                f"`gate` must be over {num_experts} experts; as a pattern it may leave "
                f"`num_experts` open. Received: a gate over {self.num_experts}"
            )
        return independent_layer(self, *index, num_experts=num_experts, **changes)

    def build(self, features_shape: tuple) -> None:
        """Checks that the number of experts is known."""
        if self.num_experts is None:
            raise ValueError("`num_experts` must be given. Received: num_experts=None")

    def capacity(self, num_rows: Any, training: bool) -> Any:
        """The most rows that an expert takes of `num_rows`; `None` without a limit."""
        return None

    def compute_output_shape(self, features_shape: tuple) -> tuple:
        """One weight an expert."""
        return (*features_shape[:-1], self.num_experts)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {**super().get_config(), "num_experts": self.num_experts}


def exact(logits: Any) -> Any:
    """Half-precision logits in float32: a softmax over experts needs the digits."""
    if keras.backend.standardize_dtype(logits.dtype) in ("float16", "bfloat16"):
        return ops.cast(logits, "float32")
    return logits
