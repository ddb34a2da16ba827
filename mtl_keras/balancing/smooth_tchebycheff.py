"""Smooth Tchebycheff scalarisation: a differentiable maximum of log losses."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.epoch_mean import EpochMean
from mtl_keras.balancing.present import above, number, shares, softmax
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import (
    checked_count,
    checked_length,
    checked_numbers,
    checked_positive,
    checked_weights,
)


@rule("stch", source="Lin et al., 2024, Smooth Tchebycheff Scalarization")
class SmoothTchebycheff(LossBalancer):
    """total = n mu log sum_k exp(p_k log((L_k - b_k) / nadir_k) / mu), after a warm-up.

    p is the preference, made to have mean 1 over the n tasks that are present; b are lower
    bounds (the paper's ideal point). A small mu comes close to the worst task alone.

    The paper takes the losses themselves and n = 1; its official code takes logarithms over
    the nadir, multiplies by n (so that the scale is that of the warm-up), has no preference
    and leaves a constant out. This follows the code, with the preference put back where the
    paper has it.

    The nadir is the losses' mean over the last epoch of a warm-up that minimises
    sum_k p_k log(L_k - b_k), or what is given. A task first labelled after the warm-up has its
    first loss as nadir. A loss at or under its bound has no logarithm: its task takes no part.

    Args:
        mu: smoothing, above 0. Defaults to 1.
        preference: importance of each task, at least 0. Defaults to equal.
        nadir: losses that count as equally bad, above the lower bounds, measured from 0; then
            there is no warm-up. Defaults to being measured.
        lower_bounds: what no loss falls below; needed when losses can be negative. Defaults
            to 0 each.
        warmup_epochs: epochs of the warm-up. Defaults to 5 (the code: 4, and 1 to measure).

    Raises:
        ValueError: for values outside these ranges, or another number of entries than of tasks.

    Example:

    >>> rule = SmoothTchebycheff(nadir=[1.0, 100.0])
    >>> round(float(rule.total([1.0, 100.0])), 4)  # 2 log 2
    1.3863
    """

    needs = ("epochs",)

    def __init__(
        self,
        mu: float = 1.0,
        preference: Any = None,
        nadir: Any = None,
        lower_bounds: Any = None,
        warmup_epochs: int = 5,
    ):
        super().__init__()
        self.mu = checked_positive(mu, "mu")
        self.preference = checked_weights(preference, "preference")
        self.given_nadir = checked_numbers(nadir, "nadir")
        self.lower_bounds = checked_numbers(lower_bounds, "lower_bounds")
        self.warmup_epochs = checked_count(warmup_epochs, "warmup_epochs", minimum=0)

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """The nadir as a distance from the lower bounds, 0 while unknown; means; epochs."""
        for name in ("preference", "nadir", "lower_bounds"):
            checked_length(self.get_config()[name], name, num_tasks)
        self.epoch = EpochMean(self, num_tasks, dtype)
        self.epochs = self.add_variable("epochs", (), dtype="int32")
        self.nadir = self.add_variable("nadir", (num_tasks,), dtype=dtype)
        if self.given_nadir is not None:
            bounds = self.lower_bounds or [0.0] * num_tasks
            distances = [high - low for high, low in zip(self.given_nadir, bounds, strict=True)]
            if min(distances) <= 0:
                raise ValueError(
                    f"`nadir` must be above the lower bounds {bounds}. "
                    f"Received: nadir={self.given_nadir}"
                )
            self.nadir.assign(distances)

    def end_epoch(self) -> None:
        """During the warm-up, the means of the epoch become the nadir."""
        mean, seen = self.epoch.take()
        measured = ops.logical_and(seen, self._warming())
        self.nadir.assign(ops.where(measured, mean, self.nadir.value))
        self.epochs.assign(self.epochs.value + 1)

    def combine(self, losses: Any, present: Any) -> Any:
        """The smooth maximum, or the sum of logarithms."""
        distances, over, weights, present, warming = self._step(losses, present)
        warm = ops.sum(weights * ops.log(distances))
        largest = self.mu * ops.logsumexp(ops.where(present, weights * over / self.mu, -1e30))
        smooth = number(present, losses.dtype) * largest
        smooth = ops.where(ops.any(present), smooth, ops.zeros_like(smooth))
        return ops.where(warming, warm, smooth)

    def weigh(self, losses: Any, present: Any) -> Any:
        """p_k / (L_k - b_k), times n softmax after the warm-up."""
        distances, over, weights, present, warming = self._step(losses, present)
        worst = number(present, losses.dtype) * softmax(weights * over / self.mu, present)
        return ops.where(warming, ops.ones_like(worst), worst) * weights / distances

    def _step(self, losses, present):
        """L - b, its logarithm over the nadir, p, who takes part, whether it is warm-up.

        Where a task takes no part, its p is 0.
        """
        distances, present = above(losses, present, self.lower_bounds)
        self.epoch.update(distances, present)
        warming, nadir = self._warming(), ops.cast(self.nadir, losses.dtype)
        first = ops.logical_and(ops.logical_and(present, nadir == 0), ops.logical_not(warming))
        nadir = ops.where(first, ops.stop_gradient(distances), nadir)
        self.nadir.assign(nadir)
        over = ops.log(distances) - ops.log(ops.where(nadir > 0, nadir, ops.ones_like(nadir)))
        weights = shares(self.preference, present, losses.dtype) * number(present, losses.dtype)
        return distances, over, weights, present, warming

    def _warming(self):
        last = self.warmup_epochs if self.given_nadir is None else 0
        return ops.convert_to_tensor(self.epochs) < last

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            "mu": self.mu,
            "preference": self.preference,
            "nadir": self.given_nadir,
            "lower_bounds": self.lower_bounds,
            "warmup_epochs": self.warmup_epochs,
        }
