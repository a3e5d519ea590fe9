"""What MLflow has of real runs, in a database of its own: each test asks MLflow."""

import itertools
import json
import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mlframework
from mlframework.config import yaml
from mlframework.errors import ConfigError, MissingExtraError
from mlframework.experiment import ExperimentConfig, load_data, start_run, train
from mlframework.folds import CrossValidation
from mlframework.plans import Folds
from mlframework.runs import RunDir
from mlframework.training.tracking.mlflow.delivery import Delivery, Server
from mlframework.training.tracking.mlflow.sender import Sender, _plain, sender
from mlframework.training.tracking.mlflow.settings import MlflowConfig
from mlframework.training.tracking.mlflow.spool import SENT, Sent, Spool
from support.ending import Ending
from support.fuzzing import run_here
from support.mlflow_runs import Recorded, database, settled, state_of
from support.searches import tree, write_config, write_table

Tree = dict[str, Any]
SILENT = "http://127.0.0.1:9"
"""Nobody listens there."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mlflow(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """An empty database, and afterwards no folder that is still sent."""
    import mlflow as package

    yield Recorded(database(here, tmp_path_factory.mktemp("mlflow")))
    sender().drop()
    package.set_tracking_uri(None)
    package.set_registry_uri(None)
    os.environ.pop("MLFLOW_REGISTRY_URI", None)  # what set_registry_uri leaves behind for processes that are started


def to(recorded: Recorded | str, **more: Any) -> Tree:
    """Return the changes of a config that is recorded."""
    uri = recorded if isinstance(recorded, str) else recorded.uri
    settings = {"enabled": True, "tracking_uri": uri, **more}
    return {f"tracking.mlflow.{name}": value for name, value in settings.items()}


def config_of(changes: Tree) -> tuple[ExperimentConfig, Tree]:
    from mlframework.config.decode import decode
    from mlframework.config.yaml import Document

    if not Path("table.csv").exists():
        write_table(Path("table.csv"))
    found = {key: value for key, value in tree(changes).items() if key != "search"}
    return decode(ExperimentConfig, Document(found, "test")), found


def trained(changes: Tree, *callbacks: Any, folder: str = "runs/tiny") -> RunDir:
    """Train a table's model into a folder, or go on there."""
    config, written = config_of(changes)
    run = RunDir(Path(folder))
    if not run.config.is_file():
        run.path.mkdir(parents=True)
        start_run(run, written)
    train(config, load_data(config).without_test(), run, callbacks)
    return run


def test_a_run_has_its_settings_its_curves_and_its_files(mlflow: Recorded) -> None:
    write_config(to(mlflow))
    end = run_here(["ml-train", "--config", "config.yaml", "--lr", "0.02"])
    assert (end.code, end.err) == (0, "")
    found = mlflow.run("tiny", "tiny_lr-0.02")
    folder = Path("runs/tiny_lr-0.02")
    assert state_of(found) == ("FINISHED", "complete")
    assert found.data.params["optimizer.lr"] == "0.02"
    assert found.data.params["model.architecture"] == "mlp"
    assert not any(key.startswith(("tracking", "search")) for key in found.data.params)
    assert mlflow.has_the_curves_of(found, folder / "metrics.jsonl")
    result = json.loads((folder / "result.json").read_text())
    assert mlflow.curve(found, "best/val_loss") == [(result["best_epoch"], result["value"])]
    assert mlflow.artifacts(found) == {"config.yaml", "result.json", "environment.json"}
    assert (
        f"MLflow: recorded in experiment 'tiny' at {mlflow.uri}   look: mlflow ui --backend-store-uri {mlflow.uri}\n"
        in end.out
    )
    assert found.data.tags["mlflow.user"] and found.data.tags["mlflow.source.name"]


def test_the_options_name_the_experiment(mlflow: Recorded) -> None:
    write_config({"tracking.mlflow.tracking_uri": mlflow.uri})
    line = ["ml-train", "--config", "config.yaml", "--mlflow-tracking", "--experiment-name", "mine"]
    assert run_here(line).code == 0
    assert [run.info.run_name for run in mlflow.runs("mine")] == ["tiny"], "what is tracked is no part of the name"
    end = run_here(["ml-train", "--config", "config.yaml", "--experiment-name", "mine"])
    assert (end.code, "add --mlflow-tracking" in end.err) == (2, True), end


