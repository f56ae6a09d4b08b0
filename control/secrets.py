"""Secrets at rest: what is kept of webhook secrets, tool headers and credentials is unreadable without our keys.

Fernet (AES-128-CBC with HMAC-SHA256) from the `cryptography` library. Several keys may be known: the first encrypts,
every one decrypts, so a key is replaced by putting the new one in front, re-encrypting what `rotated` says is due, and
taking the old one away.
"""

from collections.abc import Sequence
from typing import Protocol

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr


class SecretUnreadable(Exception):
    """It was encrypted with a key we do not have, or it was altered."""


class Cipher(Protocol):
    """What rooms that keep secrets need of their encryption."""

    def encrypt(self, secret: str, /) -> bytes:
        """Return what may be kept."""
        ...

    def decrypt(self, kept: bytes, /) -> str:
        """Return the secret.

        Raises:
            SecretUnreadable: none of our keys opens it.
        """
        ...


class SecretKeys:
    """A `Cipher` by the operator's keys. Shows none of them."""

    def __init__(self, keys: Sequence[str]) -> None:
        """
        Args:
            keys: Fernet keys, the current one first.

        Raises:
            ValueError: there is none, or one is not a key; which one is said by its number, not its text.
        """
        self._keys = tuple(map(SecretStr, keys))
        self._ciphers = [_cipher(number, key) for number, key in enumerate(keys, 1)]
        if not self._ciphers:
            raise ValueError("at least one key is needed")
        self._all = MultiFernet(self._ciphers)

    @classmethod
    def read(cls, text: str) -> "SecretKeys":
        """Read keys as the settings and the key file spell them: separated by commas or white space.

        Raises:
            ValueError: see `SecretKeys`.
        """
        return cls(text.replace(",", " ").split())

    def encrypt(self, secret: str) -> bytes:
        return self._all.encrypt(secret.encode())

    def decrypt(self, kept: bytes) -> str:
        try:
            return self._all.decrypt(kept).decode()
        except InvalidToken as error:
            raise SecretUnreadable("none of the keys opens it") from error

    def derived(self, purpose: str) -> list[bytes]:
        """Return a key for another purpose made of each of ours, the current one's first (HKDF, RFC 5869)."""
        return [
            HKDF(hashes.SHA256(), length=32, salt=None, info=purpose.encode()).derive(
                key.get_secret_value().encode()
            )
            for key in self._keys
        ]

    def rotated(self, kept: bytes) -> bytes | None:
        """Return it encrypted with the current key; None if it is already.

        Raises:
            SecretUnreadable: none of our keys opens it.
        """
        try:
            self._ciphers[0].decrypt(kept)
        except InvalidToken:
            return self.encrypt(self.decrypt(kept))
        return None


def new_key() -> str:
    """Return a fresh random key."""
    return Fernet.generate_key().decode()


def _cipher(number: int, key: str) -> Fernet:
    try:
        return Fernet(key)
    except ValueError as error:
        raise ValueError(f"key {number} is not 32 bytes in URL-safe base64") from error
