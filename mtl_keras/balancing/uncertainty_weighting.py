"""Uncertainty weighting: each task's noise is learned, and noisy tasks weigh less."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_length

# What exp(-s) L is multiplied by: a Gaussian likelihood has 1 / (2 sigma^2), a softmax
# 1 / sigma^2 (equations 7 and 10).
_FACTORS = {"regression": 0.5, "classification": 1.0}


@rule("uw", source="Kendall et al., 2018, Multi-Task Learning Using Uncertainty to Weigh Losses")
class UncertaintyWeighting(LossBalancer):
    """total = sum_k c_k exp(-s_k) L_k + s_k / 2, with trained s_k = log sigma_k^2.

    c is 1/2 for regression (a squared error) and 1 for classification (a cross-entropy), as in
    equations 7 and 10; most code bases use 1/2 for all, which only shifts where s settles. s
    starts at 0, in the paper's form with log variances; some code bases start at -0.5.

    The best s_k is log(2 c_k L_k), so that a task's weight comes to 1 / (2 L_k). A loss below
    0 has no best s: it is weighed as the equation says, and training lets its weight grow
    without end. An absent task's s stays.

    Args:
        kinds: "regression" or "classification", for all tasks or as a list with one a task.
            Defaults to "regression".

    Raises:
        ValueError: for another kind, or another number of them than of tasks.

    Example:

    >>> rule = UncertaintyWeighting(["regression", "classification"])
    >>> rule.weights([4.0, 2.0]).numpy().tolist()
    [0.5, 1.0]
    """

    def __init__(self, kinds: Any = None):
        super().__init__()
        listed = kinds if isinstance(kinds, (list, tuple)) else [kinds]
        listed = ["regression" if kind is None else kind for kind in listed]
        if not listed or not all(isinstance(kind, str) and kind in _FACTORS for kind in listed):
            raise ValueError(
                f"`kinds` must be one of {list(_FACTORS)}, or a list of them. "
                f"Received: kinds={kinds!r}"
            )
        self.kinds = listed if isinstance(kinds, (list, tuple)) else kinds

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """The log-variances s."""
        if isinstance(self.kinds, list):
            checked_length(self.kinds, "kinds", num_tasks)
        self.log_variances = self.add_variable(
            "log_variances", (num_tasks,), dtype=dtype, trainable=True
        )

    def combine(self, losses: Any, present: Any) -> Any:
        """The equation, over the tasks that are present."""
        half = ops.cast(self.log_variances, losses.dtype) / 2
        terms = self.weigh(losses, present) * losses + half
        return ops.sum(ops.where(present, terms, ops.zeros_like(terms)))

    def weigh(self, losses: Any, present: Any) -> Any:
        """c exp(-s)."""
        kinds = self.kinds if isinstance(self.kinds, list) else [self.kinds or "regression"]
        factors = ops.convert_to_tensor([_FACTORS[kind] for kind in kinds], losses.dtype)
        return factors * ops.exp(-ops.cast(self.log_variances, losses.dtype))

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"kinds": self.kinds}
