"""The collector is quiet while calls live, and as it was before when they have ended."""

import gc

from gateway.collector import quiet_collector


def test_what_was_made_before_is_out_of_the_collectors_sight() -> None:
    before = gc.get_threshold()
    with quiet_collector():
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_a_fault_leaves_it_as_it_was() -> None:
    before = gc.get_threshold()
    try:
        with quiet_collector():
            raise ValueError
    except ValueError:
        pass
    assert gc.get_threshold() == before