@pytest.mark.parametrize(
    "command", ["ml-train --config config.yaml", "ml-search --config config.yaml", "ml-train --resume runs/a"]
)
@pytest.mark.parametrize(
    "key", ["register_model true", "registered_name mine", "tracking_uri http://127.0.0.1:9", "experiment e"]
)
def test_a_setting_that_would_do_nothing_is_refused(here: Path, command: str, key: str) -> None:
    write_config({"tracking.mlflow.register_model": True})  # in the file it may stand prepared
    if "--resume" in command:
        RunDir(Path("runs/a")).path.mkdir(parents=True)
        start_run(RunDir(Path("runs/a")), config_of({})[1])
    end = run_here([*command.split(), *f"--tracking.mlflow.{key}".split()])
    assert end.code == 2, end
    assert (
        f"tracking.mlflow.{key.split()[0]}: is MLflow's, and nothing is recorded there; add --mlflow-tracking"
        in end.err
    )
    assert not Path("runs").exists() or "--resume" in command


def test_python_refuses_them_as_well(here: Path) -> None:
    write_config({})
    section: list[Tree] = [{"tracking.mlflow.register_model": True}, {"tracking.mlflow": {"register_model": True}}]
    for overrides in (*section, {"register_model": True}):
        with pytest.raises(ConfigError, match="nothing is recorded there"):
            mlframework.train("config.yaml", **overrides)
    assert mlframework.load_config("config.yaml", **{"tracking.mlflow.enabled": False})
    assert not Path("runs").exists()


def test_a_resume_goes_on_in_the_same_run(mlflow: Recorded) -> None:
    changes = {**to(mlflow), "training.num_epochs": 5}
    with pytest.raises(KeyboardInterrupt):
        trained(changes, Ending(2, KeyboardInterrupt()))
    settled(sender())
    before = mlflow.run("tiny", "tiny")
    assert state_of(before) == ("KILLED", "interrupted")
    run = trained(changes)
    settled(sender())
    found = mlflow.run("tiny", "tiny")
    assert (found.info.run_id, *state_of(found)) == (before.info.run_id, "FINISHED", "complete")
    assert len(mlflow.curve(found, "val_loss")) == 5
    assert mlflow.has_the_curves_of(found, run.metrics)


def test_a_failure_says_why(mlflow: Recorded) -> None:
    with pytest.raises(ValueError, match="of no use"):
        trained(to(mlflow), Ending(1, ValueError("of no use")))
    settled(sender())
    found = mlflow.run("tiny", "tiny")
    assert state_of(found) == ("FAILED", "failed")
    assert found.data.tags["mlframework.reason"] == "of no use"


def test_a_run_that_was_begun_without_has_all_its_epochs(mlflow: Recorded) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained({"training.num_epochs": 4}, Ending(3, KeyboardInterrupt()))
    run = trained({**to(mlflow), "training.num_epochs": 4})
    settled(sender())
    assert mlflow.has_the_curves_of(mlflow.run("tiny", "tiny"), run.metrics)


def test_a_death_before_it_was_written_what_was_sent_sends_nothing_twice(mlflow: Recorded) -> None:
    """The files are those of a process that died after MLflow had taken the epochs: how far it was sent is not in them."""
    changes = {**to(mlflow), "training.num_epochs": 4}
    run = trained(changes)
    settled(sender())
    before = mlflow.run("tiny", "tiny")
    sent = json.loads((run.path / SENT).read_text())
    # MLflow's SQL stores drop a point that is the same in all it has; one with another time they would keep beside it.
    queue = Spool(run.path).path
    queue.write_text(re.sub(r'("time": \d+)(\d),', lambda m: f"{m[1]}{(int(m[2]) + 1) % 10},", queue.read_text()))
    for position in (None, 0, 1500):
        sender().drop()
        if position is None:
            (run.path / SENT).unlink()
        else:
            (run.path / SENT).write_text(json.dumps({**sent, "position": position}))
        sender().add(run.path, mlflow.uri, "tiny")
        settled(sender())
        found = mlflow.run("tiny", "tiny")
        assert found.info.run_id == before.info.run_id
        assert mlflow.has_the_curves_of(found, run.metrics)


