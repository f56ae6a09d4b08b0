"""The key file: made once, private, whole."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from control.secrets import new_key
from gateway.secret_keys import KEY_FILE, load_secret_keys


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
