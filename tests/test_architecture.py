"""The rules of the house: which floor may import which, what starts without heavy libraries, and how large a file may be."""

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mlframework
from mlframework.config import schema
from mlframework.config.base import Config
from mlframework.config.docstrings import description
from mlframework.search.config import ConfigFile

ROOT = Path(mlframework.__file__).parent
TESTS = Path(__file__).parent

FLOORS = {
    "errors": 0, "registry": 0, "markup": 0, "config": 0, "uncompiled": 0, "adam": 0, "machine": 0, "environment": 0,
    "imports": 0, "order": 0, "heap": 0,
    "metrics": 1, "data": 1, "optim": 1, "schedules": 1, "runs": 1, "memory": 1,
    "learners": 2,
    "models": 3,
    "training": 4,
    "experiment": 5, "folds": 5, "plans": 5, "final": 5, "artifact": 5, "outputs": 5, "read_run": 5,
    "search": 6,
    "visualise": 7, "face": 7, "study": 7, "tuner": 7, "replay": 7,
    "cli": 8, "": 8,
    "served_model": 9,  # what MLflow runs where it serves a model: it uses the house as its users do
}  # fmt: skip
"""Floor of each package and module of the house; "" is mlframework/__init__.py, the Python face."""

NEIGHBOURS = {
    ("registry", "errors"), ("config", "errors"), ("config", "registry"), ("config", "markup"), ("machine", "errors"),
    ("folds", "experiment"), ("plans", "folds"), ("plans", "experiment"),
    ("final", "experiment"), ("final", "plans"), ("plans", "final"),
    ("face", "visualise"), ("study", "visualise"),
    ("experiment", "artifact"), ("final", "artifact"), ("experiment", "outputs"),
}  # fmt: skip
"""Who may import whom on the same floor."""

ONLY_FOR_TYPES: set[tuple[str, str]] = set()
"""Imports upwards that stand under TYPE_CHECKING, as (module, imported): none is needed."""

HEAVY = (
    "torch", "torchvision", "optuna", "plotly", "polars", "sklearn", "implicit", "kaleido", "mlflow", "pandas",
    "matplotlib", "scipy.stats", "torch._dynamo",
)  # fmt: skip
LARGEST = 320
LARGER: dict[str, int] = {}
"""Files that may be longer than the others, and how long."""


@dataclass(frozen=True)
class Import:
    """One import: of which module, from where, whether it happens when the module is loaded, and only for types."""

    module: str
    imported: str
    line: int
    at_load: bool
    for_types: bool


def module_name(path: Path) -> str:
    parts = ("mlframework", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def imports_of(name: str) -> Iterator[Import]:
    """Yield every import of a module, also those inside functions and under TYPE_CHECKING."""

    def walk(node: ast.AST, at_load: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(name, alias.name, child.lineno, at_load, for_types)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{name}:{child.lineno}: relative import"
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    yield Import(name, full if full in FILES else str(child.module), child.lineno, at_load, for_types)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for statement in child.body:
                    yield from walk(ast.Module([statement], []), at_load, True)
                for statement in child.orelse:
                    yield from walk(ast.Module([statement], []), at_load, for_types)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, at_load and not inside, for_types)

    return walk(TREES[name], True, False)


IMPORTS = [each for name in FILES for each in imports_of(name)]
OWN = [each for each in IMPORTS if each.imported.split(".")[0] == "mlframework"]


def room(module: str) -> str:
    """Return the package or module of the house that a module is in: `search` for `mlframework.search.space`."""
    return module.split(".")[1] if "." in module else ""


def shown(each: Import) -> str:
    return f"{FILES[each.module].relative_to(ROOT)}:{each.line}: imports {each.imported}"


def test_the_parser_of_imports_sees_them_all() -> None:
    """The tests below are worth what this parser sees: known imports at load, in functions, and for types."""
    found = {(each.module, each.imported, each.at_load, each.for_types) for each in IMPORTS}
    assert ("mlframework.config.decode", "mlframework.config.schema", True, False) in found
    assert ("mlframework.config.decode", "mlframework.errors", True, False) in found
    assert ("mlframework.schedules", "torch.optim.lr_scheduler", False, False) in found
    assert ("mlframework.optim", "torch.optim", True, True) in found
    assert ("mlframework.face", "mlframework.experiment", False, False) in found
    assert len(OWN) > 200


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in FILES} == set(FLOORS)


def test_imports_go_downwards_only() -> None:
    upwards = []
    for each in OWN:
        source, target = room(each.module), room(each.imported)
        allowed = FLOORS[target] < FLOORS[source] or source == target or (source, target) in NEIGHBOURS
        if not allowed and not (each.for_types and (each.module, each.imported) in ONLY_FOR_TYPES):
            upwards.append(shown(each))
    assert upwards == []


