"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import mtl_keras
import zoo

if keras.backend.backend() != "tensorflow":
    pytest.skip("examples are written for the default backend", allow_module_level=True)

# Each backend's own module imports that backend, which need not be installed.
OTHER_BACKENDS = ("mtl_keras.gradients.jax", "mtl_keras.gradients.torch")
MODULES = [
    module.name
    for package in (mtl_keras, zoo)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__") and module.name not in OTHER_BACKENDS
]


@pytest.mark.parametrize("name", [*MODULES, "mtl_keras", "zoo"])
def test_examples(name):
    module = importlib.import_module(name)
    names = {"keras": keras, "np": np, "zoo": zoo, "mtl_keras": mtl_keras}
    names |= {key: getattr(mtl_keras, key) for key in mtl_keras.__all__}
    names |= {key: getattr(zoo.features, key) for key in ("Numeric", "Categorical")}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    results = doctest.testmod(module, extraglobs=names, optionflags=flags)
    assert not results.failed
