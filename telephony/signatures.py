"""What every check of a carrier's signature shares: how a request is refused, and how headers and secrets are read."""

import hmac
from collections.abc import Mapping
from typing import Literal

from telephony.errors import TelephonyError


class SignatureRefused(TelephonyError):
    """A request is not the carrier's, or is its own of long ago: answered 403, and nothing of it is parsed."""

    def __init__(
        self, carrier: str, code: Literal["invalid_signature", "stale_timestamp"], detail: str
    ) -> None:
        super().__init__(f"{carrier}: {detail}")
        self.carrier = carrier
        self.code = code
        self.detail = detail


def header(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header, however its name is capitalised; `name` is in lower case."""
    return next((value for key, value in headers.items() if key.lower() == name), None)


def equal(left: str, right: str) -> bool:
    """Compare in constant time, whatever text a header may hold."""
    return hmac.compare_digest(left.encode(errors="surrogatepass"), right.encode(errors="surrogatepass"))
