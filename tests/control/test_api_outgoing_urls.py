"""URLs that users give us, as far as they can be judged before anything is sent."""

import pytest

from control.api.outgoing_urls import check_url
from control.api.problem import Problem
from control.egress_policy import EgressPolicy


def test_a_url_we_would_go_to_is_fine() -> None:
    check_url(EgressPolicy(), "url", "https://hooks.example.com/offhook?token=1")
    check_url(EgressPolicy.allowing("127.0.0.1", allow_http=True), "url", "http://127.0.0.1:9000/")


@pytest.mark.parametrize("url", ["http://hooks.example.com/", "https://10.0.0.7/", "https://[::1]/", "x"])
def test_one_we_would_not_go_to_is_refused_where_it_stands_and_not_repeated(url: str) -> None:
    with pytest.raises(Problem) as caught:
        check_url(EgressPolicy(), "webhook_url", url)
    assert (caught.value.status, caught.value.code) == (422, "invalid_body")
    assert [fault.pointer for fault in caught.value.errors] == ["/webhook_url"]
    assert f"{url} " not in caught.value.detail
