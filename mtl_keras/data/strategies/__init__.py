"""Sampling strategies: which task the next example comes from."""

from mtl_keras.data.strategies.annealed import Annealed
from mtl_keras.data.strategies.base import Strategy
from mtl_keras.data.strategies.capped import Capped
from mtl_keras.data.strategies.registry import get
from mtl_keras.data.strategies.round_robin import RoundRobin
from mtl_keras.data.strategies.temperature import Temperature
from mtl_keras.data.strategies.unimax import UniMax
from mtl_keras.data.strategies.weighted import Weighted

__all__ = [
    "Annealed",
    "Capped",
    "RoundRobin",
    "Strategy",
    "Temperature",
    "UniMax",
    "Weighted",
    "get",
]
