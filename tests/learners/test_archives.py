"""Checkpoints whose bytes have changed are refused, whichever codec wrote them."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlframework.errors import CheckpointError, DamagedCheckpointError, RunError
from mlframework.learners.arrays import ArrayCodec
from mlframework.learners.torch_codec import TorchCodec

WEIGHTS = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
STATES: list[tuple[Any, dict[str, Any]]] = [
    (TorchCodec(), {"weights": torch.from_numpy(WEIGHTS), "history": [{"epoch": 1, "loss": 0.25}]}),
    (ArrayCodec(), {"weights": WEIGHTS, "history": [{"epoch": 1, "loss": 0.25}]}),
]
BOTH = pytest.mark.parametrize(("codec", "state"), STATES, ids=["torch", "arrays"])


@BOTH
def test_no_flipped_bit_changes_what_is_read(tmp_path: Path, codec: Any, state: dict[str, Any]) -> None:
    """A flip in what nobody reads, such as a time of day, does no harm; any other is refused. Torch alone finds none."""
    path = tmp_path / "last.pt"
    path.write_bytes(codec.encode(state))
    written, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(600):
        damaged = bytearray(written)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = codec.load(path)
        except DamagedCheckpointError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
            refused += 1
        else:
            assert np.array_equal(found["weights"], WEIGHTS)
            assert found["history"] == state["history"]
    assert refused > 400


@BOTH
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, codec: Any, state: dict[str, Any], share: float) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(codec.encode(state))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DamagedCheckpointError, match=r"cut short or not ours .*; delete the folder"):
        codec.load(path)


@BOTH
def test_a_file_that_cannot_be_opened_is_not_said_to_be_damaged(tmp_path: Path, codec: Any, state: Any) -> None:
    """Whoever takes it for damaged deletes it."""
    with pytest.raises(CheckpointError, match=r"last\.pt: there is no such checkpoint") as missing:
        codec.load(tmp_path / "last.pt")
    assert not isinstance(missing.value, DamagedCheckpointError)
    (tmp_path / "last.pt").mkdir()
    with pytest.raises(RunError, match=r"last\.pt: cannot be read: Is a directory"):
        codec.load(tmp_path / "last.pt")
