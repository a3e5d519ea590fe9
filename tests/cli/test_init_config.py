"""The command ml-init-config: what it writes decodes, is sensible and commented; bad input leaves no trace."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlframework.cli import init_config
from mlframework.cli.init_config import default_name
from mlframework.data.samples import write_breast_cancer, write_diabetes, write_digits
from mlframework.models.small_cnn import SmallCnn
from mlframework.search.read import ReadConfig, read_config

COMMAND = [sys.executable, "-c", "from mlframework.cli.init_config import main; main()"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["ml-init-config", *arguments])
    with pytest.raises(SystemExit) as end:
        init_config.main()
    return int(end.value.code or 0)


@pytest.fixture
def written(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ReadConfig]:
    """Runs the command with --yes on some data, and returns what it wrote, checked as ml-search checks it."""

    def run(data: str | Path, *arguments: str) -> ReadConfig:
        assert init(monkeypatch, str(data), "--yes", *arguments) == 0
        name = Path(data).name.partition(".")[0]
        return read_config(f"configs/{name}_config.yaml", {})

    return run


def write_photos(folder: Path, counts: dict[str, int], size: int) -> Path:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")
    return folder


def write_table(path: Path, target: Callable[[int], object], n: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.4f},{'red' if rng.random() < 0.5 else 'blue'},user{i},{target(i)}" for i in range(n)]
    path.write_text("\n".join(["size,colour,who,answer", *rows]) + "\n", encoding="utf-8")
    return path


def test_digits_get_a_config_and_a_search(here: Path, written: Callable[..., ReadConfig]) -> None:
    config = written(write_digits("data/digits"), "--optuna").config
    assert config.name == "digits" and config.metric == "val_acc"
    assert (config.data.type, config.data.path) == ("image_folder", "data/digits")
    assert config.data.image_size == 32
    assert config.data.augment == "none"  # a mirrored 2 is no 2
    assert config.model.architecture == "resnet18"
    assert config.training.num_epochs == 8
    assert config.search is not None
    assert config.study_name == "digits_optimization"
    assert config.search.pruner.model_dump(include={"type", "n_startup_trials", "n_warmup_steps"}) == {
        "type": "MedianPruner", "n_startup_trials": 3, "n_warmup_steps": 2}  # fmt: skip
    assert config.search.n_trials == 50
    assert list(config.search.search_space) == [
        "optimizer.lr", "training.batch_size", "optimizer.momentum", "optimizer.weight_decay"]  # fmt: skip


def test_without_optuna_there_is_no_search(here: Path, written: Callable[..., ReadConfig]) -> None:
    assert written(write_breast_cancer("data/cancer.csv")).config.search is None


def test_photos_are_augmented_and_trained_at_224(here: Path, written: Callable[..., ReadConfig]) -> None:
    data = written(write_photos(here / "pets", {"cat": 12, "dog": 3}, size=300)).config.data
    assert (data.image_size, data.augment, data.cache) == (224, "standard", "memory")


@pytest.mark.parametrize(("side", "size"), [(40, 32), (41, 64), (65, 128), (129, 224)])
def test_image_size_follows_the_images(here: Path, written: Callable[..., ReadConfig], side: int, size: int) -> None:
    assert written(write_photos(here / "pets", {"a": 3, "b": 3}, side)).config.data.image_size == size


def test_a_train_folder_without_val_gets_only_the_val_fraction(here: Path, written: Callable[..., ReadConfig]) -> None:
    write_photos(here / "pets" / "train", {"a": 4, "b": 4}, 16)
    write_photos(here / "pets" / "test", {"a": 1, "b": 1}, 16)
    assert written(here / "pets").document.tree["data"]["split"] == {"val_fraction": 0.2}


def test_images_beyond_the_memory_are_not_cached(
    here: Path, written: Callable[..., ReadConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlframework.cli.config_template.CACHE_LIMIT", 1000)
    assert written(write_photos(here / "pets", {"a": 3, "b": 3}, 16)).config.data.cache == "none"


def test_two_classes_go_by_auc(here: Path, written: Callable[..., ReadConfig]) -> None:
    config = written(write_breast_cancer("data/cancer.csv"), "--optuna").config
    assert config.metric == config.search_metric == "val_auc" and config.search_direction == "maximize"
    assert (config.data.target, config.data.task) == ("diagnosis", "classification")
    assert config.model.architecture == "mlp"
    assert config.training.early_stopping is not None
    assert config.search is not None
    assert {"model.hidden_layers", "model.hidden_size", "model.dropout"} <= set(config.search.search_space)


def test_numbers_go_by_rmse(here: Path, written: Callable[..., ReadConfig]) -> None:
    config = written(write_diabetes("data/diabetes.csv"), "--optuna").config
    assert (config.metric, config.search_direction, config.data.task) == ("val_rmse", "minimize", "regression")
    assert config.data.split.strategy == "random"


def test_what_is_missing_is_counted_and_said(
    here: Path, written: Callable[..., ReadConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(i: int) -> str:
        return "" if i % 40 == 0 else "ab"[i % 2]

    table = write_table(here / "t.csv", answer)
    lines = table.read_text().splitlines()
    for row in (3, 4, 41, 50):  # of which row 41 (the 40th of 0, 1, ...) has no target
        lines[row] = "NA," + lines[row].partition(",")[2]
    lines[7] = f"{lines[7].split(',')[0]},," + lines[7].split(",", 2)[2]
    table.write_text("\n".join(lines) + "\n")
    written(table, "--target", "answer")
    said = " ".join(capsys.readouterr().out.split())
    assert "Left out 3 of 120 rows, which have no value of answer" in said
    assert (
        "Missing 4 values in 2 of 2 columns (size 3, colour 1): numbers become the median of train, and a column says "
        "where; text are a category of their own" in said
    )
    config = Path("configs/t_config.yaml").read_text()
    assert "# 117 rows; 3 more have no target and are left out" in config
    assert "found 1: size; 3 missing in size become the median of train, and a column says where" in config
    assert "found 1: colour; 1 missing in colour are a category of their own" in config


def test_nothing_is_said_of_missing_values_where_none_is(
    here: Path, written: Callable[..., ReadConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    written(write_table(here / "t.csv", lambda i: "ab"[i % 2]))
    assert "Missing" not in capsys.readouterr().out
    assert "missing" not in Path("configs/t_config.yaml").read_text()


def test_many_classes_go_by_accuracy(here: Path, written: Callable[..., ReadConfig]) -> None:
    config = written(write_table(here / "kinds.csv", lambda i: f"kind{i % 4}")).config
    assert config.metric == "val_acc" and config.data.split.strategy == "stratified"
    assert config.data.drop == ("who",)


def test_uneven_classes_are_watched_by_f1(here: Path, written: Callable[..., ReadConfig]) -> None:
    assert written(write_table(here / "t.csv", lambda i: "abb"[min(i % 13, 2)])).config.metrics == ["val_f1"]
    assert written(write_table(here / "u.csv", lambda i: "ab"[i % 2])).config.metrics == []


def test_target_is_taken_from_the_command_line(here: Path, written: Callable[..., ReadConfig]) -> None:
    config = written(write_table(here / "t.csv", lambda i: i % 2), "--target", "size").config
    assert (config.data.target, config.data.task) == ("size", "regression")


@pytest.mark.parametrize("kind", ["images", "numbers", "classes"])
def test_every_line_says_what_it_is(here: Path, written: Callable[..., ReadConfig], kind: str) -> None:
    data = {
        "images": lambda: write_photos(here / "x", {"a": 3, "b": 3}, 16),
        "numbers": lambda: write_diabetes(here / "x.csv"),
        "classes": lambda: write_table(here / "x.csv", lambda i: i % 3),
    }[kind]()
    written(data, "--optuna")
    first, *lines = Path("configs/x_config.yaml").read_text(encoding="utf-8").splitlines()
    assert first == "# yaml-language-server: $schema=./schema.json"
    for line in lines:
        setting, mark, comment = line.partition("# ")
        assert mark and len(comment) > 3, line
        assert setting == "" or setting.rstrip() != setting, line


def test_schema_is_written_beside_it_once(here: Path, written: Callable[..., ReadConfig]) -> None:
    written(write_diabetes("data/diabetes.csv"))
    schema = json.loads(Path("configs/schema.json").read_text(encoding="utf-8"))
    assert schema["$schema"].startswith("https://json-schema.org/") and schema["title"] == "mlframework config"
    assert {"data", "model", "search"} <= set(schema["properties"])
    Path("configs/schema.json").write_text("{}", encoding="utf-8")
    written("data/diabetes.csv", "--force")
    assert Path("configs/schema.json").read_text(encoding="utf-8") == "{}"


def test_odd_names_stay_readable(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_photos(here / "my: data #1", {"yes": 3, "no": 3}, 16)
    assert init(monkeypatch, folder.name, "--yes") == 0
    config = read_config("configs/my_data_1_config.yaml", {}).config
    assert config.data.path == "my: data #1"


def test_default_names(here: Path) -> None:
    assert default_name(Path("data/breast_cancer.csv.gz")) == "breast_cancer"
    assert default_name(Path("data/my.table.parquet")) == "my.table"
    assert default_name(Path("data/u.data")) == "u"
    assert default_name(Path()) == here.name
    assert default_name(Path("/")) == "data"


def test_what_it_writes_trains(here: Path, written: Callable[..., ReadConfig]) -> None:
    from mlframework.experiment import load_data, train
    from mlframework.runs import RunDir

    config = written(write_breast_cancer("data/breast_cancer.csv"), "--optuna").config
    result = train(config, load_data(config).without_test(), RunDir.create(here, "run"))
    assert result.value >= 0.98


def bad_data(kind: str) -> list[str]:
    """Write bad data; return the arguments that name it."""
    data = Path("data")
    if kind == "missing":
        return ["data"]
    data.mkdir()
    if kind == "empty folder":
        return ["data"]
    if kind in ("one class", "one image", "no class folders"):
        folder = data if kind == "no class folders" else data / "a"
        folder.mkdir(exist_ok=True)
        for number in range(4):
            Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
        if kind == "one image":
            (data / "b").mkdir()
            Image.new("RGB", (8, 8)).save(data / "b" / "0.png")
        return ["data"]
    table = data / "t.csv"
    content: dict[str, bytes] = {
        "no header": b"1.5,2.5\n3.5,4.5\n5.5,6.5\n",
        "one row": b"a,b\n1.5,2.5\n",
        "binary": bytes(range(256)),
        "empty file": b"",
        "target": b"a,b\n1.5,x\n3.5,y\n",
        "suffix": b"PK",
        "name": b"a,b\n1.5,x\n3.5,y\n",
    }
    table.write_bytes(content[kind])
    if kind == "suffix":
        table = table.rename(data / "t.zip")
    return [str(table), *{"target": ["--target", "c"], "name": ["--name", "a/b"]}.get(kind, [])]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "data: there is no such file or folder"),
        ("empty folder", "data: empty, no class folders"),
        ("one class", "only one class, 'a'"),
        ("one image", "at least 3 readable images"),
        ("no class folders", "the images lie directly in it"),
        ("no header", "the first line looks like data"),
        ("one row", "add rows"),
        ("binary", "not UTF-8 text"),
        ("empty file", "the file is empty"),
        ("suffix", "unknown kind of table"),
        ("target", "unknown target column 'c'"),
        ("name", "--name: 'a/b' cannot name files"),
    ],
)
def test_bad_input_gets_one_message_and_writes_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, message: str
) -> None:
    assert init(monkeypatch, *bad_data(kind), "--optuna", "--yes") == 2
    said = capsys.readouterr()
    assert message in said.err and len(said.err.splitlines()) == 1 and said.out == ""
    assert not Path("configs").exists()


def test_a_folder_has_no_target_column(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(here / "pets", {"a": 3, "b": 3}, 16)
    assert init(monkeypatch, "pets", "--target", "a", "--yes") == 2
    assert "leave it out" in capsys.readouterr().err


def test_nothing_is_overwritten_without_force(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_diabetes("d.csv")
    Path("mine.yaml").write_text("mine", encoding="utf-8")
    assert init(monkeypatch, "d.csv", "--yes", "--output", "mine.yaml") == 2
    assert "mine.yaml: exists already; replace it with --force" in capsys.readouterr().err
    assert Path("mine.yaml").read_text(encoding="utf-8") == "mine"
    assert init(monkeypatch, "d.csv", "--yes", "--output", "mine.yaml", "--force") == 0
    assert read_config("mine.yaml", {}).config.name == "d"


def test_a_folder_cannot_be_the_output(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_diabetes("d.csv")
    assert init(monkeypatch, "d.csv", "--yes", "--output", ".", "--force") == 2
    assert "is a folder" in capsys.readouterr().err


def real_command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


def test_the_real_command_names_what_comes_next(here: Path) -> None:
    write_diabetes("data/diabetes.csv")
    done = real_command("data/diabetes.csv", "--optuna", "--yes", "--name", "sugar")
    assert (done.returncode, done.stderr) == (0, "")
    assert "ml-search --config configs/sugar_config.yaml\n" in done.stdout
    assert "ml-train --config runs/optuna_studies/sugar_optimization/best_config.yaml --mode final\n" in done.stdout
    assert read_config("configs/sugar_config.yaml", {}).config.name == "sugar"


def test_without_a_test_split_the_final_training_is_not_what_comes_next(
    here: Path, written: Callable[..., ReadConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "val"):
        write_photos(here / "photos" / part, {"a": 8, "b": 8}, 16)
    written("photos", "--optuna")
    assert "best_config.yaml\n" in capsys.readouterr().out
    write_photos(here / "photos" / "test", {"a": 8, "b": 8}, 16)
    written("photos", "--optuna", "--force")
    assert "best_config.yaml --mode final\n" in capsys.readouterr().out


def test_without_a_terminal_it_asks_for_yes(here: Path) -> None:
    write_diabetes("d.csv")
    done = real_command("d.csv", stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "there is no terminal to ask in: add --yes to take what suits the data\n"
    assert not Path("configs").exists()


def test_help_is_quick() -> None:
    probe = (
        "import sys, resource; sys.argv = ['x', '--help']\n"
        "from mlframework.cli.init_config import command\n"
        "try: command()\n"
        "except SystemExit: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_utime, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    seconds, torch_imported = done.stderr.split()
    assert "DATA" in done.stdout
    assert float(seconds) < 0.5 and torch_imported == "False"


def asked(arguments: list[str], typed: str) -> tuple[int, str]:
    """Run the command in a terminal and type into it; returns its exit code and what the terminal showed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = bytearray()
        while True:
            try:
                chunk = os.read(ours, 1024)
            except OSError:  # how Linux says that the other end is closed
                break
            if not chunk:
                break
            shown += chunk
        code = process.wait(timeout=60)
    os.close(ours)
    return code, shown.decode()


