"""The policy's one rule: who decides a barge-in."""

import pytest

from control.policy import BargeIn


@pytest.mark.parametrize(
    ("barge_in", "ours"),
    [
        (BargeIn(), False),
        (BargeIn(enabled=False), True),
        (BargeIn(min_speech=0.2), True),
        (BargeIn(protect_greeting=True), True),
    ],
)
def test_the_gateway_decides_whatever_the_model_would_decide_otherwise(barge_in: BargeIn, ours: bool) -> None:
    assert barge_in.ours is ours
