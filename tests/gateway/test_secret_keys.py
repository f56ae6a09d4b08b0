"""Secrets of our own: made once, private, whole."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from control.secrets import new_key
from control.webhook_message import check_webhook_secret, new_webhook_secret
from gateway.secret_keys import KEY_FILE, WEBHOOK_FILE, load_secret_keys, load_webhook_secret


def test_keys_of_the_settings_need_no_file(tmp_path: Path) -> None:
    key = new_key()
    kept = load_secret_keys(key, tmp_path / "missing").encrypt("word")
    assert load_secret_keys(f"{new_key()},{key}", tmp_path).decrypt(kept) == "word"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_made_for_its_owner_alone_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    kept = load_secret_keys(None, folder).encrypt("word")
    assert load_secret_keys(None, folder).decrypt(kept) == "word"
    (path,) = folder.iterdir()
    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == (KEY_FILE, 0o600)


def test_processes_that_begin_together_use_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as processes:
        keys = list(processes.map(lambda _: load_secret_keys(None, tmp_path), range(8)))
    kept = keys[0].encrypt("word")
    assert {each.decrypt(kept) for each in keys} == {"word"}
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    path.write_text(new_key())
    path.chmod(0o644)
    load_secret_keys(None, tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_holds_no_keys_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    path.write_text("not-a-key\n")
    with pytest.raises(ValueError, match=r"secret\.keys: key 1 is not"):
        load_secret_keys(None, tmp_path)
    assert path.read_text() == "not-a-key\n"


def test_the_webhook_secret_is_the_settings_or_made_once(tmp_path: Path) -> None:
    chosen = new_webhook_secret()
    assert load_webhook_secret(chosen, tmp_path / "missing") == chosen
    made = load_webhook_secret(None, tmp_path)
    assert check_webhook_secret(made) == load_webhook_secret(None, tmp_path) == made
    assert stat.S_IMODE((tmp_path / WEBHOOK_FILE).stat().st_mode) == 0o600


def test_a_webhook_secret_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / WEBHOOK_FILE).write_text("short\n")
    with pytest.raises(ValueError, match=r"webhook\.secret: a webhook secret is"):
        load_webhook_secret(None, tmp_path)
