"""Looking at data that nobody has described yet: what `ml-init-config` writes a config from.

What is refused here is what training would refuse: a config written from these facts runs as it is.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlframework.data.image_files import FORMATS, ImageFile, ImageFolder, decode_images, scan_image_folder
from mlframework.data.images import ImageFolderConfig
from mlframework.data.splits import Array
from mlframework.data.table_columns import Task, class_texts, column_kind, stray_texts, why_unused
from mlframework.data.table_file import SEPARATORS, read_frame
from mlframework.data.table_schema import encode_frame
from mlframework.data.tables import TableConfig, infer_schema
from mlframework.errors import DataError
from mlframework.registry import unknown

if TYPE_CHECKING:
    import polars as pl

SAMPLE = 100
"""Images that are opened; decoding all would take minutes on a large folder, and their sizes rarely differ."""
SPLITS = 3
"""Train, val and test: each needs an example of every class."""
TARGET_NAMES = ("target", "label", "class", "y", "outcome", "result", "response")
MAX_RARE_SHARE = 0.1
_GREY_SIZE = 32


@dataclass(frozen=True)
class ImageFolderFacts:
    """What a folder of images holds."""

    path: Path
    class_counts: dict[str, int]
    """Images by class name, in all splits, without those that were found to be unreadable."""
    splits: tuple[str, ...]
    """The splits that have a folder of their own: of train, val, test; none where the class folders lie on top."""
    width: int
    """Median width of the sampled images, in pixels."""
    height: int
    """Median height of the sampled images, in pixels."""
    grey: bool
    """Whether the sampled images have no colour."""
    unreadable: tuple[str, ...]
    """Sampled files that cannot be read, relative to the folder."""

    @property
    def n_images(self) -> int:
        """Number of images."""
        return sum(self.class_counts.values())


@dataclass(frozen=True)
class TableFacts:
    """What a table holds, once a target is chosen."""

    path: Path
    n_rows: int
    """Rows that have a value of the target."""
    n_without_target: int
    """Rows that have none, and are left out."""
    target: str
    target_reason: str
    """Why this column is the target."""
    task: Task
    class_counts: dict[str, int]
    """Rows by class; empty in a regression."""
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    dropped: dict[str, str]
    """Columns that are no good as features, and why."""
    columns: tuple[str, ...]
    """All columns, in the order of the file."""
    missing: dict[str, int]
    """How many of the rows lack a value, by feature; those that lack none are not in it."""


def inspect_image_folder(path: Path) -> ImageFolderFacts:
    """Look at a folder of images: its classes and splits, and the size and colour of a sample of its images.

    Raises:
        DataError: it is no folder of class folders, or cannot be trained with: too few images of a class, or too many
            that cannot be read.
    """
    try:
        folder = scan_image_folder(path)
    except DataError as error:
        tables = [each for each in sorted(path.iterdir()) if each.suffix in (*SEPARATORS, ".parquet")]
        if not tables or any(each.is_dir() for each in path.iterdir()):
            raise
        raise DataError(f"{error}; if the table in it is meant, name that: {tables[0]}") from None
    step = max(1, len(folder.files) // SAMPLE)
    sample = folder.files[::step][:SAMPLE]
    pixels, bad = decode_images([file.path for file in sample], _GREY_SIZE)
    unreadable = {sample[row].path: reason for row, reason in bad.items()}
    _check_readable(path, unreadable, len(sample))
    readable = [row for row in range(len(sample)) if row not in bad]
    counted = [file for file in folder.files if file.path not in unreadable]
    _check_class_sizes(path, folder, counted)
    width, height = _median_size([sample[row].path for row in readable])
    counts = Counter(file.target for file in counted)
    return ImageFolderFacts(
        path=path,
        class_counts={name: counts[index] for index, name in enumerate(folder.class_names)},
        splits=tuple(dict.fromkeys(file.split for file in folder.files if file.split is not None)),
        width=width,
        height=height,
        grey=_is_grey(pixels[readable]),
        unreadable=tuple(str(Path(each).relative_to(path)) for each in unreadable),
    )


def inspect_table(path: Path, target: str | None = None) -> TableFacts:
    """Look at a table: the target (the one named, or a guess), the task, and what each column is good for.

    Raises:
        DataError: it cannot be read, has no header line, has no such target, or cannot be trained with: too few rows,
            one class only, no feature.
    """
    frame = read_frame(path)
    if path.suffix.lower() != ".parquet":
        _check_header(frame, path)
    chosen, reason = _guess_target(frame, path) if target is None else _named_target(frame, target, path)
    rows = frame.filter(frame[chosen].is_not_null())
    if rows.height < SPLITS:
        raise DataError(
            f"{path}: {_few(rows.height, 'row')} with a value of the target {chosen!r} cannot be cut into train, val and "
            "test; add rows"
        )
    features = [column for column in rows.iter_columns() if column.name != chosen]
    reasons = {column.name: _why_dropped(column) for column in features}
    dropped = {name: why for name, why in reasons.items() if why is not None}
    schema = infer_schema(rows, TableConfig(type="table", path=str(path), target=chosen, drop=tuple(dropped)))
    examples = encode_frame(rows, schema, path.name)  # finds the values that no float holds, before a training does
    lacking = [*np.isnan(examples.numeric).sum(axis=0).tolist(), *(examples.categorical < 0).sum(axis=0).tolist()]
    class_counts: dict[str, int] = {}
    if schema.class_names is not None:
        counts = Counter(class_texts(rows[chosen]).to_list())
        class_counts = {name: counts[name] for name in schema.class_names}
        _check_rows_of_classes(path, chosen, class_counts)
    return TableFacts(
        path=path,
        n_rows=rows.height,
        n_without_target=frame.height - rows.height,
        target=chosen,
        target_reason=reason,
        task=schema.task,
        class_counts=class_counts,
        numeric=schema.numeric,
        categorical=schema.categorical,
        dropped=dropped,
        columns=tuple(frame.columns),
        missing={name: n for name, n in zip((*schema.numeric, *schema.categorical), lacking, strict=True) if n},
    )


def _check_readable(path: Path, unreadable: dict[str, str], n_sampled: int) -> None:
    allowed = ImageFolderConfig.model_fields["max_unreadable_fraction"].default
    if len(unreadable) <= allowed * n_sampled:
        return
    listing = ", ".join(f"{Path(each).relative_to(path)} ({why})" for each, why in list(unreadable.items())[:5])
    more = f" and {len(unreadable) - 5} more" if len(unreadable) > 5 else ""
    raise DataError(
        f"{path}: {len(unreadable)} of {n_sampled} sampled images cannot be read: {listing}{more}; mend or delete them"
    )


def _check_class_sizes(path: Path, folder: ImageFolder, files: list[ImageFile]) -> None:
    """Require as many images of each class as there are splits to cut the training images into."""
    given = {file.split for file in folder.files}
    needed = 1 if "val" in given else 2 if "train" in given else SPLITS
    counts = Counter(file.target for file in files if file.split in (None, "train"))
    small = [f"{name} ({counts[i]})" for i, name in enumerate(folder.class_names) if counts[i] < needed]
    if small:
        parts = {1: "training", 2: "training and validation", SPLITS: "training, validation and test"}[needed]
        listing = ", ".join(small[:10]) + (f" and {len(small) - 10} more" if len(small) > 10 else "")
        raise DataError(
            f"{path}: each class needs at least {_few(needed, 'readable image')} for {parts}, but these have fewer: "
            f"{listing}; add images to these folders, or take the folders away"
        )


def _median_size(paths: list[str]) -> tuple[int, int]:
    from PIL import Image

    sizes = []
    for each in paths:
        with Image.open(each, formats=FORMATS) as image:
            sizes.append(image.size)
    width, height = np.median(np.array(sizes), axis=0)
    return round(float(width)), round(float(height))


def _is_grey(pixels: Array) -> bool:
    """Whether images (n, 3, h, w) have no colour, but for what JPEG's rounding may leave of one."""
    channels = pixels.astype(np.int16)
    return bool(np.abs(channels - channels[:, :1]).max() <= 2)


