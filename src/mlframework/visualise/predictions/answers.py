"""Predictions of images, rows and pairs: each example beside what the model says of it, and the truth where it is known."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlframework.data import (
    ImageExamples,
    InteractionExamples,
    InteractionsConfig,
    TableConfig,
    TableExamples,
    read_frame,
)
from mlframework.errors import DataError
from mlframework.learners.base import Prediction, Predictor

if TYPE_CHECKING:
    import polars as pl

SEED = 0
"""Of the draw of validation examples: the same ones every time, so that two runs of one split can be looked at side by side."""


@dataclass(frozen=True)
class Answer:
    """What the model says of one example.

    Attributes:
        name: the file; the row's number in its file, from 1, header and blank lines not counted; of pairs their number.
        prediction: what the model says.
        truth: what it is; None where that is not known.
        cells: what is known of the example, by column.
    """

    name: str
    prediction: Prediction
    truth: str | float | None
    cells: Mapping[str, str]

    @property
    def is_right(self) -> bool | None:
        """Whether a class was told right; None where the truth is not known, or a number."""
        if self.truth is None or not isinstance(self.prediction.value, str):
            return None
        return self.prediction.value == self.truth


@dataclass(frozen=True)
class Answers:
    """What the model says of several examples.

    Attributes:
        source: where the examples are from, in words.
        unit: what an example is: image, row or pair.
        answers: at least one.
        target: name of what is predicted.
    """

    source: str
    unit: str
    answers: tuple[Answer, ...]
    target: str

    @property
    def summary(self) -> str | None:
        """How many classes were told right, or how far numbers are off; None where no truth is known."""
        known = [answer for answer in self.answers if answer.truth is not None]
        if not known:
            return None
        if isinstance(known[0].prediction.value, str):
            right = sum(answer.is_right is True for answer in known)
            return f"{right:,} of {len(known):,} are right ({right / len(known):.1%})"
        errors = [float(answer.prediction.value) - float(answer.truth or 0) for answer in known]
        rmse = math.sqrt(sum(error**2 for error in errors) / len(errors))
        return f"root mean squared error {rmse:.4g}, mean error {sum(errors) / len(errors):+.4g}, of {len(known):,}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the truth: its classes that the model does not know, which it can only get wrong."""
        known = self.answers[0].prediction.probabilities
        truths = Counter(each.truth for each in self.answers if isinstance(each.truth, str) and each.truth not in known)
        if not known or not truths:
            return ()
        named = ", ".join(list(truths)[:5]) + (f" and {len(truths) - 5} more" if len(truths) > 5 else "")
        what = f"class {named}" if len(truths) == 1 else f"classes {named}"
        number = truths.total()
        counted = f"its {number} {self.unit} counts as a mistake"
        if number > 1:
            counted = f"the {number:,} {self.unit}s of {'it' if len(truths) == 1 else 'them'} count as mistakes"
        return (f"The model does not know the {what}, which it was not trained with; {counted}.",)


def of_files(predictor: Predictor, given: Sequence[str]) -> Answers:
    """Predict image files, and folders of them; in a folder of a class's name the truth is that class.

    Raises:
        DataError: a file is not there, or no image.
    """
    from mlframework.data.image_files import SUFFIXES

    paths: list[Path] = []
    for each in map(Path, given):
        inside = (
            sorted(path for path in each.rglob("*") if path.suffix.lower() in SUFFIXES) if each.is_dir() else [each]
        )
        if not inside:
            raise DataError(f"{each}: there is no image in it; name image files, or a folder of them, after --input")
        if not each.exists():
            raise DataError(f"{each}: there is no such file; name image files, or a folder of them, after --input")
        paths += inside
    predictions = predictor.predict(paths)
    from_folders = any(Path(each).is_dir() for each in given)
    answers = [
        Answer(
            str(path), said, path.parent.name if from_folders and path.parent.name in said.probabilities else None, {}
        )
        for path, said in zip(paths, predictions, strict=True)
    ]
    return Answers(_named(given), "image", tuple(answers), "class")


def of_images(predictor: Predictor, val: ImageExamples, number: int) -> Answers:
    """Predict some of the validation images."""
    rows = drawn(len(val), number)
    paths = [val.paths[row] for row in rows]
    truths = [val.class_names[val.targets[row]] for row in rows]
    answers = [
        Answer(path, said, truth, {}) for path, said, truth in zip(paths, predictor.predict(paths), truths, strict=True)
    ]
    return Answers(_of_val(len(rows), len(val)), "image", tuple(answers), "class")


def of_tables(predictor: Predictor, given: Sequence[str], data: TableConfig) -> Answers:
    """Predict the rows of tables; a column of the target is the truth.

    Raises:
        DataError: a file cannot be read, or a column is missing.
    """
    answers: list[Answer] = []
    for path in given:
        frame = read_frame(path, "--input")
        features = frame.drop(data.target, strict=False)
        try:
            said = predictor.predict(features)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        truths = _truths(path, frame, data.target, bool(said) and isinstance(said[0].value, str))
        before = f"{path}:" if len(given) > 1 else ""
        answers += _rows(features, said, truths, [f"{before}{row}" for row in range(1, frame.height + 1)])
    if not answers:
        raise DataError(f"{_named(given)}: there is no row in it")
    return Answers(_named(given), "row", tuple(answers), data.target)


