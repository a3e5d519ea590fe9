"""The part of a config that `ml-init-config` writes for recommenders, and for factorization machines on tables as well.

The values were tried on MovieLens 100K and on the generated ratings of data/samples.py; where that decided one, its line
says so.
"""

from mlframework.cli.suggestions import FEW_INTERACTIONS, Choices, Facts, batch_size, n_recommended, task_of
from mlframework.config.commented import Line, Section, Setting
from mlframework.data.inspect_interactions import MIN_OF_USER, InteractionFacts, Kept

_WITHOUT_STEPS = ("als", "bpr")
_FACTORS = {"type": "categorical", "choices": [32, 64, 128, 256]}
_LR = {"type": "loguniform", "low": 1e-4, "high": 1e-1}


def describe_log(facts: InteractionFacts) -> str:
    """Say in one line what was found."""
    ratings = facts.ratings
    said = "no ratings" if ratings is None else f"ratings from {ratings.lowest:g} to {ratings.highest:g}"
    return (
        f"{facts.n_interactions:,} interactions of {facts.n_users:,} users with {facts.n_items:,} items "
        f"({100 * facts.density:.3g} % of all pairs), {said}{', times' if facts.time_column else ''}"
    )


def recommender_lines(facts: InteractionFacts, choices: Choices) -> list[Line]:
    """Return the sections data, model, training and, where the model takes steps, optimizer."""
    lines: list[Line] = [
        Section("data", "what is learnt from", _data(facts, choices)),
        Section("model", "what learns", _model(facts, choices)),
        Section("training", "how long, and with which steps", _training(facts, choices)),
    ]
    if choices.architecture == "two_tower":
        lines.append(Section("optimizer", "what turns gradients into steps", (
            Setting("type", "adam", "or sgd, adamw, rmsprop; adam suits embeddings, of which few are in each step"),
            Setting("lr", 0.003, "learning rate: the setting that matters most"),
        )))  # fmt: skip
    elif choices.architecture not in _WITHOUT_STEPS:
        lines.append(factorization_optimizer())
    return lines


