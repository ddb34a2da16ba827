"""What is told of a data set without loading it."""

import importlib
from dataclasses import asdict

import pytest

import zoo.datasets

NAMES = zoo.datasets.list()
VARIANTS = [
    (name, variant)
    for name in NAMES
    for variant in getattr(importlib.import_module(f"zoo.datasets.{name}"), "VARIANTS", (None,))
]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_every_data_set_says_what_it_is(name, variant):
    info = zoo.datasets.info(name, variant)
    assert info.name == name and info.variant == variant
    assert info.licence and info.citation.strip().startswith("@")
    assert info.homepage.startswith("https://")
    tasks = {task.name for task in info.tasks}
    assert set(info.counts.sizes) == {"train", "validation", "test"}
    for split, rows in info.counts.sizes.items():
        assert rows > 0
        assert set(info.counts.label_rates[split]) <= tasks
        assert set(info.counts.missing_rates[split]) == tasks
    text = repr(info)
    assert info.licence in text and f"{info.counts.sizes['train']:,}" in text


def test_the_first_variant_is_the_default():
    assert zoo.datasets.info("multi_mnist").variant == "mnist_sener2018"


def test_the_tasks_are_those_of_the_variant():
    assert [len(zoo.datasets.info("fdu_mtl", v).tasks) for v in ("rows", "outputs")] == [1, 16]


def test_the_sample_has_the_rates_of_the_full_data():
    info, sample = zoo.datasets.info("census_income"), zoo.datasets.load("census_income")
    for split, rates in info.counts.label_rates.items():
        assert sample.label_rates[split] == pytest.approx(rates, abs=1e-4)


def test_unknown_names_and_variants():
    with pytest.raises(ValueError, match=r"`name` must be one of .*Received: name='cifar'"):
        zoo.datasets.info("cifar")
    with pytest.raises(ValueError, match=r"`variant` must be one of .*Received: variant='cifar'"):
        zoo.datasets.info("multi_mnist", "cifar")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "folder"), [("census_income", "census-income-kdd"), ("fdu_mtl", "fdu-mtl")]
)
def test_the_official_files_are_counted_alike(name, folder, official, tmp_path, no_network):
    from zoo.datasets.write_info import counted

    manual = tmp_path / "downloads" / "manual"
    manual.parent.mkdir()
    manual.symlink_to(official(folder))
    counts = counted(name, tmp_path)["counts"]
    for variant in importlib.import_module(f"zoo.datasets.{name}").VARIANTS:
        known = zoo.datasets.info(name, variant).counts
        assert counts[variant] == asdict(known)


@pytest.mark.parametrize("name", NAMES)
def test_every_class_has_a_name_where_any_has(name):
    found = zoo.datasets.info(name)
    units = {task.name: task.units for task in found.tasks}
    for task, names in found.class_names.items():
        assert len(set(names)) == len(names) == units[task]


def test_intents_and_tags_have_names():
    names = zoo.datasets.info("snips").class_names
    assert "PlayMusic" in names["intent"] and "B-artist" in names["slots"]
