"""URLs that users give us to send something to, refused at once where it can be seen that we would not go there."""

from control.api.problem import Fault, Problem
from control.egress import EgressRefused
from control.egress_policy import EgressPolicy


def check_url(policy: EgressPolicy, field: str, url: str) -> None:
    """Make sure that we would go there; what a name stands for is looked at when something is sent.

    Raises:
        Problem: 422, with the reason.
    """
    try:
        policy.check_url(url)
    except EgressRefused as refused:
        fault = Fault(f"/{field}", refused.detail)
        raise Problem(422, "invalid_body", f"{field}: {refused.detail}", errors=[fault]) from None
