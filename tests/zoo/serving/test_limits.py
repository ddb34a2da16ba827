import dataclasses

import pytest

from zoo.serving.limits import Limits


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Limits)])
def test_every_limit_is_a_positive_number(name):
    for value in (-1, float("nan"), float("inf"), "1", None, True):
        with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: {name}={value!r}"):
            Limits(**{name: value})
    if name == "batch_wait_ms":
        assert Limits(batch_wait_ms=0).batch_wait_ms == 0
    else:
        with pytest.raises(ValueError, match=rf"`{name}` must be .* above 0"):
            Limits(**{name: 0})


def test_what_counts_something_is_whole():
    with pytest.raises(ValueError, match="`max_rows` must be a whole number"):
        Limits(max_rows=1.5)
    assert Limits(timeout=1).timeout == 1


def test_the_longest_request_can_wait():
    with pytest.raises(ValueError, match="Received: max_waiting=9, max_rows=10"):
        Limits(max_rows=10, max_waiting=9)
