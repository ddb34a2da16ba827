"""Summary: what the runs of several seeds show together."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mtl_keras import delta_m
from zoo.recipes.run import Run

# Two-sided 95 % points of Student's t by degrees of freedom; as many as studies have seeds.
_T = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


class Summary:
    """Means and intervals of the section "results" of a manifest.

    Args:
        results: that section: by role and task and metric, one value a seed.
    """

    def __init__(self, results: Mapping[str, Any]):
        self._results = results

    @classmethod
    def of_runs(
        cls, runs: Mapping[str, Sequence[Run]], scores: Mapping[str, str], split: str = "test"
    ) -> "Summary":
        """The summary of these runs.

        Args:
            runs: role to a run a seed, the same seeds in each role.
            scores: task to the metric that scores it and, after a space, its direction.
            split: what they were measured on.
        """
        return cls(
            {
                "split": split,
                "seeds": [run.seed for run in runs["entry"]],
                "score": dict(scores),
                "runs": {role: _merged(of_role) for role, of_role in runs.items()},
            }
        )

    @property
    def results(self) -> dict[str, Any]:
        """The section of the manifest."""
        return dict(self._results)

    @cached_property
    def tasks(self) -> list[str]:
        """The tasks, or whose the rows are."""
        return list(self._results["runs"]["entry"]["metrics"])

    def rows(self) -> list[tuple[str, str]]:
        """Every task with every metric of its own."""
        metrics = self._results["runs"]["entry"]["metrics"]
        return [(task, metric) for task in self.tasks for metric in metrics[task]]

    def common_metrics(self) -> list[str]:
        """The metrics that all tasks have."""
        metrics = self._results["runs"]["entry"]["metrics"]
        first, *others = (metrics[task] for task in self.tasks)
        return [metric for metric in first if all(metric in other for other in others)]

    def values(self, role: str, task: str, metric: str) -> np.ndarray:
        """One value a seed; NaN where it is undefined."""
        values = self._results["runs"][role]["metrics"][task][metric]
        return np.array([math.nan if value is None else value for value in values])

    def means(self, role: str, metric: str) -> np.ndarray:
        """The mean over tasks, one value a seed."""
        return np.mean([self.values(role, task, metric) for task in self.tasks], axis=0)

    def interval(self, task: str, metric: str) -> tuple[float, float]:
        """Where one more run lies with a chance of 95 %, if runs are spread normally.

        The prediction interval of Student's t: mean +- t s sqrt(1 + 1/n).
        """
        values = self.values("entry", task, metric)
        if len(values) < 2:
            return -math.inf, math.inf
        reach = _t(len(values)) * values.std(ddof=1) * math.sqrt(1 + 1 / len(values))
        return values.mean() - reach, values.mean() + reach

    def delta_m(self, role: str) -> tuple[float, float, float]:
        """Delta_m of the entry against a baseline: mean over seeds and its 95 % interval."""
        scores = {task: said.split() for task, said in self._results["score"].items()}
        directions = {task: direction for task, (_, direction) in scores.items()}
        gains = []
        for i in range(len(self._results["seeds"])):
            ours, theirs = (
                {task: self.values(r, task, metric)[i] for task, (metric, _) in scores.items()}
                for r in ("entry", role)
            )
            gains.append(delta_m(ours, theirs, directions))
        gains = np.array(gains)
        if len(gains) < 2:
            return float(gains.mean()), -math.inf, math.inf
        reach = _t(len(gains)) * gains.std(ddof=1) / math.sqrt(len(gains))
        return float(gains.mean()), float(gains.mean() - reach), float(gains.mean() + reach)


def _t(count):
    return _T[min(count - 1, len(_T) - 1)]


def _merged(runs):
    metrics = {}
    for run in runs:
        for task, found in run.metrics.items():
            for metric, value in found.items():
                values = metrics.setdefault(task, {}).setdefault(metric, [])
                values.append(None if math.isnan(value) else value)
    return {
        "parameters": runs[0].parameters,
        "seconds": [run.seconds for run in runs],
        "metrics": metrics,
    }
