"""Towers that read each other after each of their blocks."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from zoo.builders.backbone import Backbone


def exchanging_towers(
    backbone: Backbone,
    names: Sequence[str],
    features: Any,
    share: float,
    new_exchange: Callable[[str], keras.layers.Layer],
) -> list[dict[str, Any]]:
    """What every tower holds after each exchange, by name; the last one is for the heads.

    Args:
        backbone: of which each tower is a copy.
        names: of the towers.
        features: what the first layers read.
        share: how much of the depth all towers have in common, from 0 to 1, which leaves no
            tower.
        new_exchange: from a name to a layer from a tuple of towers to a tuple of towers.

    Raises:
        ValueError: for a bad share, and blocks that do not give one tensor.
    """
    count = backbone.num_shared(share)
    first = backbone.first(count, "trunk")
    features = first(features) if first else features
    held = [dict.fromkeys(names, features)]
    for i in range(count, backbone.depth):
        blocks = [backbone.copy(f"{name}_tower_{i}", k, i, i + 1) for k, name in enumerate(names)]
        outputs = [block(held[-1][name]) for block, name in zip(blocks, names, strict=True)]
        outputs = tuple(backbone.one_tensor(output) for output in outputs)
        held.append(dict(zip(names, new_exchange(f"exchange_{i}")(outputs), strict=True)))
    return held if count == backbone.depth else held[1:]