def test_no_exemption_outlives_its_import() -> None:
    assert {(each.module, each.imported) for each in OWN if each.for_types} >= ONLY_FOR_TYPES


def test_modules_are_loaded_without_a_cycle() -> None:
    needs = {
        name: {each.imported for each in OWN if each.module == name and each.at_load and not each.for_types} - {name}
        for name in FILES
    }
    # A module loads the packages above it first, but not what they import from it again.
    done: set[str] = set()
    while ready := {name for name, needed in needs.items() if name not in done and needed <= done}:
        done |= ready
    assert set(needs) - done == set(), "these import one another"


def test_training_knows_learners_only_by_their_protocol_and_no_torch() -> None:
    found = [each for each in IMPORTS if room(each.module) == "training"]
    assert [shown(each) for each in found if each.imported.split(".")[0] in ("torch", "torchvision")] == []
    learners = {each.imported for each in found if room(each.imported) == "learners" and "mlframework" in each.imported}
    assert learners <= {"mlframework.learners.base", "mlframework.learners.settings"}


def test_only_experiment_runs_the_loop() -> None:
    users = {each.module for each in OWN if each.imported == "mlframework.training.loop"}
    assert users == {"mlframework.experiment"}


def test_metrics_take_arrays_only() -> None:
    heavy = {each.imported.split(".")[0] for each in IMPORTS if room(each.module) == "metrics"}
    assert heavy <= {"collections", "dataclasses", "re", "typing", "numpy", "pydantic", "sklearn", "mlframework"}


def test_only_one_module_reads_yaml() -> None:
    assert {each.module for each in IMPORTS if each.imported.split(".")[0] == "yaml"} == {"mlframework.config.yaml"}


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_nothing_is_evaluated_and_nothing_is_unpickled() -> None:
    forbidden = {"eval", "exec", "compile", "pickle.load", "pickle.loads", "yaml.load", "os.system", "__import__"}
    found = [f"{name}:{call.lineno}: {called}" for name in FILES for called, call in calls(name) if called in forbidden]
    assert found == []


def test_checkpoints_are_loaded_as_weights_only() -> None:
    loads = [(name, call) for name in FILES for called, call in calls(name) if called == "torch.load"]
    assert loads
    for name, call in loads:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("weights_only") == "True", f"{name}:{call.lineno}"


def test_files_stay_small() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES.values()
    }
    assert {name: length for name, length in lengths.items() if length > LARGER.get(name, LARGEST)} == {}
    assert [name for name in LARGER if lengths[name] <= LARGEST] == [], "no longer larger: take it off the list"


def every_config() -> list[type[Config]]:
    """Return the config classes that a config file can hold."""
    found: dict[type[Config], None] = {ConfigFile: None}
    waiting: list[type[Config]] = [ConfigFile]
    while waiting:
        for field in waiting.pop().model_fields.values():
            inner = [schema.members(kind) for kind in _parts(field.annotation)]
            new = [cls for classes in inner for cls in classes if cls not in found]
            found.update(dict.fromkeys(new))
            waiting += new
    return list(found)


def _parts(annotation: object) -> Iterator[object]:
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _parts(part)


def test_the_walk_finds_configs_in_lists_and_dicts_of_unions() -> None:
    names = {cls.__name__ for cls in every_config()}
    assert names >= {
        "ConfigFile",
        "Sgd",
        "OneCycle",
        "Categorical",
        "EarlyStopping",
        "SplitConfig",
        "GridSampler",
        "Mlp",
    }


@pytest.mark.parametrize("cls", every_config(), ids=lambda cls: str(cls.__name__))
def test_every_setting_says_what_it_is(cls: type[Config]) -> None:
    assert inspect.getdoc(cls)
    # What chooses a class is described by the class.
    wanting = [name for name in cls.model_fields if not description(cls, name) and name not in ("type", "architecture")]
    assert wanting == []


@pytest.mark.parametrize("cls", every_config(), ids=lambda cls: str(cls.__name__))
def test_every_config_is_frozen_strict_and_closed(cls: type[Config]) -> None:
    kept = {key: cls.model_config.get(key) for key in ("frozen", "strict", "extra", "allow_inf_nan")}
    assert kept == {"frozen": True, "strict": True, "extra": "forbid", "allow_inf_nan": False}
    # Pydantic would read the source of every class at import: `config/docstrings.py` does where somebody asks.
    assert not cls.model_config.get("use_attribute_docstrings")


def test_the_python_face() -> None:
    assert set(mlframework.__all__) == {
        "load", "load_config", "open_run", "open_study", "search", "train", "Study", "TrainedRun", "TrialPruned",
        "Tuner", "TuningResult", "Categorical", "Int", "LogUniform", "Uniform", "fm_objective", "fm_space",
    }  # fmt: skip
    assert all(getattr(mlframework, name).__doc__ for name in mlframework.__all__)