def test_another_training_in_the_folder_is_another_run(mlflow: Recorded) -> None:
    run = trained(to(mlflow))
    for path in run.checkpoints.iterdir():
        path.unlink()
    write_table(Path("table.csv"), 80)  # as a study does where its data has changed
    trained(to(mlflow))
    settled(sender())
    states = sorted(state_of(each) for each in mlflow.runs("tiny"))
    assert states == [("FINISHED", "complete"), ("KILLED", "superseded")]
    (now,) = [each for each in mlflow.runs("tiny") if state_of(each)[1] == "complete"]
    assert mlflow.has_the_curves_of(now, run.metrics)


def test_folds_are_curves_of_one_run(mlflow: Recorded) -> None:
    config, written = config_of(to(mlflow))
    run = RunDir(Path("runs/folds"))
    run.path.mkdir(parents=True)
    start_run(run, written)
    Folds(CrossValidation(n_folds=2)).evaluate(config, load_data(config).without_test(), run, lambda *_: None, [])
    sender().add(run.path, mlflow.uri, "tiny")
    settled(sender())
    found = mlflow.run("tiny", "folds")
    for fold in ("fold_1", "fold_2"):
        assert mlflow.has_the_curves_of(found, run.path / fold / "metrics.jsonl", f"{fold}/")


def test_a_cross_validation_says_where_it_is_recorded_and_has_an_end(mlflow: Recorded) -> None:
    write_config(to(mlflow, register_model=True))
    end = run_here(["ml-train", "--config", "config.yaml", "--cross-validate", "2"])
    look = f"   look: mlflow ui --backend-store-uri {mlflow.uri}"
    last = f"MLflow: recorded in experiment 'tiny' at {mlflow.uri}{look}\n"
    assert (end.code, end.out.endswith(f"in runs/tiny_folds-2\n{last}")) == (0, True), end
    assert "register_model has no say here: folds only judge, and leave no model\n" in end.out
    found = mlflow.run("tiny", "tiny_folds-2")
    result = json.loads(Path("runs/tiny_folds-2/result.json").read_text())
    assert state_of(found) == ("FINISHED", "complete")
    assert mlflow.curve(found, "best/val_loss") == [(result["best_epoch"], result["value"])]
    assert mlflow.artifacts(found) == {"config.yaml", "result.json", "environment.json"}
    sender().drop()  # as another process begins
    Path("runs/tiny_folds-2", SENT).unlink()
    n_entries = len(Spool(Path("runs/tiny_folds-2")).events())
    end = run_here(["ml-train", "--resume", "runs/tiny_folds-2"])
    missed = f"MLflow: sent {n_entries} entries of runs/tiny_folds-2 that it had missed\n"
    assert (end.code, end.out.endswith(missed + last)) == (0, True), end
    assert len(mlflow.runs("tiny")) == 1
    assert mlflow.has_the_curves_of(found, Path("runs/tiny_folds-2/fold_2/metrics.jsonl"), "fold_2/")


