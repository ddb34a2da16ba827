import builtins
import subprocess
import sys

import numpy as np
import pytest

import zoo.datasets
from zoo.datasets.census_income.columns import CATEGORICAL, INPUTS, NUMERIC


@pytest.fixture(scope="module")
def data():
    return zoo.datasets.load("census_income", batch_size=1000)


def first_batch(data):
    return next(iter(data.train.as_numpy_iterator()))


def test_shapes_and_types_of_a_batch(data):
    x, y = first_batch(data)
    assert set(x) == set(INPUTS) == set(data.features)
    assert all(x[name].shape == (1000,) for name in INPUTS)
    assert all(x[name].dtype == np.float32 for name in NUMERIC)
    assert all(isinstance(x[name][0], bytes) for name in CATEGORICAL)
    assert {name: (v.shape, v.dtype.name) for name, v in y.items()} == {
        "income": ((1000,), "float32"),
        "never_married": ((1000,), "float32"),
    }


def test_no_label_and_no_survey_weight_among_the_inputs(data):
    banned = {"income_50k", "marital_stat", "education", "instance_weight", *data.label_rates}
    assert not banned & set(data.features)


def test_sizes_and_label_rates_are_near_those_of_the_source(data):
    assert data.sizes == {"train": 40_000, "validation": 15_000, "test": 15_000}
    for rates in data.label_rates.values():
        assert rates["income"] == pytest.approx(0.062, abs=5e-4)
        # The official test file has 43.25 %, the train file 43.35 %.
        assert rates["never_married"] == pytest.approx(0.433, abs=1e-3)


def test_a_third_task_changes_nothing_else():
    more = zoo.datasets.load("census_income", batch_size=1000, variant="three_tasks")
    x, y = first_batch(zoo.datasets.load("census_income", batch_size=1000))
    more_x, more_y = first_batch(more)
    assert set(more_x) == set(x)
    for name, values in x.items():
        np.testing.assert_array_equal(more_x[name], values)
    np.testing.assert_array_equal(more_y["income"], y["income"])
    assert set(more_y) == {"income", "never_married", "college"}
    # The sample was drawn by the other two labels: 2.5 standard errors.
    for rates in more.label_rates.values():
        assert rates["college"] == pytest.approx(0.196, abs=0.008)


def test_features_fit_the_batches(data):
    x, _ = first_batch(data)
    assert abs(x["age"].mean() - data.features["age"].mean) < 3  # 4 standard errors.
    assert set(x["year"]) == {b"94", b"95"}
    assert data.features["year"].vocabulary == ("94", "95")
    assert "?" in data.features["country_self"].vocabulary


def test_seeds_decide_the_batches():
    batches = [
        first_batch(zoo.datasets.load("census_income", seed=seed))[0]["age"] for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(batches[0], batches[1])
    assert (batches[0] != batches[2]).any()


@pytest.mark.parametrize("source", ["auto", "embedded"])
def test_the_sample_never_touches_network_or_disk(source, tmp_path, no_network):
    directory = tmp_path / "absent"
    data = zoo.datasets.load("census_income", source=source, data_dir=directory)
    assert data.source == "embedded"
    assert not directory.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "census"}, r"'census_income', .*Received: name='census'"),
        ({"name": "census_income", "source": "web"}, "'auto', .*Received: source='web'"),
        ({"name": "census_income", "variant": "rows"}, r"'two_tasks', .*Received: variant='rows'"),
        ({"name": "census_income", "batch_size": 0}, "Received: batch_size=0"),
        ({"name": "census_income", "batch_size": 2.0}, "Received: batch_size=2.0"),
        ({"name": "census_income", "seed": -1}, "Received: seed=-1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        zoo.datasets.load(**arguments)


def test_without_tfds_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_tfds(name, *args, **kwargs):
        if name.partition(".")[0] == "tensorflow_datasets":
            raise ModuleNotFoundError("No module named 'tensorflow_datasets'")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "zoo.datasets.census_income.census_income", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_tfds)
    with pytest.raises(ImportError, match=r'pip install "mtl-keras\[tfds\]"'):
        zoo.datasets.load("census_income", source="tfds", data_dir=tmp_path)


def test_the_import_and_the_sample_do_without_tfds():
    code = (
        "import sys, zoo.datasets; zoo.datasets.load('census_income');"
        "assert not {'tensorflow_datasets', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
