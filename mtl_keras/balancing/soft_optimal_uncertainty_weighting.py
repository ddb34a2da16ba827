"""Soft optimal uncertainty weighting: what uncertainty weighting comes to, without training."""

from typing import Any

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.present import above, softmax
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_positive


@rule("uw_so", source="Kirchdorfer et al., 2024, Analytical Uncertainty-Based Loss Weighting")
class SoftOptimalUncertaintyWeighting(LossBalancer):
    """total = sum_k w_k L_k, w = softmax_k(1 / (T L_k)), constants: UW-SO.

    1 / L_k is the weight that the best uncertainty of `UncertaintyWeighting` gives; the softmax
    keeps the weights at a sum of 1 over the tasks that are present. The paper tunes T for each
    data set, because 1 / L has a scale: losses far below 1 / T give nearly all weight to the
    smallest. A loss below 0 has no best uncertainty: its task takes no part.

    Args:
        temperature: T above 0; larger is more equal. Defaults to 1.

    Raises:
        ValueError: for a temperature that is not above 0.

    Example:

    >>> rule = SoftOptimalUncertaintyWeighting()
    >>> np.round(np.float64(rule.weights([0.5, 1.0])), 3).tolist()
    [0.731, 0.269]
    """

    def __init__(self, temperature: float = 1.0):
        super().__init__()
        self.temperature = checked_positive(temperature, "temperature")

    def weigh(self, losses: Any, present: Any) -> Any:
        """Softmax of the inverse losses."""
        losses, present = above(losses, present)
        return softmax(1.0 / (self.temperature * losses), present)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"temperature": self.temperature}
