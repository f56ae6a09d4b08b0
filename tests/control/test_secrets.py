"""Secrets at rest open with our keys and no others."""

import base64

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from control.secrets import SecretKeys, SecretUnreadable, new_key

OLD, NEW, OTHER = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))


@given(st.text())
def test_a_secret_comes_back_and_is_not_in_what_is_kept(secret: str) -> None:
    kept = SecretKeys([OLD]).encrypt(secret)
    assert SecretKeys([OLD]).decrypt(kept) == secret
    assert Fernet(OLD).decrypt(kept) == secret.encode()


def test_the_first_key_encrypts_and_every_key_decrypts() -> None:
    kept = SecretKeys([OLD]).encrypt("word")
    both = SecretKeys([NEW, OLD])
    assert both.decrypt(kept) == "word"
    assert Fernet(NEW).decrypt(both.encrypt("word")) == b"word"


def test_after_a_rotation_the_old_key_can_go() -> None:
    kept = SecretKeys([OLD]).encrypt("word")
    turned = SecretKeys([NEW, OLD]).rotated(kept)
    assert turned is not None
    assert SecretKeys([NEW]).decrypt(turned) == "word"
    assert SecretKeys([NEW, OLD]).rotated(turned) is None


@pytest.mark.parametrize(
    "kept", [b"", b"plain", SecretKeys([OTHER]).encrypt("word")], ids=["nothing", "plain", "another's"]
)
def test_what_no_key_opens_is_said_to_be_so(kept: bytes) -> None:
    keys = SecretKeys([NEW, OLD])
    with pytest.raises(SecretUnreadable):
        keys.decrypt(kept)
    with pytest.raises(SecretUnreadable):
        keys.rotated(kept)


def test_what_was_altered_does_not_open() -> None:
    kept = bytearray(SecretKeys([OLD]).encrypt("word"))
    kept[20] ^= 1
    with pytest.raises(SecretUnreadable):
        SecretKeys([OLD]).decrypt(bytes(kept))


@pytest.mark.parametrize("text", [f"{NEW},{OLD}", f" {NEW} , {OLD} ", f"{NEW}\n{OLD}\n"])
def test_keys_are_read_from_a_setting_or_a_file(text: str) -> None:
    assert SecretKeys.read(text).decrypt(SecretKeys([OLD]).encrypt("word")) == "word"


@pytest.mark.parametrize(
    ("text", "why"), [("", "at least one"), (f"{OLD},short-secret", "key 2 is not 32 bytes")]
)
def test_what_is_no_key_is_named_by_its_number(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        SecretKeys.read(text)
    assert "short-secret" not in str(refused.value)


def test_new_keys_are_keys_and_differ() -> None:
    assert SecretKeys([new_key()]).encrypt("word")
    assert new_key() != new_key()


def test_no_key_is_shown() -> None:
    assert OLD not in repr(SecretKeys([OLD])) + str(vars(SecretKeys([OLD])))


def test_keys_for_other_purposes_are_made_of_ours_and_none_of_them() -> None:
    first, second = new_key(), new_key()
    derived = SecretKeys([first, second]).derived("links")
    assert derived == SecretKeys([first]).derived("links") + SecretKeys([second]).derived("links")
    assert derived[0] != SecretKeys([first]).derived("others")[0]
    assert {len(each) for each in derived} == {32}
    assert first.encode() not in derived[0]
