"""The search space: checked against the schema before trial 0, and turned into configs that decode."""

from collections.abc import Mapping
from typing import Any

import optuna
import pytest

from mlframework.config import yaml
from mlframework.config.decode import check, decode
from mlframework.config.yaml import Document
from mlframework.experiment import ExperimentConfig
from mlframework.search.config import ConfigFile
from mlframework.search.samplers import grid_cells
from mlframework.search.space import Space, active, build_space

TABLE = "data: {type: table, path: d.csv, target: y}\nmodel: {architecture: mlp}\n"
IMAGES = "data: {type: image_folder, path: x, image_size: 32}\nmodel: {architecture: resnet18}\n"
SGD = "optimizer: {type: sgd, lr: 0.01, momentum: 0.9}\n"
TYPES = "optimizer.type: {type: categorical, choices: [sgd, adam]}"
MOMENTUM = "optimizer.momentum: {type: uniform, low: 0.8, high: 0.9, step: 0.1}"


def when(parameter: str, condition: str) -> str:
    """Return a parameter's line with a condition added."""
    return parameter[:-1] + f", when: {{{condition}}}}}"


def built(*lines: str, base: str = TABLE + SGD) -> tuple[Space, list[str]]:
    """Build the space of these lines; return it, and its problems."""
    text = base + "search:\n  search_space:\n" + "".join(f"    {line}\n" for line in lines)
    document = yaml.parse(text, "c.yaml")
    search = decode(ConfigFile, document).search
    assert search is not None
    space, problems = build_space(search.search_space, document.without("search").tree, document)
    return space, [str(problem) for problem in problems]


def space_of(*lines: str, base: str = TABLE + SGD) -> Space:
    space, problems = built(*lines, base=base)
    assert problems == []
    return space


def problems_of(*lines: str, base: str = TABLE + SGD) -> list[str]:
    problems = built(*lines, base=base)[1]
    assert all(problem.startswith("c.yaml:") for problem in problems)
    return [problem.partition(": ")[2] for problem in problems]