def test_a_server_that_is_away_changes_nothing(mlflow: Recorded) -> None:
    """What it missed stands in the folder, and goes to the server that the next command names."""
    write_config(to(SILENT, register_model=True))
    with warnings.catch_warnings(record=True):
        end = run_here(["ml-train", "--config", "config.yaml"])
    assert end.code == 0, end
    assert f"MLflow at {SILENT} does not answer (connection refused); what it misses is kept" in end.err
    assert "HTTPConnectionPool" not in end.err and "--tracking.mlflow.tracking_uri URI" in end.err
    assert "this sends the rest: ml-train --resume runs/tiny" in end.err
    assert (
        f"not all of it is recorded yet in experiment 'tiny' at {SILENT}; it is kept in runs/tiny, and sent by:"
        in end.out
    )
    assert (
        "not registered yet: tiny; its model is kept in runs/tiny, and registered by: ml-train --resume runs/"
        in end.out
    )
    write_config({})
    assert run_here(["ml-train", "--config", "config.yaml"]).code == 0
    runs = [[json.loads(line) for line in Path(f"runs/{name}/metrics.jsonl").read_text().splitlines()] for name in
            ("tiny", "tiny-2")]  # fmt: skip
    for with_it, without in zip(*runs, strict=True):
        assert [with_it[name] for name in ("train_loss", "val_loss")] == [
            without[name] for name in ("train_loss", "val_loss")
        ]
    end = run_here(["ml-train", "--resume", "runs/tiny", "--tracking.mlflow.tracking_uri", mlflow.uri])
    assert (end.code, "MLflow at" in end.err) == (0, False), end
    assert f"MLflow: recorded in experiment 'tiny' at {mlflow.uri}" in end.out
    assert "registered tiny version 1 (champion)\n" in end.out
    n_entries = len(Spool(Path("runs/tiny")).events())
    assert f"MLflow: sent {n_entries} entries of runs/tiny that it had missed\n" in end.out
    found = mlflow.run("tiny", "tiny")
    assert mlflow.has_the_curves_of(found, Path("runs/tiny/metrics.jsonl"))
    assert mlflow.artifacts(found) == {"config.yaml", "result.json", "environment.json", "model"}


def test_two_processes_that_make_a_run_at_once_go_on_with_one(mlflow: Recorded) -> None:
    """The second one has asked and found none, then the first one makes it and sends all that it has."""
    spools = [Spool(Path(f"machine_{name}/run")) for name in "ab"]
    for spool, started in zip(spools, (2000, 1000), strict=True):  # the later one may have begun earlier
        spool.append("run", key="k", name="run", tags={}, time=started)
        spool.append("epoch", epoch=1, metrics={"val_loss": 0.5})
    early = Delivery(spools[0].folder, Server(mlflow.uri), "e")

    class Late(Server):
        def run_of(self, experiment: str, **tags: str) -> str | None:
            found = super().run_of(experiment, **tags)
            if found is None:
                assert early.send()
            return found

    late = Delivery(spools[1].folder, Late(mlflow.uri), "e")
    assert late.send()
    (found,) = mlflow.runs("e")
    assert {Sent.read(spool.folder, mlflow.uri, "e").run_id for spool in spools} == {found.info.run_id}
    assert mlflow.curve(found, "val_loss") == [(1, 0.5)]


def test_what_goes_into_a_file_is_left_to_whom_it_lies_with(mlflow: Recorded) -> None:
    """A worker of another machine would make a file of its own."""
    spool, worker = Spool(Path("runs/a").absolute()), Sender()
    spool.append("run", key="a", name="a", tags={})
    worker.leave_files()
    worker.add(spool.folder, "sqlite:///elsewhere.db", "e")
    assert worker.flush(0.0) == [] and not (spool.folder / SENT).exists() and not Path("elsewhere.db").exists()
    worker.add(spool.folder, SILENT, "e")
    assert worker.flush(0.0) == [spool.folder]
    worker.drop()