def of_rows(predictor: Predictor, val: TableExamples, number: int) -> Answers:
    """Predict some of the validation rows."""
    import polars as pl

    rows = drawn(len(val), number)
    part, schema = val.take(rows), val.schema
    columns: dict[str, Any] = {
        name: [None if np.isnan(value) else value for value in part.numeric[:, at].tolist()]
        for at, name in enumerate(schema.numeric)
    }
    for at, name in enumerate(schema.categorical):
        words = schema.vocabulary[name]
        columns[name] = [words[code] if code >= 0 else None for code in part.categorical[:, at].tolist()]
    frame = pl.DataFrame(columns, strict=False)
    names = schema.class_names
    truths = [float(value) if names is None else names[value] for value in part.targets.tolist()]
    said = predictor.predict(frame)
    places = rows if part.rows is None else part.rows
    answers = _rows(frame, said, truths, [str(at + 1) for at in places.tolist()])
    return Answers(_of_val(len(rows), len(val)), "row", tuple(answers), schema.target)


def of_pairs(predictor: Predictor, given: Sequence[str], data: InteractionsConfig) -> Answers:
    """Predict what users will rate items, in files with both columns; a column of ratings is the truth.

    Raises:
        DataError: a file cannot be read, a column is missing, or a user or item is unknown.
    """
    from mlframework.data.interaction_file import BY_POSITION, finite, read_raw
    from mlframework.data.sources import user_item_pairs

    answers: list[Answer] = []
    for path in given:
        raw = read_raw(path, "--input", BY_POSITION)
        users, items = user_item_pairs(path, data.user_column, data.item_column)
        ratings: list[float | None] = [None] * len(users)
        if data.rating_column is not None and data.rating_column in raw.frame.columns:
            ratings = finite(raw, data.rating_column).tolist()
        try:
            said = predictor.predict(path)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        answers += _pairs(
            users,
            items,
            said,
            [_truth_of(rating, each, data) for rating, each in zip(ratings, said, strict=True)],
            data,
        )
    return Answers(_named(given), "pair", tuple(answers), data.rating_column or "rating")


def of_ratings(predictor: Predictor, val: InteractionExamples, data: InteractionsConfig, number: int) -> Answers:
    """Predict some of the validation ratings."""
    part = val.take(drawn(len(val), number))
    catalogue = part.catalogue
    users = [catalogue.users[code] for code in part.users.tolist()]
    items = [catalogue.items[code] for code in part.items.tolist()]
    said = predictor.predict({data.user_column: users, data.item_column: items})
    names = catalogue.class_names
    truths = [float(value) if names is None else names[int(value)] for value in part.targets.tolist()]
    answers = _pairs(users, items, said, truths, data)
    return Answers(_of_val(len(part), len(val)), "pair", tuple(answers), data.rating_column or "rating")


def drawn(n: int, number: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Draw some of `n` examples, in their order."""
    return np.sort(np.random.RandomState(SEED).permutation(n)[:number]).astype(np.int64)


def _truths(path: str, frame: "pl.DataFrame", target: str, classes: bool) -> list[str | float | None]:
    from mlframework.data.table_columns import class_texts, numbers

    if target not in frame.columns or frame[target].null_count() == frame.height:
        return [None] * frame.height
    if classes:
        return list(class_texts(frame[target]).to_list())
    values: list[float] = numbers(frame[target], path, trained=True).tolist()
    return [None if math.isnan(value) else value for value in values]


def _rows(
    frame: "pl.DataFrame", said: Sequence[Prediction], truths: Sequence[str | float | None], names: Sequence[str]
) -> list[Answer]:
    cells: Iterator[dict[str, Any]] = frame.iter_rows(named=True)
    return [
        Answer(name, each, truth, {key: _cell(value) for key, value in row.items()})
        for name, each, truth, row in zip(names, said, truths, cells, strict=True)
    ]


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _pairs(
    users: Sequence[object], items: Sequence[object], said: Sequence[Prediction],
    truths: Sequence[str | float | None], data: InteractionsConfig,
) -> list[Answer]:  # fmt: skip
    return [
        Answer(str(row), each, truth, {data.user_column: str(user), data.item_column: str(item)})
        for row, (user, item, each, truth) in enumerate(zip(users, items, said, truths, strict=True), 1)
    ]


def _truth_of(rating: float | None, said: Prediction, data: InteractionsConfig) -> str | float | None:
    if rating is None or not said.probabilities:
        return rating
    assert data.min_rating is not None  # which a classification has
    return list(said.probabilities)[rating >= data.min_rating]


def _named(given: Sequence[str]) -> str:
    return ", ".join(given[:3]) + (f" and {len(given) - 3} more" if len(given) > 3 else "")


def _of_val(number: int, of: int) -> str:
    return f"{number:,} of the {of:,} examples of val, drawn at random"
