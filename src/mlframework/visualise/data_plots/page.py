"""What a training sees, as a page and as files: an inspection is computed first, and then written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlframework.data import ImageFolderConfig, InteractionsConfig, Splits, TableExamples
from mlframework.experiment import ExperimentConfig
from mlframework.runs import replacing, write_text
from mlframework.visualise.data_plots import balance, columns, images, interactions, leakage
from mlframework.visualise.data_plots.leakage import Leakage, parts_of
from mlframework.visualise.data_plots.near import Near
from mlframework.visualise.export import Format, Written, write
from mlframework.visualise.page import blocks
from mlframework.visualise.page.blocks import Block
from mlframework.visualise.page.charts import chart_of
from mlframework.visualise.wording import count_of, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

VAULT = (
    "The test split is a vault: of it this page shows only how many examples and classes it has, and which of them stand in "
    "another split, too. Nothing was evaluated, so nothing was written into a ledger."
)
SAMPLES = 8


@dataclass(frozen=True)
class Chart:
    """A chart that is drawn later: the section of the page that it stands in, its data, and what draws that."""

    section: str
    data: Any
    draw: "Callable[[Any], go.Figure]"


@dataclass(frozen=True)
class Inspection:
    """What was found, ready to be drawn and written.

    Attributes:
        config: what was looked at.
        n: examples by split.
        said: what loading the data warned of.
        leakage: what the splits share.
        warnings: what else may be wrong with the data.
        facts: (what, how much) in a few words.
        tables: (section of the page, table as HTML).
        charts: by name.
        samples: images beside their augmentation; none for other data.
    """

    config: ExperimentConfig
    n: Mapping[str, int]
    said: tuple[str, ...]
    leakage: Leakage
    warnings: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, str], ...]
    charts: Mapping[str, Chart]
    samples: tuple[images.Sample, ...] = ()

    @property
    def all_warnings(self) -> list[str]:
        """Everything that may be wrong, what the splits share first."""
        return [*leakage.sentences(self.leakage), *self.warnings, *self.said]


def inspect(config: ExperimentConfig, splits: Splits[Any], said: Sequence[str], n_samples: int | None) -> Inspection:
    """Look at the data that a config trains on.

    Args:
        config: the training run.
        splits: its data, as it was loaded for a training.
        said: what loading it warned of.
        n_samples: how many images are shown; None: `SAMPLES`.
    """
    if isinstance(config.data, ImageFolderConfig):
        found = _images(config, config.data, splits, n_samples or SAMPLES)
    elif isinstance(config.data, InteractionsConfig):
        found = _interactions(config.data, splits)
    else:
        found = _table(splits)
    n = {name: len(part) for name, part in parts_of(splits).items()}
    given = {"warnings": (), "tables": (), "samples": (), **found}
    return Inspection(config, n, tuple(said), **given)


def _images(config: ExperimentConfig, data: ImageFolderConfig, splits: Splits[Any], n_samples: int) -> dict[str, Any]:
    names = splits.train.class_names
    of_classes = balance.class_balance({name: part.targets for name, part in parts_of(splits).items()}, names)
    sizes = images.sizes(splits.train.paths + (splits.val.paths if splits.val is not None else ()))
    widths, heights = [width for width, _ in sizes.counts], [height for _, height in sizes.counts]
    several = len(sizes.counts) > 1
    about = (
        f"{min(widths)} x {min(heights)} to {max(widths)} x {max(heights)}"
        if several
        else f"all {widths[0]} x {heights[0]}"
    )
    charts = {"class_balance": Chart("Classes", of_classes, balance.draw_balance)}
    if several:
        charts["image_sizes"] = Chart("Sizes", sizes, partial(images.draw_sizes, image_size=data.image_size))
    return {
        "leakage": leakage.of_images(splits),
        "facts": (
            ("classes", f"{len(names):,}"),
            *_ratio(of_classes),
            ("files", f"{about} pixels"),
            ("trained on", f"{data.image_size} x {data.image_size} pixels, augment: {data.augment}"),
        ),
        "charts": charts,
        "samples": tuple(images.samples(splits.train, data, config.seed, n_samples)),
    }


def _ratio(of_classes: balance.ClassBalance) -> list[tuple[str, str]]:
    ratio = of_classes.ratio
    return [] if ratio is None else [("most frequent to rarest class", f"{ratio:.3g} : 1")]


def _table(splits: Splits[TableExamples]) -> dict[str, Any]:
    train, parts = splits.train, parts_of(splits)
    schema = train.schema
    described = columns.describe(train, splits.val)
    facts = [
        ("target", f"{schema.target} ({schema.task})"),
        ("columns", f"{len(schema.numeric)} numeric, {len(schema.categorical)} categorical"),
    ]
    charts = {}
    if schema.class_names is not None:
        of_classes = balance.class_balance({name: part.targets for name, part in parts.items()}, schema.class_names)
        facts += [("classes", f"{len(schema.class_names):,}"), *_ratio(of_classes)]
        charts["class_balance"] = Chart("Target", of_classes, balance.draw_balance)
    else:
        values = {name: part.targets for name, part in parts.items() if name != "test"}
        charts["target"] = Chart("Target", balance.spread(schema.target, values), balance.draw_spread)
    shown = columns.distributions(train, described)
    if shown:
        charts["columns"] = Chart("Distributions", shown, columns.draw)
    return {
        "leakage": leakage.of_tables(splits),
        "warnings": tuple(columns.giveaways(described)),
        "facts": tuple(facts),
        "tables": (("Columns of train, those that say most of the target first", column_table(described)),),
        "charts": charts,
    }


def column_table(described: Sequence[columns.Column], has_target: bool = True) -> str:
    """Return the table of columns; without a target only what they hold, of one table that is not split."""
    header = ["column", "type", "missing", "distinct", "values"]
    rows = [
        [column.name, column.kind, _share(column.missing), f"{column.distinct:,}", column.about] for column in described
    ]
    if has_target:
        header += ["missing in val", "association with the target"]
        for row, column in zip(rows, described, strict=True):
            row.append("–" if column.missing_val is None else _share(column.missing_val))
            row.append("–" if column.association is None else f"{column.association:.2f}")
    return blocks.table(header, rows, "columns of the table", numbers=(2, 3, 5, 6))


def _share(share: float) -> str:
    return "0" if share == 0 else f"{share:.1%}"


def _interactions(data: InteractionsConfig, splits: Splits[Any]) -> dict[str, Any]:
    log, when = interactions.describe(splits), interactions.times(splits)
    catalogue, parts = splits.train.catalogue, parts_of(splits)
    charts, tables = {"long_tail": Chart("Users and items", log, interactions.draw_tails)}, []
    if when is not None:
        charts["times"] = Chart("Time", when, interactions.draw_times)
        rows = [[name, first, last] for name, (first, last) in when.ranges.items()]
        tables.append(
            ("Time", blocks.table(["split", "first", "last"], rows, "time of the interactions of each split"))
        )
    values = {name: part.values for name, part in parts.items() if name != "test"}
    if catalogue.class_names is not None:
        targets = {name: part.targets for name, part in parts.items()}
        of_classes = balance.class_balance(targets, catalogue.class_names)
        charts["class_balance"] = Chart("Target", of_classes, balance.draw_balance)
    elif len(np.unique(values["train"])) > 1:
        name = catalogue.target or "weight of an interaction"
        charts["values"] = Chart("Ratings", balance.spread(name, values), balance.draw_spread)
    for what, table in (("users", catalogue.user_features), ("items", catalogue.item_features)):
        if table is not None:
            described = columns.describe(table, None, has_target=False)
            tables.append((f"What is known about the {what}", column_table(described, has_target=False)))
    return {
        "leakage": leakage.of_interactions(splits),
        "facts": (
            ("task", data.task),
            ("users", f"{log.n_users:,}"),
            ("items", f"{log.n_items:,}"),
            ("density", f"{log.density:.2%} of all pairs"),
            ("users of val with nothing in train", f"{log.strangers[0]:,} of {log.strangers[1]:,}"),
            ("items of val with nothing in train", f"{log.new_items[0]:,} of {log.new_items[1]:,}"),
        ),
        "tables": tuple(tables),
        "charts": charts,
    }


def write_inspection(found: Inspection, folder: Path, formats: Sequence[Format]) -> Written:
    """Write `data.html`, and a PNG for each picture.

    Raises:
        MissingExtraError: plotly or kaleido is not installed.
        RunError: the folder cannot be written.
    """
    figures = {name: chart.draw(chart.data) for name, chart in found.charts.items()}
    paths: list[Path] = []
    if "html" in formats:
        write_text(folder / "data.html", _page(found, figures))
        paths.append(folder / "data.html")
    drawn = write(figures, folder, [each for each in formats if each == "png"])
    if found.samples and "png" in formats:
        with replacing(folder / "samples.png") as temporary:
            temporary.write_bytes(images.grid(list(found.samples)))
        paths.append(folder / "samples.png")
    return Written((*paths, *drawn.paths), drawn.reason)


def _page(found: Inspection, figures: "Mapping[str, go.Figure]") -> str:
    sections: dict[str, list[Block]] = {"Overview": [*_overview(found)], "Leakage": [*_leakage(found)]}
    if found.samples:
        sections["Samples"] = [*_samples(found)]
    for title, table in found.tables:
        sections.setdefault(title, []).append(table)
    for name, figure in figures.items():
        sections.setdefault(found.charts[name].section, []).append(chart_of(name, figure))
    n = ", ".join(f"{number:,} {name}" for name, number in found.n.items())
    lead = [str(found.config.data.path), n]
    return blocks.page_of_blocks(f"Data of {found.config.name}", "What a training sees", lead, sections.items()).html


def _overview(found: Inspection) -> list[str]:
    split = found.config.data.split
    told = ", ".join(f"{key}: {short(value)}" for key, value in split.model_dump(exclude_none=True).items())
    facts = [(f"{name} examples", f"{number:,}") for name, number in found.n.items()]
    facts += [*found.facts, ("data.split", told), ("seed", str(found.config.seed))]
    return [
        *(blocks.notice(each, "warning") for each in found.all_warnings),
        blocks.table(["", ""], [list(fact) for fact in facts], "overview"),
        blocks.notice(VAULT),
    ]


def _leakage(found: Inspection) -> list[str]:
    unit = found.leakage.unit
    told = [blocks.paragraph(each) for each in leakage.sentences(found.leakage)]
    if not told:
        told = [blocks.notice(f"No {unit} of one split stands in another: {_looked_at(found)}.", "good")]
    repeated = {name: number for name, number in (found.leakage.repeated or {}).items() if number}
    if repeated:
        listed = ", ".join(f"{number:,} of {found.n[name]:,} in {name}" for name, number in repeated.items())
        told.append(blocks.paragraph(f"Within one split, {unit}s that stand there before: {listed}. That is no leak."))
    for leak in found.leakage.leaks:
        if leak.pairs:
            rows = [list(pair) for pair in leak.pairs]
            more = "" if leak.count == len(rows) else f", the first {len(rows)} of {leak.count:,}"
            told.append(blocks.paragraph(f"The same in {leak.seen} and {leak.judged}{more}:"))
            told.append(blocks.table([leak.seen, leak.judged], rows, f"the same in {leak.seen} and {leak.judged}"))
    for near in found.leakage.near:
        told += _nearly(near)
    return told


def _nearly(near: Near) -> list[str]:
    """Show images that look nearly the same, side by side."""
    more = "" if near.count == len(near.pairs) else f", the {len(near.pairs)} most alike of {near.count:,}"
    rows = []
    for names, pictures in zip(near.pairs, near.pictures, strict=True):
        named = zip((near.seen, near.judged), names, pictures, strict=True)
        shown = [blocks.picture(*_sized(pixels, f"{split}: {name}")) for split, name, pixels in named]
        rows.append(blocks.row(f"{near.seen} and {near.judged}", " and ".join(names), shown))
    return [blocks.paragraph(f"Nearly the same in {near.seen} and {near.judged}{more}:"), *rows]


def _looked_at(found: Inspection) -> str:
    return {
        "image": "images were compared pixel by pixel, at the size at which they are trained on, and by what they look like",
        "row": "rows were compared by all of their features",
        "user-item pair": "each user and item was looked for in the other splits",
    }[found.leakage.unit]


def _samples(found: Inspection) -> list[str]:
    n_draws = found.samples[0].augmented.shape[0]
    if n_draws:
        drawn = count_of(n_draws, "draw")
        said = f"Each image as it is, and {drawn} of its augmentation, which the training makes anew in every epoch."
    else:
        said = "Training images as the model sees them; data.augment is none."
    rows = []
    for each in found.samples:
        shown = [blocks.picture(*_sized(each.original, f"{each.target}: {each.name}"))]
        shown += [blocks.picture(*_sized(drawn, f"{each.target}, augmented")) for drawn in each.augmented]
        rows.append(blocks.row(each.target, each.name, shown))
    return [blocks.paragraph(said), *(rows if n_draws else [blocks.side_by_side(rows)])]


def _sized(pixels: images.Pixels, alt: str) -> tuple[bytes, str, int, int]:
    png, width, height = images.as_png(pixels)
    return png, alt, width, height
