"""Overrides: what a key means, what a changed choice drops, and that nothing else changes."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlframework.config import yaml
from mlframework.config.decode import check
from mlframework.config.override import apply, apply_options, full_key, get, override, path_of, without
from mlframework.config.yaml import Document
from mlframework.errors import ConfigError
from mlframework.search.config import ConfigFile

TEXT = """\
data: {type: table, path: d.csv, target: y}
model: {architecture: mlp, hidden_size: 32}
optimizer: {type: adam, lr: 0.01, beta1: 0.8}
training: {early_stopping: {patience: 3}}
search:
  search_space:
    optimizer.lr: {type: loguniform, low: 1e-3, high: 1e-1}
    training.batch_size: {type: categorical, choices: [16, 32]}
"""
DOCUMENT = yaml.parse(TEXT, "c.yaml")

NAMES = st.sampled_from("abc")
KEYS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
TREES = st.dictionaries(
    NAMES,
    st.recursive(st.integers() | st.none(), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6),
    max_size=3,
)


def options(document: Document = DOCUMENT, **given_options: str) -> tuple[Document, dict[str, Any], list[str]]:
    """Apply command line options; `__` stands for a dot."""
    return apply_options(ConfigFile, document, {name.replace("__", "."): text for name, text in given_options.items()})


def refusals(document: Document = DOCUMENT, **given_options: str) -> list[str]:
    """Return what is said of options that cannot be applied."""
    with pytest.raises(ConfigError) as found:
        options(document, **given_options)
    return [str(problem) for problem in found.value.problems]


@given(TREES, KEYS, st.integers())
def test_what_was_overridden_is_got(tree: Mapping[str, Any], key: str, value: int) -> None:
    before = copy.deepcopy(tree)
    try:
        changed = override(tree, {key: value})
    except ConfigError as error:
        # Only a plain value in the way keeps a key from being set.
        assert any(isinstance(get(tree, key.rsplit(".", n)[0]), int) for n in (1, 2))
        assert error.problems[0].key == key
    else:
        assert get(changed, key) == value
        assert override(changed, {key: value}) == changed
    assert tree == before


@given(TREES, KEYS, KEYS, st.integers())
def test_a_key_beside_the_overridden_one_keeps_its_value(
    tree: Mapping[str, Any], key: str, other: str, value: int
) -> None:
    assume(not f"{other}.".startswith(f"{key}.") and not f"{key}.".startswith(f"{other}."))
    try:
        changed = override(tree, {key: value})
    except ConfigError:
        return
    assert get(changed, other, "nothing") == get(tree, other, "nothing")


@given(TREES, st.dictionaries(KEYS, st.integers(), max_size=3))
def test_sections_of_the_result_are_its_own(tree: Mapping[str, Any], params: dict[str, int]) -> None:
    before = copy.deepcopy(tree)
    try:
        changed = override(tree, params)
    except ConfigError:
        return
    for key in params:
        section = get(changed, key.rpartition(".")[0]) if "." in key else changed
        if isinstance(section, dict):
            section["new"] = 1
    assert tree == before


def test_a_missing_key_has_the_default() -> None:
    assert get({"a": {"b": None}}, "a.b", 7) is None
    assert get({"a": {"b": None}}, "a.c", 7) == 7
    assert get({"a": 3}, "a.b.c", 7) == 7


def test_keys_of_a_tree_may_be_dotted() -> None:
    tree = {"space": {"optimizer.lr": {"low": 1}, "optimizer": {"x": 2}}}
    assert path_of(tree, "space.optimizer.lr.low") == ("space", "optimizer.lr", "low")
    assert get(tree, "space.optimizer.x") == 2
    assert override(tree, {"space.optimizer.lr.low": 5})["space"]["optimizer.lr"] == {"low": 5}


def test_null_gives_way_to_a_section() -> None:
    assert override({"a": None}, {"a.b": 1}) == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("optimizer.lr", "optimizer.lr"),
        ("lr", "optimizer.lr"),
        ("num_epochs", "training.num_epochs"),
        ("architecture", "model.architecture"),
        ("seed", "seed"),  # data.split.seed exists, too: the whole key goes first
        ("patience", "training.early_stopping.patience"),
        ("early_stopping", "training.early_stopping"),
        ("optimizer", "optimizer"),
        ("search.search_space.optimizer.lr", "search.search_space.optimizer.lr"),
        ("search.search_space.optimizer.lr.low", "search.search_space.optimizer.lr.low"),
    ],
)
def test_a_key_may_be_named_in_full_or_by_its_last_part(name: str, key: str) -> None:
    assert full_key(ConfigFile, DOCUMENT.tree, name) == key


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "type",
            "several settings have this name: --data.type, --optimizer.type, --scheduler.type, --search.pruner.type, "
            "--search.sampler.type",
        ),
        (
            "n_startup_trials",
            "several settings have this name: --search.pruner.n_startup_trials, --search.sampler.n_sta",
        ),
        ("lrr", "unknown option or setting; did you mean --lr?"),
        ("optimizer.lrr", "unknown option or setting; did you mean --optimizer.lr?"),
        ("optimzer.lr", "unknown option or setting; did you mean --optimizer.lr?"),
        ("zzzz", "unknown option or setting; --print-config lists the settings"),
        ("momentum", "no setting of this config; it belongs to optimizer.type: sgd, rmsprop"),
        ("optimizer.momentum", "no setting of this config; it belongs to optimizer.type: sgd, rmsprop"),
        ("step_size", "no setting of this config; it belongs to scheduler.type: step"),
        ("image_size", "no setting of this config; it belongs to data.type: image_folder"),
        ("seed.x", "unknown option or setting; did you mean --seed?"),
        ("name.", "unknown option or setting; did you mean --name?"),
        ("", "unknown option or setting; --print-config lists the settings"),
        (
            "search.search_space.optimizer.lr.lo",
            "unknown option or setting; did you mean --search.search_space.optimizer.lr",
        ),
        ("search.search_space.x", "unknown option or setting; did you mean --search.search_space"),
    ],
)
def test_a_name_that_means_no_setting(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as found:
        full_key(ConfigFile, DOCUMENT.tree, name)
    assert str(found.value).startswith(f"--{name}: {message}")


def test_all_wrong_names_are_reported_at_once() -> None:
    assert [text.partition(":")[0] for text in refusals(lrr="1", zzzz="2", type="sgd", num_epochs="3")] == [
        "--lrr", "--zzzz", "--type",
    ]  # fmt: skip


def test_a_setting_given_twice_is_refused() -> None:
    assert refusals(lr="1", optimizer__lr="2") == ["--optimizer.lr: optimizer.lr is given twice"]


def test_values_are_read_as_yaml() -> None:
    _, params, _ = options(lr="1e-3", early_stopping="null", metrics="[val_f1]", nesterov="true", optimizer__type="sgd")
    assert params == {
        "optimizer.lr": 1e-3, "training.early_stopping": None, "metrics": ["val_f1"], "optimizer.type": "sgd",
        "optimizer.nesterov": True,
    }  # fmt: skip


def test_text_stays_text_where_text_is_wanted() -> None:
    _, params, _ = options(name="1e5", target="2024", time_column="null")
    assert params == {"name": "1e5", "data.target": "2024", "data.time_column": None}


@pytest.mark.parametrize("names", [("optimizer.type", "momentum"), ("momentum", "optimizer.type")])
def test_a_choice_and_its_setting_come_in_any_order(names: tuple[str, ...]) -> None:
    texts = {"optimizer.type": "sgd", "momentum": "0.5"}
    document, params, dropped = apply_options(ConfigFile, DOCUMENT, {name: texts[name] for name in names})
    assert document.tree["optimizer"] == {"type": "sgd", "lr": 0.01, "momentum": 0.5}
    assert params == {"optimizer.type": "sgd", "optimizer.momentum": 0.5}
    assert dropped == ["optimizer.beta1"]


def test_a_choice_may_be_named_by_its_last_part() -> None:
    document = yaml.parse("data: {type: image_folder, path: x}\nmodel: {architecture: resnet18, stem: small}\n")
    changed, _, dropped = options(document, hidden_layers="3", architecture="mlp")
    assert changed.tree["model"] == {"architecture": "mlp", "hidden_layers": 3}
    assert dropped == ["model.stem"]


def test_the_document_that_was_read_is_left_as_it_was() -> None:
    before = copy.deepcopy(DOCUMENT.tree)
    options(optimizer__type="sgd", momentum="0.5", patience="9")
    assert DOCUMENT.tree == before


def test_a_parameter_of_the_search_space_is_overridden() -> None:
    document, _, _ = options(search__search_space__optimizer__lr__low="2e-3")
    assert document.tree["search"]["search_space"]["optimizer.lr"] == {"type": "loguniform", "low": 2e-3, "high": 1e-1}


@pytest.mark.parametrize(
    ("given_options", "problem"),
    [
        ({"lr": "-1"}, "command line: optimizer.lr: should be greater than 0, got -1"),
        ({"num_epochs": "ten"}, "command line: training.num_epochs: should be a valid integer, got 'ten'"),
        ({"optimizer__type": "sdg"}, "command line: optimizer.type: unknown optimizer 'sdg'; did you mean 'sgd'?"),
        ({"optimizer": "sgd"}, "command line: optimizer: should be a section of keys such as {type: sgd}, got 'sgd'"),
        (
            {"search__search_space__optimizer__lr__low": "x"},
            "command line: search.search_space.optimizer.lr.low: should be a valid number, got 'x'",
        ),
    ],
)
def test_a_refused_value_stands_on_the_command_line(given_options: dict[str, str], problem: str) -> None:
    document, _, _ = options(**given_options)
    (found,) = check(ConfigFile, document)[1]
    assert str(found).startswith(problem)


def test_problems_of_the_file_keep_their_place_beside_overrides() -> None:
    document, _, _ = options(yaml.parse(TEXT + "sed: 1\n", "c.yaml"), lr="-1")
    assert [problem.place for problem in check(ConfigFile, document)[1]] == ["c.yaml:9:1", "command line"]


def test_a_plain_value_in_the_way_is_placed() -> None:
    assert refusals(yaml.parse("training: 3\n", "c.yaml"), num_epochs="5") == [
        "c.yaml:1:1: training.num_epochs: training is the value 3, it has no keys"
    ]


def test_a_choice_drops_what_only_the_old_one_has() -> None:
    base = {"optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}}
    changed, dropped = apply(ConfigFile, base, {"optimizer.type": "adam"})
    assert changed["optimizer"] == {"type": "adam", "lr": 0.1, "weight_decay": 1e-4}
    assert dropped == ["optimizer.momentum", "optimizer.nesterov"]
    assert base["optimizer"]["momentum"] == 0.9


def test_a_choice_that_stays_drops_nothing() -> None:
    base = {"optimizer": {"type": "sgd", "beta1": 0.9}}  # wrong, and to be reported as that
    assert apply(ConfigFile, base, {"optimizer.type": "sgd"}) == (base, [])


def test_a_misspelt_key_is_not_dropped_but_stays_an_error() -> None:
    changed, dropped = apply(ConfigFile, {"optimizer": {"type": "sgd", "momentun": 0.9}}, {"optimizer.type": "adam"})
    assert changed["optimizer"] == {"type": "adam", "momentun": 0.9}
    assert dropped == []


def test_a_setting_for_the_old_choice_that_is_given_itself_stays_an_error() -> None:
    changed, _ = apply(
        ConfigFile, {"optimizer": {"type": "sgd"}}, {"optimizer.type": "adam", "optimizer.momentum": 0.9}
    )
    assert changed["optimizer"] == {"type": "adam", "momentum": 0.9}


@pytest.mark.parametrize("head", ["", "optimizer:\n"])
def test_a_section_that_is_left_out_gets_its_default_choice(head: str) -> None:
    text = "data: {type: table, path: d.csv, target: y}\nmodel: {architecture: mlp}\n" + head
    document, _, _ = options(yaml.parse(text), lr="0.5", search__sampler__n_startup_trials="3", search__n_trials="4")
    assert document.tree["optimizer"] == {"type": "adam", "lr": 0.5}
    assert document.tree["search"]["sampler"] == {"type": "TPESampler", "n_startup_trials": 3}


def test_a_section_without_a_default_does_not_get_one() -> None:
    assert apply(ConfigFile, {}, {"model.dropout": 0.5})[0] == {"model": {"dropout": 0.5}}


# --- What a choice leaves without meaning -----------------------------------------------------------------------------

TOWERS = yaml.parse(
    """\