def test_it_asks_and_takes_the_answers(here: Path) -> None:
    write_table(here / "t.csv", lambda i: i % 3)
    code, shown = asked(["t.csv"], "mine\nsize\n\n0\n7\nval_acc\nval_mae\nmaybe\nn\n")
    assert code == 0, shown
    config = read_config("configs/mine_config.yaml", {}).config
    assert (config.data.target, config.data.task) == ("size", "regression")
    assert (config.training.num_epochs, config.metric, config.search) == (7, "val_mae", None)
    assert "should be a whole number above 0, got '0'" in shown
    assert "unknown metric of a regression 'val_acc'" in shown
    assert "should be yes or no, got 'maybe'" in shown


def test_enter_takes_what_is_suggested(here: Path) -> None:
    write_table(here / "t.csv", lambda i: i % 3)
    code, shown = asked(["t.csv"], "\n" * 6)
    assert code == 0, shown
    config = read_config("configs/t_config.yaml", {}).config
    assert config.data.target == "answer" and config.search is not None


def test_a_model_for_tables_may_be_a_factorization_machine(here: Path) -> None:
    write_table(here / "t.csv", lambda i: i % 3)
    code, shown = asked(["t.csv", "--optuna"], "\n\nresnet18\nals\nfm\n\n\n")
    assert code == 0, shown
    assert shown.count("(known: ffm, fm, mlp)") == 2
    read = read_config("configs/t_config.yaml", {})
    assert (read.config.model.architecture, read.config.optimizer.type) == ("fm", "adam")
    assert read.config.search is not None and "model.hidden_size" not in read.config.search.search_space


def test_the_small_network_for_images_gets_its_own_settings_and_searches_them(here: Path) -> None:
    photos = write_photos(here / "photos", {"a": 12, "b": 12}, 16)
    code, shown = asked([str(photos), "--optuna"], "\nsmall_cnn\n\n\n\n")
    assert code == 0, shown
    read = read_config("configs/photos_config.yaml", {})
    assert isinstance(read.config.model, SmallCnn) and read.config.model.channels == 32
    assert (
        read.config.search is not None and {"model.channels", "model.dropout"} <= read.config.search.search_space.keys()
    )


def test_end_of_input_is_an_interrupt_that_writes_nothing(here: Path) -> None:
    write_table(here / "t.csv", lambda i: i % 3)
    code, _ = asked(["t.csv"], "\n\x04")
    assert code == 130
    assert not Path("configs").exists()
