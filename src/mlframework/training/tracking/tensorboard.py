"""Writing a run's scalars, pictures and hyperparameters for TensorBoard.

Only TensorBoard's protobuf messages are imported (0.07 s): neither torch nor tensorflow, and not TensorBoard's own
`EventFileWriter`, which costs 0.35 s more, runs a thread, and loads the whole of tensorflow wherever that is installed.
What it would do is a short format: a folder holds event files, an event file holds framed, checksummed records
(`_frame`), and a record is one `Event` message.

The columns of the HPARAMS tab: TensorBoard takes them from the first "experiment" record that it finds under the
logdir, and hides whatever that one record does not name. Where there is no such record it shows the union of all
hyperparameters and scalar tags. Trials of one search differ in their conditional parameters, so none is written here.
"""

import io
import itertools
import math
import os
import socket
import struct
import sys
import time
from array import array
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tensorboard.compat.proto import (
    event_pb2,
    summary_pb2,
    tensor_pb2,
    tensor_shape_pb2,
    types_pb2,
)
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.pr_curve import plugin_data_pb2 as pr_curve_data_pb2

from mlframework.runs import FILE_MODE, make_folder, write_whole, writing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

HParam: TypeAlias = bool | int | float | str | Sequence[object] | None
Status: TypeAlias = Literal["success", "failure"]

_STATUSES = {"success": "STATUS_SUCCESS", "failure": "STATUS_FAILURE"}


class TensorBoardWriter:
    """One event file of a run. Every call writes through to the file, so that TensorBoard shows a run as it goes on.

    Opening a folder that holds event files already (a resumed run) begins another one; TensorBoard joins them. What
    the earlier files hold at or after the first step written here is then dropped by TensorBoard: those epochs were
    trained again.

    Args:
        folder: the run's folder; made where it is missing.

    Raises:
        RunError: the folder or a file in it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        with writing(folder):
            make_folder(folder)
            self._resumed = any(folder.glob("events.out.tfevents.*"))
            self._file = _create(folder)
        self._write(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))

    @property
    def path(self) -> Path:
        """The event file."""
        return Path(self._file.name)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point of each curve. A tag's part before the first "/" is the heading that it stands under.

        Args:
            step: the epoch or step of these values; not negative.
            values: tag to value; not-a-number is kept, TensorBoard shows it as a gap.

        Raises:
            RunError: the file cannot be written.
        """
        entries = [summary_pb2.Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()]
        self._at(step, summary_pb2.Summary(value=entries))

    def image(self, tag: str, step: int, pixels: "npt.NDArray[np.uint8]", colours: int | None = None) -> None:
        """Write one picture.

        Args:
            tag: its name; a later step replaces the picture under the same name, with a slider between them.
            step: the epoch or step it belongs to.
            pixels: uint8 array (height, width, 3), RGB.
            colours: how many of its colours are kept: lines on white need few, and take a third of the bytes and of the time;
                None: all.

        Raises:
            ValueError: `pixels` has another shape or type.
            RunError: the file cannot be written.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != "uint8":
            raise ValueError(f"a picture is uint8 (height, width, 3), got {pixels.dtype} {pixels.shape}")
        height, width, channels = pixels.shape
        picture = summary_pb2.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=_png(pixels, colours)
        )
        self._at(step, summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, image=picture)]))

    def pr_curve(self, tag: str, step: int, counts: "npt.NDArray[np.float32]", about: str = "") -> None:
        """Write how precision goes with recall: one curve of the PR CURVES tab, with a slider between steps.

        Args:
            tag: its name.
            step: the epoch or step it belongs to.
            counts: float32 (6, n): true positives, false positives, true negatives, false negatives, precision and recall,
                at n thresholds from 0 to 1.
            about: is said beside it.

        Raises:
            ValueError: `counts` has another shape or type.
            RunError: the file cannot be written.
        """
        if counts.ndim != 2 or len(counts) != 6 or counts.dtype != "float32":
            raise ValueError(f"counts are float32 (6, n), got {counts.dtype} {counts.shape}")
        content = pr_curve_data_pb2.PrCurvePluginData(num_thresholds=counts.shape[1])
        plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="pr_curves", content=content.SerializeToString())
        metadata = summary_pb2.SummaryMetadata(
            display_name=tag, plugin_data=plugin, summary_description=about, data_class=summary_pb2.DATA_CLASS_TENSOR
        )
        entry = summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=_tensor(counts.shape, counts.tobytes()))
        self._at(step, summary_pb2.Summary(value=[entry]))

    def hparams(self, values: Mapping[str, HParam]) -> None:
        """Write the run's hyperparameters: one row of the HPARAMS tab, beside the latest value of every scalar tag.

        Call it once, at the start; a resumed run may write it again, TensorBoard keeps the first.

        Args:
            values: dotted key to value. Numbers, booleans and strings stay what they are; lists and numbers that are
                not finite become text; None leaves the cell empty.

        Raises:
            RunError: the file cannot be written.
        """
        start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
        for key, value in values.items():
            _fill(start.hparams[key], value)
        self._session("session_start_info", plugin_data_pb2.HParamsPluginData(session_start_info=start))

    def finish(self, status: Status) -> None:
        """Write how the run ended. TensorBoard keeps the first end it is told: call it only for a run that is over,
        not for one that may be resumed.

        Raises:
            RunError: the file cannot be written.
        """
        end = plugin_data_pb2.SessionEndInfo(status=_STATUSES[status], end_time_secs=time.time())
        self._session("session_end_info", plugin_data_pb2.HParamsPluginData(session_end_info=end))

    def flush(self) -> None:
        """Wait until everything written is on the disk (each call has already handed it to the operating system).

        Raises:
            RunError: the file cannot be written.
        """
        with writing(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self._file.close()

    def _session(self, tag: str, content: plugin_data_pb2.HParamsPluginData) -> None:
        """Write a message of the hparams plugin: all of it stands in the metadata, the value is an empty vector."""
        plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="hparams", content=content.SerializeToString())
        entry = summary_pb2.Summary.Value(
            tag=f"_hparams_/{tag}", metadata=summary_pb2.SummaryMetadata(plugin_data=plugin), tensor=_tensor((0,), b"")
        )
        self._write(event_pb2.Event(wall_time=time.time(), summary=summary_pb2.Summary(value=[entry])))

    def _at(self, step: int, summary: summary_pb2.Summary) -> None:
        if self._resumed:
            self._resumed = False
            restart = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(event_pb2.Event(wall_time=time.time(), step=step, session_log=restart))
        self._write(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: event_pb2.Event) -> None:
        with writing(self.path):
            write_whole(self._file.fileno(), _frame(event.SerializeToString()))


def _tensor(shape: tuple[int, ...], content: bytes) -> tensor_pb2.TensorProto:
    """Return float32 numbers, in the order of a C array and with the lowest byte first."""
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT, tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dims), tensor_content=content
    )


def _create(folder: Path) -> io.FileIO:
    """Make a new event file. TensorBoard reads a folder's files in the order of their names, so the time comes first."""
    for number in itertools.count():
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{number}"
        try:
            return open(folder / name, "xb", buffering=0, opener=_for_no_stranger)
        except FileExistsError:
            continue
    raise AssertionError("itertools.count() never ends")


