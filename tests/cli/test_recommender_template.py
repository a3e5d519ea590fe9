"""What ml-init-config writes for interaction logs: it fits each model, says why, and trains."""

import os
import pty
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlframework.cli.init_config import look, write_config
from mlframework.cli.suggestions import Plan, fitting_models, suggest
from mlframework.data.inspect_interactions import InteractionFacts
from mlframework.data.samples import write_ratings
from mlframework.experiment import load_data, train
from mlframework.runs import RunDir
from mlframework.search.read import ReadConfig, read_config

COMMAND = "from mlframework.cli.{} import main; main()"
RANKING, PREDICTING = ("als", "bpr", "two_tower"), ("fm", "ffm")
STEPLESS = ("als", "bpr")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample of 24,000 ratings; not to be written into."""
    return write_ratings(tmp_path_factory.mktemp("ratings") / "ratings.csv")


def write_log(path: Path, n_users: int = 6, n_items: int = 20, rating: str = "{}", header: str | None = None) -> Path:
    pairs = [(user, item) for user in range(n_users) for item in range(n_items) if (user + item) % 4]
    lines = [f"u{user},{item},{rating.format(1 + (user + 2 * item) % 5)}" for user, item in pairs]
    path.write_text("\n".join([header or "user,item,rating", *lines, ""]), encoding="utf-8")
    return path


def plan_for(data: Path, architecture: str | None = None, **choices: Any) -> Plan:
    facts = look(data, None)
    return Plan(facts, replace(suggest(facts, "x", architecture), **choices), search=True)


def written(plan: Plan) -> ReadConfig:
    """Write a config, and read it as ml-search does: that checks the search space, too."""
    write_config(plan, Path("configs/x.yaml"))
    return read_config("configs/x.yaml", {})


def run(command: str, *arguments: str, typed: str | None = None, code: int = 0) -> str:
    """Run a command, in a terminal where something is typed; returns what it printed."""
    words = [sys.executable, "-c", COMMAND.format(command), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    if typed is None:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, env=environment)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    done = subprocess.run(
        words, stdin=theirs, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_ratings_get_als(here: Path, ratings: Path) -> None:
    read = written(plan_for(ratings))
    config = read.config
    assert (config.data.type, config.data.task, config.data.min_rating) == ("interactions", "ranking", 4)
    assert (config.data.user_column, config.data.item_column) == ("user_id", "item_id")
    assert (config.data.rating_column, config.data.time_column) == ("rating", "timestamp")
    assert config.data.min_user_interactions == 3
    assert (config.data.user_features, config.data.item_features) == (None, None)
    assert (config.model.architecture, config.model.factors, config.training.num_epochs) == ("als", 64, 15)
    assert config.metric == config.search_metric == "val_ndcg_at_10"
    assert {"optimizer", "scheduler"}.isdisjoint(read.document.tree)
    assert config.search is not None
    assert list(config.search.search_space) == ["model.factors", "model.regularization"]


@pytest.mark.parametrize(
    ("architecture", "keys"),
    [
        ("bpr", {"model.lr", "model.factors", "model.regularization"}),
        ("two_tower", {"optimizer.lr", "model.embedding_dim", "training.batch_size"}),
        (
            "fm",
            {"optimizer.lr", "optimizer.weight_decay", "model.embedding_dim", "model.dropout", "training.batch_size"},
        ),
        (
            "ffm",
            {"optimizer.lr", "optimizer.weight_decay", "model.embedding_dim", "model.dropout", "training.batch_size"},
        ),
    ],
)
def test_each_model_gets_what_it_can_use(here: Path, ratings: Path, architecture: str, keys: set[str]) -> None:
    read = written(plan_for(ratings, architecture))
    config = read.config
    assert config.search is not None and set(config.search.search_space) == keys
    assert ("optimizer" in read.document.tree) == (architecture not in STEPLESS)
    if architecture in RANKING:
        assert (config.data.task, config.metric) == ("ranking", "val_ndcg_at_10")
    else:
        assert (config.data.task, config.data.min_rating, config.metric) == ("classification", 4, "val_auc")


def test_bpr_is_given_time(here: Path, ratings: Path) -> None:
    config = written(plan_for(ratings, "bpr")).config
    assert (config.training.num_epochs, config.training.early_stopping) == (100, None)
    assert config.search is not None and config.search.pruner.model_dump()["n_warmup_steps"] == 20


def test_the_metric_decides_whether_ratings_or_classes_are_predicted(here: Path, ratings: Path) -> None:
    config = written(plan_for(ratings, "fm", metric="val_rmse")).config
    assert (config.data.task, config.data.min_rating, config.search_direction) == ("regression", None, "minimize")


@pytest.mark.parametrize("metric", ["val_ndcg_at_10", "val_auc", "val_rmse"])
@pytest.mark.parametrize("architecture", [*RANKING, *PREDICTING])
def test_every_line_says_what_it_is(here: Path, architecture: str, metric: str) -> None:
    if (metric == "val_ndcg_at_10") != (architecture in RANKING):
        return
    written(plan_for(write_log(here / "log.csv"), architecture, metric=metric))
    for line in Path("configs/x.yaml").read_text(encoding="utf-8").splitlines()[1:]:
        setting, mark, comment = line.partition("# ")
        assert mark and len(comment) > 3, line
        assert setting == "" or setting.rstrip() != setting, line


@pytest.mark.parametrize("architecture", [*RANKING, *PREDICTING])
@pytest.mark.parametrize("n_users", [2, 30])
def test_what_it_writes_trains(here: Path, architecture: str, n_users: int) -> None:
    config = written(plan_for(write_log(here / "log.csv", n_users), architecture, num_epochs=2)).config
    result = train(config, load_data(config).without_test(), RunDir.create(here, "run"))
    assert 0 <= result.value <= 1


def test_als_beats_popularity_as_it_is_written(here: Path, ratings: Path) -> None:
    config = written(plan_for(ratings)).config
    result = train(config, load_data(config).without_test(), RunDir.create(here, "run"))
    # The most popular items have 0.109, an untuned penalty of 0.01 has 0.16; measured 0.239.
    assert result.value > 0.22


@pytest.mark.parametrize(("n_items", "metric"), [(11, "val_ndcg_at_10"), (10, "val_ndcg_at_5"), (5, "val_ndcg_at_2")])
def test_k_is_smaller_than_the_number_of_items(here: Path, n_items: int, metric: str) -> None:
    assert written(plan_for(write_log(here / "log.csv", 12, n_items, rating="1"))).config.metric == metric


def test_short_logs_get_short_vectors(here: Path) -> None:
    config = written(plan_for(write_log(here / "log.csv"))).config
    assert (config.model.factors, config.model.regularization) == (16, 1.0)


def test_no_ratings_no_prediction_of_ratings(here: Path) -> None:
    plan = plan_for(write_log(here / "log.csv", rating="5"))
    config = written(plan).config
    assert (config.data.rating_column, config.data.min_rating) == (None, None)
    assert fitting_models(plan.facts) == list(RANKING)
    assert fitting_models(look(write_log(here / "log.csv"), None)) == ["fm", "ffm", *RANKING]


def test_target_makes_it_a_table(here: Path) -> None:
    data = write_log(here / "log.csv")
    assert isinstance(look(data, None), InteractionFacts)
    assert run("init_config", str(data), "--yes", "--target", "rating").startswith("Found")
    assert read_config("configs/log_config.yaml", {}).config.data.type == "table"


def test_it_says_why_what_is_left_out_and_what_is_not_used(here: Path) -> None:
    data = write_log(here / "log.csv", rating="{},7", header="user,item,rating,price")
    low = "".join(f"low,{item},1,7\n" for item in range(5))
    data.write_text(f"{data.read_text(encoding='utf-8')}rare,3,5,7\n{low}", encoding="utf-8")
    said = run("init_config", str(data), "--yes")
    assert "as it has a user column (user) and an item column (item); --target COLUMN makes it a table" in said
    assert "Left out  2 of 8 users" in said
    assert "price (neither user, item, rating nor time" in said
    assert "leaves out 2 of 8 users" in Path("configs/log_config.yaml").read_text(encoding="utf-8")

    plan = plan_for(data, "fm")  # to which a low rating is worth as much
    written(plan)
    assert "leaves out 1 of 8 users" in Path("configs/x.yaml").read_text(encoding="utf-8")


def test_classes_begin_above_the_lowest_rating(here: Path) -> None:
    pairs = [(user, item) for user in range(6) for item in range(9)]
    lines = [f"{user},{item},{1 if item < 6 else item - 4}" for user, item in pairs]
    Path("log.csv").write_text("\n".join(["user,item,rating", *lines, ""]), encoding="utf-8")
    assert written(plan_for(Path("log.csv"))).config.data.min_rating == 1
    assert written(plan_for(Path("log.csv"), "fm")).config.data.min_rating == 2


def test_the_model_that_is_asked_for_brings_its_own_suggestions(here: Path) -> None:
    write_log(here / "log.csv")
    answers = ["", "mlp", "fm", "", "val_ndcg_at_10", "val_mae", "no"]
    said = run("init_config", "log.csv", typed="\n".join([*answers, ""]))
    assert "unknown model for this data 'mlp' (known: als, bpr, ffm, fm, two_tower)" in said
    assert "Epochs [20]" in said and "Metric [val_auc]" in said
    assert "unknown metric of a classification or a regression 'val_ndcg_at_10'" in said
    config = read_config("configs/log_config.yaml", {}).config
    assert (config.model.architecture, config.data.task, config.metric) == ("fm", "regression", "val_mae")


def test_any_k_below_the_number_of_items_may_be_asked_for(here: Path) -> None:
    write_log(here / "log.csv")
    answers = ["", "bpr", "7", "val_ndcg_at_20", "train_mrr", "val_recall_at_3", "no"]
    said = run("init_config", "log.csv", typed="\n".join([*answers, ""]))
    assert "val_ndcg_at_20: the number should be less than 20, the number of items" in said
    assert "unknown metric of a ranking 'train_mrr'" in said
    config = read_config("configs/log_config.yaml", {}).config
    assert (config.model.architecture, config.training.num_epochs, config.metric) == ("bpr", 7, "val_recall_at_3")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("u1,1,good\n", "log.csv:2: column 'rating' is 'good', which is no number"),
        ("u1,-1,5\n", "log.csv:2: column 'item' is '-1', and ids cannot be negative"),
        ("u1,1,5\nu2,1,4\n", "no user has a rating of 5 or more for 3 different items"),
        ("", "there are columns but no rows"),
    ],
)
def test_bad_logs_get_one_message_and_write_nothing(here: Path, rows: str, message: str) -> None:
    Path("log.csv").write_text(f"user,item,rating\n{rows}", encoding="utf-8")
    said = run("init_config", "log.csv", "--yes", code=2)
    assert message in said and len(said.splitlines()) == 1
    assert not Path("configs").exists()


def test_the_commands_that_it_names_work(here: Path) -> None:
    """The whole way: from a file of numbers to recommendations, beside a run of the same name that is there already."""
    (here / "runs/u").mkdir(parents=True)
    pairs = [
        (user, item) for user in range(1, 31) for item in range(1, 41) if (user % 3 == item % 3) or user % 7 == item
    ]
    Path("u.data").write_text("".join(f"{u}\t{i}\t{3 + (u + i) % 3}\t{u * i}\n" for u, i in pairs), encoding="utf-8")
    said = run("init_config", "u.data", "--optuna", "--yes")
    commands = [shlex.split(line) for line in said.partition("Next:\n")[2].splitlines()]
    search, _visualise, final, python = commands
    assert search == ["ml-search", "--config", "configs/u_config.yaml"]
    run("search", *search[1:], "--n-trials", "3")
    assert "test: " in run("train", *final[1:])
    assert python[:2] == ["python", "-c"] and 'load("runs/u-2-final")' in python[2]
    done = subprocess.run([sys.executable, *python[1:]], capture_output=True, text=True, timeout=60, check=True)
    assert len(re.findall(r"Recommendation\(item=\d+", done.stdout)) == 10