def modules_after(code: str) -> set[str]:
    """Return which heavy libraries a fresh process has imported after running some code."""
    report = f"\nimport sys; print('loaded:', *[name for name in {HEAVY} if name in sys.modules])"
    ended = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ},
    )
    return set(ended.stdout.rpartition("loaded:")[2].split())


DECODE = """
from mlframework.config import yaml
from mlframework.config.decode import decode
from mlframework.search.config import ConfigFile
text = '''
data: {type: image_folder, path: x}
model: {architecture: resnet18}
optimizer: {type: sgd, lr: 1e-2}
scheduler: {type: one_cycle}
search:
  sampler: {type: CmaEsSampler}
  search_space: {optimizer.lr: {type: loguniform, low: 1e-3, high: 1e-1}}
'''
decode(ConfigFile, yaml.parse(text))
"""
READ = """
import pathlib, tempfile
from mlframework.search.read import read_config
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "c.yaml")
    path.write_text('''
data: {type: table, path: d.csv, target: y}
model: {architecture: mlp}
search: {search_space: {optimizer.lr: {type: loguniform, low: 1e-3, high: 1e-1}}}
''')
    read_config(str(path), {"lr": "0.1"})
"""
HELP = """
import contextlib, sys
from mlframework.cli.COMMAND import main
sys.argv = ["COMMAND", "--help"]
with contextlib.suppress(SystemExit):
    main()
"""


@pytest.mark.parametrize(
    "code",
    [
        "import mlframework",
        DECODE,
        READ,
        *(HELP.replace("COMMAND", name) for name in ("train", "search", "visualise", "init_config")),
    ],
    ids=["import", "decode", "read", "train", "search", "visualise", "init_config"],
)
def test_what_needs_no_heavy_library_imports_none(code: str) -> None:
    assert modules_after(code) == set()


ALS_RUN = """
import os, pathlib, sys
from mlframework.cli.train import main
os.chdir("FOLDER")
pathlib.Path("als.yaml").write_text('''
name: log
data: {type: interactions, path: LOG}
model: {architecture: als, factors: 4}
training: {num_epochs: 2, num_threads: 1}
metric: val_ndcg_at_10
''')
sys.argv = ["ml-train", "--config", "als.yaml", "--mode", "final"]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
import mlframework
recommender = mlframework.load("runs/log-final")
assert len(recommender.recommend(recommender.users[0], 5)[0]) == 5
"""


def test_als_is_trained_tested_and_served_without_torch_and_scikit_learn(
    planted: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """So it starts in a fraction of the time; of the heavy libraries it needs those that read the log and fit it."""
    code = ALS_RUN.replace("FOLDER", str(tmp_path)).replace("LOG", planted["als"]["data"]["path"])
    assert modules_after(code) == {"implicit", "polars"}
    assert (tmp_path / "runs/log-final/artifacts/user_vecs.npy").is_file()
    assert list((tmp_path / "runs/log").glob("events.out.tfevents.*")), "with curves, as by default"


TABLE_RUN = """
import os, pathlib, sys
from mlframework.cli.train import main
os.chdir("FOLDER")
rows = [f"{i % 7},{i % 11},{'yes' if i % 7 > 3 else 'no'}" for i in range(60)]
pathlib.Path("table.csv").write_text(chr(10).join(["a,b,y", *rows]))
pathlib.Path("table.yaml").write_text('''
name: table
data: {type: table, path: table.csv, target: y}
model: {architecture: mlp, hidden_layers: 1, hidden_size: 4}
training: {num_epochs: 1, num_threads: 1}
''')
sys.argv = ["ml-train", "--config", "table.yaml"]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
"""


def test_a_table_is_trained_without_torchvision_scikit_learn_and_torchs_compiler(tmp_path: Path) -> None:
    """Each of them takes longer to import than the rest of a short run takes."""
    assert modules_after(TABLE_RUN.replace("FOLDER", str(tmp_path))) == {"torch", "polars"}
    assert (tmp_path / "runs/table/result.json").is_file()


def test_the_probe_for_heavy_libraries_sees_them() -> None:
    assert modules_after("import plotly") == {"plotly"}


def test_the_names_of_torchvisions_classifiers_are_complete() -> None:
    from typing import get_args

    import torchvision

    from mlframework.models.torchvision_names import TorchvisionClassifier

    assert list(get_args(TorchvisionClassifier)) == sorted(torchvision.models.list_models(module=torchvision.models))


def test_tests_mirror_the_source() -> None:
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    there = {path.name for path in TESTS.iterdir() if path.is_dir()}
    assert rooms - there == set()
