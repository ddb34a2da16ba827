"""The names of `zoo`: all there, found when they are first used."""

import subprocess
import sys

import pytest

import zoo
from zoo import builders, registry
from zoo.entries import entry


@pytest.mark.parametrize("name", zoo.__all__)
def test_every_name_is_there(name):
    assert getattr(zoo, name) is not None
    assert name in dir(zoo)


def test_names_come_from_the_registry_the_entries_and_the_builders():
    for name in ("card", "encoded", "example", "list_models", "load", "verify"):
        assert getattr(zoo, name) is getattr(registry, name)
    assert zoo.save is entry.save
    assert zoo.shared_trunk is builders.shared_trunk
    assert {"save", "load"} | (set(builders.__all__) - {"ModelOptions"}) <= set(zoo.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'zoo' has no attribute 'nothing'"):
        _ = zoo.nothing


def test_nothing_is_loaded_before_it_is_used():
    script = "import sys, zoo; zoo.list_models(); print('keras' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert process.stdout == "False\n", process.stderr
