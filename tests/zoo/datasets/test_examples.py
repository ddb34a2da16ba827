"""The examples in the docstrings of `zoo.datasets` run and print what they say."""

import doctest
import importlib

import pytest

MODULES = (
    "zoo.datasets",
    "zoo.datasets.columns",
    "zoo.datasets.dataset",
    "zoo.datasets.registry",
    "zoo.datasets.census_income.columns",
    "zoo.datasets.census_income.draw_sample",
    "zoo.datasets.census_income.sample",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
