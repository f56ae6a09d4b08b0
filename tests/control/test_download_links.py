"""Links to one recording: good until their time is over, and not to be made up."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.download_links import DownloadLinks, LinkInvalid

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
END = NOW + timedelta(hours=1)
LINKS = DownloadLinks([b"a" * 32], "https://calls.example/")


def parts_of(url: str) -> tuple[str, str, str]:
    """The call, the end and the signature."""
    query = parse_qs(urlsplit(url).query)
    return urlsplit(url).path.rpartition("/")[2], query["expires"][0], query["signature"][0]


def test_a_link_is_good_until_its_end() -> None:
    url = LINKS.make("call_1", END)
    assert url.startswith("https://calls.example/recordings/call_1?expires=1772456400&signature=")
    LINKS.check(*parts_of(url), END - timedelta(seconds=1))
    with pytest.raises(LinkInvalid, match="over"):
        LINKS.check(*parts_of(url), END)


def test_a_link_is_good_for_its_call_and_its_end_alone() -> None:
    call_id, expires, signature = parts_of(LINKS.make("call_1", END))
    for altered in (
        ("call_2", expires, signature),
        (call_id, str(int(expires) + 1), signature),
        (call_id, expires, signature[:-1] + ("0" if signature[-1] != "0" else "1")),
    ):
        with pytest.raises(LinkInvalid, match="ours"):
            LINKS.check(*altered, NOW)


def test_links_outlive_the_change_of_the_key_while_the_old_one_is_known() -> None:
    url = LINKS.make("call_1", END)
    DownloadLinks([b"b" * 32, b"a" * 32], "https://calls.example").check(*parts_of(url), NOW)
    with pytest.raises(LinkInvalid):
        DownloadLinks([b"b" * 32], "https://calls.example").check(*parts_of(url), NOW)


@given(st.text(), st.text(), st.text())
def test_whatever_somebody_writes_is_no_link(call_id: str, expires: str, signature: str) -> None:
    with pytest.raises(LinkInvalid):
        LINKS.check(call_id, expires, signature, NOW)
