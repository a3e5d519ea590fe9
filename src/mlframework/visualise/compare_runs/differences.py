"""What differs between runs: a row a key, a column a run."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlframework.metrics import direction_of
from mlframework.visualise.compare_runs.sides import Side, settings_of
from mlframework.visualise.run_view import duration
from mlframework.visualise.wording import short, six_digits

Value = float | str | None


@dataclass(frozen=True)
class Row:
    """One key, and what each run has of it.

    Attributes:
        key: a metric, or a setting by its dotted key.
        values: one a run; None where it has none.
        best: the positions of the runs with the best value, where the key is a metric that was not only trained on.
    """

    key: str
    values: tuple[Value, ...]
    best: tuple[int, ...] = ()

    def texts(self) -> tuple[str, ...]:
        """Return the values as they are shown."""
        shown = tuple("–" if value is None else self._text(value) for value in self.values)
        brief = tuple(map(six_digits, shown))
        return brief if len(set(brief)) == len(set(shown)) else shown  # else what differs would look the same

    def _text(self, value: float | str) -> str:
        return duration(value) if self.key == "seconds" and isinstance(value, float) else short(value)


@dataclass(frozen=True)
class Comparison:
    """What differs.

    Attributes:
        names: of the runs.
        results: metrics of the best epoch, and how the training went; all of them, equal or not.
        settings: the settings that are not the same in all runs.
        surroundings: fingerprint of the data, versions and machine, where they are not the same.
        notes: what stands in the way of comparing them.
    """

    names: tuple[str, ...]
    results: tuple[Row, ...]
    settings: tuple[Row, ...]
    surroundings: tuple[Row, ...]
    notes: tuple[str, ...]


def compare(sides: Sequence[Side]) -> Comparison:
    """Compare runs; the order of the rows is that of the config, and of the metrics the one in force comes first."""
    settings = settings_of(sides)
    keys = dict.fromkeys(key for each in settings for key in each)
    of_settings = _different((key, tuple(each.get(key) for each in settings)) for key in keys)
    surroundings = _surroundings(sides)
    return Comparison(
        names=tuple(side.name for side in sides),
        results=tuple(_results(sides)),
        settings=tuple(of_settings),
        surroundings=tuple(surroundings),
        notes=tuple(_notes(sides, {row.key for row in of_settings}, {row.key for row in surroundings})),
    )


def _different(pairs: Iterable[tuple[str, tuple[Value, ...]]]) -> list[Row]:
    return [Row(key, values) for key, values in pairs if len(set(values)) > 1]


def _results(sides: Sequence[Side]) -> list[Row]:
    in_force = dict.fromkeys(side.metric for side in sides)
    found = dict.fromkeys(name for side in sides for name in side.metrics)
    # What was chosen by first, then validation and test; what was only trained on says least.
    names = sorted(found, key=lambda name: (name.startswith("train_"), name not in in_force))
    rows = [_metric_row(name, [side.metrics.get(name) for side in sides]) for name in names]
    if len(in_force) > 1:
        rows.insert(0, Row("metric", tuple(side.metric for side in sides)))
    rows += [
        Row(
            "best epoch",
            tuple(_whole(side.result.get("best_epoch") or (side.best and side.best.epoch)) for side in sides),
        ),
        Row("epochs", tuple(_whole(max((record.epoch for record in side.records), default=0)) for side in sides)),
        Row("seconds", tuple(_seconds(side) for side in sides)),
        Row("parameters", tuple(_parameters(side) for side in sides)),
        Row("ended", tuple(side.state for side in sides)),
    ]
    if any(side.n_parts for side in sides):
        rows.append(Row("folds or repeats", tuple(str(side.n_parts or 1) for side in sides)))
    return [row for row in rows if any(value is not None for value in row.values)]


def _metric_row(name: str, values: Sequence[float | None]) -> Row:
    finite = {at: value for at, value in enumerate(values) if value is not None and math.isfinite(value)}
    if name.startswith("train_") or len(finite) < 2:
        return Row(name, tuple(values))
    try:
        sign = 1 if direction_of(name) == "maximize" else -1
    except ValueError:  # a metric of another version
        return Row(name, tuple(values))
    most = max(sign * value for value in finite.values())
    best = tuple(at for at, value in finite.items() if sign * value == most)
    return Row(name, tuple(values), best if len(best) < len(finite) else ())


def _whole(number: object) -> str | None:
    return None if number is None else f"{number:g}" if isinstance(number, float) else str(number)


def _seconds(side: Side) -> float | None:
    took = side.result.get("seconds")
    if took is not None:
        return float(took)
    seconds = sum(record.seconds for record in side.records)
    return seconds if side.records and math.isfinite(seconds) else None


def _parameters(side: Side) -> str | None:
    number = (side.result.get("resources") or {}).get("n_parameters")
    return None if number is None else f"{int(number):,}"


def _surroundings(sides: Sequence[Side]) -> list[Row]:
    rows: list[tuple[str, tuple[Value, ...]]] = [("data fingerprint", tuple(side.data for side in sides))]
    packages = [_mapping(side.environment.get("packages")) for side in sides]
    for name in ("python", "platform", "processor", "gpus"):
        values = [side.environment.get(name) for side in sides]
        rows.append((name, tuple(_plain(value) for value in values)))
    for name in dict.fromkeys(name for each in packages for name in each):
        rows.append((name, tuple(each.get(name) for each in packages)))
    return _different(rows)


def _mapping(value: object) -> Mapping[str, str]:
    return value if isinstance(value, Mapping) else {}


def _plain(value: object) -> str | None:
    if value is None:
        return None
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _notes(sides: Sequence[Side], settings: set[str], surroundings: set[str]) -> list[str]:
    notes = []
    if "data fingerprint" in surroundings:
        notes.append("The runs were not all trained on the same data, so their metrics are not of the same examples.")
    seeds_decide = "seed" in settings and any(_split(side).get("seed") is None for side in sides)
    if seeds_decide or any(key.startswith("data.split.") for key in settings):
        notes.append(
            "The data was not cut in the same way (seed or data.split differ), so the metrics are of other validation "
            "examples; a small difference between them may come from that alone."
        )
    if any(side.is_fold for side in sides) or len({side.n_parts for side in sides}) > 1:
        notes.append("A fold is judged by other validation examples than another fold, and than a single split.")
    if len({side.metric for side in sides}) > 1:
        listed = ", ".join(f"{side.name} by {side.metric}" for side in sides[:6])
        notes.append(f"Their best epochs were not chosen by the same metric: {listed}.")
    unfinished = [side.name for side in sides if not side.result and side.state == "not ended"]
    if unfinished:
        notes.append(f"Not ended, and shown as far as they are: {', '.join(unfinished)}.")
    return notes


def _split(side: Side) -> Mapping[str, object]:
    data = side.tree.get("data")
    split = data.get("split") if isinstance(data, Mapping) else None
    return split if isinstance(split, Mapping) else {}
