"""What README and docs show is true: their YAML decodes, their commands parse, their links lead somewhere."""

import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import reference
import yaml as pyyaml

import mlframework
from mlframework.cli.options import parse_overrides
from mlframework.config import schema, yaml
from mlframework.config.override import full_key
from mlframework.data import samples
from mlframework.runs import read_json
from mlframework.search.config import ConfigFile, SearchConfig
from mlframework.search.read import read_config
from support.reader import Step, in_process, steps

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
OTHER_COMMANDS = {"cd", "export", "git", "mlflow", "ray", "sleep", "tensorboard", "uv", "wait"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the HTML comment before it."""

    page: Path
    line: int
    language: str
    text: str
    comment: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in _blocks(page) if block.language in languages]


def _blocks(page: Path) -> Iterator[Block]:
    pattern = re.compile(r"^(?:<!-- (.*?) -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    text = page.read_text(encoding="utf-8")
    for match in pattern.finditer(text):
        yield Block(page, text.count("\n", 0, match.start(2)) + 1, match[2], match[3], match[1] or "")


# YAML


def whole(fragment: Mapping[str, Any], comment: str) -> dict[str, Any]:
    """Return a config with a fragment in it.

    The fragment's keys say where it belongs: sections of the config, keys of `search:`, or dotted keys of the search
    space. A comment `base: breast_cancer` names another config than digits, `base: scheduler: {type: step}` changes it.
    """
    named = comment.removeprefix("base: ") if comment.startswith("base: ") else ""
    base = named if (ROOT / "configs" / f"{named}.yaml").is_file() else "digits"
    tree = yaml.read(ROOT / "configs" / f"{base}.yaml").tree
    if ": " in named:
        tree = _merged(tree, yaml.parse(named).tree)
    if all("." in key for key in fragment):
        return _merged(tree, {"search": {"search_space": fragment}})
    if set(fragment) <= set(SearchConfig.model_fields) - {"metric"}:
        return _merged(tree, {"search": fragment})
    if "search" not in fragment:  # what is searched in the base may not fit the fragment's choices
        del tree["search"]
    return _merged(tree, fragment)


def _merged(tree: Mapping[str, Any], fragment: Mapping[str, Any]) -> dict[str, Any]:
    """Put a fragment's sections into a tree: key by key, or whole where they choose what they are."""
    result = dict(tree)
    for key, value in fragment.items():
        old = result.get(key)
        chooses = isinstance(value, dict) and {"type", "architecture"} & value.keys()
        replaces = not isinstance(value, dict) or not isinstance(old, dict) or chooses or key == "search_space"
        result[key] = value if replaces else _merged(old, value)
    return result


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "x")


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("block", [each for each in blocks("yaml") if not each.comment.startswith("new file")], ids=str)
def test_yaml_decodes(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.dump(whole(yaml.parse(block.text).tree, block.comment)), encoding="utf-8")
    read_config(str(path), {})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_example_configs_decode_and_can_be_searched(path: Path) -> None:
    read = read_config(str(path), {})
    assert read.space is not None
    assert read.dropped == []
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=./schema.json\n")
    assert read.config.name == path.stem


def test_there_are_example_configs() -> None:
    assert {path.stem for path in CONFIGS} >= {"breast_cancer", "diabetes", "digits"}


# Commands


def commands() -> list[Any]:
    return [
        pytest.param(words, id=f"{block}: {shlex.join(words)}") for block in blocks("bash") for words in lines(block)
    ]


def lines(block: Block) -> Iterator[list[str]]:
    """Yield the commands of a block, each as its words."""
    text = block.text.replace("\\\n", " ")
    for words in (shlex.split(line, comments=True) for line in text.splitlines()):
        words = words[:-1] if words[-1:] == ["&"] else words
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words[:1] == ["torchrun"]:
            words = words[words.index("--no-python") + 1 :]
        if words:
            yield words


@pytest.mark.parametrize("words", commands())
def test_command_parses(words: list[str]) -> None:
    name, *arguments = words
    if name in reference.PARSERS:
        _, extra = reference.PARSERS[name]().parse_known_args(arguments)
        known = name in ("ml-train", "ml-search")
        assert known or not extra, f"{name} does not know {extra}"
        for option in parse_overrides(extra):
            assert any(_is_setting(option, path) for path in CONFIGS), f"no setting is called {option}"
    elif name == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in arguments if "=" not in word} <= set(targets)
    elif name == "python" and arguments[0] == "-c":
        ast.parse(arguments[1])
    elif name == "python" and arguments[0].endswith(".py"):
        assert (ROOT / arguments[0]).is_file()
    elif name == "python":
        assert arguments[0] == "-m"
        assert importlib.util.find_spec(arguments[1]) is not None
    else:
        assert name in OTHER_COMMANDS, f"{name}: is it a command that readers have?"


def _is_setting(option: str, config: Path) -> bool:
    try:
        return bool(full_key(ConfigFile, yaml.read(config).tree, option))
    except Exception:  # noqa: BLE001 - it is no setting of this config
        return False


