import keras
import numpy as np
import pytest
from scipy import stats

import mtl_keras as mtl
from mtl_keras import LabelSpec, MaskedAUC, MaskedMetric, TaskScore, delta_m

NAN = float("nan")


def rank_auc(y, p):
    positive, negative = p[y == 1], p[y == 0]
    u = stats.mannwhitneyu(positive, negative).statistic
    return u / (len(positive) * len(negative))


def draw(rows=4000, rate=0.06, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.uniform(size=rows) < rate).astype("float32")
    p = 1 / (1 + np.exp(-(rng.normal(size=rows) + 2 * y - 4)))
    return y, p.astype("float32")


def test_auc_equals_the_rank_statistic_where_positives_are_rare():
    y, p = draw()
    metric = MaskedAUC()
    for rows in np.array_split(np.arange(len(y)), 7):
        metric.update_state(y[rows], p[rows, None])
    # Pairs within one of 2048 cells count half whatever their order.
    assert float(metric.result()) == pytest.approx(rank_auc(y, p), abs=2e-4)


def test_auc_ignores_missing_rows_whatever_is_predicted_there():
    y, p = draw(rows=500, rate=0.3)
    missing = np.arange(500) % 3 == 0
    whole, rest = MaskedAUC(), MaskedAUC()
    whole.update_state(np.where(missing, NAN, y), np.where(missing, NAN, p)[:, None])
    rest.update_state(y[~missing], p[~missing, None])
    assert float(whole.result()) == float(rest.result())


def test_auc_of_a_column_with_one_class_does_not_count():
    y = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, NAN]])
    p = np.array([[0.9, 0.9], [0.1, 0.2], [0.8, 0.1]])
    metric = MaskedAUC(columns=2)
    metric.update_state(y, p)
    assert float(metric.result()) == 1.0


def test_auc_of_two_columns_is_their_mean():
    y, p = (a.reshape(-1, 2) for a in draw(rows=4000, rate=0.4))
    metric = MaskedAUC(columns=2)
    metric.update_state(y, p)
    expected = np.mean([rank_auc(y[:, k], p[:, k]) for k in (0, 1)])
    assert float(metric.result()) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("labels", [[1.0, 1.0], [0.0, NAN], [NAN, NAN]])
@pytest.mark.parametrize(
    "build", [MaskedAUC, lambda: MaskedMetric(keras.metrics.AUC(), LabelSpec("probability"))]
)
def test_auc_of_one_class_is_nan(build, labels):
    metric = build()
    metric.update_state(np.array(labels), np.array([[0.2], [0.7]]))
    assert np.isnan(float(metric.result()))


def test_recall_without_positives_is_nan():
    metric = MaskedMetric(keras.metrics.Recall(), LabelSpec("probability"))
    metric.update_state(np.array([0.0, NAN]), np.array([[0.7], [0.7]]))
    assert np.isnan(float(metric.result()))
    metric.update_state(np.array([1.0]), np.array([[0.1]]))
    assert float(metric.result()) == 0.0


@pytest.mark.parametrize("name", ["mae", "mse", "rmse"])
def test_masked_metric_is_the_keras_metric_of_the_labelled_rows(name):
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(2, 30, 2)).astype("float32")
    missing = rng.uniform(size=y.shape) < 0.4
    metric = MaskedMetric(name)
    assert np.isnan(float(metric.result()))
    for rows in (slice(0, 11), slice(11, 30)):
        metric.update_state(np.where(missing, NAN, y)[rows], p[rows])
    errors = (y - p)[~missing]
    expected = {
        "mae": np.abs(errors).mean(),
        "mse": (errors**2).mean(),
        "rmse": np.sqrt((errors**2).mean()),
    }[name]
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    assert metric.name == name
    metric.reset_state()
    assert np.isnan(float(metric.result()))


