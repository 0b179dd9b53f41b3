"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from segdec.errors import OutputError
from segdec.files import atomic_write


def test_new_content_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "scores ü.csv"
    atomic_write(path, b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EDQUOT, errno.EROFS])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "metrics.json"
    atomic_write(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=r"cannot write .*metrics\.json: .*; "):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        atomic_write(tmp_path / "runs" / "meta.json", b"{}")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        atomic_write(tmp_path / "runs" / "deep" / "meta.json", b"{}")


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "meta.json").mkdir()
    with pytest.raises(OutputError, match="a folder of that name exists"):
        atomic_write(tmp_path / "meta.json", b"{}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["meta.json"]


def test_new_files_are_readable_for_others_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        atomic_write(tmp_path / "a", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