def trials(space: Space, number: int = 40) -> list[dict[str, Any]]:
    """Return what is suggested for some trials."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(number)]


def conditions(space: Space) -> dict[str, Mapping[str, Any]]:
    return {key: parameter.when for key, parameter in space.parameters.items()}


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("optimizer.lrr", "unknown setting; did you mean 'optimizer.lr'?"),
        ("optimzer.lr", "unknown setting; did you mean 'optimizer.lr'?"),
        ("lr", "unknown setting; did you mean 'optimizer.lr'?"),
        ("training.num_epoch", "unknown setting; did you mean 'training.num_epochs'?"),
        ("optimizer.beta1", "optimizer.type is 'sgd', which has no beta1; adam, adamw would"),
        ("scheduler.step_size", "scheduler.type is 'none', which has no step_size; step would"),
        ("data.image_size", "data.type is 'table', which has no image_size; image_folder would"),
        ("zzzzzz", "unknown setting; --print-config lists the settings"),
        ("optimizer", "unknown setting; did you mean 'optimizer.lr'?"),
        ("search.n_trials", "unknown setting; --print-config lists the settings"),
    ],
)
def test_a_key_that_is_no_setting(key: str, what: str) -> None:
    assert problems_of(f"{key}: {{type: int, low: 1, high: 2}}") == [f"{key}: {what}"]


@pytest.mark.parametrize(
    "key",
    [
        "data.path", "data.type", "data.split", "data.split.val_fraction", "seed", "name", "device", "metric", "metrics",
        "tracking.tensorboard",
    ],
)  # fmt: skip
def test_what_would_make_trials_incomparable_is_refused(key: str) -> None:
    assert problems_of(f"{key}: {{type: categorical, choices: [1, 2]}}") == [
        f"{key}: can't be searched: trials would not be comparable"
    ]


def test_other_data_settings_can_be_searched() -> None:
    line = "data.image_size: {type: int, low: 32, high: 64, step: 32}"
    assert list(space_of(line, base=IMAGES).parameters) == ["data.image_size"]


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        (
            "optimizer.lr: {type: uniform, low: -0.1, high: 0.3}",
            ["-0.1 is refused: optimizer.lr: should be greater than 0, got -0.1"],
        ),
        (
            "optimizer.momentum: {type: uniform, low: 0.5, high: 1.5}",
            ["1.5 is refused: optimizer.momentum: should be less than 1, got 1.5"],
        ),
        (
            "training.num_epochs: {type: int, low: 0, high: 3}",
            ["0 is refused: training.num_epochs: should be greater than 0, got 0"],
        ),
        (
            "training.batch_size: {type: uniform, low: 16, high: 64}",
            [f"{bound} is refused: training.batch_size: should be a valid integer, got {bound}" for bound in ("16.0", "64.0")],
        ),
        (
            "training.batch_size: {type: categorical, choices: [16, 32.5, '64', 0]}",
            [
                "32.5 is refused: training.batch_size: should be a valid integer, got 32.5",
                "'64' is refused: training.batch_size: should be a valid integer, got '64'",
                "0 is refused: training.batch_size: should be greater than 0, got 0",
            ],
        ),
        (
            "model.architecture: {type: categorical, choices: [mlp, mpl]}",
            ["'mpl' is refused: model.architecture: unknown model 'mpl'; did you mean 'mlp'?"],
        ),
        (
            "model.architecture: {type: categorical, choices: [mlp, resnet18]}",
            [
                "'resnet18' is refused: model.architecture: resnet18 takes data of type image_folder, the data is of type "
                "table; use mlp, fm, ffm, for example"
            ],
        ),
        (
            "training.precision: {type: categorical, choices: [bf16, fp16]}",
            ["'fp16' is refused: training.precision: fp16 has an effect only with trainer_type: mixed_precision"],
        ),
    ],
)  # fmt: skip
def test_values_that_the_field_would_refuse(line: str, refused: list[str]) -> None:
    key = line.partition(":")[0]
    assert problems_of(line) == [f"{key}: {what}" for what in refused]


def test_a_value_that_only_some_choice_would_refuse_is_refused() -> None:
    assert problems_of(
        "model.architecture: {type: categorical, choices: [resnet18, efficientnet_b0]}",
        "model.stem: {type: categorical, choices: [imagenet, small]}",
        base=IMAGES,
    ) == [
        "model.stem: 'small' is refused: model.stem: small is for ResNets, not for efficientnet_b0; use stem: imagenet"
    ]


def test_a_condition_keeps_such_a_value_away() -> None:
    space = space_of(
        "model.architecture: {type: categorical, choices: [resnet18, efficientnet_b0]}",
        "model.stem: {type: categorical, choices: [imagenet, small], when: {model.architecture: resnet18}}",
        base=IMAGES,
    )
    assert all(("model.stem" in trial) == (trial["model.architecture"] == "resnet18") for trial in trials(space))


def test_each_problem_stands_where_its_parameter_does() -> None:
    _, problems = built("optimizer.lrr: {type: int, low: 1, high: 2}", "seed: {type: int, low: 1, high: 2}")
    assert [problem.split(":")[1:3] for problem in problems] == [["6", "5"], ["7", "5"]]


def test_a_section_that_the_config_leaves_out_can_be_searched() -> None:
    space = space_of("optimizer.lr: {type: uniform, low: 0.1, high: 0.3}", base=TABLE)
    assert space.tree({"optimizer.lr": 0.2})["optimizer"] == {"type": "adam", "lr": 0.2}


def test_a_section_that_is_null_can_be_searched() -> None:
    space = space_of("training.early_stopping.patience: {type: int, low: 1, high: 3}")
    assert space.tree({"training.early_stopping.patience": 2})["training"] == {"early_stopping": {"patience": 2}}


def test_a_parameter_of_a_searched_choice_exists_only_with_the_choices_that_have_it() -> None:
    space = space_of(MOMENTUM, TYPES)
    assert conditions(space) == {"optimizer.type": {}, "optimizer.momentum": {"optimizer.type": ["sgd"]}}
    found = trials(space)
    assert {trial["optimizer.type"] for trial in found} == {"sgd", "adam"}
    assert all(("optimizer.momentum" in trial) == (trial["optimizer.type"] == "sgd") for trial in found)


def test_a_parameter_that_every_choice_has_needs_no_condition() -> None:
    assert conditions(space_of(TYPES, "optimizer.lr: {type: uniform, low: 0.1, high: 0.2}"))["optimizer.lr"] == {}


def test_every_trial_of_a_conditional_space_decodes() -> None:
    space = space_of(
        "scheduler.type: {type: categorical, choices: [none, step, exponential, cosine]}",
        "scheduler.step_size: {type: int, low: 1, high: 3}",
        "scheduler.gamma: {type: uniform, low: 0.1, high: 0.9}",
        "scheduler.warmup_epochs: {type: int, low: 0, high: 2}",
        "scheduler.min_lr: {type: categorical, choices: [0.0, 0.001]}",
        TYPES, MOMENTUM, "optimizer.beta1: {type: uniform, low: 0.5, high: 0.9}",
    )  # fmt: skip
    for trial in trials(space, 60):
        config, problems = check(ExperimentConfig, Document(space.tree(trial)))
        assert config is not None, problems
        assert type(config.scheduler).model_fields.keys() >= {
            key.partition(".")[2] for key in trial if key.startswith("scheduler.")
        }


def test_a_suggested_value_reaches_the_config() -> None:
    space = space_of(TYPES, MOMENTUM, "training.batch_size: {type: categorical, choices: [16, 32]}")
    config = decode(
        ExperimentConfig,
        Document(space.tree({"optimizer.type": "sgd", "optimizer.momentum": 0.8, "training.batch_size": 16})),
    )
    assert (config.optimizer.momentum, config.training.batch_size) == (0.8, 16)


def test_a_condition_on_a_fixed_key_is_decided_at_once() -> None:
    line = when(MOMENTUM, "optimizer.type: sgd")
    assert conditions(space_of(line)) == {"optimizer.momentum": {}}
    assert space_of(line, base=TABLE + "optimizer: {type: adam}\n").parameters == {}
    assert conditions(space_of(when(MOMENTUM, "optimizer.type: [rmsprop, sgd]"))) == {"optimizer.momentum": {}}


def test_a_condition_on_a_default_holds_too() -> None:
    line = "optimizer.lr: {type: uniform, low: 0.1, high: 0.2, when: {scheduler.type: none, training.batch_size: 64}}"
    assert list(space_of(line).parameters) == ["optimizer.lr"]
    assert list(space_of(line, base=TABLE + SGD + "training: {batch_size: 32}\n").parameters) == []


def test_a_parameter_that_depends_on_one_that_never_exists_never_exists() -> None:
    nesterov = "optimizer.nesterov: {type: categorical, choices: [true, false], when: {optimizer.momentum: [0.9]}}"
    space = space_of(when(MOMENTUM, "optimizer.type: sgd"), nesterov, TYPES.replace("sgd, adam", "adam, sgd"))
    assert list(space.parameters) == ["optimizer.type", "optimizer.momentum", "optimizer.nesterov"]
    fixed = space_of(when(MOMENTUM, "training.batch_size: 1"), nesterov)
    assert fixed.parameters == {}


def test_conditions_of_conditions() -> None:
    space = space_of(
        "scheduler.gamma: {type: categorical, choices: [0.1, 0.5], when: {scheduler.step_size: [2]}}",
        "scheduler.step_size: {type: int, low: 1, high: 3, when: {scheduler.type: step}}",
        "scheduler.type: {type: categorical, choices: [none, step, exponential]}",
    )
    assert list(space.parameters) == ["scheduler.type", "scheduler.step_size", "scheduler.gamma"]
    found = trials(space, 80)
    assert any("scheduler.gamma" in trial for trial in found)
    for trial in found:
        assert ("scheduler.step_size" in trial) == (trial["scheduler.type"] == "step")
        assert ("scheduler.gamma" in trial) == (trial.get("scheduler.step_size") == 2)
        assert check(ExperimentConfig, Document(space.tree(trial)))[1] == []


def test_a_condition_of_a_condition_on_a_fixed_key() -> None:
    # The values are checked in a config in which all conditions hold, also those that lie two steps away.
    space = space_of(
        "scheduler.step_size: {type: int, low: 1, high: 3, when: {scheduler.type: step}}",
        "scheduler.gamma: {type: categorical, choices: [0.1, 0.5], when: {scheduler.step_size: 2}}",
        base=TABLE + "scheduler: {type: step}\n",
    )
    assert conditions(space) == {"scheduler.step_size": {}, "scheduler.gamma": {"scheduler.step_size": 2}}


@pytest.mark.parametrize(
    ("condition", "what"),
    [
        ("optimizer.typ: sgd", "when: optimizer.typ: unknown setting; did you mean 'optimizer.type'?"),
        ("data.tarjet: x", "when: data.tarjet: unknown setting; did you mean 'data.target'?"),
        ("optimizer.type: rmsprop", "when: optimizer.type is never 'rmsprop'; it is one of sgd, adam"),
        ("optimizer.type: adam", "optimizer.type is 'adam', which has no momentum; sgd, rmsprop would"),
        ("optimizer.type: [sgd, adam]", "optimizer.type is 'adam', which has no momentum; sgd, rmsprop would"),
        ("training.batch_size: 99", "when: training.batch_size is never 99; it is whole numbers 8 to 16"),
        ("scheduler.type: stpe", "when: scheduler.type: unknown scheduler 'stpe'; did you mean 'step'?"),
        ("training.num_epochs: 0", "when: training.num_epochs: should be greater than 0, got 0"),
    ],
)
def test_conditions_that_cannot_hold(condition: str, what: str) -> None:
    batches = "training.batch_size: {type: int, low: 8, high: 16}"
    (problem,) = problems_of(TYPES, batches, when(MOMENTUM, condition))
    assert problem.startswith(f"optimizer.momentum: {what}")


def test_conditions_that_exclude_each_other() -> None:
    problems = problems_of(
        TYPES,
        when(MOMENTUM, "optimizer.type: sgd"),
        "optimizer.lr: {type: uniform, low: 0.1, high: 0.2, when: {optimizer.momentum: 0.9, optimizer.type: adam}}",
    )
    assert len(problems) == 1
    assert "optimizer.lr: when: optimizer.type never has such a value" in problems[0]


def test_conditions_that_lead_back_are_named_and_what_follows_them_is_not() -> None:
    assert problems_of(
        "optimizer.lr: {type: uniform, low: 0.1, high: 0.3, when: {optimizer.momentum: 0.8}}",
        "optimizer.momentum: {type: uniform, low: 0.1, high: 0.3, when: {optimizer.lr: 0.2}}",
        "training.num_epochs: {type: int, low: 1, high: 2, when: {optimizer.lr: 0.1}}",
    ) == [f"optimizer.{name}: its `when` leads back to itself" for name in ("lr", "momentum")]
    assert problems_of("optimizer.lr: {type: uniform, low: 0.1, high: 0.3, when: {optimizer.lr: 0.2}}") == [
        "optimizer.lr: its `when` leads back to itself"
    ]


def test_dropped_lists_what_each_choice_leaves_without_meaning() -> None:
    base = (
        TABLE + "optimizer: {type: sgd, lr: 0.01, momentum: 0.9, nesterov: true}\nscheduler: {type: step, gamma: 0.1}\n"
    )
    space = space_of(
        "optimizer.type: {type: categorical, choices: [sgd, adam, rmsprop]}",
        "scheduler.type: {type: categorical, choices: [step, exponential]}",
        base=base,
    )
    assert space.dropped() == {
        "optimizer.type: adam": ["optimizer.momentum", "optimizer.nesterov"],
        "optimizer.type: rmsprop": ["optimizer.nesterov"],
    }
    adam = decode(ExperimentConfig, Document(space.tree({"optimizer.type": "adam"})))
    assert adam.optimizer.lr == 0.01


def test_nothing_is_dropped_without_a_searched_choice() -> None:
    assert space_of(MOMENTUM).dropped() == {}


def test_the_base_is_left_as_it_is() -> None:
    space = space_of(TYPES, MOMENTUM)
    before = repr(space.base)
    for trial in trials(space):
        space.tree(trial)
    assert repr(space.base) == before


def test_a_grid_has_each_cell_once() -> None:
    space = space_of(TYPES, MOMENTUM, "training.batch_size: {type: categorical, choices: [16, 32]}")
    cells = grid_cells(space.parameters)
    assert len(cells) == (2 + 1) * 2  # two momenta for sgd, adam once, each with two batch sizes
    assert all(("optimizer.momentum" in cell) == (cell["optimizer.type"] == "sgd") for cell in cells)
    assert len({repr(sorted(cell.items())) for cell in cells}) == len(cells)


def test_a_grid_has_no_cells_of_a_parameter_whose_fixed_condition_fails() -> None:
    space = space_of(
        when(MOMENTUM, "optimizer.type: sgd"),
        "training.batch_size: {type: categorical, choices: [16, 32]}",
        base=TABLE + "optimizer: {type: adam}\n",
    )
    assert grid_cells(space.parameters) == [{"training.batch_size": 16}, {"training.batch_size": 32}]


def test_active_keeps_the_values_whose_conditions_hold() -> None:
    parameters = space_of(TYPES, MOMENTUM).parameters
    assert active(parameters, {"optimizer.type": "adam", "optimizer.momentum": 0.9}) == {"optimizer.type": "adam"}
    both = {"optimizer.type": "sgd", "optimizer.momentum": 0.9}
    assert active(parameters, both) == both


# --- What a searched choice leaves without meaning --------------------------------------------------------------------

LOG = "data: {type: interactions, path: log.csv}\nmetric: val_ndcg_at_10\n"
TOWERS = LOG + "model: {architecture: two_tower}\noptimizer: {type: sgd, lr: 0.1}\ntraining: {batch_size: 32}\n"
ALS = LOG + "model: {architecture: als}\n"
LR = "optimizer.lr: {type: uniform, low: 0.1, high: 0.2}"


def models(*names: str) -> str:
    return f"model.architecture: {{type: categorical, choices: [{', '.join(names)}]}}"


@pytest.mark.parametrize("base", [TOWERS, ALS])
@pytest.mark.parametrize("key", ["optimizer.lr", "training.batch_size"])
def test_a_setting_exists_only_with_the_models_that_have_a_use_for_it(base: str, key: str) -> None:
    parameter = LR if key == "optimizer.lr" else "training.batch_size: {type: categorical, choices: [16, 64]}"
    space = space_of(parameter, models("als", "two_tower", "bpr"), base=base)
    assert conditions(space) == {"model.architecture": {}, key: {"model.architecture": ["two_tower"]}}
    found = trials(space)
    assert {trial["model.architecture"] for trial in found} == {"als", "two_tower", "bpr"}
    for trial in found:
        assert (key in trial) == (trial["model.architecture"] == "two_tower")
        assert check(ExperimentConfig, Document(space.tree(trial)))[1] == []


@pytest.mark.parametrize(
    ("base", "lines", "choice"),
    [(ALS, [LR], "als"), (ALS, [LR, models("als")], "als"), (TOWERS, [LR, models("bpr", "als")], "als|bpr")],
)
def test_a_setting_that_no_model_has_a_use_for_is_refused(base: str, lines: list[str], choice: str) -> None:
    (problem,) = problems_of(*lines, base=base)
    assert problem in [f"optimizer.lr: means nothing to {name}" for name in choice.split("|")]


def test_a_condition_on_a_model_without_a_use_for_it_is_refused() -> None:
    assert problems_of(models("als", "two_tower"), when(LR, "model.architecture: als"), base=TOWERS) == [
        "optimizer.lr: means nothing to als"
    ]


def test_what_depends_on_an_excluded_choice_is_excluded_with_it() -> None:
    space = space_of(models("als", "two_tower"), TYPES, MOMENTUM, base=TOWERS)
    assert conditions(space)["optimizer.type"] == {"model.architecture": ["two_tower"]}
    for trial in trials(space, 60):
        steps = trial["model.architecture"] == "two_tower"
        assert ("optimizer.type" in trial) == steps
        assert ("optimizer.momentum" in trial) == (steps and trial["optimizer.type"] == "sgd")
        config, problems = check(ExperimentConfig, Document(space.tree(trial)))
        assert config is not None and problems == []


def test_parameters_of_one_model_and_of_several() -> None:
    space = space_of(
        models("als", "bpr"),
        "model.factors: {type: int, low: 8, high: 64}",
        "model.lr: {type: loguniform, low: 1e-3, high: 1e-1, when: {model.architecture: bpr}}",
        "model.alpha: {type: uniform, low: 1.0, high: 40.0}",
        "training.num_epochs: {type: int, low: 5, high: 30}",
        base=ALS,
    )
    assert conditions(space) == {
        "model.architecture": {}, "model.factors": {}, "training.num_epochs": {},
        "model.lr": {"model.architecture": "bpr"}, "model.alpha": {"model.architecture": ["als"]},
    }  # fmt: skip
    for trial in trials(space):
        config = decode(ExperimentConfig, Document(space.tree(trial)))
        assert config.model.architecture == trial["model.architecture"]
        assert (config.model.factors, config.training.num_epochs) == (
            trial["model.factors"],
            trial["training.num_epochs"],
        )
        assert getattr(config.model, "lr", None) == trial.get("model.lr")
        assert getattr(config.model, "alpha", None) == trial.get("model.alpha")


def test_what_a_model_has_no_use_for_is_listed_as_dropped() -> None:
    dropped = space_of(models("als", "two_tower"), base=TOWERS).dropped()
    assert dropped == {"model.architecture: als": ["optimizer", "training.batch_size"]}
