"""Where the model is most wrong: of a classifier the mistakes that it is surest of, of a regression the largest errors.

Images are shown; of a table its rows. They are read from the data that the run's config.yaml names, with the limits that
data/image_files.py and data/table_file.py have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlframework.data import AnyConfig
from mlframework.data.images import ImageFolderConfig
from mlframework.data.tables import TableConfig
from mlframework.errors import DataError, MlframeworkError, PlotError
from mlframework.outputs import SavedOutputs
from mlframework.visualise import style
from mlframework.visualise.run_outputs import owner_of
from mlframework.visualise.run_plots import mistakes_drawn
from mlframework.visualise.run_plots.classified import above, classified, is_classifier, share
from mlframework.visualise.run_plots.residuals import example_name, regression_of
from mlframework.visualise.run_view import RunView
from mlframework.visualise.wording import count_of, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

IMAGES, ROWS = 24, 20
"""How many are shown."""
FEATURES = 6
"""Columns of a table beside what is true and predicted: more would not fit beside one another."""
_LARGEST = 224  # pixels of an image's side


@dataclass(frozen=True)
class Mistake:
    """One example that the model is wrong about.

    Attributes:
        name: the image's path, the row's number, or user and item.
        true, predicted: names of classes, or numbers.
        how: how sure the model is, or by how much it is off.
        pixels: of an image: uint8 (h, w, 3); None where it can't be read any more.
        features: of a table's row: the values of the columns.
    """

    name: str
    true: str
    predicted: str
    how: str
    pixels: NDArray[np.uint8] | None = None
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class MistakesData:
    """What the plot shows.

    Attributes:
        mistakes: the worst first, at least one.
        are_images: whether they are images.
        columns: names of the features.
        how: what `Mistake.how` is.
    """

    heading: style.Heading
    mistakes: tuple[Mistake, ...]
    are_images: bool
    columns: tuple[str, ...]
    how: str


def compute(view: RunView) -> MistakesData:
    """Find them, and read their images or rows.

    Raises:
        PlotError: there is no mistake, no output, or the data is gone or has changed; with what to do.
        RunError: a file of the run is damaged.
    """
    saved, rows, found, title, how, count = _of_classes(view) if is_classifier(view) else _of_numbers(view)
    data, has_changed = _data_of(view)
    notes = [f"the {len(rows)} worst shown" if len(rows) < count else ""]
    columns: tuple[str, ...] = ()
    if isinstance(data, ImageFolderConfig):
        found = _with_images(view, data, saved, rows, found)
        notes.append("the data has changed since the run was trained" if has_changed else "")
    elif isinstance(data, TableConfig) and len(saved.rows):
        if has_changed:
            raise PlotError(_gone(view, data.path, "it has changed since the run was trained"))
        columns, found, of = _with_rows(view, data, saved, rows, found)
        notes.append(f"{len(columns)} of {of} columns" if len(columns) < of else "")
    return MistakesData(
        heading=style.Heading(title, above(view, saved, len(saved), *notes)),
        mistakes=tuple(found),
        are_images=isinstance(data, ImageFolderConfig),
        columns=columns,
        how=how,
    )


_Found = tuple[SavedOutputs, NDArray[np.int64], list[Mistake], str, str, int]


def _of_classes(view: RunView) -> _Found:
    """Return the mistakes that the model is surest of; of equally sure ones first where the true class is less likely."""
    found = classified(view)
    wrong = np.flatnonzero(~found.right)
    if not len(wrong):
        raise PlotError(
            f"needs a mistake, and the model of {view.run.path} is right in all {len(found.rows)} examples of the "
            f"{found.saved.split} split: there is nothing to show"
        )
    of_true = found.probabilities[wrong, found.targets[wrong]]
    order = wrong[np.lexsort((of_true, -found.confidence[wrong]))][: _shown(found.saved)]
    names = found.class_names
    mistakes = [
        Mistake(
            example_name(found.saved, int(found.rows[place])),
            names[found.targets[place]],
            names[found.predicted[place]],
            share(min(float(found.confidence[place]), 1.0)),
        )
        for place in order
    ]
    title = f"{count_of(len(wrong), 'mistake')}, those first that it is surest of"
    return found.saved, found.rows[order], mistakes, title, "sure", len(wrong)


def _of_numbers(view: RunView) -> _Found:
    """Return the largest errors."""
    saved, rows = regression_of(view)
    errors = saved.values[rows].astype(np.float64) - saved.targets[rows]
    order = np.argsort(-np.abs(errors), kind="stable")[: _shown(saved)]
    mistakes = [
        Mistake(
            example_name(saved, int(rows[place])),
            short(float(saved.targets[rows[place]])),
            short(float(saved.values[rows[place]])),
            f"{short(float(errors[place]))}",
        )
        for place in order
    ]
    return saved, rows[order], mistakes, "The largest errors", "off by", len(rows)


def _shown(saved: SavedOutputs) -> int:
    return IMAGES if saved.names and saved.task == "classification" else ROWS


def _data_of(view: RunView) -> tuple[AnyConfig, bool]:
    """Return the config of the run's data, and whether the data has changed since; what is gone is looked at later."""
    from mlframework.config import yaml
    from mlframework.config.decode import decode
    from mlframework.experiment import ExperimentConfig, is_of_data

    owner = owner_of(view.run)
    try:
        document = yaml.read(owner.config)
        data = decode(ExperimentConfig, document).data
    except MlframeworkError as error:
        raise PlotError(f"needs the data that {owner.config} names, and it cannot be read: {error}") from None
    try:
        return data, not is_of_data(owner, document.tree)
    except DataError as error:
        raise PlotError(_gone(view, data.path, str(error))) from None


