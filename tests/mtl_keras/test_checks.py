"""Arguments are kept as Python's numbers, or refused by name."""

import numpy as np
import pytest

from mtl_keras import checks

CHECKS = {
    "count": checks.checked_count,
    "positive": checks.checked_positive,
    "nonnegative": checks.checked_nonnegative,
    "between": lambda value, argument: checks.checked_between(value, argument, 0, 1),
    "rate": checks.checked_rate,
    "numbers": checks.checked_numbers,
    "weights": checks.checked_weights,
    "choice": lambda value, argument: checks.checked_choice(value, argument, ("a", "b")),
}


@pytest.mark.parametrize("name", ["positive", "nonnegative", "between", "rate"])
def test_numbers_of_numpy_are_numbers(name):
    found = CHECKS[name](np.float32(0.5), "alpha")
    assert (found, type(found)) == (0.5, float)


@pytest.mark.parametrize("one", [np.int64(1), np.uint8(1), 1])
def test_whole_numbers_of_numpy_are_counts(one):
    assert type(checks.checked_count(one, "units")) is int
    assert checks.checked_between(one, "share", 0, 1) == 1.0


@pytest.mark.parametrize("name", ["numbers", "weights"])
def test_a_list_a_tuple_and_an_array_are_one(name):
    for values in ([1, 0.5], (1, 0.5), np.array([1, 0.5], "float32"), [np.int64(1), 0.5]):
        assert CHECKS[name](values, "preference") == [1.0, 0.5]
    assert CHECKS[name](None, "preference") is None


BAD = [("count", 1.0), ("count", 0), ("positive", 0), ("nonnegative", -1e-9), ("between", 1.1)]
BAD += [("rate", 1.0), ("numbers", []), ("numbers", [1, "a"]), ("weights", [-1.0, 2.0])]
BAD += [("weights", [0.0, 0.0]), ("choice", "c")]
BAD += [
    (name, value)
    for name in ("count", "positive", "nonnegative", "between", "rate", "numbers")
    for value in (True, np.True_, "0.5", float("nan"), float("inf"), 1j, np.complex64(1), [None])
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_does_not_fit_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=r"`alpha` must be .*Received: alpha="):
        CHECKS[name](value, "alpha")


def test_another_length_is_refused():
    checks.checked_length(None, "preference", 3)
    checks.checked_length([1.0, 2.0, 3.0], "preference", 3)
    with pytest.raises(ValueError, match=r"`preference` must have one entry a task: 3"):
        checks.checked_length([1.0], "preference", 3)
