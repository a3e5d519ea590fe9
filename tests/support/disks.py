"""A small disk: a file system of its own, that a test can fill up, and make read-only."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = 4096


def mount(disk: Path, option: str) -> None:
    """Mount a disk again, read-only (`ro`) or not (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 6 MB, which is the present folder."""
    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("no way to mount a small disk here")
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    monkeypatch.chdir(folder)
    yield folder
    os.chdir(tmp_path)
    # Lazily: a storage that a test has opened may still be open.
    subprocess.run(["umount", "-l", str(folder)], check=True)