def _check_header(frame: "pl.DataFrame", path: Path) -> None:
    """Refuse a file whose first line looks like the lines below it: it would be lost, and no column have a name."""
    kinds = {column.name: column_kind(column) for column in frame.iter_columns()}
    over_numbers = [name for name, kind in kinds.items() if kind == "number"]
    over_text = [name for name, kind in kinds.items() if kind == "text"]
    repeated = [name for name in over_text if name in frame[name]]
    if over_numbers:
        # Years are numbers too, and may well head columns of numbers: beside text, a text must be repeated as well.
        looks_like_data = all(map(_is_number, over_numbers)) and bool(repeated or not over_text)
    else:
        looks_like_data = len(repeated) > len(over_text) / 2
    if looks_like_data:
        raise DataError(
            f"{path}: the first line looks like data, not like the names of columns ({', '.join(frame.columns[:5])}); "
            "put a line with the column names above it"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _named_target(frame: "pl.DataFrame", target: str, path: Path) -> tuple[str, str]:
    if target not in frame.columns:
        raise DataError(f"{path}: {unknown(target, frame.columns, 'target column')}")
    kind = column_kind(frame[target])
    if kind in ("date", "other"):
        what = "dates" if kind == "date" else f"{frame[target].dtype} values"
        raise DataError(
            f"{path}: the target {target!r} holds {what}, which no model here predicts; name another column"
        )
    return target, "it was asked for"


def _guess_target(frame: "pl.DataFrame", path: Path) -> tuple[str, str]:
    """Return the column that is most likely to be predicted, and why: by its name, or as the last that can be."""
    usable = [column.name for column in frame.iter_columns() if _can_be_target(column)]
    if not usable:
        raise DataError(
            f"{path}: none of its {frame.width} columns has two different values to tell apart or numbers to predict; "
            "add rows"
        )
    by_name = {name.lower(): name for name in reversed(usable)}
    for name in TARGET_NAMES:
        if name in by_name:
            return by_name[name], "its name says so"
    return usable[-1], "it is the last column that can be one"


def _can_be_target(column: "pl.Series") -> bool:
    return column.drop_nulls().n_unique() > 1 and _why_dropped(column) is None


def _why_dropped(column: "pl.Series") -> str | None:
    """Return why a column is no good as a feature, or None.

    A config that is written names what is of use: text that hardly repeats is not, nor is text that was to be numbers.
    """
    stray = stray_texts(column)
    if stray is not None:
        return f"{stray}; mend the file to use it"
    reason = why_unused(column)
    if reason is not None or column_kind(column) != "text":
        return reason
    values = column.drop_nulls()
    distinct = values.n_unique()
    return f"{distinct} different values in {len(values)} rows" if distinct > max(2, len(values) / 2) else None


def _check_rows_of_classes(path: Path, target: str, counts: dict[str, int]) -> None:
    """Let a table of many classes have a few rare ones (they are split at random), but nothing rarer than that."""
    rare = {name: count for name, count in counts.items() if count < SPLITS}
    if not rare or (len(counts) > 2 and sum(rare.values()) <= MAX_RARE_SHARE * sum(counts.values())):
        return
    listing = ", ".join(f"{name} ({count})" for name, count in list(rare.items())[:10])
    more = f" and {len(rare) - 10} more" if len(rare) > 10 else ""
    raise DataError(
        f"{path}: the target {target!r} has classes with fewer than {SPLITS} rows, too few for training, validation and "
        f"test: {listing}{more}; add rows, take these out, or name another target"
    )


def _few(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
