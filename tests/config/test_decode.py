"""Decoding: every error at once, in reading order, each with its place, its key and a remedy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.config import yaml
from mlframework.config.decode import check, decode, expand
from mlframework.errors import ConfigError
from mlframework.search.config import ConfigFile

TABLE = "data: {type: table, path: d.csv, target: y}\nmodel: {architecture: mlp}\n"
IMAGES = "data: {type: image_folder, path: x, image_size: 128}\nmodel: {architecture: resnet18}\n"
LOG = "data: {type: interactions, path: log.csv}\nmetric: val_ndcg_at_10\nmodel: {architecture: als}\n"
SPACE = TABLE + "search:\n  search_space:\n"


def problems(text: str) -> list[str]:
    """Return what is wrong with a config, a problem a string."""
    config, found = check(ConfigFile, yaml.parse(text, "c.yaml"))
    assert (config is None) == bool(found)
    return [str(problem) for problem in found]


def test_a_config_that_is_right_has_no_problems() -> None:
    config = decode(ConfigFile, yaml.parse(TABLE + "optimizer: {type: sgd, lr: 1e-2}\ntraining: {num_epochs: 010}\n"))
    assert config.optimizer.lr == 0.01
    assert config.training.num_epochs == 10


def test_all_problems_come_at_once_in_reading_order() -> None:
    text = """\
nmae: x
search: {n_trials: 0}
training:
  num_epochs: ten
  batchsize: 3