data: {type: interactions, path: log.csv}
metric: val_ndcg_at_10
model: {architecture: two_tower, embedding_dim: 8}
optimizer: {type: sgd, lr: 0.1}
training: {num_epochs: 3, batch_size: 32, gradient_clipping: null}
""",
    "c.yaml",
)
ALS = yaml.parse("data: {type: interactions, path: log.csv}\nmetric: val_ndcg_at_10\nmodel: {architecture: als}\n")


def test_a_choice_drops_what_means_nothing_beside_it_and_says_so() -> None:
    before = copy.deepcopy(TOWERS.tree)
    document, params, dropped = options(TOWERS, model__architecture="als", factors="16")
    assert document.tree == {
        "data": {"type": "interactions", "path": "log.csv"},
        "metric": "val_ndcg_at_10",
        "model": {"architecture": "als", "factors": 16},
        "training": {"num_epochs": 3},
    }
    assert dropped == ["model.embedding_dim", "optimizer", "training.batch_size", "training.gradient_clipping"]
    assert params == {"model.architecture": "als", "model.factors": 16}
    assert check(ConfigFile, document)[1] == []
    assert TOWERS.tree == before


def test_a_choice_that_stays_drops_no_excluded_setting() -> None:
    tree = override(ALS.tree, {"optimizer": {"type": "sgd"}})  # wrong, and to be reported as that
    assert apply(ConfigFile, tree, {"model.architecture": "als"}) == (tree, [])


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("lr", "optimizer.lr"),
        ("optimizer.lr", "optimizer.lr"),
        ("optimizer.type", "optimizer.type"),
        ("batch_size", "training.batch_size"),
        ("gradient_clipping", "training.gradient_clipping"),
    ],
)
def test_an_option_that_the_model_has_no_use_for_says_why(name: str, key: str) -> None:
    assert refusals(ALS, **{name: "1"}) == [f"--{name}: {key} means nothing to als"]


def test_an_option_is_judged_by_the_model_that_is_given_beside_it() -> None:
    assert refusals(TOWERS, architecture="als", batch_size="64") == [
        "--batch_size: training.batch_size means nothing to als"
    ]
    both = {"architecture": "als", "optimizer.type": "sgd"}
    assert refusals(TOWERS, **both) == ["--optimizer.type: optimizer.type means nothing to als"]
    brought = {"momentum": "0.5", "optimizer.type": "sgd", "architecture": "two_tower"}
    assert options(ALS, **brought)[0].tree["optimizer"] == {"type": "sgd", "momentum": 0.5}
    document, _, _ = options(ALS, architecture="two_tower", lr="0.5")
    assert document.tree["optimizer"] == {"type": "adam", "lr": 0.5}
    changed, params, dropped = options(TOWERS, architecture="bpr", lr="0.5")
    assert (params["model.lr"], changed.tree["model"]["lr"]) == (0.5, 0.5), "bpr has a learning rate of its own"
    assert "optimizer" in dropped


def test_without_takes_dotted_keys_out() -> None:
    tree = {"a": {"b": 1, "c": 2}, "d": 3}
    assert without(tree, ["a.b", "d", "a.x", "y", "d.z"]) == {"a": {"c": 2}}
    assert tree == {"a": {"b": 1, "c": 2}, "d": 3}