def _gone(view: RunView, path: str, why: str) -> str:
    return (
        f"needs {path}, from which {view.run.path} was trained, and {why}: put it back (paths count from the folder in "
        "which this command runs), or train again"
    )


def _with_images(
    view: RunView, data: ImageFolderConfig, saved: SavedOutputs, rows: NDArray[np.int64], found: Sequence[Mistake]
) -> list[Mistake]:
    """Read the images, stretched to the square that the model sees.

    Raises:
        PlotError: none of them can be read.
    """
    from mlframework.data.image_files import decode_images

    names = [saved.names[row] for row in rows] if saved.names else []
    # The file may be a stranger's: a name is looked up below the data's folder and nowhere else.
    outside = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    if outside or not names:
        raise PlotError(f"needs the names of images below {data.path}, and the outputs have {outside[:1] or 'none'}")
    size = min(data.image_size, _LARGEST)
    pixels, unreadable = decode_images([str(Path(data.path, name)) for name in names], size)
    if len(unreadable) == len(names):
        raise PlotError(_gone(view, data.path, f"{names[0]} in it cannot be read ({unreadable[0]})"))
    return [
        Mistake(
            each.name, each.true, each.predicted, each.how,
            None if place in unreadable else pixels[place].transpose(1, 2, 0),
        )
        for place, each in enumerate(found)
    ]  # fmt: skip


def _with_rows(
    view: RunView, data: TableConfig, saved: SavedOutputs, rows: NDArray[np.int64], found: Sequence[Mistake]
) -> tuple[tuple[str, ...], list[Mistake], int]:
    """Read the rows of the table; returns the columns that are shown, the mistakes, and how many columns there are.

    Raises:
        PlotError: the table cannot be read, or has fewer rows.
    """
    from mlframework.data.table_file import read_frame

    places = saved.rows[rows] - 1
    try:
        frame = read_frame(data.path)
    except DataError as error:
        raise PlotError(_gone(view, data.path, str(error))) from None
    if places.min() < 0 or places.max() >= frame.height:
        raise PlotError(_gone(view, data.path, f"it has no row {places.max() + 1}: it has changed since"))
    named = {*(data.numeric or ()), *(data.categorical or ())}
    left_out = {data.target, data.group_column, data.time_column, *data.drop}
    columns = [name for name in frame.columns if name not in left_out and (not named or name in named)]
    part = frame.select(columns[:FEATURES])[places.tolist()].rows()
    values = [tuple("" if value is None else short(value) for value in row) for row in part]
    filled = [
        Mistake(each.name, each.true, each.predicted, each.how, None, row)
        for each, row in zip(found, values, strict=True)
    ]
    return tuple(columns[:FEATURES]), filled, len(columns)


def draw(data: MistakesData) -> "go.Figure":
    """Draw it: images with what they are taken for, or a table."""
    if data.are_images:
        return mistakes_drawn.images(data)
    return mistakes_drawn.table(data)
