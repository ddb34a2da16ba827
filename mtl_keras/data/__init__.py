"""Data of several tasks as one stream of batches."""

from mtl_keras.data.mix import mix
from mtl_keras.data.mixed_batches import MixedBatches
from mtl_keras.data.mixture import Mixture
from mtl_keras.data.strategies import (
    Annealed,
    Capped,
    RoundRobin,
    Strategy,
    Temperature,
    UniMax,
    Weighted,
)

__all__ = [
    "Annealed",
    "Capped",
    "MixedBatches",
    "Mixture",
    "RoundRobin",
    "Strategy",
    "Temperature",
    "UniMax",
    "Weighted",
    "mix",
]
