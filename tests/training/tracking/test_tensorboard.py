"""What TensorBoard itself reads back from the event files that we write."""

import io
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.plugins.hparams import plugin_data_pb2

from mlframework.errors import RunError
from mlframework.training.tracking.charts import draw_predictions
from mlframework.training.tracking.tensorboard import TensorBoardWriter, _masked_crc


def read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value)) for event in read(folder).Scalars(tag)]


def session(folder: Path, tag: str) -> plugin_data_pb2.HParamsPluginData:
    content = read(folder).SummaryMetadata(f"_hparams_/{tag}").plugin_data
    assert content.plugin_name == "hparams"
    return plugin_data_pb2.HParamsPluginData.FromString(content.content)


def test_scalars_are_read_back_while_the_writer_is_still_open(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path / "run")
    writer.scalars(1, {"train/loss": 2.5, "val/acc": 0.5})
    writer.scalars(2, {"train/loss": 1.25, "val/acc": 0.75})
    assert curve(tmp_path / "run", "train/loss") == [(1, 2.5), (2, 1.25)]
    assert curve(tmp_path / "run", "val/acc") == [(1, 0.5), (2, 0.75)]
    writer.close()


def test_every_record_has_a_right_checksum(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path)
    for step in range(50):
        writer.scalars(step, {f"tag/{step}": step / 7})
    writer.close()
    # TensorBoard's own reader stops with a DataLossError at a record whose checksum is wrong.
    assert len(list(RawEventFileLoader(str(writer.path)).Load())) == 51
    damaged = bytearray(writer.path.read_bytes())
    damaged[-6] ^= 1
    writer.path.write_bytes(damaged)
    assert len(list(RawEventFileLoader(str(writer.path)).Load())) == 50


def test_image_is_read_back_pixel_by_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    writer = TensorBoardWriter(tmp_path)
    writer.image("val/confusion", 3, pixels)
    writer.close()
    [event] = read(tmp_path).Images("val/confusion")
    assert (event.step, event.width, event.height) == (3, 20, 12)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(event.encoded_image_string))), pixels)


def test_a_chart_of_few_colours_is_nearly_the_same_in_half_of_the_bytes(tmp_path: Path) -> None:
    points = (np.linspace(0, 1, 60), np.linspace(0, 1, 60) ** 3)
    chart = draw_predictions(*points, "title")
    writer = TensorBoardWriter(tmp_path)
    writer.image("all", 1, chart)
    writer.image("few", 1, chart, 64)
    writer.close()
    whole, few = (read(tmp_path).Images(tag)[0].encoded_image_string for tag in ("all", "few"))
    shown = np.asarray(Image.open(io.BytesIO(few)).convert("RGB")).astype(int)
    assert np.abs(shown - chart).mean() < 2 and len(few) < len(whole) / 2


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((3, 4, 4), np.uint8)],
)
def test_other_arrays_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    writer = TensorBoardWriter(tmp_path)
    with pytest.raises(ValueError, match="height, width, 3"):
        writer.image("x", 1, pixels)


def test_hparams_keep_their_types(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path)
    writer.hparams(
        {
            "optimizer.lr": 0.1,
            "training.batch_size": 64,
            "model.pretrained": True,
            "optimizer.type": "sgd",
            "model.hidden": [32, 16],
            "training.gradient_clipping": None,
            "model.margin": float("inf"),
        }
    )
    writer.close()
    values = session(tmp_path, "session_start_info").session_start_info.hparams
    assert values["optimizer.lr"].number_value == 0.1
    assert values["training.batch_size"].number_value == 64
    assert values["model.pretrained"].bool_value is True
    assert values["optimizer.type"].string_value == "sgd"
    assert values["model.hidden"].string_value == "[32, 16]"
    assert values["training.gradient_clipping"].WhichOneof("kind") == "null_value"
    assert values["model.margin"].string_value == "inf"


def test_no_experiment_record_and_no_sub_run(tmp_path: Path) -> None:
    """An experiment record would hide the columns of the other runs; a sub-run would show a run twice."""
    writer = TensorBoardWriter(tmp_path)
    writer.hparams({"optimizer.lr": 0.1})
    writer.scalars(1, {"val/acc": 0.5})
    writer.finish("success")
    writer.close()
    assert [path.parent for path in tmp_path.rglob("*tfevents*")] == [tmp_path]
    hparam_tags = [tag for tag in read(tmp_path).Tags()["tensors"] if tag.startswith("_hparams_/")]
    assert sorted(hparam_tags) == [
        "_hparams_/session_end_info",
        "_hparams_/session_start_info",
    ]


def test_other_counts_are_refused(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path)
    for counts in (np.zeros((5, 10), np.float32), np.zeros((6, 10)), np.zeros(6, np.float32)):
        with pytest.raises(ValueError, match="6, n"):
            writer.pr_curve("x", 1, counts)


@pytest.mark.parametrize(("status", "number"), [("success", 1), ("failure", 2)])
def test_finish_says_how_it_ended(tmp_path: Path, status: str, number: int) -> None:
    writer = TensorBoardWriter(tmp_path)
    writer.hparams({"optimizer.lr": 0.1})
    writer.finish(status)  # type: ignore[arg-type]
    writer.close()
    assert session(tmp_path, "session_end_info").session_end_info.status == number


def test_resume_replaces_the_epochs_that_are_trained_again(tmp_path: Path) -> None:
    killed = TensorBoardWriter(tmp_path)
    for epoch in range(1, 6):
        killed.scalars(epoch, {"val/acc": epoch / 10})
    killed.close()
    resumed = TensorBoardWriter(tmp_path)
    resumed.hparams({"optimizer.lr": 0.1})
    for epoch in range(4, 8):
        resumed.scalars(epoch, {"val/acc": 0.9})
    resumed.close()
    assert resumed.path != killed.path
    assert resumed.path.name > killed.path.name
    assert curve(tmp_path, "val/acc") == [
        (1, 0.1),
        (2, 0.2),
        (3, 0.3),
        (4, 0.9),
        (5, 0.9),
        (6, 0.9),
        (7, 0.9),
    ]


def test_folder_that_cannot_be_made_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="a file stands"):
        TensorBoardWriter(tmp_path / "file")


def test_a_file_that_cannot_grow_is_a_run_error_and_has_no_half_record(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path)
    writer.scalars(1, {"val/acc": 0.5})
    before = writer.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(RunError, match=r"events.*: cannot be written: the file would be larger than"):
            writer.scalars(2, {"val/acc": 0.6})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert writer.path.read_bytes() == before
    writer.scalars(2, {"val/acc": 0.7})
    writer.close()
    assert writer.path.read_bytes().startswith(before) and len(writer.path.read_bytes()) > len(before)


def test_importing_it_brings_neither_torch_nor_tensorflow() -> None:
    code = (
        "import sys, mlframework.training.tracking.tensorboard\n"
        "print([name for name in ('torch', 'tensorflow', 'tensorboard.summary', 'PIL', 'numpy') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# RFC 3720, appendix B.4.
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283), (b"", 0), (b"a", 0xC1D04330),
    ],
)  # fmt: skip
def test_the_checksum_is_that_of_the_standard(data: bytes, expected: int) -> None:
    masked = _masked_crc(data)
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    assert ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF == expected