optimizer: {type: x}
"""
    assert problems(text) == [
        "c.yaml: data: is missing",
        "c.yaml: model: is missing",
        "c.yaml:1:1: nmae: unknown key; did you mean 'name'?",
        "c.yaml:2:1: search.search_space: is missing",
        "c.yaml:2:20: search.n_trials: should be greater than 0, got 0",
        "c.yaml:4:15: training.num_epochs: should be a valid integer, got 'ten'",
        "c.yaml:5:3: training.batchsize: unknown key; did you mean 'batch_size'?",
        "c.yaml:6:19: optimizer.type: unknown optimizer 'x' (known: adam, adamw, rmsprop, sgd)",
    ]


def test_decode_raises_with_all_of_them() -> None:
    with pytest.raises(ConfigError) as found:
        decode(ConfigFile, yaml.parse("sed: 1\n", "c.yaml"))
    assert [problem.key for problem in found.value.problems] == ["data", "model", "sed"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        # unknown keys
        ("sed: 1", "3:1: sed: unknown key; did you mean 'seed'?"),
        ("optimizer: {type: sgd, lrr: 1}", "3:24: optimizer.lrr: unknown key; did you mean 'lr'?"),
        ("optimizer: {type: sgd, sgd: 1}", "3:24: optimizer.sgd: unknown key; known here: "),
        ("lr: 0.1", "3:1: lr: unknown key; did you mean 'optimizer.lr'?"),
        (
            "optimizer: {type: adam, momentum: 0.9}",
            "3:25: optimizer.momentum: unknown key; it belongs to optimizer.type: sgd, rmsprop",
        ),
        ("tracking: {zzz: 1}", "3:12: tracking.zzz: unknown key; known here: tensorboard"),
        (
            "training: {early_stopping: {patince: 1}}",
            "3:29: training.early_stopping.patince: unknown key; did you mean 'patience'?",
        ),
        # wrong types
        ("training: {num_epochs: '10'}", "3:24: training.num_epochs: should be a valid integer, got '10'"),
        ("training: {num_epochs: 3.0}", "3:24: training.num_epochs: should be a valid integer, got 3.0"),
        ("training: {num_epochs: true}", "3:24: training.num_epochs: should be a valid integer, got true"),
        ("training: {num_epochs: null}", "3:24: training.num_epochs: should be a valid integer, got null"),
        (
            "training: {num_epochs: {a: 1}}",
            "3:24: training.num_epochs: should be a valid integer, got a section of keys",
        ),
        ("optimizer: {type: sgd, lr: '0.1'}", "3:28: optimizer.lr: should be a valid number, got '0.1'"),
        ("optimizer: {type: sgd, nesterov: yes}", "3:34: optimizer.nesterov: should be a valid boolean, got 'yes'"),
        ("metrics: val_f1", "3:10: metrics: should be a valid list, got 'val_f1'"),
        ("name: 2024", "3:7: name: should be a valid string, got 2024"),
        # out of range
        ("training: {num_epochs: 0}", "3:24: training.num_epochs: should be greater than 0, got 0"),
        ("optimizer: {type: sgd, momentum: 1.0}", "3:34: optimizer.momentum: should be less than 1, got 1.0"),
        ("optimizer: {type: sgd, lr: .inf}", "3:28: optimizer.lr: should be a finite number, got inf"),
        ("optimizer: {type: sgd, lr: .nan}", "3:28: optimizer.lr: should be a finite number, got nan"),
        ("seed: -1", "3:7: seed: should be greater than or equal to 0, got -1"),
        ("name: a b", "3:7: name: 'a b' does not fit: Stem of the run's and the study's name: letters, digits"),
        ("device: gpu", "3:9: device: 'gpu' does not fit: `auto` takes a GPU where there is one; `cpu`"),
        # unknown, missing and odd choices
        (
            "optimizer: {type: sdg, lr: 1}",
            "3:19: optimizer.type: unknown optimizer 'sdg'; did you mean 'sgd'? (known: ",
        ),
        ("optimizer: {lr: 1}", "3:1: optimizer.type: is missing; one of sgd, adam, adamw, rmsprop"),
        ("optimizer: {}", "3:1: optimizer.type: is missing; one of sgd, adam, adamw, rmsprop"),
        ("optimizer: {type: null}", "3:19: optimizer.type: should be one of sgd, adam, adamw, rmsprop, got null"),
        ("optimizer: {type: [sgd]}", "3:19: optimizer.type: should be one of sgd, adam, adamw, rmsprop, got ['sgd']"),
        # sections that are none
        ("optimizer: sgd", "3:12: optimizer: should be a section of keys such as {type: sgd}, got 'sgd'"),
        ("optimizer: sdg", "3:12: optimizer: should be a section of keys, got 'sdg'"),
        ("training: 3", "3:11: training: should be a section of keys, got 3"),
        ("training: []", "3:11: training: should be a section of keys, got []"),
        ("training:", "3:10: training: is empty; it should be a section of keys"),
        ("optimizer:", "3:11: optimizer: is empty; it should be a section of keys"),
        ("training: {early_stopping: true}", "3:28: training.early_stopping: should be a section of keys, got true"),
        # one of several words
        (
            "training: {trainer_type: standrad}",
            "3:26: training.trainer_type: should be 'standard', 'mixed_precision' or 'distributed', got 'standrad'; "
            "did you mean 'standard'?",
        ),
        (
            "training: {trainer_type: 3}",
            "3:26: training.trainer_type: should be 'standard', 'mixed_precision' or 'distributed', got 3",
        ),
        # one of several types: one problem, and the innermost
        (
            "training: {class_weights: balance}",
            "3:27: training.class_weights: should be 'balanced' or a valid list, got 'balance'; did you mean 'balanced'?",
        ),
        ("training: {class_weights: [1, -1]}", "3:31: training.class_weights.1: should be greater than 0, got -1"),
        # items of lists
        ("metrics: [val_f1, 3]", "3:19: metrics.1: should be a valid string, got 3"),
        # the models' own rules
        (
            "training: {precision: fp16}",
            "3:23: training.precision: fp16 has an effect only with trainer_type: mixed_precision",
        ),
        ("metric: test_acc", "3:9: metric: test_acc would select on the test split; use val_acc"),
    ],
)
def test_what_is_said(line: str, problem: str) -> None:
    (found,) = problems(f"{TABLE}{line}\n")
    assert found.startswith(f"c.yaml:{problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: {architecture: mlp}\n", "c.yaml: data: is missing"),
        (TABLE.replace("path: d.csv, ", ""), "c.yaml:1:1: data.path: is missing"),
        (TABLE.replace("target: y", "target: y, drop: [y]"), "c.yaml:1:7: data: column 'y' is named under target and"),
        (
            TABLE.replace("target: y", "target: y, numeric: a"),
            "c.yaml:1:54: data.numeric: should be a valid list, got 'a'",
        ),
        (
            TABLE.replace("target: y", "target: y, numeric: [a, 3]"),
            "c.yaml:1:58: data.numeric.1: should be a valid string, got 3",
        ),
        (
            TABLE.replace("target: y", "target: y, split: {val_fraction: 0.6, test_fraction: 0.5}"),
            "c.yaml:1:52: data.split: val_fraction",
        ),
        (
            TABLE.replace("mlp", "resnet19"),
            "c.yaml:2:23: model.architecture: unknown model 'resnet19'; did you mean 'resnet18'?",
        ),
        (
            TABLE.replace("mlp", "resnet18"),
            "c.yaml:2:23: model.architecture: resnet18 takes data of type image_folder, the data is of",
        ),
        (
            IMAGES.replace("resnet18", "resnet18, pretrained: 3"),
            "c.yaml:2:45: model.pretrained: should be a valid boolean or a valid string, got 3",
        ),
        (
            IMAGES.replace("resnet18", "resnet18, stem: small"),
            "c.yaml:2:39: model.stem: small is for images of 64 pixels or less",
        ),
        (
            IMAGES.replace("resnet18", "vgg11, stem: small"),
            "c.yaml:2:36: model.stem: small is for ResNets, not for vgg11",
        ),
    ],
)
def test_what_is_said_of_data_and_model(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        ("0.1", "5:19: KEY: should be a section of keys, got 0.1"),
        ("", "5:18: KEY: is empty; it should be a section of keys"),
        ("{low: 1, high: 2}", "5:5: KEY.type: is missing; one of categorical, uniform, loguniform, int"),
        (
            "{type: logunifrom, low: 1, high: 2}",
            "5:26: KEY.type: unknown type 'logunifrom'; did you mean 'loguniform'?",
        ),
        ("{type: loguniform, low: 1, high: 2, hihg: 3}", "5:55: KEY.hihg: unknown key; did you mean 'high'?"),
        (
            "{type: loguniform, low: 1, high: 2, step: 3}",
            "5:55: KEY.step: unknown key; it belongs to search.search_space.optimizer.lr.type: uniform, int",
        ),
        ("{type: loguniform, low: 1e-1, high: 1e-5}", "5:19: KEY: high is 1e-05, below low, which is 0.1; swap them"),
        ("{type: uniform, low: 0, high: .inf}", "5:49: KEY.high: should be a finite number, got inf"),
        ("{type: categorical, choices: []}", "5:48: KEY.choices: should have at least 1 item, not 0, got []"),
        ("{type: categorical, choices: [1, [2]]}", "5:52: KEY.choices.1: should be a valid boolean or "),
        ("{type: categorical, choices: [.nan]}", "5:49: KEY.choices.0: should be a valid boolean or "),
    ],
)
def test_what_is_said_of_a_searched_parameter(parameter: str, problem: str) -> None:
    (found,) = problems(f"{SPACE}    optimizer.lr: {parameter}\n")
    assert found.startswith("c.yaml:" + problem.replace("KEY", "search.search_space.optimizer.lr"))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("metric: val_ac", "3:18: search.metric: unknown metric 'val_ac'; did you mean 'val_auc'?"),
        ("metric: test_acc", "3:18: search.metric: test_acc would search on the test split; use a val_ metric"),
        (
            "metric: val_acc, direction: minimize",
            "3:38: search.direction: minimize contradicts metric: val_acc, which one has to maximize",
        ),
        (
            "direction: maximize",
            "3:21: search.direction: maximize contradicts metric: val_loss, which one has to minimize",
        ),
        ("study_name: ..", "3:22: search.study_name: '..' does not fit: Name of the study and of its folder"),
        ("study_name: a/b", "3:22: search.study_name: 'a/b' does not fit: Name of the study and of its folder"),
    ],
)
def test_what_is_said_of_a_search(line: str, problem: str) -> None:
    (found,) = problems(
        f"{TABLE}search: {{{line}, search_space: {{training.num_epochs: {{type: int, low: 1, high: 2}}}}}}\n"
    )
    assert found.startswith(f"c.yaml:{problem}")


def test_a_direction_that_agrees_may_be_written() -> None:
    search = "search: {metric: val_acc, direction: maximize, search_space: {optimizer.lr: {type: uniform, low: 1, high: 2}}}\n"
    assert problems(TABLE + search) == []


def test_a_long_value_is_shortened() -> None:
    (found,) = problems(f"{TABLE}seed: {'x' * 500}\n")
    assert len(found) < 200


def test_variables_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "abc")
    monkeypatch.setenv("YEAR", "2024")
    monkeypatch.setenv("LR", "1e-2")
    document = yaml.parse(TABLE + "name: ${NAME}-${YEAR}\noptimizer:\n  type: sgd\n  lr: ${LR}\n")
    config = decode(ConfigFile, document)
    assert config.name == "abc-2024"
    assert config.optimizer.lr == 0.01  # a value that is nothing but a variable is read as YAML
    assert document.tree["name"] == "${NAME}-${YEAR}"
    assert document.tree["optimizer"]["lr"] == "${LR}"


def test_a_variable_of_digits_is_text_where_text_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YEAR", "2024")
    assert decode(ConfigFile, yaml.parse(TABLE + "name: ${YEAR}\n")).name == "2024"


def test_each_variable_that_is_not_set_is_one_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOPE", "NADA", "LR"):
        monkeypatch.delenv(name, raising=False)
    text = TABLE + "name: x ${NOPE}\noptimizer:\n  type: ${NADA}\n  lr: ${LR}\n"
    assert problems(text) == [
        "c.yaml:3:7: name: the environment variable NOPE is not set; export NOPE=...",
        "c.yaml:5:9: optimizer.type: the environment variable NADA is not set; export NADA=...",
        "c.yaml:6:7: optimizer.lr: the environment variable LR is not set; export LR=...",
    ]


@pytest.mark.parametrize(
    "line", ["seed: ${SECRET}", "metrics: ['${SECRET}']", "device: ${SECRET}", "optimizer: '${SECRET}'"]
)
def test_messages_never_show_what_a_variable_stands_for(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    (found,) = problems(f"{TABLE}{line}\n")
    assert "hunter2" not in found


@given(st.text(st.characters(exclude_characters="$", exclude_categories=["Cs"])))
def test_text_without_variables_stays_as_it_is(text: str) -> None:
    assert expand(text) == text
    assert expand("$" + text.replace("{", "")) == "$" + text.replace("{", "")


def test_checking_leaves_the_tree_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "abc")
    document = yaml.parse(TABLE + "name: ${NAME}\nmetrics: ['val_${NAME}']\n")
    before = repr(document.tree)
    check(ConfigFile, document)
    assert repr(document.tree) == before


# --- What a choice leaves without meaning -----------------------------------------------------------------------------

NO_USE = "means nothing to als; take it out"


@pytest.mark.parametrize(
    ("lines", "place", "key"),
    [
        ("optimizer: {type: sgd, lr: 0.1}", "4:1", "optimizer"),
        ("scheduler:\n  type: cosine", "4:1", "scheduler"),
        ("training:\n  num_epochs: 3\n  batch_size: 64", "6:3", "training.batch_size"),
        ("training: {num_epochs: 3, trainer_type: standard}", "4:27", "training.trainer_type"),
        ("training: {gradient_clipping: null}", "4:12", "training.gradient_clipping"),
    ],
)
def test_a_setting_that_the_model_has_no_use_for_is_an_error(lines: str, place: str, key: str) -> None:
    assert problems(f"{LOG}{lines}\n") == [f"c.yaml:{place}: {key}: {NO_USE}"]
    assert problems(f"{LOG}{lines}\n".replace("als", "two_tower")) == []


@pytest.mark.parametrize("model", ["als", "bpr"])
def test_all_that_it_has_no_use_for_is_said_at_once_beside_other_problems(model: str) -> None:
    text = LOG.replace("als", model) + (
        "optimizer: {type: adam}\n"
        "training:\n"
        "  num_epochs: 0\n"
        "  batch_size: 64\n"
        "  accumulation_steps: 2\n"
        "scheduler: {type: step}\n"
    )
    no_use = NO_USE.replace("als", model)
    assert problems(text) == [
        f"c.yaml:4:1: optimizer: {no_use}",
        "c.yaml:6:15: training.num_epochs: should be greater than 0, got 0",
        f"c.yaml:7:3: training.batch_size: {no_use}",
        f"c.yaml:8:3: training.accumulation_steps: {no_use}",
        f"c.yaml:9:1: scheduler: {no_use}",
    ]


def test_what_is_wrong_within_an_excluded_section_is_not_all_that_is_said() -> None:
    found = problems(f"{LOG}optimizer: {{type: sgd, lr: -1}}\n")
    assert f"c.yaml:4:1: optimizer: {NO_USE}" in found


def test_what_it_has_a_use_for_may_stand_there() -> None:
    assert problems(LOG + "training: {num_epochs: 5, num_threads: 1, early_stopping: {patience: 2}}\n") == []
    assert problems(LOG.replace("als", "bpr, lr: 0.1")) == []
    assert problems(LOG.replace("als", "als, lr: 0.1")) == [
        "c.yaml:3:28: model.lr: unknown key; it belongs to model.architecture: bpr"
    ]


def test_a_metric_of_another_task_is_an_error() -> None:
    (found,) = problems(LOG.replace("val_ndcg_at_10", "val_loss"))
    assert found.startswith(
        "c.yaml:2:9: metric: val_loss has no meaning in a ranking, which this data is; it has val_prec"
    )
