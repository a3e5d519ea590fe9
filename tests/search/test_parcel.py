"""Run folders as parcels: what is packed is there again, and nothing gets outside."""

import os
from pathlib import Path

import pytest

from mlframework.errors import RunError
from mlframework.search.workers.parcel import pack, size_of, unpack
from mlframework.training.checkpoint import Checkpoints


def _folder(path: Path) -> Path:
    (path / "checkpoints").mkdir(parents=True)
    (path / "config.yaml").write_text("seed: 1\n")
    (path / "checkpoints" / "last.pt").write_bytes(b"\0" * 1000)
    os.link(path / "checkpoints" / "last.pt", path / "checkpoints" / "best.pt")
    return path


def test_a_folder_is_packed_and_put_elsewhere(tmp_path: Path) -> None:
    parcel = pack(_folder(tmp_path / "a"))
    assert sorted(parcel) == ["checkpoints/best.pt", "checkpoints/last.pt", "config.yaml"]
    assert size_of(parcel) == 1008, "what stands under two names is counted and sent once"
    unpack(parcel, tmp_path / "b")
    assert pack(tmp_path / "b") == parcel


def test_what_is_not_in_the_parcel_goes(tmp_path: Path) -> None:
    parcel = pack(_folder(tmp_path / "a"))
    old = tmp_path / "b" / "checkpoints" / "old" / "epoch_1.pt"
    old.parent.mkdir(parents=True)
    old.write_text("")
    unpack(parcel, tmp_path / "b")
    assert pack(tmp_path / "b") == parcel and not old.parent.exists()
    unpack({}, tmp_path / "b")
    assert list((tmp_path / "b").rglob("*")) == []
    assert pack(tmp_path / "nowhere") == {}


def test_links_and_half_written_files_stay_behind(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "a")
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / ".config.yaml.x1").write_text("half")
    assert sorted(pack(folder)) == ["checkpoints/best.pt", "checkpoints/last.pt", "config.yaml"]


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "", "..", "a\\..\\x", "a\0b", "out/x"])
def test_no_path_leaves_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "b" / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(RunError, match="would lie outside"):
        unpack({"good.txt": b"1", name: b"2"}, tmp_path / "b")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b", "out", "outside"], "nothing was written"


def test_a_link_in_a_files_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.yaml").symlink_to(tmp_path / "victim")
    unpack({"config.yaml": b"theirs"}, tmp_path / "b")
    assert (tmp_path / "victim").read_text() == "mine"
    assert (tmp_path / "b" / "config.yaml").read_text() == "theirs"


def test_checkpoints_that_somebody_clears_away_meanwhile_are_put_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker does that cleans up after a trial which is over: it takes what is half-written, and the folder."""
    write, cleared = Path.write_bytes, []

    def clear_once(path: Path, content: bytes) -> int:
        size = write(path, content)
        if not cleared:
            cleared.append(path)
            Checkpoints(path.parent, "").remove()
        return size

    monkeypatch.setattr(Path, "write_bytes", clear_once)
    unpack({"checkpoints/best.pt": b"state", "config.yaml": b"theirs"}, tmp_path / "run")
    assert cleared and not cleared[0].exists()
    assert (tmp_path / "run/checkpoints/best.pt").read_bytes() == b"state"
    monkeypatch.setattr(Path, "write_bytes", lambda path, _: Checkpoints(path.parent, "").remove())
    with pytest.raises(RunError, match="its folder was removed meanwhile"):
        unpack({"checkpoints/best.pt": b"state"}, tmp_path / "other")
