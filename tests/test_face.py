"""`train`, `search` and `load_config` from Python: the same runs and studies as those of the commands."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlframework
from mlframework import load_config, search, train
from mlframework.cli import search as search_command
from mlframework.cli import train as train_command
from mlframework.config import yaml
from mlframework.errors import ConfigError, StudyError, TrainingError
from mlframework.runs import RunDir, read_json

sys.path.append(str(Path(__file__).parent))

from support.running import command
from support.searches import tree, write_config, write_table

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


pytestmark = pytest.mark.usefixtures("here")


def test_train_is_ml_train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config()
    command(train_command, monkeypatch, "--config", str(path), "--lr", "0.02")
    capsys.readouterr()
    run = train(path, lr=0.02)
    assert capsys.readouterr().out == ""
    commands = read_json(RunDir(Path("runs/tiny_lr-0.02")).result)
    assert run.folder == Path("runs/tiny_lr-0.02-2")
    assert (run.metrics, run.value, run.best_epoch) == (
        commands["best_metrics"],
        commands["value"],
        commands["best_epoch"],
    )
    assert mlframework.load(run.folder).predict({"a": [1.0], "b": [1.0], "c": [1.0]}) is not None


def test_search_is_ml_search(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config()
    command(search_command, monkeypatch, "--config", str(path), "--study-name", "command")
    capsys.readouterr()
    result = search(path, study_name="python")
    assert capsys.readouterr().out == ""
    commands = read_json(Path("runs/optuna_studies/command/results.json"))
    assert (result.best_params, result.best_value) == (commands["best_params"], commands["best_value"])
    assert [trial.value for trial in result.trials] == [trial["value"] for trial in commands["trials"]]
    assert (result.metric, result.direction, result.why) == ("val_loss", "minimize", "done")
    assert train(result.best_config).value == result.best_value


def test_the_best_trials_are_confirmed_as_by_thecommand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config({"search.confirm": {"top_k": 2, "seeds": 3}})
    command(search_command, monkeypatch, "--config", str(path), "--study-name", "command")
    capsys.readouterr()
    result = search(path, study_name="python", progress=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if ", seed " in line]
    commands = read_json(Path("runs/optuna_studies/command/results.json"))
    assert len(lines) == 6 and result.confirmed is not None and result.confirmed.interval is not None
    assert result.confirmed.number == commands["confirmed"]["trial"] == commands["best_trial"]
    assert result.confirmed.interval.mean == commands["confirmed"]["mean"]
    assert result.best_params == commands["best_params"]
    assert search(path, study_name="plain", **{"search.confirm": None}).confirmed is None


def test_of_several_objectives_the_front_is_returned() -> None:
    space = {"model.hidden_size": {"type": "int", "low": 2, "high": 32}}
    objectives = [{"metric": "val_loss"}, {"metric": "n_parameters"}]
    path = write_config({"search_space": space, "search.objectives": objectives, "search.n_trials": 5})
    result = search(path)
    written = read_json(result.folder / "results.json")
    assert [trial.number for trial in result.front] == written["pareto_front"]
    assert (result.best_params, result.best_value) == (written["best_params"], written["best_value"])


def test_a_study_is_gone_on_with_only_where_that_is_asked_for() -> None:
    path = write_config()
    assert len(search(path).trials) == 3
    with pytest.raises(StudyError, match=r"'tiny_optimization' exists already .*resume=True.*study_name="):
        search(path)
    assert len(search(path, resume=True, add_trials=1).trials) == 4
    with pytest.raises(ConfigError, match="give resume=True with it, and leave out n_trials"):
        search(path, add_trials=1)


def test_lines_are_written_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config()
    train(path, progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    search(path, progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["trial 0", "trial 1", "trial 2"]


def test_a_search_without_a_best_trial_says_why() -> None:
    write_table(Path("table.csv"))
    failing = tree(
        {"optimizer.momentum": 0.0, "search_space": {"optimizer.lr": {"type": "categorical", "choices": [1e30]}}}
    )
    with pytest.raises(TrainingError, match=r"(?s)no trial came to its end.*not a number|no trial came to its end"):
        search(failing)


def test_a_config_may_be_a_file_a_tree_or_one_that_was_loaded() -> None:
    path = write_config()
    loaded = load_config(path, lr=0.02, **{"search.n_trials": 2})
    assert (loaded.optimizer.lr, loaded.search and loaded.search.n_trials) == (0.02, 2)
    assert load_config(tree(), lr=0.02, n_trials=2) == loaded
    assert train(loaded).value == train(path, lr=0.02).value == train(tree(), lr=0.02).value
    assert len(search(loaded, **{"sampler": {"type": "QMCSampler"}}).trials) == 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.stem))
def test_a_loaded_config_says_what_its_file_says(path: Path) -> None:
    from mlframework.search.start import read_any

    loaded = load_config(path)
    assert read_any(loaded, {}).config == loaded


def test_every_problem_is_said_with_its_place() -> None:
    path = write_config()
    Path(path).write_text(path.read_text().replace("num_epochs: 3", "num_epochs: 0").replace("seed: 3", "sed: 3"))
    for call in (load_config, train, search):
        with pytest.raises(ConfigError) as error:
            call(path)
        said = str(error.value).splitlines()
        assert len(said) == 2
        assert said[0].startswith("config.yaml:2:1: sed: unknown key; did you mean 'seed'?")
        assert "training.num_epochs: should be greater than 0, got 0" in said[1]
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"lrr": 1}, "lrr: unknown argument or setting; did you mean lr=...?"),
        (
            {"training.num_epoch": 1},
            "training.num_epoch: unknown argument or setting; did you mean **{'training.num_epochs': ...}?",
        ),
        ({"zzzz": 1}, "zzzz: unknown argument or setting; load_config(...) shows the settings"),
        ({"type": 1}, "type: several settings have this name: **{'data.type': ...}, **{'optimizer.type': ...}, "),
        ({"lr": 1, "optimizer.lr": 2}, "optimizer.lr: optimizer.lr is given twice"),
        ({"lr": "x"}, "argument: optimizer.lr: should be a valid number, got 'x'"),
        ({"experiment": "x"}, "argument: tracking.mlflow.experiment: is MLflow's, and nothing is recorded there; set "),
        ({"lr": object}, "lr: should be a plain value that YAML can write, got <class 'object'>"),
    ],
)
def test_an_override_that_is_wrong_is_said_in_the_words_of_python(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write_config(), **overrides)
    assert str(error.value).startswith(message)
    assert "--" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        (train, {"progres": True}, "progres: unknown argument or setting; did you mean progress=...?"),
        (search, {"worker": 2}, "worker: unknown argument or setting; did you mean workers=...?"),
        (search, {"n_trails": 2}, "n_trails: unknown argument or setting; did you mean n_trials=...?"),
        (search, {"lr": 0.1}, "argument: optimizer.lr: is searched, so this value would be used by no trial; "),
        (search, {"ray_address": "auto"}, 'search: ray_address: has an effect with launcher="ray" only; '),
    ],
)
def test_arguments_of_calls_are_called_so(call: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        call(write_config(), **arguments)
    assert str(error.value).startswith(message)


def test_a_config_without_a_search_is_not_searched() -> None:
    write_table(Path("table.csv"))
    Path("plain.yaml").write_text(yaml.dump({key: value for key, value in tree().items() if key != "search"}))
    with pytest.raises(ConfigError, match=r"plain.yaml: search: there is no search: section"):
        search("plain.yaml")


ORDERS = [
    "from mlframework import search; import mlframework.search.config; import mlframework",
    "import mlframework.search.config; import mlframework; from mlframework import search",
    "import mlframework.cli.search; from mlframework.search import loop; from mlframework import search; import mlframework",
    "import mlframework; search = mlframework.search; from mlframework.search.config import SearchConfig",
    "from mlframework import *; import mlframework",
]


@pytest.mark.parametrize("imports", ORDERS)
def test_search_is_function_and_package_whatever_is_imported_first(imports: str) -> None:
    code = (
        f"{imports}\nassert search is mlframework.search and callable(search)\n"
        "from mlframework.search import read as first\nimport mlframework.search.read as second\nassert first is second\n"
        "try:\n    search('nowhere.yaml')\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.stdout.startswith("ConfigError nowhere.yaml: there is no such file"), ended.stderr


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mlframework' has no attribute 'tunr'"):
        mlframework.tunr  # noqa: B018
    assert set(mlframework.__all__) <= set(dir(mlframework))


@pytest.mark.parametrize("config", [[1], None, 3.5])
def test_what_is_no_config_is_said(config: Any) -> None:
    with pytest.raises(
        ConfigError, match="config: should be a file, a mapping of settings, or what load_config returned"
    ):
        mlframework.train(config)


def test_values_of_numpy_are_taken_as_numbers_or_refused_by_name(tmp_path: Path, planted: dict[str, Any]) -> None:
    tree = planted["mlp classification"]
    read = mlframework.load_config(
        {**tree, "optimizer": {"type": "adam", "lr": np.float64(0.25)}, "name": np.str_("a")}
    )
    assert (read.optimizer.lr, type(read.optimizer.lr), type(read.name)) == (0.25, float, str)
    with pytest.raises(
        ConfigError, match=r"optimizer\.lr: should be a plain value that YAML can write, got .*0\.5.*float32"
    ):
        mlframework.train({**tree, "optimizer": {"type": "adam", "lr": np.float32(0.5)}})
    assert not list(tmp_path.rglob("config.yaml"))


ALONE = """
import sys
import mlframework
run = mlframework.train(sys.argv[1])
print(run.value, *sorted(name for name in sys.modules if name.startswith("mlframework.search.")))
"""


def test_a_run_without_a_search_imports_nothing_of_a_search_and_is_the_same(planted: dict[str, Any]) -> None:
    written = {**planted["als"], "name": "alone"}
    Path("als.yaml").write_text(yaml.dump(written), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", ALONE, "als.yaml"], capture_output=True, text=True, check=True)
    value, *modules = done.stdout.split()
    assert modules == ["mlframework.search.start"]
    searched = {
        **written,
        "name": "searched",
        "search": {"search_space": {"model.factors": {"type": "int", "low": 2, "high": 4}}},
    }
    assert float(value) == train(searched).value


@pytest.mark.parametrize("key", ["serach", "name.of"])
def test_a_key_that_is_wrong_is_told_as_where_a_search_is_there(planted: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as one:
        train({**planted["als"], key: {}})
    with pytest.raises(ConfigError) as other:
        load_config({**planted["als"], key: {}})
    assert str(one.value) == str(other.value)
