"""Advice about torchrun and workers leads somewhere: whoever follows it arrives."""

from pathlib import Path

import pytest

from mlframework import search
from mlframework.cli import search as search_command
from mlframework.cli import train as train_command
from mlframework.config import yaml
from mlframework.errors import ConfigError
from mlframework.runs import read_json
from support.running import command
from support.searches import write_config

DISTRIBUTED = {"training.trainer_type": "distributed"}


pytestmark = pytest.mark.usefixtures("here")


def test_workers_of_a_distributed_training_are_refused_with_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    config = str(write_config(DISTRIBUTED))
    for refused in (
        lambda: command(search_command, monkeypatch, "--config", config, "--workers", "2"),
        lambda: search(config, workers=2),
    ):
        with pytest.raises(ConfigError) as error:
            refused()
        said = str(error.value)
        assert said.startswith("config.yaml:")
        assert "training.trainer_type: a worker trains its trials in one process each: set it to standard" in said
        # What is to be run by torchrun has no --workers, which torchrun would refuse.
        assert said.endswith("torchrun --standalone --nproc-per-node 2 --no-python ml-search --config config.yaml")
    with pytest.raises(ConfigError) as error:
        command(
            search_command,
            monkeypatch,
            "--config",
            str(write_config()),
            "--workers",
            "2",
            "--trainer_type",
            "distributed",
        )
    assert str(error.value).endswith("ml-search --config config.yaml --trainer_type distributed")
    assert not Path("runs").exists()


def test_workers_under_torchrun_are_refused_with_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        command(search_command, monkeypatch, "--config", str(write_config()), "--workers", "2")
    assert "leave it out, and all of those train each trial together (training.trainer_type: distributed)" in str(
        error.value
    )
    assert "or leave out torchrun (trainer_type: standard)" in str(error.value)


def test_a_study_of_ranks_is_refitted_in_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write_config({"search.n_trials": 1}))
    search(config)
    trial = Path("runs/optuna_studies/tiny_optimization/trial_0000/config.yaml")
    # As torchrun's processes would have trained it.
    trial.write_text(trial.read_text().replace("training: {", "training: {trainer_type: distributed, "))
    command(search_command, monkeypatch, "--config", config, "--resume", "--refit")
    said = capsys.readouterr().out
    final = Path("runs/tiny_optimization-final")
    assert read_json(final / "result.json")["test_metrics"]
    assert yaml.read(final / "config.yaml").tree["training"]["trainer_type"] == "standard"
    # And the best trial's config, which has ranks, is trained by the command that starts them.
    assert "train it:  torchrun --standalone --nproc-per-node 2 --no-python ml-train --config runs/" in said


def test_a_run_of_ranks_gets_its_final_run_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    command(train_command, monkeypatch, "--config", str(write_config()))
    run = Path("runs/tiny/config.yaml")
    run.write_text(run.read_text().replace("training: {", "training: {trainer_type: distributed, "))
    command(train_command, monkeypatch, "--resume", "runs/tiny", "--trainer_type", "standard", "--mode", "final")
    assert read_json(Path("runs/tiny-final/result.json"))["test_metrics"]
