"""Whose request it is, behind proxies that are ours and beside some that are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.client_address import TrustedProxies, neighbourhood

OURS = TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.7", None, "198.51.100.7"),
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # not a proxy of ours: its word is nothing
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),  # what the client wrote itself stands first
        ("10.0.0.1", "203.0.113.9, 10.1.1.1", "203.0.113.9"),  # two proxies of ours
        ("10.0.0.1", "10.9.9.9", "10.9.9.9"),  # nobody else is in sight
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8:2::5]:4711", "2001:db8:2::5"),
        ("2001:db8:1::1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),  # a listener on both families
        (None, "203.0.113.9", "unknown"),
    ],
)
def test_only_proxies_of_ours_say_for_whom_they_ask(
    peer: str | None, forwarded: str | None, client: str
) -> None:
    assert OURS.client(peer, forwarded) == client


@given(st.text())
def test_no_header_makes_a_client_of_somebody_else(forwarded: str) -> None:
    assert TrustedProxies().client("198.51.100.7", forwarded) == "198.51.100.7"
    OURS.client("10.0.0.1", forwarded)


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="host bits"):
        TrustedProxies(["10.0.0.1/8"])


@pytest.mark.parametrize(
    ("client", "whole"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:2:3:4:5:6:7", "2001:db8:2:3::/64"),
        ("2001:db8:2:3:ffff::1", "2001:db8:2:3::/64"),
        ("unknown", "unknown"),
    ],
)
def test_the_addresses_of_one_ipv6_network_are_one_neighbour(client: str, whole: str) -> None:
    assert neighbourhood(client) == whole
