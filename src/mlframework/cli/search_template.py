"""The `search:` block that `ml-init-config --optuna` writes: a search space that suits the model."""

from mlframework import metrics
from mlframework.cli.recommender_template import factorization_space, recommender_space
from mlframework.cli.suggestions import FACTORIZATION, Choices, Facts, batch_size, hidden_sizes, warmup_epochs
from mlframework.config.commented import Line, Section, Setting, render
from mlframework.data.inspect import ImageFolderFacts, TableFacts
from mlframework.data.inspect_interactions import InteractionFacts

N_TRIALS = 50


def search_text(facts: Facts, choices: Choices) -> str:
    """Return the block that makes a config one of a search; it follows what `config_text` returns."""
    return render([_search(facts, choices)])


def _search(facts: Facts, choices: Choices) -> Section:
    return Section("search", "for ml-search; ml-train passes it over", (
        Setting("study_name", f"{choices.name}_optimization", "ml-visualise --mode search --study-name takes it"),
        Setting("storage", "sqlite:///optuna_studies.db", "where trials are kept; or postgresql://user:...@host/db"),
        Setting("n_trials", N_TRIALS, "of the study in all, whoever runs them"),
        Setting("metric", choices.metric, "what is searched for"),
        Setting("direction", metrics.direction_of(choices.metric), "follows from the metric"),
        Section("sampler", "what suggests hyperparameters", (
            Setting("type", "TPESampler", "learns from past trials; or RandomSampler, CmaEsSampler, GridSampler"),
            Setting("n_startup_trials", 10, "random trials before it learns from them"),
        )),
        Section("pruner", "what stops trials that promise nothing", (
            Setting("type", "MedianPruner", "stops what is worse than half of the trials; or HyperbandPruner, ..."),
            Setting("n_startup_trials", 3, "trials that run to their end first; few, as trainings are short"),
            Setting("n_warmup_steps", warmup_epochs(choices), "epochs that every trial may train"),
        )),
        Section("search_space", "dotted key of any setting, and the values to try", _space(facts, choices)),
    ))  # fmt: skip


def _space(facts: Facts, choices: Choices) -> tuple[Line, ...]:
    if isinstance(facts, ImageFolderFacts):
        return _image_space(facts, choices)
    if isinstance(facts, InteractionFacts):
        return recommender_space(facts, choices)
    return (
        factorization_space(facts, choices) if choices.architecture in FACTORIZATION else _table_space(facts, choices)
    )


def _image_space(facts: ImageFolderFacts, choices: Choices) -> tuple[Line, ...]:
    of_model = (
        Setting("model.channels", _around(32), "width"),
        Setting("model.dropout", _uniform(0.0, 0.5), "more for fewer images"),
    )
    return (
        Setting("optimizer.lr", _loguniform(0.001, 0.1), "matters most"),
        Setting(
            "training.batch_size",
            _around(batch_size(facts, choices.architecture)),
            "small batches are slower, and often better",
        ),
        Setting("optimizer.momentum", _uniform(0.8, 0.99), "acts together with the learning rate"),
        Setting("optimizer.weight_decay", _loguniform(1e-6, 1e-2), "more for fewer images"),
        *(of_model if choices.architecture == "small_cnn" else ()),
    )


def _table_space(facts: TableFacts, choices: Choices) -> tuple[Line, ...]:
    return (
        Setting("optimizer.lr", _loguniform(1e-4, 1e-2), "matters most"),
        Setting(
            "training.batch_size",
            _around(batch_size(facts, choices.architecture)),
            "small batches are slower, and often better",
        ),
        Setting("model.hidden_layers", {"type": "int", "low": 1, "high": 4}, "depth"),
        Setting("model.hidden_size", {"type": "categorical", "choices": list(hidden_sizes(facts))}, "width"),
        Setting("model.dropout", _uniform(0.0, 0.5), "more for fewer rows"),
        Setting("optimizer.weight_decay", _loguniform(1e-5, 1e-1), "more for fewer rows"),
    )


def _loguniform(low: float, high: float) -> dict[str, object]:
    return {"type": "loguniform", "low": low, "high": high}


def _uniform(low: float, high: float) -> dict[str, object]:
    return {"type": "uniform", "low": low, "high": high}


def _around(middle: int) -> dict[str, object]:
    return {"type": "categorical", "choices": [middle // 2, middle, middle * 2]}