def test_accuracy_suits_the_labels():
    binary = MaskedMetric("accuracy", LabelSpec("probability"))
    binary.update_state(np.array([[1.0, NAN], [0.0, 1.0]]), np.array([[0.9, 0.9], [0.8, 0.9]]))
    assert float(binary.result()) == pytest.approx(2 / 3)
    classes = MaskedMetric("accuracy", LabelSpec("class", -1, 3))
    classes.update_state(np.array([[0, -1], [2, 1]]), keras.ops.one_hot([[0, 1], [1, 1]], 3))
    assert float(classes.result()) == pytest.approx(2 / 3)


def test_mean_iou_counts_labelled_pixels_by_their_weight():
    task = mtl.CategoricalTask("segmentation", 2, positions=2)
    metric = task.masked_metrics(["mean_iou"])[0]
    labels = np.array([[[0, 0, 1, -1]]])
    outputs = np.eye(2, dtype="float32")[[[[0, 1, 1, 0]]]]
    metric.update_state(labels, keras.ops.convert_to_tensor(outputs))
    assert float(metric.result()) == pytest.approx((1 / 2 + 1 / 2) / 2)
    weights = np.array([[[1.0, 0.5, 1.0, 1.0]]], "float32")
    metric.reset_state()
    metric.update_state(labels, keras.ops.convert_to_tensor(outputs), sample_weight=weights)
    assert float(metric.result()) == pytest.approx(1 / 1.5)


def test_the_angle_between_directions_is_in_degrees():
    task = mtl.DirectionTask("normals", 2)
    metric = task.masked_metrics()[0]
    labels = np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0], [0.0, 0.0]])
    outputs = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, -1.0], [1.0, 0.0]], "float32")
    metric.update_state(labels, keras.ops.convert_to_tensor(outputs))
    assert float(metric.result()) == pytest.approx((0 + 45 + 180) / 3)


def test_sample_weights_multiply_into_the_mask():
    metric = MaskedMetric("mae")
    metric.update_state(
        np.array([[1.0], [3.0], [NAN]]), np.zeros((3, 1)), np.array([3.0, 1.0, 9.0])
    )
    assert float(metric.result()) == pytest.approx(6 / 4)


def test_config_round_trip():
    for metric in (
        MaskedMetric(keras.metrics.AUC(curve="PR", name="pr"), LabelSpec("probability")),
        MaskedMetric("mae"),
        MaskedAUC(LabelSpec("probability", -1), columns=3, bins=64),
    ):
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
        assert copy.get_config() == metric.get_config()


DIRECTIONS = {"a": "max", "b": "min"}


def test_score_is_the_mean_with_lower_is_better_turned():
    score = TaskScore()({"a": np.float32(0.9), "b": np.float32(0.5)}, DIRECTIONS)
    assert float(score) == pytest.approx((0.9 - 0.5) / 2)


def test_score_leaves_undefined_tasks_out():
    assert float(TaskScore()({"a": 0.9, "b": NAN}, DIRECTIONS)) == pytest.approx(0.9)
    assert np.isnan(float(TaskScore()({"a": NAN, "b": NAN}, DIRECTIONS)))


def test_score_relative_to_baselines_is_delta_m():
    scores, baselines = {"a": 0.88, "b": 9.0}, {"a": 0.8, "b": 10.0}
    expected = 100 * np.mean([(0.88 - 0.8) / 0.8, -(9 - 10) / 10])
    assert delta_m(scores, baselines, DIRECTIONS) == pytest.approx(expected)
    assert float(TaskScore(baselines)(scores, DIRECTIONS)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("baselines", [{"a": 0.0, "b": 1.0}, {"a": NAN, "b": 1.0}])
def test_useless_baselines_are_refused(baselines):
    with pytest.raises(ValueError, match=r"baselines.*Received"):
        delta_m({"a": 1.0, "b": 1.0}, baselines, DIRECTIONS)


def test_baselines_must_name_the_tasks():
    with pytest.raises(ValueError, match=r"baselines.*Received.*'c'"):
        TaskScore({"a": 1.0, "c": 1.0})({"a": 1.0, "b": 1.0}, DIRECTIONS)