# What the page on ratings shows, in its order, and then what the guide to recommenders does: its blocks with the comment `run`


def _fewer(words: list[str]) -> list[str]:
    """Return a command that searches one trial: the first one, or one more."""
    counts = {at + 1 for at, word in enumerate(words) if word in ("--n-trials", "--add-trials")}
    return ["1" if at in counts else word for at, word in enumerate(words)]


def _keep_users(ratings: Path, number: int) -> None:
    """Leave only the first users' ratings, and what is known of those users: what is shown is the same, and quicker."""
    for path in (ratings, ratings.with_name("users.csv")):
        header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text(header + "".join(row for row in rows if row[:5] <= f"u{number:04}"), encoding="utf-8")


def _smaller(words: list[str]) -> list[str]:
    """Change a command of the pages: one trial a search; ratings of few users, which are written here and now."""
    if words[0] != "python":
        return _fewer(words)
    samples.main(words[3:])
    _keep_users(Path(words[-1]), 120)
    return words[:0]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the pages on ratings were typed: fewer users, one trial a search, few iterations of ALS and BPR."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "configs").mkdir()
    for path in CONFIGS:
        text = re.sub(
            r"(num_epochs: {type: categorical, choices: )\[.*\]", r"\1[3, 5]", path.read_text(encoding="utf-8")
        )
        (folder / "configs" / path.name).write_text(text, encoding="utf-8")
    with in_process(folder, _smaller) as typist:
        for step in steps(DOCS / "getting-started" / "ratings.md"):
            typist.type(step)
        for block in _blocks(DOCS / "guides" / "recommenders.md"):
            if block.comment == "run":
                typist.type(Step(block.language, block.text, ""))
    return folder


def test_guide_runs_the_commands_of_the_older_scripts(played: Path) -> None:
    found = read_json(played / "models" / "best_hyperparameters.json")
    assert set(found) >= {"als", "bpr", "fm", "ffm", "two_tower"}
    assert set(found["als"]) >= {"factors", "regularization", "iterations"}
    assert set(found["bpr"]) >= {"factors", "learning_rate", "regularization", "iterations"}
    for run in ("als-final", "bpr-final", "ratings_optimization-final", "two_tower_optimization-final"):
        assert "test_recall_at_10" in read_json(played / "runs" / run / "result.json")["test_metrics"], run
        assert len((played / "runs" / run / "test_ledger.jsonl").read_text(encoding="utf-8").splitlines()) == 1, run


def test_guide_adds_trials_to_a_study_in_a_storage_of_its_own(played: Path) -> None:
    studies = played / "runs" / "optuna_studies"
    assert (played / "hpo_study.db").is_file()
    assert len(read_json(studies / "two-tower-hpo-v1" / "results.json")["trials"]) == 2
    assert len(read_json(studies / "one_hour" / "results.json")["trials"]) == 1
    assert yaml.read(studies / "half" / "best_config.yaml").tree["data"]["fraction"] == 0.5


def test_guide_draws_the_run(played: Path) -> None:
    plots = played / "runs" / "ratings_optimization-final" / "plots"
    assert {path.stem for path in plots.glob("*.html")} == {
        "curves", "recall_at_k", "ranking_at_k", "user_hits", "popularity",
    }  # fmt: skip


def test_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for page in PAGES:
        for listed in re.findall(r'-e "\.\[(.*?)\]"', page.read_text(encoding="utf-8")):
            assert set(listed.split(",")) <= set(project["optional-dependencies"]), page


def test_console_scripts_are_documented() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["scripts"]) == set(reference.PARSERS)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


# Pages


@pytest.mark.parametrize("name", reference.PAGES)
def test_generated_page_is_current(name: str) -> None:
    kept = (DOCS / name).read_text(encoding="utf-8")
    # Versions of Python differ in where argparse breaks lines.
    assert kept.split() == reference.PAGES[name]().split(), f"{name} is old; renew it: python scripts/reference.py"


def test_reference_names_every_setting() -> None:
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    for config in CONFIGS:
        for leaf in schema.leaves(ConfigFile, yaml.read(config).tree):
            assert f"`{leaf.key.split('.')[-1]}`" in page or leaf.key.split(".")[-1] in ("type", "architecture"), (
                leaf.key
            )


def test_python_reference_has_the_public_face() -> None:
    page = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    listed = re.findall(r"^::: (mlframework[\w.]*)\.(\w+)$", page, re.MULTILINE)
    assert {name for _, name in listed} >= set(mlframework.__all__)
    for module, name in listed:
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), f"{page.name}: there is no {target}"
        assert page.parent == ROOT or DOCS in other.parents, f"{page.name}: {target} is not on the site"
        assert not anchor or anchor in _anchors(other), f"{page.name}: there is no heading {target}"


def test_every_page_is_in_the_navigation() -> None:
    site = pyyaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def pages(node: Any) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from pages(inner)

    assert sorted(pages(site["nav"])) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_decisions_are_listed() -> None:
    index = (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")
    for page in (DOCS / "decisions").glob("0*.md"):
        title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix(f"# {page.name[:4]}: ")
        assert f"[{title}]({page.name})" in index
