"""Where the gateway goes for a user, against Python's own register of addresses and a list written by hand."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control.egress import EgressRefused
from control.egress_policy import EgressPolicy, forbidden

STRICT = EgressPolicy()

# Each with where it would lead.
INSIDE = {
    "0.0.0.0": "this machine",
    "127.0.0.1": "this machine",
    "127.255.255.254": "this machine",
    "10.1.2.3": "a private network",
    "172.16.0.1": "a private network",
    "172.31.255.255": "a private network",
    "192.168.1.1": "a private network",
    "100.64.0.1": "behind a carrier's NAT",
    "100.100.100.200": "the metadata of Alibaba's cloud",
    "168.63.129.16": "the platform of Azure",
    "169.254.169.254": "the metadata of AWS, Azure, Google and others",
    "169.254.170.2": "the credentials of a task on ECS",
    "192.0.0.192": "the metadata of Oracle's cloud",
    "192.0.2.1": "nowhere",
    "198.18.0.1": "a test bench",
    "224.0.0.1": "everybody on the link",
    "255.255.255.255": "everybody on the link",
    "::": "this machine",
    "::1": "this machine",
    "::ffff:127.0.0.1": "this machine, as IPv4",
    "::ffff:8.8.8.8": "a public host, spelt as nobody needs to",
    "::7f00:1": "this machine, in the old way to embed IPv4",
    "64:ff9b::a00:1": "10.0.0.1 through a NAT64",
    "64:ff9b:1::a00:1": "10.0.0.1 through a local NAT64",
    "2002:7f00:1::": "127.0.0.1 through 6to4",
    "2002:a00:1::1": "10.0.0.1 through 6to4",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "through Teredo",
    "2001:db8::1": "nowhere",
    "fc00::1": "a private network",
    "fd00:ec2::254": "the metadata of AWS",
    "fd20:ce::254": "the metadata of Google's cloud",
    "fe80::1": "this link",
    "fec0::1": "a site, as it was once said",
    "ff02::1": "everybody on the link",
}
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_forbidden_alone_in_a_url_and_behind_a_name(address: str) -> None:
    assert forbidden(ip_address(address)) is not None
    assert not STRICT.permits(address)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(EgressRefused):
        STRICT.check_url(f"https://{host}/")
    with pytest.raises(EgressRefused, match=r"example\.com is at an address that is not public"):
        STRICT.check_addresses("example.com", ["1.1.1.1", address])


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not(address: str) -> None:
    assert STRICT.permits(address)
    STRICT.check_addresses("example.com", [address])
    STRICT.check_url(f"https://[{address}]/" if ":" in address else f"https://{address}/")


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
@example(IPv4Address("169.254.169.254"))
def test_nothing_is_permitted_that_python_does_not_call_global(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert forbidden(address) is not None


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_address_inside_another_is_never_permitted(inner: IPv4Address) -> None:
    number = int(inner)
    for outer in (0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80, number):
        assert forbidden(IPv6Address(outer)) is not None


# How 127.0.0.1 and 10.0.0.1 may be spelt, after the rules of inet_aton, of URLs and of Unicode.
SPELLINGS = [
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "127.0.1",
    "0",
    "00000.0.0.0",
    "127.0.0.1.",
    "0X7F.1",
    "127.0.0.0x1",
    "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.0.0.1",
    "127\u30020\u30020\u30021",
    "%31%32%37.0.0.1",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::1%25lo]",
    "[fe80::1%25eth0]",
]


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_an_address_gets_through(host: str) -> None:
    with pytest.raises(EgressRefused):
        STRICT.check_url(f"https://{host}/")


@given(
    st.lists(st.sampled_from(["{:d}", "{:#o}", "{:#x}", "{:04d}"]), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_an_address_in_any_base_and_length_is_refused_or_checked(bases: list[str], number: int) -> None:
    bits = 8 * (5 - len(bases))
    parts = [number >> (32 - 8 * (i + 1)) & 255 for i in range(len(bases) - 1)] + [number & (1 << bits) - 1]
    host = ".".join(base.format(part).replace("0o", "0") for base, part in zip(bases, parts, strict=True))
    try:
        url = STRICT.check_url(f"https://{host}/")
    except EgressRefused:
        return
    assert url.raw_host == str(IPv4Address(number))
    assert IPv4Address(number).is_global


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/", "only https"),
        ("ftp://example.com/", "only https"),
        ("file:///etc/passwd", "only https"),
        ("//example.com/", "only https"),
        ("example.com", "only https"),
        ("https:///path", "names no host"),
        ("https://a..b/", "names no host"),
        ("https://local%00host/", "names no host"),
        ("https://user:word@example.com/", "user name"),
        ("https://:word@example.com/", "user name"),
        ("https://example.com:25/", "port 25"),
        ("https://example.com:6667/", "port 6667"),
        ("https://example.com:99999/", "not a URL"),
        ("https://example.com\\@10.0.0.1/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https://example.com/a b", "no spaces"),
        ("https://example.com/\r\nHost: x", "no spaces"),
        ("https://example.com/" + "a" * 2048, "2048"),
    ],
)
def test_what_no_url_may_be(url: str, why: str) -> None:
    with pytest.raises(EgressRefused, match=why):
        STRICT.check_url(url)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://example.com", "https://example.com"),
        ("https://EXAMPLE.com:8443/a?b=c%20d#e", "https://example.com:8443/a?b=c%20d"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://4chan.example.4u/", "https://4chan.example.4u/"),
    ],
)
def test_what_a_url_may_be(url: str, asked: str) -> None:
    assert str(STRICT.check_url(url)) == asked


@given(st.text())
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, f"https://{text}"):
        try:
            asked = STRICT.check_url(url)
        except EgressRefused:
            continue
        assert asked.scheme == "https"


def test_the_operator_may_make_exceptions() -> None:
    policy = EgressPolicy.allowing("127.0.0.0/8, 10.0.0.7,::1, Hooks.Internal.", allow_http=True)
    policy.check_url("http://127.0.0.1:8000/")
    policy.check_url("https://[::1]/")
    policy.check_addresses("hooks.internal", ["192.168.0.1"])
    policy.check_addresses("hooks.internal.", ["192.168.0.1"])
    policy.check_addresses("elsewhere", ["10.0.0.7"])
    for host, address in {"elsewhere": "192.168.0.1", "not.hooks.internal": "10.0.0.8"}.items():
        with pytest.raises(EgressRefused):
            policy.check_addresses(host, [address])
    with pytest.raises(EgressRefused):
        policy.check_url("https://2130706433/")


@pytest.mark.parametrize(
    "exceptions", ["10.0.0.1/8", "300.0.0.0/8", "::/129", "a b", "https://x", "*.internal"]
)
def test_an_exception_that_cannot_be_read_is_named(exceptions: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        EgressPolicy.allowing(f"127.0.0.1, {exceptions}")


def test_no_exception_is_no_exception() -> None:
    assert EgressPolicy.allowing("") == EgressPolicy.allowing(" , ") == STRICT
