"""Attempts at a time: a full endpoint gets nothing, and leaves room to the others."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from control.delivery_slots import DeliverySlots


def test_a_full_endpoint_is_busy_until_half_of_it_is_free() -> None:
    slots = DeliverySlots(total=10, per_endpoint=4)
    for _ in range(4):
        slots.take("slow")
    assert (slots.busy, slots.room()) == (["slow"], 4)
    slots.leave("slow")
    assert (slots.busy, slots.room()) == (["slow"], 4)
    slots.leave("slow")
    assert (slots.busy, slots.room()) == ([], 2)


def test_one_endpoint_alone_can_never_take_everything() -> None:
    slots = DeliverySlots(total=10, per_endpoint=4)
    assert slots.room() == 4
    for name in "aaaabbbbcc":
        slots.take(name)
    assert slots.room() == 0


@given(st.integers(1, 8), st.integers(1, 8))
def test_nothing_stays_behind(total: int, per_endpoint: int) -> None:
    slots = DeliverySlots(total, per_endpoint)
    before = slots.room()
    for _ in range(before):
        slots.take("a")
    for _ in range(before):
        slots.leave("a")
    assert (slots.busy, slots.room()) == ([], before)


class Claims(RuleBasedStateMachine):
    """Whatever is claimed while there is room, for whichever endpoints that are not busy, stays within the bounds."""

    TOTAL, EACH = 7, 3

    def __init__(self) -> None:
        super().__init__()
        self.slots = DeliverySlots(self.TOTAL, self.EACH)
        self.under_way: list[str] = []

    @rule(wanted=st.lists(st.sampled_from("abcd"), max_size=7))
    def claim(self, wanted: list[str]) -> None:
        room, busy = self.slots.room(), self.slots.busy
        for endpoint in [each for each in wanted if each not in busy][: max(0, room)]:
            self.slots.take(endpoint)
            self.under_way.append(endpoint)

    @rule(which=st.integers(0, 6))
    def end(self, which: int) -> None:
        if which < len(self.under_way):
            self.slots.leave(self.under_way.pop(which))

    @invariant()
    def the_bounds_hold(self) -> None:
        assert len(self.under_way) <= self.TOTAL
        assert all(self.under_way.count(each) <= self.EACH for each in "abcd")

    @invariant()
    def there_is_room_when_little_is_under_way(self) -> None:
        if len(self.under_way) < self.TOTAL:
            assert self.slots.room() > 0


TestClaims = Claims.TestCase
