"""Did sharing help? A multi-task model against single-task models on the same test rows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mtl_keras import delta_m


@dataclass(frozen=True)
class Comparison:
    """Test AUC of both sides and the relative change, with what chance explains.

    Args:
        multi_task: AUC by task of the multi-task model.
        single_task: AUC by task of the single-task models.
        delta_m: mean relative gain over the single-task models, in percent.
        interval: 95 % interval of `delta_m` over resampled test rows. It holds the models
            fixed: how much another seed of training would change is not in it.
    """

    multi_task: Mapping[str, float]
    single_task: Mapping[str, float]
    delta_m: float
    interval: tuple[float, float]

    @property
    def verdict(self) -> str:
        """One plain sentence."""
        low, high = self.interval
        change = f"{self.delta_m:+.2f} % [{low:+.2f}, {high:+.2f}]"
        if low > 0:
            return f"Sharing helped: Delta_m {change}."
        if high < 0:
            return f"Sharing hurt: Delta_m {change}."
        return f"Sharing neither helped nor hurt beyond chance: Delta_m {change}."


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Exact area under the ROC curve; ties count half (Hanley & McNeil 1982).

    Args:
        labels: 0 and 1, (rows,).
        scores: predictions, (rows,).

    Raises:
        ValueError: when one of the two classes is absent, or a score is.

    Example:

    >>> roc_auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            "`labels` must be 0 and 1, (rows,). "
            f"Received: shape {labels.shape}, values {np.unique(labels)[:5]}"
        )
    if scores.shape != labels.shape or not np.isfinite(scores).all():
        raise ValueError(
            "`scores` must be finite, one a label. Received: shape "
            f"{scores.shape} for {len(labels)} labels, {np.sum(~np.isfinite(scores))} not finite"
        )
    if not 0 < labels.sum() < len(labels):
        raise ValueError(
            "`labels` must hold both classes, the AUC of one is undefined. "
            f"Received: {int(labels.sum())} positive of {len(labels)}"
        )
    return float(_resampled_auc(labels, scores, np.ones((1, len(labels))))[0])


def compare(
    labels: Mapping[str, np.ndarray],
    multi_task: Mapping[str, np.ndarray],
    single_task: Mapping[str, np.ndarray],
    resamples: int = 500,
    seed: int = 0,
) -> Comparison:
    """Compares predictions of binary tasks by AUC, with a paired bootstrap over rows.

    Args:
        labels: labels by task, (rows,); the same rows for all tasks.
        multi_task: predictions of the multi-task model by task, (rows,).
        single_task: predictions of the single-task models by task, (rows,).
        resamples: number of bootstrap samples.
        seed: seed of the samples.

    Example:

    >>> y = {"a": np.array([0, 1, 0, 1])}
    >>> good, bad = {"a": np.array([0.1, 0.9, 0.2, 0.8])}, {"a": np.array([0.1, 0.9, 0.5, 0.4])}
    >>> round(compare(y, good, bad).delta_m, 2)
    33.33
    """
    multi = {task: roc_auc(labels[task], multi_task[task]) for task in labels}
    single = {task: roc_auc(labels[task], single_task[task]) for task in labels}
    rows = len(next(iter(labels.values())))
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(rows, np.full(rows, 1 / rows), size=resamples).astype("float32")
    gains = np.zeros(resamples)
    for task, y in labels.items():
        new = _resampled_auc(y, multi_task[task], counts)
        old = _resampled_auc(y, single_task[task], counts)
        # A resample of a tiny set may lack a class, or be all wrong: it has no gain.
        gains += 100 * (new - old) / np.where(old > 0, old, np.nan) / len(labels)
    low, high = np.nanpercentile(gains, [2.5, 97.5])
    delta = delta_m(multi, single, dict.fromkeys(labels, "max"))
    return Comparison(multi, single, delta, (float(low), float(high)))


def _resampled_auc(labels, scores, counts):
    # counts (resamples, rows): how often each row was drawn.
    order = np.argsort(scores, kind="stable")
    sorted_scores = np.asarray(scores)[order]
    ties = np.flatnonzero(np.r_[True, sorted_scores[1:] != sorted_scores[:-1]])
    positives = np.asarray(labels, "float64")[order]
    result = np.empty(len(counts))
    for i, drawn in enumerate(counts):
        drawn = drawn[order]
        positive = np.add.reduceat(drawn * positives, ties)
        negative = np.add.reduceat(drawn * (1 - positives), ties)
        below = np.cumsum(negative) - negative / 2
        pairs = positive.sum() * negative.sum()
        result[i] = (positive * below).sum() / pairs if pairs else np.nan
    return result