def test_a_server_that_hangs_is_waited_for_once(mlflow: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and never answers. The clock is one that goes on by a second each time it is looked at."""
    import time

    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)), sleep=time.sleep, strftime=time.strftime)
    monkeypatch.setattr("mlframework.training.tracking.mlflow.sender.time", clock)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    spool, hung = Spool(Path("runs/hung").absolute()), Sender()
    spool.append("run", key="a", name="hung", tags={})
    with socket.create_server(("127.0.0.1", 0)) as server:
        hung.add(spool.folder, f"http://127.0.0.1:{server.getsockname()[1]}", "e")
        waited = []
        for seconds in (2.0, 5.0, 5.0, 5.0):  # a training's end, its run's, and both of the final run
            before = next(ticks)
            assert hung.flush(seconds) == [spool.folder]
            waited.append(next(ticks) - before)
        server.accept()[0].close()
    assert waited[0] >= 2 and sum(waited) <= 5 + 4 * 4, waited
    hung.add(spool.folder, mlflow.uri, "e")
    settled(hung)
    assert mlflow.run("e", "hung").data.tags["mlframework.key"] == "a"


def test_a_run_that_was_deleted_there_is_said_once_and_left(mlflow: Recorded) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained({**to(mlflow), "training.num_epochs": 4}, Ending(2, KeyboardInterrupt()))
    settled(sender())
    mlflow.client.delete_run(mlflow.run("tiny", "tiny").info.run_id)
    with pytest.warns(UserWarning, match="takes nothing of runs/tiny") as said:
        trained({**to(mlflow), "training.num_epochs": 4})
        assert sender().flush(5) == []
    assert len([each for each in said if "MLflow" in str(each.message)]) == 1


@pytest.mark.parametrize("written", ["in the URL", "as a variable"])
def test_a_password_is_in_no_file_and_no_line(
    here: Path, written: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PASSWORD", "s3cr3t")
    shown = "s3cr3t" if written == "in the URL" else "${PASSWORD}"
    uri = f"http://alice:{shown}@127.0.0.1:9"
    write_config({**to(uri), "search.n_trials": 1})
    ends = [
        run_here(["ml-train", "--config", "config.yaml", "--mode", "final"]),
        run_here(["ml-train", "--config", "config.yaml", f"--tracking.mlflow.tracking_uri={uri}", "--print-config"]),
        run_here(["ml-search", "--config", "config.yaml", "--tracking.mlflow.tracking_uri", uri]),
    ]
    sender().drop()
    assert [end.code for end in ends] == [0, 0, 0], ends
    assert "s3cr3t" not in "".join(end.out + end.err for end in ends)
    files = [path for path in here.rglob("*") if (path.is_file() and path.name != "config.yaml") or path.parent != here]
    assert len(files) > 20
    assert [path for path in files if path.is_file() and b"s3cr3t" in path.read_bytes()] == []
    best = yaml.read(Path("runs/optuna_studies/tiny_optimization/best_config.yaml")).tree
    assert best["tracking"]["mlflow"]["tracking_uri"] == uri.replace("s3cr3t", "***")


def test_without_the_extra_nothing_begins(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(to("sqlite:///mlflow.db"))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for command in ("ml-train", "ml-search"):
        end = run_here([command, "--config", "config.yaml"])
        assert (end.code, 'pip install "mlframework[mlflow]"' in end.err) == (2, True), end
    assert not Path("runs").exists() and not Path("studies.db").exists()
    with pytest.raises(MissingExtraError):
        mlframework.train("config.yaml")


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "file:///tmp/mlruns", "ftp://host", "localhost:5000"])
def test_what_is_no_server_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="is no tracking server"):
        MlflowConfig(tracking_uri=uri)


def test_half_a_line_is_left_for_later_and_ended_by_the_next(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append("run", key="a")
    whole = spool.path.stat().st_size
    with spool.path.open("ab") as file:
        file.write(b'{"kind": "epoch", "epo')
    assert [event["kind"] for event in spool.events()] == ["run"]
    spool.append("status", status="FINISHED")
    assert [(event["kind"]) for event, _ in spool.after(whole)] == ["status"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "host='h': Max retries exceeded (Caused by NewConnectionError: [Errno 111] Connection refused)",
            "connection refused",
        ),
        ("host='h': Max retries exceeded (Caused by NameResolutionError: Failed to resolve 'h')", "name not found"),
        ("host='h': Max retries exceeded (Caused by ConnectTimeoutError: timed out)", "timed out"),
        ("Max retries exceeded (SSLError)", "no secure connection: is its certificate valid?"),
        ("database is locked", "database is locked"),
    ],
)
def test_why_a_server_does_not_answer_is_said_in_plain_words(text: str, said: str) -> None:
    assert _plain(ValueError(text)) == said


# The registry


def registered(mlflow: Recorded, changes: Tree, name: str) -> tuple[Any, Any]:
    """Train and register; return what MLflow loads, and what `mlframework.load` does."""
    import mlflow as package

    run = mlframework.train({**changes, "name": name, "tracking": {"tensorboard": False, "mlflow": {
        "enabled": True, "tracking_uri": mlflow.uri, "register_model": True}}})  # fmt: skip
    settled(sender())
    package.set_tracking_uri(mlflow.uri)
    package.set_registry_uri(mlflow.uri)
    loaded = package.pyfunc.load_model(f"models:/{name}@champion")
    assert mlflow.client.get_model_version_by_alias(name, "champion").run_id == mlflow.run(name, name).info.run_id
    signature, example = loaded.metadata.signature, loaded.input_example
    assert signature.inputs and signature.outputs and example is not None
    assert len(loaded.predict(example)), "the example is an input"
    return loaded, mlframework.load(run.folder)


def test_a_registered_table_model_says_the_same(mlflow: Recorded, planted: dict[str, Tree]) -> None:
    changes = planted["mlp classification"]
    model, own = registered(mlflow, changes, "table")
    rows = pd.read_csv(changes["data"]["path"]).drop(columns=["kind", "value"])
    rows.loc[3, "x0"] = None
    rows.loc[4, "colour"] = None
    found, wanted = model.predict(rows), own.predict(rows)
    assert found["prediction"].tolist() == [each.value for each in wanted]
    assert found["probability_high"].tolist() == [each.probabilities["high"] for each in wanted]
    once = mlframework.train({**changes, "name": "table", "tracking": {"mlflow": {
        "enabled": True, "tracking_uri": mlflow.uri, "register_model": True}}})  # fmt: skip
    settled(sender())
    version = mlflow.client.get_model_version_by_alias("table", "champion")
    assert (int(version.version), once.folder.name) == (2, "table-2"), "the newest is the champion"


def test_a_registered_image_model_says_the_same(mlflow: Recorded, planted: dict[str, Tree]) -> None:
    model, own = registered(mlflow, planted["image classifier"], "images")
    paths = sorted(Path(planted["image classifier"]["data"]["path"]).rglob("*.png"))[::7]
    found = model.predict(pd.DataFrame({"image": [path.read_bytes() for path in paths]}))
    wanted = own.predict(paths)
    assert found["prediction"].tolist() == [each.value for each in wanted]
    assert np.array_equal(found["probability_left"], [each.probabilities["left"] for each in wanted])


def test_a_registered_recommender_says_the_same(mlflow: Recorded, planted: dict[str, Tree]) -> None:
    model, own = registered(mlflow, planted["als"], "als")
    users = list(own.users[:3])
    found = model.predict(pd.DataFrame({"user_id": users}), params={"k": 4})
    wanted = own.recommend(users, 4)
    assert found["user_id"].tolist() == [user for user in users for _ in range(4)]
    assert found["item_id"].tolist() == [each.item for listed in wanted for each in listed]
    assert found["score"].tolist() == [each.score for listed in wanted for each in listed]
    pairs = pd.DataFrame({"user_id": users, "item_id": list(own.items[:3])})
    assert model.predict(pairs)["prediction"].tolist() == [each.value for each in own.predict(pairs)]


def test_only_the_final_model_of_a_final_run_is_registered(mlflow: Recorded) -> None:
    write_config(to(mlflow, register_model=True, registered_name="best"))
    end = run_here(["ml-train", "--config", "config.yaml", "--mode", "final"])
    assert (end.code, end.out.count("MLflow: recorded"), end.out.count("registered best version 1 (champion)\n")) == (
        0,
        1,
        1,
    )
    settled(sender())
    (version,) = mlflow.client.search_model_versions("name='best'")
    final = mlflow.run("tiny", "tiny-final")
    assert (version.run_id, "test_acc" in final.data.metrics) == (final.info.run_id, True)
    assert run_here(["ml-train", "--resume", "runs/tiny"]).code == 0
    assert len(mlflow.client.search_model_versions("name='best'")) == 1
