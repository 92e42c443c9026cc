"""Files are whole or not there, with the permissions that the user's files get."""

import os
import stat
import threading

import pytest

from skgeo_embed._files import replace_durably, write_atomically


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_umask_is_obeyed_and_left_alone(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the process's umask was changed"))
        write_atomically(tmp_path / "a", b"x")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    finally:
        monkeypatch.undo()
        os.umask(before)


def test_a_failure_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skgeo_embed._files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_threads_that_write_one_file(tmp_path):
    path = tmp_path / "a"
    contents = [bytes([65 + i]) * 100_000 for i in range(8)]
    threads = [threading.Thread(target=write_atomically, args=(path, c)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_there_is_not_replaced(tmp_path, monkeypatch, links):
    path, temporary = tmp_path / "a", tmp_path / "new"

    def without(*_):
        raise OSError(95, "Operation not supported")

    if not links:
        monkeypatch.setattr("skgeo_embed._files.os.link", without)
    write_atomically(path, b"first", overwrite=False)
    with pytest.raises(FileExistsError, match=r"a has appeared.*overwrite=True"):
        write_atomically(path, b"second", overwrite=False)
    temporary.write_bytes(b"third")
    with pytest.raises(FileExistsError, match="has appeared"):
        replace_durably(temporary, path, overwrite=False)
    assert path.read_bytes() == b"first"
    assert temporary.read_bytes() == b"third"
    replace_durably(temporary, tmp_path / "b", overwrite=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_of_many_that_may_not_replace_each_other_one_writes(tmp_path):
    path, outcomes = tmp_path / "a", []

    def write(content):
        try:
            write_atomically(path, content, overwrite=False)
            outcomes.append(content)
        except FileExistsError:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(bytes([65 + i]) * 1000,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(None) == 7
    assert path.read_bytes() in outcomes
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skgeo_embed._files.os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*model\.bin"):
        write_atomically(tmp_path / "model.bin", b"x")