def _for_no_stranger(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)


def _fill(field: Any, value: HParam) -> None:
    """Put one hyperparameter into a google.protobuf.Value, which knows booleans, numbers and strings only."""
    match value:
        case None:
            field.null_value = 0
        case bool():
            field.bool_value = value
        case int() | float() if math.isfinite(value):
            field.number_value = value
        case str():
            field.string_value = value
        case _:
            field.string_value = str(value)


def _png(pixels: "npt.NDArray[np.uint8]", colours: int | None) -> bytes:
    from PIL import Image

    buffer, picture = io.BytesIO(), Image.fromarray(pixels)
    if colours is not None:
        picture = picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # Charts are flat: to look longer for what repeats takes four times as long, and saves a tenth.
    picture.save(buffer, format="PNG", compress_level=2)
    return buffer.getvalue()


def _frame(data: bytes) -> bytes:
    """A TFRecord: length (uint64), checksum of the length (uint32), the data, checksum of the data (uint32)."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked_crc(length)) + data + struct.pack("<I", _masked_crc(data))


def _masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and shifted as TFRecords want it (a checksum of data that holds checksums is a weak one)."""
    table, crc = _crc_table(), 0xFFFFFFFF
    # Two bytes at once, the lower one first: pictures have tens of thousands.
    pairs = array("H", data[: len(data) & ~1])
    if sys.byteorder == "big":
        pairs.byteswap()
    for pair in pairs:
        crc = table[(crc ^ pair) & 0xFFFF] ^ (crc >> 16)
    if len(data) % 2:
        # A byte after a zero one is carried on by one byte less: its own checksum.
        crc = table[((crc ^ data[-1]) & 0xFF) << 8] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc_table() -> list[int]:
    """Return what each pair of bytes becomes by the Castagnoli polynomial, bits reversed."""
    import numpy as np

    found = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(16):
        found = (found >> np.uint32(1)) ^ np.where(found & np.uint32(1), np.uint32(0x82F63B78), np.uint32(0))
    table: list[int] = found.tolist()
    return table
