"""Every rule of the family passes the suite."""

import pytest

from conformance.jacobian_suite import JacobianSuite
from mtl_keras.balancing import available

NAMES = [info.name for info in available() if info.family == "jacobian"]


@pytest.mark.parametrize("name", NAMES)
class TestJacobianBalancers(JacobianSuite):
    pass
