"""Every rule of the family passes the suite."""

import pytest

from conformance.gramian_suite import PROMISES, GramianSuite
from mtl_keras.balancing import available

NAMES = [info.name for info in available() if info.family == "gramian"]


@pytest.mark.parametrize("name", NAMES)
class TestGramianBalancers(GramianSuite):
    pass


def test_promises_name_rules():
    assert sorted(PROMISES) == sorted(NAMES)
