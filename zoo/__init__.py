"""The zoo: ready multi-task models for Keras 3, built, trained and exported by name.

The names below are imported when they are first used, so that the command line answers
without loading TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo import datasets, features
    from zoo.builders import shared_trunk

__all__ = ["datasets", "features", "shared_trunk"]

_BUILDERS = ("shared_trunk",)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    if name in _BUILDERS:
        return getattr(importlib.import_module("zoo.builders"), name)
    return importlib.import_module(f"zoo.{name}")


def __dir__() -> list[str]:
    return __all__
