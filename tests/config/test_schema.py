"""Walking the schema: what a tree may hold, and where."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from mlframework.config import schema
from mlframework.config.base import Config
from mlframework.data import DATASETS
from mlframework.models import MODELS
from mlframework.search.config import ConfigFile


class Circle(Config):
    kind: Literal["circle", "disc"]
    radius: float = 1.0
    """Half its
    width."""


class Square(Config):
    kind: Literal["square"] = "square"
    side: float = 2.0


Shape = Annotated[Circle | Square, Field(discriminator="kind")]


class Inner(Config):
    depth: int = 3
    shape: Shape


class Root(Config):
    title: str
    shape: Shape = Square(side=5.0)
    inner: Inner | None = None
    free: dict[str, Shape] = {}
    sizes: list[int] | Literal["auto"] | None = None
    flag: bool | str = False
    rows: list[Inner] = []
    number: float | None = None


def settings(tree: dict[str, Any]) -> dict[str, Any]:
    return {leaf.key: leaf.default for leaf in schema.leaves(Root, tree)}


def test_leaves_are_all_settings_with_their_defaults() -> None:
    assert settings({}) == {
        "title": None,
        "shape.kind": "square",
        "shape.side": 5.0,
        "inner.depth": 3,
        "inner.shape": None,
        "free": {},
        "sizes": None,
        "flag": False,
        "rows": [],
        "number": None,
    }


def test_leaves_follow_the_choices_of_the_tree() -> None:
    found = settings({"shape": {"kind": "disc"}, "inner": {"shape": {"kind": "square"}}})
    assert "shape.radius" in found and "shape.side" not in found
    assert found["shape.radius"] == 1.0
    assert found["inner.shape.side"] == 2.0


def test_a_choice_that_is_unknown_leaves_its_section_whole() -> None:
    assert "shape" in settings({"shape": {"kind": "star"}})
    assert "shape.side" in settings({"shape": 3})  # no section: what the default has


def test_discriminators_name_the_settings_that_choose() -> None:
    assert list(schema.discriminators(Root)) == ["shape.kind", "inner.shape.kind"]
    assert set(schema.discriminators(ConfigFile)) == {
        "data.type", "model.architecture", "optimizer.type", "scheduler.type", "search.sampler.type", "search.pruner.type",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "cls"),
    [
        ((), Root),
        (("shape",), Circle),
        (("inner",), Inner),
        (("inner", "shape"), Square),
        (("free", "my.key"), Square),
        (("rows", 0), Inner),
        (("rows", 0, "shape"), Circle),
        (("free",), None),
        (("title",), None),
        (("nowhere",), None),
        (("nowhere", "deeper"), None),
        (("title", "x"), None),
    ],
)
def test_class_at_a_path(path: schema.KeyPath, cls: type[Config] | None) -> None:
    tree = {
        "title": "t",
        "shape": {"kind": "disc"},
        "inner": {"shape": {"kind": "square"}},
        "free": {"my.key": {"kind": "square"}},
        "rows": [{"shape": {"kind": "circle"}}],
    }
    assert schema.class_at(Root, tree, path) is cls


def test_alternatives_leave_null_out() -> None:
    assert schema.alternatives(float | None) == (float,)
    assert schema.alternatives(Annotated[int | None, Field(gt=0)] | str) == (int, str)
    assert schema.alternatives(None) == ()


def test_owners_are_the_choices_that_have_a_key() -> None:
    assert schema.owners(Shape, "radius") == ["circle", "disc"]
    assert schema.owners(Shape, "side") == ["square"]
    assert schema.owners(Shape, "x") == []
    assert schema.owners(int, "x") == []
    assert set(schema.owners(schema.at(ConfigFile, {}, ("model",)), "dropout")) == set(MODELS) - {"als", "bpr"}


def test_descriptions_are_on_one_line() -> None:
    assert schema.description(Root, {"shape": {"kind": "disc"}}, ("shape", "radius")) == "Half its width."
    assert schema.description(Root, {}, ("nowhere",)) == ""


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, "2024", "2024"), (str, "1e5", "1e5"), (str, "true", "true"), (str, "'007'", "007"), (str, "null", None),
        (str | None, "null", None), (str | None, "[a]", "[a]"), (float, "1e5", 1e5), (bool | str, "true", True),
        (int | None, "null", None), (None, "3", 3),
    ],
)  # fmt: skip
def test_text_is_left_as_it_is_where_only_text_is_admitted(annotation: Any, text: str, value: object) -> None:
    assert schema.read_value(annotation, text) == value


@pytest.mark.parametrize(
    ("tree", "paths"),
    [
        ({"title": "t", "shape": {"kind": "disc", "radius": "x"}}, [(("shape", "radius"), None)]),
        # A value or a key that is spelt like a choice is no choice.
        ({"title": "t", "shape": {"kind": "disc", "disc": 1}}, [(("shape", "disc"), None)]),
        ({"title": "t", "free": {"square": {"kind": "square", "square": 1}}}, [(("free", "square", "square"), None)]),
        ({"title": "t", "rows": [{"shape": {"kind": "square", "side": "x"}}]}, [(("rows", 0, "shape", "side"), None)]),
        ({"title": "t", "flag": 3}, [(("flag",), ("flag",))] * 2),
        ({"title": "t", "sizes": [1, "x"]}, [(("sizes", 1), ("sizes",)), (("sizes",), ("sizes",))]),
        ({"title": "t", "number": "x"}, [(("number",), None)]),
    ],
)
def test_a_trace_holds_what_stands_in_the_file(tree: dict[str, Any], paths: list[Any]) -> None:
    with pytest.raises(ValidationError) as found:
        Root.model_validate(tree)
    assert sorted(map(repr, (schema.trace(Root, error["loc"]) for error in found.value.errors()))) == sorted(
        map(repr, paths)
    )


# --- What a choice leaves without meaning -----------------------------------------------------------------------------


def test_a_choice_excludes_what_means_nothing_beside_it() -> None:
    als = schema.excluded(ConfigFile, {"model": {"architecture": "als"}})
    assert {"optimizer", "scheduler", "training.batch_size", "training.trainer_type"} <= set(als)
    assert set(als.values()) == {"als"}
    towers = schema.excluded(ConfigFile, {"model": {"architecture": "two_tower"}})
    assert towers == {"training.label_smoothing": "two_tower", "training.class_weights": "two_tower"}
    for tree in (
        {},
        {"model": {}},
        {"model": 3},
        {"model": {"architecture": "alx"}},
        {"model": {"architecture": "mlp"}},
    ):
        assert schema.excluded(ConfigFile, tree) == {}


@pytest.mark.parametrize(
    ("key", "choice"),
    [
        ("optimizer", "als"), ("optimizer.lr", "als"), ("optimizer.type", "als"), ("training.batch_size", "als"),
        ("training", None), ("training.num_epochs", None), ("training.batch_sizes", None), ("optimizers.lr", None),
        ("model.factors", None),
    ],
)  # fmt: skip
def test_an_excluded_section_takes_what_is_in_it_with_it(key: str, choice: str | None) -> None:
    assert schema.excluder({"optimizer": "als", "training.batch_size": "als"}, key) == choice


def test_leaves_are_without_what_is_excluded_and_every_leaf_is_not() -> None:
    tree = {"model": {"architecture": "als"}, "optimizer": {"type": "sgd"}}
    found = {leaf.key for leaf in schema.leaves(ConfigFile, tree)}
    every = {leaf.key for leaf in schema.every_leaf(ConfigFile, tree)}
    without = schema.excluded(ConfigFile, tree)
    assert found == {key for key in every if schema.excluder(without, key) is None} < every
    assert {"model.factors", "training.num_epochs", "training.early_stopping.patience"} <= found
    assert {"optimizer.momentum", "scheduler.type", "training.precision"} <= every - found


@pytest.mark.parametrize("model", sorted(set(MODELS)))
def test_whatever_is_excluded_is_a_setting_or_a_section(model: str) -> None:
    """A misspelt key would exclude nothing."""
    trees = [{"model": {"architecture": "mlp"}, "data": {"type": name}} for name in DATASETS]
    known = {leaf.key for tree in trees for leaf in schema.every_leaf(ConfigFile, tree)}
    sections = {key.rpartition(".")[0] for key in known}
    assert set(MODELS[model].excludes) <= known | sections
