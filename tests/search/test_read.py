"""Reading a config file for a command: every problem of it at once, the search's included."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlframework.config import yaml
from mlframework.errors import ConfigError
from mlframework.search.read import ReadConfig, print_config, read_config

TABLE = "data: {type: table, path: d.csv, target: y}\nmodel: {architecture: mlp}\n"
SPACE = "search:\n  search_space:\n    optimizer.lr: {type: uniform, low: 0.1, high: 0.2}\n"

Read = Callable[..., ReadConfig]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Reads a text as the file c.yaml, with options, and with the hyperparameters of h.json where some are given."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, hyperparameters: Any = None, **options: str) -> ReadConfig:
        Path("c.yaml").write_text(text, encoding="utf-8")
        if hyperparameters is not None:
            Path("h.json").write_text(json.dumps(hyperparameters), encoding="utf-8")
        given = {name.replace("__", "."): value for name, value in options.items()}
        return read_config("c.yaml", given, None if hyperparameters is None else "h.json")

    return run


def refusals(read: Read, text: str, hyperparameters: Any = None, **options: str) -> list[str]:
    with pytest.raises(ConfigError) as found:
        read(text, hyperparameters, **options)
    return [str(problem) for problem in found.value.problems]


def test_a_config_without_a_search_has_no_space(read: Read) -> None:
    found = read(TABLE)
    assert found.space is None
    assert found.config.search is None


def test_all_problems_of_a_file_come_at_once_in_reading_order(read: Read) -> None:
    text = TABLE + (
        "optimizer: {type: adam, lr: -1}\n"
        "training: {num_epochs: 0}\n"
        "search:\n"
        "  n_trials: 0\n"
        "  search_space:\n"
        "    optimizer.lr: {type: uniform, low: 0.5, high: 0.3}\n"
        "    training.num_epoch: {type: int, low: 1, high: 2}\n"
        "    training.batch_size: {type: int, low: 0, high: 2}\n"
        "    optimizer.momentum: {type: uniform, low: 0.5, high: 0.9}\n"
        "    seed: {type: int, low: 1, high: 2}\n"
    )
    assert refusals(read, text) == [
        "c.yaml:3:29: optimizer.lr: should be greater than 0, got -1",
        "c.yaml:4:24: training.num_epochs: should be greater than 0, got 0",
        "c.yaml:6:13: search.n_trials: should be greater than 0, got 0",
        "c.yaml:8:19: search.search_space.optimizer.lr: high is 0.3, below low, which is 0.5; swap them",
        "c.yaml:9:5: training.num_epoch: unknown setting; did you mean 'training.num_epochs'?",
        "c.yaml:10:5: training.batch_size: 0 is refused: training.batch_size: should be greater than 0, got 0",
        "c.yaml:11:5: optimizer.momentum: optimizer.type is 'adam', which has no momentum; sgd, rmsprop would",
        "c.yaml:12:5: seed: can't be searched: trials would not be comparable",
    ]


@pytest.mark.parametrize(
    ("head", "key", "problem"),
    [
        (
            "optimizer: sgd\n",
            "optimizer.momentum",
            "c.yaml:3:12: optimizer: should be a section of keys such as {type: sgd}, got 'sgd'",
        ),
        ("training: 3\n", "training.batch_size", "c.yaml:3:11: training: should be a section of keys, got 3"),
        (
            "optimizer: {type: sdg}\n",
            "optimizer.momentum",
            "c.yaml:3:19: optimizer.type: unknown optimizer 'sdg'; did you",
        ),
    ],
)
def test_a_broken_section_is_not_blamed_on_the_parameters_in_it(read: Read, head: str, key: str, problem: str) -> None:
    (found,) = refusals(
        read, f"{TABLE}{head}search:\n  search_space:\n    {key}: {{type: uniform, low: 0.1, high: 0.2}}\n"
    )
    assert found.startswith(problem)


def test_a_broken_choice_is_not_blamed_on_its_parameters(read: Read) -> None:
    text = TABLE + (
        "search:\n  search_space:\n"
        "    optimizer.type: {type: categorical, choices: []}\n"
        "    optimizer.momentum: {type: uniform, low: 0.5, high: 0.9}\n"
    )
    (found,) = refusals(read, text)
    assert found.startswith("c.yaml:5:50: search.search_space.optimizer.type.choices: should have at least 1 item")


def test_a_file_without_data_is_not_blamed_on_the_space(read: Read) -> None:
    text = "model: {architecture: mlp}\nsearch:\n  search_space:\n    data.fraction: {type: uniform, low: 0.5, high: 1.0}\n"
    assert refusals(read, text) == ["c.yaml: data: is missing"]


def test_a_bad_option_value_and_a_bad_file_are_reported_together(read: Read) -> None:
    assert refusals(
        read, TABLE + "sed: 1\n" + SPACE, search__search_space__optimizer__lr__low="-1", num_epochs="0"
    ) == [
        "c.yaml:3:1: sed: unknown key; did you mean 'seed'?",
        "c.yaml:6:5: optimizer.lr: -1.0 is refused: optimizer.lr: should be greater than 0, got -1.0",
        "command line: training.num_epochs: should be greater than 0, got 0",
    ]


def test_the_metric_in_force_stands_in_the_base(read: Read) -> None:
    assert read(TABLE + SPACE).space.base["metric"] == "val_loss"
    assert read(TABLE + "metric: val_f1\n" + SPACE).space.base["metric"] == "val_f1"
    assert read(TABLE + "metric: val_f1\n" + SPACE + "  metric: val_auc\n").space.base["metric"] == "val_auc"


def test_the_number_of_threads_stands_in_the_base_and_in_the_tree(read: Read) -> None:
    found = read(TABLE + SPACE)
    assert found.space.base["training"]["num_threads"] >= 1
    assert found.tree["training"] == found.space.base["training"]
    assert read(TABLE + "training: {num_threads: 1}\n").tree["training"] == {"num_threads": 1}


def test_a_metric_and_a_direction_that_contradict_each_other(read: Read) -> None:
    assert refusals(read, TABLE + SPACE + "  metric: val_acc\n  direction: minimize\n") == [
        "c.yaml:7:14: search.direction: minimize contradicts metric: val_acc, which one has to maximize"
    ]


def test_variables_stay_as_written(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    monkeypatch.setenv("LOW", "0.15")
    text = TABLE + SPACE.replace("low: 0.1", "low: '${LOW}'") + "  storage: postgresql://me:${DB_PASSWORD}@host/db\n"
    found = read(text)
    assert found.config.search.storage == "postgresql://me:hunter2@host/db"
    assert found.space.parameters["optimizer.lr"].low == 0.15
    printed = print_config(found)
    assert "hunter2" not in printed
    tree = yaml.parse(printed).tree
    assert tree["search"]["storage"] == "postgresql://me:${DB_PASSWORD}@host/db"
    assert tree["search"]["search_space"]["optimizer.lr"]["low"] == "${LOW}"


def test_variables_inside_lists_stay_as_written(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    printed = print_config(read(TABLE.replace("target: y", "target: y, drop: [a, '${SECRET}']")))
    assert "hunter2" not in printed
    assert yaml.parse(printed).tree["data"]["drop"] == ["a", "${SECRET}"]


def test_what_is_printed_is_read_as_the_same_config(read: Read) -> None:
    text = TABLE + "scheduler: {type: cosine}\ntraining: {early_stopping: {}}\n" + SPACE
    first = read(text)
    second = read(print_config(first))
    assert second.config == first.config
    assert print_config(second) == print_config(first)


def test_hyperparameters_of_the_configs_model_are_taken(read: Read) -> None:
    best = {"mlp": {"optimizer.lr": 0.3, "model.dropout": 0.2}, "resnet18": {"optimizer.lr": 0.7}}
    found = read(TABLE, best)
    assert found.config.optimizer.lr == 0.3
    assert found.config.model.dropout == 0.2
    assert found.overrides == {}


def test_hyperparameters_of_an_overridden_model_are_taken(read: Read) -> None:
    text = "data: {type: image_folder, path: x}\nmodel: {architecture: resnet18}\n"
    best = {"resnet18": {"optimizer.lr": 0.7}, "resnet34": {"optimizer.lr": 0.3}}
    assert read(text, best, architecture="resnet34").config.optimizer.lr == 0.3
    assert read(text, best, model__architecture="resnet34").config.optimizer.lr == 0.3


def test_options_go_before_hyperparameters(read: Read) -> None:
    found = read(TABLE, {"mlp": {"optimizer.lr": 0.3, "model.dropout": 0.2}}, lr="0.5")
    assert (found.config.optimizer.lr, found.config.model.dropout) == (0.5, 0.2)
    assert found.overrides == {"optimizer.lr": 0.5}


def test_a_choice_among_the_options_drops_hyperparameters_of_another(read: Read) -> None:
    best = {"mlp": {"optimizer.type": "sgd", "optimizer.momentum": 0.8, "optimizer.lr": 0.3}}
    found = read(TABLE, best, optimizer__type="adam")
    assert (found.config.optimizer.type, found.config.optimizer.lr) == ("adam", 0.3)
    assert found.dropped == ["optimizer.momentum"]


def test_an_option_may_name_a_setting_that_the_hyperparameters_bring(read: Read) -> None:
    best = {"mlp": {"optimizer.type": "sgd", "optimizer.momentum": 0.8}}
    assert read(TABLE, best, momentum="0.5").config.optimizer.momentum == 0.5


@pytest.mark.parametrize(
    ("best", "problem"),
    [
        ({}, "h.json: mlp: there are no hyperparameters of this model (there: none); ml-search finds some"),
        (
            {"resnet18": {}},
            "h.json: mlp: there are no hyperparameters of this model (there: resnet18); ml-search finds some",
        ),
        ({"mlp": 3}, "h.json: mlp: should be an object of settings and their values, got 3"),
        ({"mlp": {"optimizer.lr": -1}}, "h.json: optimizer.lr: should be greater than 0, got -1"),
        (
            {"mlp": {"optimizer.lrr": 1}},
            "h.json: optimizer.lrr: unknown key; did you mean 'lr'? "
            "(known here: lr, beta1, beta2, eps, fused, type, weight_decay)",
        ),
        ([], "h.json: should hold a JSON object, got list; ml-search writes it"),
    ],
)
def test_hyperparameters_that_are_no_good(read: Read, best: Any, problem: str) -> None:
    assert refusals(read, TABLE, best) == [problem]


def test_a_file_of_hyperparameters_that_is_not_there_or_damaged(read: Read, tmp_path: Path) -> None:
    read(TABLE)
    with pytest.raises(ConfigError, match=r"^x\.json: there is no such file; ml-search writes it$"):
        read_config("c.yaml", {}, "x.json")
    (tmp_path / "x.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^x\.json: is damaged: "):
        read_config("c.yaml", {}, "x.json")


def test_parameters_that_an_option_leaves_without_meaning_are_listed(read: Read) -> None:
    text = (
        TABLE
        + "optimizer: {type: sgd}\n"
        + SPACE
        + ("    optimizer.momentum: {type: uniform, low: 0.5, high: 0.9, when: {optimizer.type: sgd}}\n")
    )
    assert list(read(text).space.parameters) == ["optimizer.lr", "optimizer.momentum"]
    found = read(text, optimizer__type="adam")
    assert list(found.space.parameters) == ["optimizer.lr"]
    assert found.dropped == ["search.search_space.optimizer.momentum"]


def test_a_search_can_be_overridden_away(read: Read) -> None:
    assert read(TABLE + SPACE, search="null").space is None


MOMENTUM = (
    TABLE + "optimizer: {type: sgd, lr: 0.1}\nsearch:\n  search_space:\n"
    "    optimizer.momentum: {type: uniform, low: 0.1, high: 0.2}\n"
)


def test_an_option_that_does_not_fit_the_search_is_kept_for_the_search_to_refuse(read: Read) -> None:
    conflicts = read(MOMENTUM, optimizer__type="adam").conflicts
    assert [problem.key for problem in conflicts] == ["optimizer.momentum"]
    assert read(MOMENTUM).conflicts == []


def test_a_search_space_that_is_wrong_as_written_is_refused_whatever_the_options(read: Read) -> None:
    wrong = MOMENTUM.replace("sgd", "adam")
    (problem,) = refusals(read, wrong, lr="0.5")
    assert "optimizer.momentum" in problem


def test_a_direction_that_contradicts_is_said_beside_other_problems(read: Read) -> None:
    text = TABLE + "metric: val_acc\nseeed: 3\n" + SPACE + "  direction: minimize\n"
    said = refusals(read, text)
    assert len(said) == 2
    assert "seeed" in said[0] and "contradicts metric: val_acc" in said[1]


# --- Recommenders: what a model has no use for, and its own names -----------------------------------------------------

LOG = "data: {type: interactions, path: log.csv}\nmetric: val_ndcg_at_10\n"
ALS = LOG + "model: {architecture: als, alpha: 3.0}\n"
BEST = {
    "als": {"factors": 64, "regularization": 0.05, "iterations": 17, "alpha": 2.0},
    "bpr": {"factors": 32, "learning_rate": 0.03, "iterations": 9},
}


def test_what_is_printed_of_als_has_nothing_that_it_has_no_use_for(read: Read) -> None:
    first = read(ALS)
    printed = print_config(first)
    tree = yaml.parse(printed).tree
    assert not {"optimizer", "scheduler"} & set(tree)
    assert set(tree["training"]) == {"num_epochs", "early_stopping", "num_threads"}
    assert tree["model"]["alpha"] == 3.0 and tree["model"]["factors"] == 64
    second = read(printed)
    assert second.config == first.config
    assert print_config(second) == printed
    towers = yaml.parse(print_config(read(LOG + "model: {architecture: two_tower}\n"))).tree
    assert {"optimizer", "scheduler"} <= set(towers)
    assert "batch_size" in towers["training"] and "label_smoothing" not in towers["training"]


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("als", {"model.factors": 64, "model.regularization": 0.05, "training.num_epochs": 17, "model.alpha": 2.0}),
        ("bpr", {"model.factors": 32, "model.lr": 0.03, "training.num_epochs": 9}),
    ],
)
def test_hyperparameters_may_have_the_models_own_names(model: str, found: dict[str, Any], read: Read) -> None:
    result = read(LOG + f"model: {{architecture: {model}}}\n", BEST)
    assert result.hyperparameters == found
    model_config, training = result.config.model, result.config.training
    assert model_config.factors == found["model.factors"]
    assert training.num_epochs == found["training.num_epochs"]
    assert getattr(model_config, "lr", None) == found.get("model.lr")
    assert result.resolved()["training"]["num_epochs"] == training.num_epochs


def test_hyperparameters_by_dotted_key_are_taken_too(read: Read) -> None:
    best = {"als": {"model.factors": 12, "iterations": 3}}
    found = read(ALS, best)
    assert found.hyperparameters == {"model.factors": 12, "training.num_epochs": 3}
    assert (found.config.model.factors, found.config.training.num_epochs, found.config.model.alpha) == (12, 3, 3.0)


def test_the_other_models_hyperparameters_are_those_of_the_option(read: Read) -> None:
    found = read(ALS, BEST, architecture="bpr")
    assert (found.config.model.architecture, found.config.model.lr, found.config.training.num_epochs) == (
        "bpr",
        0.03,
        9,
    )


def test_options_go_before_hyperparameters_of_a_models_own_names(read: Read) -> None:
    found = read(ALS, BEST, num_epochs="2", factors="5")
    assert (found.config.training.num_epochs, found.config.model.factors, found.config.model.alpha) == (2, 5, 2.0)


@pytest.mark.parametrize(
    ("best", "problem"),
    [
        ({"iterations": 0}, "h.json: training.num_epochs: should be greater than 0, got 0"),
        ({"factors": "many"}, "h.json: model.factors: should be a valid integer, got 'many'"),
        ({"learning_rate": 0.1}, "h.json: learning_rate: unknown key"),
        ({"optimizer.lr": 0.1}, "h.json: optimizer: means nothing to als; take it out"),
    ],
)
def test_hyperparameters_of_als_that_are_no_good(best: dict[str, Any], problem: str, read: Read) -> None:
    (found,) = refusals(read, ALS, {"als": best})
    assert found.startswith(problem)


def test_a_searched_learning_rate_of_als_is_refused_with_its_place(read: Read) -> None:
    space = "search:\n  search_space:\n    optimizer.lr: {type: uniform, low: 0.1, high: 0.2}\n"
    assert refusals(read, ALS + space) == ["c.yaml:6:5: optimizer.lr: means nothing to als"]


def test_an_option_that_als_has_no_use_for_says_why(read: Read) -> None:
    assert refusals(read, ALS, lr="0.1", batch_size="3") == [
        "--lr: optimizer.lr means nothing to als",
        "--batch_size: training.batch_size means nothing to als",
    ]


def test_a_model_that_is_given_drops_what_it_has_no_use_for_and_lists_it(read: Read) -> None:
    text = LOG + "model: {architecture: two_tower}\noptimizer: {type: sgd, lr: 0.1}\ntraining: {batch_size: 8}\n"
    found = read(text, architecture="als")
    assert found.dropped == ["optimizer", "training.batch_size"]
    assert "optimizer" not in found.tree and set(found.tree["training"]) == {"num_threads"}


def test_an_option_for_a_searched_setting_is_for_the_search_to_refuse(read: Read) -> None:
    """No trial would have that value; a training has it."""
    found = read(MOMENTUM, momentum="0.5", seed="3")
    assert [(problem.key, problem.place) for problem in found.conflicts] == [("optimizer.momentum", "command line")]
    assert "is searched" in found.conflicts[0].what
    assert found.dropped == []
    assert found.tree["optimizer"]["momentum"] == 0.5


def test_feature_tables_mean_nothing_to_als_and_bpr(read: Read) -> None:
    features = ALS.replace("type: interactions", "type: interactions, user_features: {path: users.csv}")
    assert features != ALS
    for name in ("als", "bpr"):
        found = refusals(read, features.replace("architecture: als, alpha: 3.0", f"architecture: {name}"))
        assert [f"data.user_features: means nothing to {name}; take it out" in each for each in found] == [True]


# Constraints


def constrained(*texts: str) -> str:
    """Return a config whose first constraint stands at 9:7."""
    space = (
        "    model.hidden_size: {type: int, low: 4, high: 64}\n"
        "    optimizer.type: {type: categorical, choices: [sgd, adam]}\n"
        "    optimizer.lr: {type: loguniform, low: 1e-4, high: 0.1}\n"
    )
    listed = "".join(f"    - {json.dumps(text)}\n" for text in texts)
    return f"{TABLE}search:\n  search_space:\n{space}  constraints:\n{listed}"


def test_constraints_stand_in_the_space(read: Read) -> None:
    texts = ["model.hidden_size * optimizer.lr <= 1", "optimizer.momentum < 0.95 or optimizer.lr < 0.01"]
    found = read(constrained(*texts))
    assert [constraint.text for constraint in found.space.constraints] == texts
    assert found.config.search.constraints == texts
    assert read(TABLE + SPACE).space.constraints == ()


def test_every_wrong_constraint_is_reported_with_its_place(read: Read) -> None:
    texts = (
        "model.hidden_size *",
        "open('x') == 1",
        "model.hiden_size < 3 and optimizer.lr < 1",
        "model.architecture > 3",
        "'a' < 3",
        "optimizer.lr < 0.09",
        "optimizer.lr  <  0.09",
        "optimizer < 3",
        "search.n_trials < 3",
    )
    found = refusals(read, constrained(*texts) + "  n_trials: 0\n")
    assert [re.sub(r"; a constraint may .*", "", each) for each in found] == [
        "c.yaml:9:7: search.constraints.0: column 1: is no expression (invalid syntax)",
        "c.yaml:10:7: search.constraints.1: column 1: calls a function",
        "c.yaml:11:7: search.constraints.2: column 1: model.hiden_size: unknown setting; did you mean 'model.hidden_size'?",
        "c.yaml:13:7: search.constraints.4: column 7: < compares text with a number",
        "c.yaml:15:7: search.constraints.6: stands there twice; leave one out",
        "c.yaml:16:7: search.constraints.7: column 1: optimizer: unknown setting; did you mean 'optimizer.lr'?",
        "c.yaml:17:7: search.constraints.8: column 1: search.n_trials: unknown setting; --print-config lists the settings",
        "c.yaml:18:13: search.n_trials: should be greater than 0, got 0",
    ]


def test_a_setting_of_another_kind_is_reported_once_the_rest_is_right(read: Read) -> None:
    assert refusals(read, constrained("model.architecture * 2 > 3")) == [
        "c.yaml:9:7: search.constraints.0: column 1: model.architecture is 'mlp', text, where a number is needed"
    ]
    assert refusals(read, constrained("training.gradient_clipping < 3")) == [
        "c.yaml:9:7: search.constraints.0: column 30: < compares null with a number"
    ]
    read(constrained("training.gradient_clipping == null or training.gradient_clipping < 3"))


def test_a_constraint_that_nothing_keeps_is_reported(read: Read) -> None:
    found = refusals(read, constrained("model.hidden_size < 4", "optimizer.lr < 1", "optimizer.lr > 1"))
    assert found == [
        "c.yaml:9:7: search.constraints.0: none of 1,000 random draws keeps it; widen the space or mend the constraint",
        "c.yaml:11:7: search.constraints.2: none of 1,000 random draws keeps it; widen the space or mend the constraint",
    ]
    (together,) = refusals(read, constrained("model.hidden_size < 10", "model.hidden_size > 20"))
    assert together.startswith("c.yaml:8:3: search.constraints: none of 1,000 random draws keeps all of them together")
    assert "'model.hidden_size > 20' alone is kept by 7" in together


def test_constraints_that_are_no_list_of_texts(read: Read) -> None:
    (found,) = refusals(read, TABLE + SPACE + "  constraints: optimizer.lr < 1\n")
    assert found == "c.yaml:6:16: search.constraints: should be a valid list, got 'optimizer.lr < 1'"
    (found,) = refusals(read, TABLE + SPACE + "  constraints: [3]\n")
    assert found.startswith("c.yaml:6:17: search.constraints.0: should be a valid string, got 3")


def test_a_broken_section_is_not_blamed_on_a_constraint(read: Read) -> None:
    text = TABLE + "optimizer: {type: sdg}\n" + SPACE + "  constraints: [optimizer.lr < 1]\n"
    (found,) = refusals(read, text)
    assert "unknown optimizer 'sdg'" in found


def test_an_override_that_leaves_a_constraint_without_a_chance_concerns_the_search_alone(read: Read) -> None:
    text = TABLE + SPACE + "  constraints: [training.batch_size <= 128]\n"
    found = read(text, batch_size="256")
    assert [problem.what for problem in found.conflicts] == [
        "none of 1,000 random draws keeps it; widen the space or mend the constraint"
    ]
    assert read(text).conflicts == []


def test_an_unknown_policy_for_duplicates(read: Read) -> None:
    (found,) = refusals(read, TABLE + SPACE + "  on_duplicate: resampel\n")
    assert found.startswith("c.yaml:6:17: search.on_duplicate: should be 'resample', 'reuse' or 'replicate'")
    assert found.endswith("did you mean 'resample'?")
    assert read(TABLE + SPACE).config.search.on_duplicate == "resample"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("warm_start: [h.csv]", "warm_start.0: should be a section of keys such as {path: h.csv}, got 'h.csv'"),
        (
            "objectives: [val_loss]",
            "objectives.0: should be a section of keys such as {metric: val_loss}, got 'val_loss'",
        ),
        ("enqueue: {lr: 0.1}", "enqueue: should be a list; write a dash before each entry: - {lr: ...}"),
        ("enqueue: [0.1]", "enqueue.0: should be a section of keys, got 0.1"),
        ("warm_start: [3]", "warm_start.0: should be a section of keys, got 3"),
        ("warm_start: {path: h.csv}", "warm_start: should be a list; write a dash before each entry: - {path: ...}"),
    ],
)
def test_lists_of_sections_that_are_written_otherwise(read: Read, line: str, problem: str) -> None:
    found = refusals(read, TABLE + SPACE + f"  {line}\n")
    assert found[0].partition(": search.")[2] == problem and len(found) == 1
