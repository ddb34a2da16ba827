"""Which weights of several towers correspond: those at the same path."""

from collections.abc import Sequence
from typing import Any


def corresponding_weights(model: Any, towers: str | Sequence) -> dict[str, tuple]:
    """The trainable variables at each path that all towers have, one a tower.

    Args:
        model: a `MultiTaskModel`.
        towers: as in `Sharing`.

    Returns:
        dict from the path within the tower, such as "tower_0/kernel", to K variables.

    Raises:
        ValueError: for towers that the model does not have, that have nothing in common, and
            weights of different shapes at one path.
    """
    groups = {}
    for part in towers if isinstance(towers, list) else [towers]:
        names = tower_names(part, [task.name for task in model.tasks])
        found = [_weights(_layer(model, name, towers), name) for name in names]
        common = [path for path in found[0] if all(path in tower for tower in found)]
        if not common:
            listed = {n: list(tower) for n, tower in zip(names, found, strict=True)}
            raise ValueError(
                f"`towers` must have weights at equal paths. Received: towers={towers!r}, "
                f"with {listed}"
            )
        prefix = "" if part is towers else f"{part}/"
        groups |= {prefix + path: tuple(tower[path] for tower in found) for path in common}
    return groups


def checked_shapes(path: str, variables: tuple) -> tuple:
    """`variables` when their shapes are equal.

    Raises:
        ValueError: naming the path otherwise.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"Weights at '{path}' must have one shape in all towers: leave them out by "
            f"`exclude`. Received: {shapes}"
        )
    return variables


def tower_names(part: str | Sequence[str], tasks: Sequence[str]) -> list[str]:
    """The names of the towers' layers: of a pattern, one a task."""
    if isinstance(part, str):
        return [part.format(task=task) for task in tasks]
    return list(part)


def _layer(model, name, towers):
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise ValueError(
            f"`towers` must name layers of the model, {names}. "
            f"Received: towers={towers!r}, without a layer '{name}'"
        )
    return model.get_layer(name)


def _weights(layer, name):
    # A loaded Sequential's variables have lost its name from their paths.
    return {v.path.removeprefix(f"{name}/"): v for v in layer.trainable_weights}
