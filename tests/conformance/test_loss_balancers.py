"""Every rule of the loss level passes the suite."""

import pytest

from conformance.loss_balancer_suite import LossBalancerSuite
from conformance.loss_cases import all_cases

CASES = all_cases()


@pytest.mark.parametrize(("key", "make"), CASES.items(), ids=["-".join(key) for key in CASES])
class TestLossBalancers(LossBalancerSuite):
    pass
