"""Checks of arguments: each returns the value to keep or names what is wrong."""

import math
from typing import Any

import numpy as np


def checked_count(value: Any, argument: str, minimum: int = 1) -> int:
    """`value` when it is a whole number of at least `minimum`.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(
            f"`{argument}` must be a whole number of at least {minimum}. "
            f"Received: {argument}={value!r}"
        )
    return int(value)


def checked_positive(value: Any, argument: str) -> float:
    """`value` when it is a finite number above 0.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if not _is_number(value) or value <= 0:
        raise ValueError(
            f"`{argument}` must be a finite number above 0. Received: {argument}={value!r}"
        )
    return float(value)


def checked_nonnegative(value: Any, argument: str) -> float:
    """`value` when it is a finite number of at least 0.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if not _is_number(value) or value < 0:
        raise ValueError(
            f"`{argument}` must be a finite number of at least 0. Received: {argument}={value!r}"
        )
    return float(value)


def checked_between(value: Any, argument: str, low: float, high: float) -> float:
    """`value` when it is a finite number from `low` to `high`, both allowed.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if not _is_number(value) or not low <= value <= high:
        raise ValueError(
            f"`{argument}` must be a number from {low} to {high}. Received: {argument}={value!r}"
        )
    return float(value)


def checked_rate(value: Any, argument: str) -> float:
    """`value` when it is a number from 0 to below 1, such as how much of a mean stays.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(
            f"`{argument}` must be a number from 0 to below 1. Received: {argument}={value!r}"
        )
    return float(value)


def checked_choice(value: Any, argument: str, choices: tuple[str, ...]) -> str:
    """`value` when it is one of `choices`.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {list(choices)}. Received: {argument}={value!r}"
        )
    return value


def checked_numbers(values: Any, argument: str) -> list[float] | None:
    """One finite number a task, as a list; None stays None.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if values is None:
        return None
    numbers = list(values) if isinstance(values, (list, tuple, np.ndarray)) else []
    if not numbers or not all(_is_number(number) for number in numbers):
        raise ValueError(
            f"`{argument}` must be a list of finite numbers, one a task. "
            f"Received: {argument}={values!r}"
        )
    return [float(number) for number in numbers]


def checked_weights(values: Any, argument: str) -> list[float] | None:
    """One number of at least 0 a task, not all of them 0; None stays None.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    numbers = checked_numbers(values, argument)
    if numbers is not None and (min(numbers) < 0 or max(numbers) == 0):
        raise ValueError(
            f"`{argument}` must be at least 0, and not all 0. Received: {argument}={values!r}"
        )
    return numbers


def checked_length(values: Any, argument: str, num_tasks: int) -> None:
    """Nothing when `values` is None or has one entry a task.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if values is not None and len(values) != num_tasks:
        raise ValueError(
            f"`{argument}` must have one entry a task: {num_tasks}. "
            f"Received: {len(values)} entries, {argument}={values!r}"
        )


def checked_weight(weight: Any, argument: str) -> float:
    """`weight` when it is a finite number of at least 0.

    Raises:
        ValueError: beginning with `argument`, which may say whose it is, otherwise.
    """
    if not _is_number(weight) or weight < 0:
        raise ValueError(
            f"{argument} must be a finite number, 0 or more. Received: weight={weight!r}"
        )
    return float(weight)


def checked_widths(widths: Any, argument: str, owner: str = "") -> tuple[int, ...]:
    """`widths` as a tuple when they are positive integers, one or more.

    Raises:
        ValueError: beginning with `owner` and naming `argument` otherwise.
    """
    valid = isinstance(widths, (list, tuple)) and len(widths) > 0
    if not valid or not all(isinstance(width, int) and width > 0 for width in widths):
        raise ValueError(
            f"{owner}`{argument}` must be a list of positive widths, or a Keras layer. "
            f"Received: {argument}={widths!r}"
        )
    return tuple(widths)


def _is_number(value):
    kinds = (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
