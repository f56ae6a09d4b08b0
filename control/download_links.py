"""Links under which anybody can download one recording for a while: signed, so that none can be made up or prolonged.

For stores that sign no links of their own. What is signed is the call and the end of the time, with a key that is
derived from the operator's (HKDF, RFC 5869) and serves for nothing else.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

PURPOSE = "recording links"
"""What the keys are derived for (`SecretKeys.derived`)."""


class LinkInvalid(Exception):
    """The link was made by somebody else, altered, or its time is over."""


class DownloadLinks:
    """Makes and checks links. Shows no key."""

    def __init__(self, keys: Sequence[bytes], origin: str) -> None:
        """
        Args:
            keys: the current one first; links of the others go on being good.
            origin: where users reach us, `https://host`.
        """
        self._keys = tuple(keys)
        self._origin = origin.rstrip("/")

    def make(self, call_id: str, expires_at: datetime) -> str:
        expires = int(expires_at.timestamp())
        query = urlencode({"expires": expires, "signature": _signature(self._keys[0], call_id, expires)})
        return f"{self._origin}/recordings/{call_id}?{query}"

    def check(self, call_id: str, expires: str, signature: str, now: datetime) -> None:
        """
        Raises:
            LinkInvalid: it gives no right to anything.
        """
        if not expires.isascii() or not expires.isdecimal() or len(expires) > 12:
            raise LinkInvalid("the link is not one of ours")
        given = signature.encode(errors="replace")
        known = [_signature(key, call_id, int(expires)).encode() for key in self._keys]
        if not any(hmac.compare_digest(given, each) for each in known):
            raise LinkInvalid("the link is not one of ours")
        if now.timestamp() >= int(expires):
            raise LinkInvalid("the link's time is over; ask for a new one")


def _signature(key: bytes, call_id: str, expires: int) -> str:
    return hmac.new(key, f"{call_id}\n{expires}".encode(), hashlib.sha256).hexdigest()
