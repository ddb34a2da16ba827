"""AUC against the Mann-Whitney statistic; whether a comparison tells a gain from chance."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from zoo.comparison import Comparison, compare, roc_auc


def scores_of(labels, signal, rng):
    """Predictions that tell the classes apart by `signal` standard deviations."""
    return labels * signal + rng.normal(size=len(labels))


def compared(signal, baseline, rows=600, tasks=("income", "married"), **options):
    rng = np.random.default_rng(0)
    labels = {task: rng.integers(0, 2, rows) for task in tasks}
    multi = {task: scores_of(y, signal, rng) for task, y in labels.items()}
    single = {task: scores_of(y, baseline, rng) for task, y in labels.items()}
    return compare(labels, multi, single, **options)


@pytest.mark.parametrize("levels", [2, 5, 10_000], ids="{} levels".format)
def test_auc_is_the_mann_whitney_statistic(levels):
    rng = np.random.default_rng(levels)
    labels = rng.integers(0, 2, 200)
    scores = rng.integers(0, levels, 200) + labels
    positive, negative = scores[labels == 1], scores[labels == 0]
    expected = mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative))
    assert roc_auc(labels, scores) == pytest.approx(expected, rel=1e-12)


def test_auc_of_equal_scores_is_one_half():
    assert roc_auc(np.array([0, 1, 1, 0, 1]), np.full(5, 0.3)) == 0.5


def test_auc_of_perfect_scores_is_one():
    assert roc_auc(np.array([1, 0, 1]), np.array([0.8, 0.1, 0.7])) == 1.0


def test_auc_of_reversed_scores_is_its_complement():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 50), rng.integers(0, 9, 50)
    assert roc_auc(labels, -scores) == pytest.approx(1 - roc_auc(labels, scores))


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], []], ids=["negative", "positive", "none"])
def test_auc_of_one_class_is_refused(labels):
    with pytest.raises(ValueError, match=r"`labels` must hold both classes.*Received: "):
        roc_auc(np.array(labels), np.zeros(len(labels)))


@pytest.mark.parametrize(
    "labels", [[0, 1, np.nan], [0, 1, 2], [0, 1, 0.5], [[0], [1], [0]]], ids=repr
)
def test_other_labels_are_refused(labels):
    with pytest.raises(ValueError, match=r"`labels` must be 0 and 1.*Received: "):
        roc_auc(np.array(labels), np.zeros(3))


@pytest.mark.parametrize(
    "scores", [[0.1, np.nan, 0.2], [0.1, np.inf, 0.2], [0.1, 0.2], [[0.1], [0.2], [0.3]]], ids=repr
)
def test_other_scores_are_refused(scores):
    with pytest.raises(ValueError, match=r"`scores` must be finite, one a label.*Received: "):
        roc_auc(np.array([0, 1, 0]), np.array(scores))


def test_delta_m_is_the_mean_relative_gain():
    result = compared(signal=1.5, baseline=0.5)
    gains = [result.multi_task[t] / result.single_task[t] - 1 for t in ("income", "married")]
    assert result.delta_m == pytest.approx(100 * np.mean(gains))


def test_aucs_are_those_of_each_side():
    y = {"a": np.array([0, 1, 0, 1])}
    good, bad = {"a": np.array([0.1, 0.9, 0.2, 0.8])}, {"a": np.array([0.1, 0.9, 0.5, 0.4])}
    result = compare(y, good, bad)
    assert (result.multi_task, result.single_task) == ({"a": 1.0}, {"a": 0.75})


def test_equal_predictions_differ_by_nothing():
    rng = np.random.default_rng(0)
    y = {"a": rng.integers(0, 2, 100)}
    p = {"a": scores_of(y["a"], 1.0, rng)}
    result = compare(y, p, p)
    assert (result.delta_m, result.interval) == (0.0, (0.0, 0.0))


def test_interval_covers_zero_for_models_of_equal_quality():
    low, high = compared(signal=1.0, baseline=1.0).interval
    assert low < 0 < high


def test_interval_excludes_zero_for_a_better_model():
    low, high = compared(signal=2.0, baseline=0.5).interval
    assert 0 < low < high


def test_interval_excludes_zero_for_a_worse_model():
    low, high = compared(signal=0.5, baseline=2.0).interval
    assert low < high < 0


def test_interval_holds_delta_m():
    result = compared(signal=1.2, baseline=1.0)
    assert result.interval[0] < result.delta_m < result.interval[1]


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Over draws of test sets with no true difference, 95 % intervals cover 0."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        y = {"a": rng.integers(0, 2, 150)}
        first, second = ({"a": scores_of(y["a"], 1.0, rng)} for _ in range(2))
        low, high = compare(y, first, second, resamples=200).interval
        covered += low <= 0 <= high
    # 95 expected with a standard deviation of 2.2: four of them, the bootstrap is approximate.
    assert covered >= 86


def test_more_rows_narrow_the_interval():
    few, many = (compared(1.0, 1.0, rows=rows).interval for rows in (200, 3200))
    # 16 times the rows make it about 4 times narrower.
    assert np.ptp(many) < np.ptp(few) / 2


def test_a_seed_repeats_the_interval():
    assert compared(1.0, 1.0, seed=3).interval == compared(1.0, 1.0, seed=3).interval


def test_another_seed_draws_other_rows():
    assert compared(1.0, 1.0, seed=3).interval != compared(1.0, 1.0, seed=4).interval


def test_resamples_without_one_class_are_left_out():
    y = {"a": np.array([0, 1, 1, 1])}
    p = {"a": np.array([0.5, 0.6, 0.4, 0.8])}
    assert np.isfinite(compare(y, p, p).interval).all()


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        ((0.5, 2.0), "Sharing helped: Delta_m +1.20 % [+0.50, +2.00]."),
        ((-2.0, -0.5), "Sharing hurt: Delta_m +1.20 % [-2.00, -0.50]."),
        ((-0.5, 2.0), "Sharing neither helped nor hurt beyond chance: Delta_m +1.20 % [-0.50, "),
        ((0.0, 2.0), "Sharing neither helped nor hurt beyond chance"),
    ],
)
def test_verdict_follows_the_interval(interval, sentence):
    result = Comparison({"a": 0.8}, {"a": 0.7}, 1.2, interval)
    assert result.verdict.startswith(sentence)
