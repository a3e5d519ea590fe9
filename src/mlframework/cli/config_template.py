"""The config that `ml-init-config` writes: what suits the data, and on every line why."""

from mlframework import metrics
from mlframework.cli.recommender_template import (
    describe_log,
    factorization_model,
    factorization_optimizer,
    recommender_lines,
)
from mlframework.cli.suggestions import (
    CACHE_LIMIT,
    FACTORIZATION,
    SMALL_IMAGE,
    Choices,
    Facts,
    batch_size,
    cache_bytes,
    hidden_sizes,
    image_size,
)
from mlframework.config.commented import Item, Line, Section, Setting, one_line, render
from mlframework.data.inspect import SPLITS, ImageFolderFacts, TableFacts
from mlframework.data.inspect_interactions import InteractionFacts

UNEVEN = 5
"""How many times larger the largest class is than the smallest where accuracy begins to flatter."""


def config_text(facts: Facts, choices: Choices, schema: str) -> str:
    """Return a config that trains.

    Args:
        facts: what the data is.
        choices: what was asked about.
        schema: where the JSON Schema lies, relative to the config's folder.
    """
    header = f"# yaml-language-server: $schema={schema}\n# {one_line(describe(facts))}\n"
    return header + render(_training_lines(facts, choices))


def describe(facts: Facts) -> str:
    """Say in one line what was found."""
    if isinstance(facts, ImageFolderFacts):
        colour = "grey" if facts.grey else "colour"
        given = f", split into {', '.join(facts.splits)}" if facts.splits else ""
        return (
            f"{facts.n_images:,} {colour} images of about {facts.width} x {facts.height} pixels "
            f"in {len(facts.class_counts)} classes{given}"
        )
    if isinstance(facts, InteractionFacts):
        return describe_log(facts)
    kind = f"{len(facts.class_counts)} classes" if facts.task == "classification" else "a number"
    return (
        f"{facts.n_rows:,} rows, {len(facts.numeric)} numeric and {len(facts.categorical)} categorical columns, "
        f"target {facts.target} ({kind})"
    )


def _training_lines(facts: Facts, choices: Choices) -> list[Line]:
    direction = "largest" if metrics.direction_of(choices.metric) == "maximize" else "smallest"
    return [
        Setting("name", choices.name, "stem of the run's and the study's name"),
        Setting("seed", 42, "of the split, the weights, the order of the examples"),
        Setting("device", "auto", "a GPU where there is one; or cpu, cuda, cuda:1, mps"),
        *_lines_of_kind(facts, choices),
        Setting("metric", choices.metric, f"the best epoch has the {direction}"),
        *_more_metrics(facts, choices),
        Section("tracking", "where a run is recorded besides its own folder", (
            Setting("tensorboard", True, "see the curves with: tensorboard --logdir runs"),
        )),
    ]  # fmt: skip


def _lines_of_kind(facts: Facts, choices: Choices) -> list[Line]:
    if isinstance(facts, ImageFolderFacts):
        return _image_lines(facts, choices)
    return _table_lines(facts, choices) if isinstance(facts, TableFacts) else recommender_lines(facts, choices)


def _more_metrics(facts: Facts, choices: Choices) -> list[Line]:
    if isinstance(facts, InteractionFacts):
        return []
    counts = facts.class_counts.values()
    if not counts or max(counts) < UNEVEN * min(counts) or choices.metric == "val_f1":
        return []
    return [
        Setting("metrics", ["val_f1"], f"the classes are uneven ({max(counts)} to {min(counts)}): accuracy flatters")
    ]