def recommender_space(facts: InteractionFacts, choices: Choices) -> tuple[Line, ...]:
    """Return the search space of the chosen model; epochs are not in it, as a trial counts by its best one."""
    if choices.architecture == "als":
        return (
            Setting("model.factors", _FACTORS, "more for larger logs"),
            Setting("model.regularization", {"type": "loguniform", "low": 0.01, "high": 100.0}, "matters most"),
        )
    if choices.architecture == "bpr":
        return (
            Setting("model.lr", {"type": "categorical", "choices": [0.001, 0.01, 0.1]}, "matters most"),
            Setting("model.factors", _FACTORS, "more for larger logs"),
            Setting(
                "model.regularization", {"type": "categorical", "choices": [0.001, 0.01, 0.1]}, "more for small logs"
            ),
        )
    if choices.architecture == "two_tower":
        size = batch_size(facts, choices.architecture)
        sizes = {"type": "categorical", "choices": [size // 2, size, 2 * size]}
        return (
            Setting("optimizer.lr", _LR, "matters most"),
            Setting("model.embedding_dim", {"type": "int", "low": 8, "high": 64, "step": 8}, "more for larger logs"),
            Setting("training.batch_size", sizes, "an item is held against the others of its batch"),
        )
    return factorization_space(facts, choices)


def factorization_model(choices: Choices) -> tuple[Line, ...]:
    """Return the section model of a factorization machine."""
    if choices.architecture == "fm":
        what, dim, of = "each pair of values interacts by the product of their factors", 16, "each value"
    else:
        what, dim, of = (
            "as fm, but a value has other factors for each column it meets",
            4,
            "each value, for each column",
        )
    return (
        Setting("architecture", choices.architecture, what),
        Setting("embedding_dim", dim, f"number of factors of {of}"),
        Setting("dropout", 0.0, "share of the interactions left out at random, against overfitting"),
    )


def factorization_optimizer() -> Section:
    """Return the section optimizer of a factorization machine."""
    return Section("optimizer", "what turns gradients into steps", (
        Setting("type", "adam", "or sgd, adamw, rmsprop; adam suits embeddings, of which few are in each step"),
        Setting("lr", 0.005, "learning rate: the setting that matters most"),
        Setting("weight_decay", 0.0001, "penalty on large weights; without it the best epoch comes early, and is worse"),
    ))  # fmt: skip


def factorization_space(facts: Facts, choices: Choices) -> tuple[Line, ...]:
    """Return the search space of a factorization machine."""
    low, high = (8, 64) if choices.architecture == "fm" else (2, 16)
    size = batch_size(facts, choices.architecture)
    sizes = {"type": "categorical", "choices": [size // 2, size, 2 * size]}
    return (
        Setting("optimizer.lr", _LR, "matters most"),
        Setting("optimizer.weight_decay", {"type": "loguniform", "low": 1e-6, "high": 1e-2}, "more for fewer rows"),
        Setting("model.embedding_dim", {"type": "int", "low": low, "high": high, "log": True}, "more for more rows"),
        Setting("model.dropout", {"type": "uniform", "low": 0.0, "high": 0.5}, "more for fewer rows"),
        Setting("training.batch_size", sizes, "small batches are slower, and often better"),
    )


def left_out(facts: InteractionFacts, choices: Choices) -> str:
    """Say how many users have too few interactions to be trained on; empty where none has."""
    n = facts.n_users - kept(facts, choices).n_users
    return f"{n:,} of {facts.n_users:,} users" if n else ""


def kept(facts: InteractionFacts, choices: Choices) -> Kept:
    """Return what the chosen model has to learn from."""
    return facts.liked if task_of(facts, choices) == "ranking" else facts.rated


def _data(facts: InteractionFacts, choices: Choices) -> tuple[Line, ...]:
    task = task_of(facts, choices)
    out = left_out(facts, choices) or "nobody"
    return (
        Setting("type", "interactions", "csv, tsv, parquet, u.data; user_features, item_features may name tables"),
        Setting("path", str(facts.path), describe_log(facts)),
        Setting("task", task, {
            "ranking": "which items a user will want; with model fm or ffm: classification, regression",
            "classification": "whether a user will rate an item min_rating or more; or regression: the rating itself",
            "regression": "which rating a user will give an item; or classification: whether it is min_rating or more",
        }[task]),
        Setting("user_column", facts.user_column, f"it {facts.reason}"),
        Setting("item_column", facts.item_column, f"{facts.n_items:,} items"),
        *_ratings(facts, choices),
        Setting("time_column", facts.time_column, "of interactions with the same item the newest counts; null: the last"),
        Setting("min_user_interactions", MIN_OF_USER, f"one each for train, val and test; leaves out {out}"),
        Setting("min_item_interactions", 1, "more leaves rare items out, of which little can be learnt"),
        Section("split", "the same for every run and trial", (
            Setting("strategy", "random", "of each user's interactions; or leave_one_out, or time: oldest train"),
            Setting("val_fraction", 0.2, "share of each user's interactions that selects the best epoch"),
            Setting("test_fraction", 0.2, "share of each user's interactions that only ml-train --mode final opens"),
        )),
    )  # fmt: skip


def _ratings(facts: InteractionFacts, choices: Choices) -> tuple[Line, ...]:
    ratings, task = facts.ratings, task_of(facts, choices)
    if ratings is None:
        return (Setting("rating_column", None, "there is none: an interaction weighs as often as it happened"),)
    column = Setting(
        "rating_column",
        facts.rating_column,
        f"from {ratings.lowest:g} to {ratings.highest:g}, at least half are {ratings.median:g} or more",
    )
    if task == "regression":
        return (column, Setting("min_rating", None, "every rating is predicted"))
    if task == "classification":
        return (column, Setting("min_rating", _plain(ratings.class_from), "what makes class 1"))
    if ratings.liked_from == ratings.lowest:
        why = "the median, and the lowest: every interaction counts as liked"
    else:
        why = f"{'the median' if ratings.liked_from == ratings.median else 'the higher one'}: what is rated lower is left out"
    return (column, Setting("min_rating", _plain(ratings.liked_from), f"{why}; null: ratings are weights"))


def _plain(value: float | None) -> int | float | None:
    """Return 4 for 4.0, as people write ratings."""
    return int(value) if value is not None and value == int(value) else value


def _model(facts: InteractionFacts, choices: Choices) -> tuple[Line, ...]:
    few = kept(facts, choices).n_interactions < FEW_INTERACTIONS
    factors = Setting(
        "factors",
        16 if few else 64,
        "length of a user's and an item's vector" + ("; short, as data is scarce" if few else ""),
    )
    if choices.architecture == "als":
        why = (
            f"fewer than {FEW_INTERACTIONS:,} interactions: expect little"
            if few
            else "fast, and good without much tuning"
        )
        return (
            Setting("architecture", "als", f"alternating least squares: {why}; or bpr, two_tower"),
            factors,
            Setting("regularization", 1.0 if few else 10.0, "penalty on long vectors: the setting that matters most"),
            Setting("alpha", 1.0, "confidence of an interaction against 1 for none"),
        )
    if choices.architecture == "bpr":
        return (
            Setting("architecture", "bpr", "Bayesian personalized ranking: learns from pairs; or als, two_tower"),
            factors,
            Setting("lr", 0.01, "learning rate: the setting that matters most"),
            Setting("regularization", 0.01, "penalty on long vectors, against overfitting"),
        )
    if choices.architecture == "two_tower":
        return (
            Setting("architecture", "two_tower", "a network for users and one for items; or als, bpr"),
            Setting("embedding_dim", 64, "length of a user's and an item's vector"),
            Setting("hidden_layers", 0, "of each tower: worth trying with features of users or items"),
        )
    return factorization_model(choices)


def _training(facts: InteractionFacts, choices: Choices) -> tuple[Line, ...]:
    what = {
        "als": "iterations, at most: one solves for all users, then for all items",
        "bpr": "iterations, at most: one draws as many pairs as there are interactions",
    }.get(choices.architecture, "passes over the training interactions, at most")
    lines: list[Line] = [Setting("num_epochs", choices.num_epochs, what)]
    if choices.architecture not in _WITHOUT_STEPS:
        size = batch_size(facts, choices.architecture)
        n = kept(facts, choices).n_interactions
        lines.append(Setting("batch_size", size, f"interactions in a step; suits {n:,} interactions"))
    if choices.architecture == "bpr":
        return (
            *lines,
            Setting("early_stopping", None, "none: bpr may stand still for 20 iterations, and then improve"),
        )
    patience = Setting("patience", 5, "epochs without improvement that are waited for")
    return (*lines, Section("early_stopping", "ends a training that no longer improves; null: never", (patience,)))


def next_in_python(facts: InteractionFacts, choices: Choices) -> str | None:
    """Return a line of Python that shows the items for a user; None for a model that predicts ratings.

    It loads the run that `ml-train --mode final` would make now: one that is there already keeps its name.
    """
    from mlframework.face import RUNS
    from mlframework.runs import RunDir, run_name

    if task_of(facts, choices) != "ranking":
        return None
    user = f'"{facts.a_user}"' if isinstance(facts.a_user, str) else str(facts.a_user)
    selected = RunDir.upcoming(RUNS, run_name(choices.name, {}))
    final = RunDir.upcoming(RUNS, f"{selected.path.name}-final")
    run = f'mlframework.load("{final.path}")'
    return f"import mlframework; print({run}.recommend({user}, {n_recommended(facts)}))"
