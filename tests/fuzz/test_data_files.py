"""Mutated data files: whatever the bytes are, looking at them and training on them ends with exit 0, or exit 2 and a message."""

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image

from support.fuzzing import Fuzzer
from support.mutations import damaged

SHORT, LONG = 15, int(os.environ.get("FUZZ_DATA_FILES", "200"))
IMAGES = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "webp": "WEBP", "tif": "TIFF", "ppm": "PPM"}
CONFIG = """
name: fuzzed
device: cpu
data: {type: %s, path: %s%s}
model: {architecture: %s}
training: {num_epochs: 1, num_threads: 1}
tracking: {tensorboard: false}
"""


def _files(world: Path) -> list[tuple[str, bytes]]:
    """Return a file of each kind: tables, interactions, and images that stand in a folder of others."""
    data = world / "data"
    table, ratings = (data / "table.csv").read_bytes(), (data / "ratings.csv").read_bytes()
    found = [
        ("table.csv", table),
        ("table.tsv", table.replace(b",", b"\t")),
        ("table.csv.gz", gzip.compress(table, mtime=0)),
        ("diabetes.csv", (data / "diabetes.csv").read_bytes()),
        ("ratings.csv", ratings),
        ("ratings.inter", ratings.replace(b",", b"\t").replace(b"user_id", b"user_id:token", 1)),
        ("u.data", b"\n".join(ratings.replace(b",", b"\t").splitlines()[1:])),
        ("ratings.dat", b"\n".join(ratings.replace(b",", b"::").splitlines()[1:])),
    ]
    for name in ("table", "ratings"):
        buffer = io.BytesIO()
        pl.read_csv(data / f"{name}.csv").write_parquet(buffer)
        found.append((f"{name}.parquet", buffer.getvalue()))
    with Image.open(data / "digits" / "0" / "0.png") as image:
        for suffix, kind in IMAGES.items():
            buffer = io.BytesIO()
            image.save(buffer, kind)
            found.append((f"image.{suffix}", buffer.getvalue()))
    return found


def _fuzz(fuzzer: Fuzzer, world: Path, examples: int) -> str:
    @settings(
        max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(damaged(_files(world)))
    def check(file: tuple[str, bytes]) -> None:
        name, content = file
        with fuzzer.folder() as here:
            path = _place(here, world, name, content)
            looked = fuzzer.run("ml-init-config", str(path), "--yes", "--optuna", "--output", "found.yaml")
            if looked.code == 0:
                fuzzer.run("ml-train", "--config", "found.yaml", "--num_epochs", "1", *_small(path))
            Path("given.yaml").write_text(_config(path), encoding="utf-8")
            fuzzer.run("ml-train", "--config", "given.yaml")

    check()
    assert fuzzer.grown() < 2
    return fuzzer.tally.line("data files")


def _place(here: Path, world: Path, name: str, content: bytes) -> Path:
    """Write the file; an image as one of a folder's, of which the others are well."""
    if not name.startswith("image."):
        (here / name).write_bytes(content)
        return Path(name)
    for source in sorted((world / "data" / "digits").glob("*/*.png")):
        target = here / "images" / source.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
    (here / "images" / "0" / name).write_bytes(content)
    return Path("images")


def _small(path: Path) -> list[str]:
    return ["--model.architecture", "shufflenet_v2_x0_5", "--image_size", "32"] if path.name == "images" else []


def _config(path: Path) -> str:
    """Return a config that expects the undamaged file."""
    if path.name == "images":
        return CONFIG % ("image_folder", path, ", image_size: 32", "shufflenet_v2_x0_5")
    if path.name.startswith(("ratings", "u.")):
        return CONFIG % ("interactions", path, "", "als, factors: 4") + "metric: val_ndcg_at_10\n"
    target = "progression" if path.name.startswith("diabetes") else "kind"
    return CONFIG % ("table", path, f", target: {target}", "mlp, hidden_size: 4")


def test_damaged_data_files(fuzzer: Fuzzer, world: Path, record_property: Callable[[str, object], None]) -> None:
    record_property("counts", _fuzz(fuzzer, world, SHORT))


@pytest.mark.slow
def test_many_damaged_data_files(fuzzer: Fuzzer, world: Path, record_property: Callable[[str, object], None]) -> None:
    record_property("counts", _fuzz(fuzzer, world, LONG))