def _image_lines(facts: ImageFolderFacts, choices: Choices) -> list[Line]:
    return [
        Section("data", "what is learnt from", _image_data(facts)),
        Section("model", "what learns", tuple(_image_model(choices))),
        Section("training", "how long, and with which steps", (
            Setting("num_epochs", choices.num_epochs, "passes over the training images"),
            Setting("batch_size", batch_size(facts, choices.architecture), f"images in a step; suits {facts.n_images:,} images"),
        )),
        Section("optimizer", "what turns gradients into steps", (
            Setting("type", "sgd", "or adam, adamw, rmsprop; sgd generalises well on images"),
            Setting("lr", 0.01, "learning rate: the setting that matters most"),
            Setting("momentum", 0.9, "share of the last step that is taken again"),
            Setting("weight_decay", 0.0001, "penalty on large weights, against overfitting"),
        )),
        Section("scheduler", "how the learning rate changes", (
            Setting("type", "cosine", "falls smoothly to 0 over the epochs; or none, step, plateau, ..."),
        )),
    ]  # fmt: skip


def _image_data(facts: ImageFolderFacts) -> tuple[Line, ...]:
    size, memory = image_size(facts), _readable(cache_bytes(facts))
    if facts.grey or max(facts.width, facts.height) <= SMALL_IMAGE:
        what = "grey" if facts.grey else "small"
        augment = Setting("augment", "none", f"{what} images: flips and crops may change what they mean; or light")
    else:
        augment = Setting("augment", "standard", "photos: crops, flips and colours; or none, light")
    if cache_bytes(facts) <= CACHE_LIMIT:
        cache = Setting("cache", "memory", f"each image is decoded once; takes {memory}")
    else:
        cache = Setting("cache", "none", f"decoded again in every epoch: memory would need {memory}")
    return (
        Setting("type", "image_folder", "a folder of images for each class"),
        Setting("path", str(facts.path), f"{facts.n_images:,} images, {len(facts.class_counts)} classes"),
        Setting("image_size", size, f"pixels; the images have about {facts.width} x {facts.height}"),
        augment,
        cache,
        *_image_split(facts),
    )


def _image_split(facts: ImageFolderFacts) -> list[Line]:
    if "val" in facts.splits:
        return []
    if "train" in facts.splits:
        line: Line = Setting("val_fraction", 0.2, "share of the train folder that selects the best epoch")
        return [Section("split", "there is no val folder, so it is cut from train", (line,))]
    return [_split_section("stratified", "every class keeps its share in each split", "images")]


def _image_model(choices: Choices) -> list[Line]:
    from mlframework.models.image_classifiers import SMALL_STEM_FAMILIES

    if choices.architecture == "small_cnn":
        return [
            Setting("architecture", "small_cnn", "two convolutions; or any torchvision classifier: resnet18, ..."),
            Setting("channels", 32, "of the first convolution; the second has twice as many"),
            Setting("dropout", 0.0, "share of units that are left out at random, against overfitting"),
        ]
    lines: list[Line] = [
        Setting("architecture", choices.architecture, "any torchvision classifier: resnet50, efficientnet_b0, ..."),
        Setting("pretrained", False, "true starts from ImageNet weights, downloaded once: best for photos"),
    ]
    if choices.architecture.startswith(SMALL_STEM_FAMILIES):
        lines.append(Setting("stem", "imagenet", "small sees finer detail up to 64 pixels, at 15 times the work"))
    return lines


def _table_lines(facts: TableFacts, choices: Choices) -> list[Line]:
    size = batch_size(facts, choices.architecture)
    factorizes = choices.architecture in FACTORIZATION
    return [
        Section("data", "what is learnt from", _table_data(facts, choices)),
        Section("model", "what learns", factorization_model(choices) if factorizes else _mlp(facts, choices)),
        Section("training", "how long, and with which steps", (
            Setting("num_epochs", choices.num_epochs, "passes over the training rows, at most"),
            Setting("batch_size", size, f"rows in a step; suits {facts.n_rows:,} rows"),
            Section("early_stopping", "ends a training that no longer improves; null: never", (
                Setting("patience", 8, "epochs without improvement that are waited for"),
            )),
        )),
        *([factorization_optimizer()] if factorizes else _mlp_steps()),
    ]  # fmt: skip


def _mlp(facts: TableFacts, choices: Choices) -> tuple[Line, ...]:
    return (
        Setting("architecture", choices.architecture, "fully connected layers; or fm, ffm"),
        Setting("hidden_layers", 2, "0 is a linear model"),
        Setting("hidden_size", hidden_sizes(facts)[1], "width of each hidden layer"),
        Setting("dropout", 0.1, "share of units left out at random, against overfitting"),
    )


def _mlp_steps() -> list[Line]:
    return [
        Section("optimizer", "what turns gradients into steps", (
            Setting("type", "adamw", "or sgd, adam, rmsprop; adamw needs little tuning on tables"),
            Setting("lr", 0.003, "learning rate: the setting that matters most"),
            Setting("weight_decay", 0.01, "pulls weights towards 0, against overfitting"),
        )),
        Section("scheduler", "how the learning rate changes", (
            Setting("type", "cosine", "falls smoothly to 0 over the epochs; or none, step, plateau, ..."),
        )),
    ]  # fmt: skip


def _table_data(facts: TableFacts, choices: Choices) -> tuple[Line, ...]:
    left_out = f"; {facts.n_without_target:,} more have no target and are left out" if facts.n_without_target else ""
    dropped = tuple(Item(name, reason) for name, reason in facts.dropped.items())
    return (
        Setting("type", "table", "csv, tsv or parquet"),
        Setting("path", str(facts.path), f"{facts.n_rows:,} rows{left_out}"),
        Setting("target", facts.target, f"the column to predict: {facts.target_reason}"),
        _task_line(facts),
        Setting(
            "numeric", None,
            f"null: all columns of numbers; found {_counted(facts.numeric)}{_missing(facts, 'numbers', choices)}",
        ),
        Setting(
            "categorical", None,
            f"null: all columns of text; found {_counted(facts.categorical)}{_missing(facts, 'text', choices)}",
        ),
        *([Section("drop", "columns that are no good as features, and why", dropped)] if dropped else []),
        _table_split(facts),
    )  # fmt: skip


def becomes_of_missing(facts: TableFacts, choices: Choices) -> dict[str, str]:
    """Return what training does with values that are missing, by the kind of column, `numbers` or `text`, that lacks some."""
    text = "weigh nothing" if choices.architecture in FACTORIZATION else "are a category of their own"
    said = {"numbers": "become the median of train, and a column says where", "text": text}
    return {kind: what for kind, what in said.items() if _lacking(facts, kind)}


def _lacking(facts: TableFacts, kind: str) -> tuple[str, ...]:
    """Return the columns of a kind that lack values."""
    return tuple(name for name in (facts.numeric if kind == "numbers" else facts.categorical) if name in facts.missing)


def _missing(facts: TableFacts, kind: str, choices: Choices) -> str:
    """Say how many values the columns of a kind lack, and what becomes of those."""
    if not (lacking := _lacking(facts, kind)):
        return ""
    n = sum(facts.missing[name] for name in lacking)
    return f"; {n:,} missing in {_listing(lacking)} {becomes_of_missing(facts, choices)[kind]}"


def _task_line(facts: TableFacts) -> Line:
    if facts.task == "regression":
        return Setting("task", "regression", "the target is a number")
    return Setting("task", "classification", f"the target has {len(facts.class_counts)} classes: "
                   f"{_listing(tuple(facts.class_counts))}")  # fmt: skip


def _table_split(facts: TableFacts) -> Section:
    if facts.task == "regression":
        return _split_section("random", "stratified is for classes, time needs a data.time_column", "rows")
    if min(facts.class_counts.values()) < SPLITS:
        return _split_section("random", f"some classes have fewer than {SPLITS} rows; else: stratified", "rows")
    return _split_section("stratified", "every class keeps its share in each split", "rows")


def _split_section(strategy: str, why: str, examples: str) -> Section:
    return Section("split", "the same for every run and trial", (
        Setting("strategy", strategy, why),
        Setting("val_fraction", 0.2, f"share of the {examples} that selects the best epoch"),
        Setting("test_fraction", 0.2, f"share of the {examples} that only ml-train --mode final opens"),
    ))  # fmt: skip


def _counted(names: tuple[str, ...]) -> str:
    return f"{len(names)}: {_listing(names)}" if names else "none"


def _listing(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _readable(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
