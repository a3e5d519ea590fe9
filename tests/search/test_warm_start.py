"""Histories: each row accepted as a point of the space, or rejected with its reason."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlframework.errors import StudyError
from mlframework.search.parameters import Categorical, Int, LogUniform, Uniform
from mlframework.search.space import Space
from mlframework.search.warm_start import History, Row, judge, point, read_rows

SPACE = Space(
    {"model": {"architecture": "mlp", "hidden_layers": 2}, "optimizer": {"lr": 0.1}},
    {
        "optimizer.type": Categorical(type="categorical", choices=["sgd", "adam"]),
        "optimizer.lr": LogUniform(type="loguniform", low=1e-4, high=1.0),
        "optimizer.momentum": Uniform(type="uniform", low=0.0, high=0.9, step=0.1, when={"optimizer.type": "sgd"}),
        "training.batch_size": Int(type="int", low=16, high=64, step=16),
        "model.hidden_size": Categorical(type="categorical", choices=[32, 64]),
    },
)
GOOD: dict[str, Any] = {"type": "adam", "lr": 0.01, "batch_size": 32, "hidden_size": 64}
AS_KEYS = {"optimizer.type": "adam", "optimizer.lr": 0.01, "training.batch_size": 32, "model.hidden_size": 64}


def test_a_row_by_last_parts_becomes_a_point_by_dotted_keys() -> None:
    (row,) = judge([Row("h.csv:2", GOOD, 0.9)], SPACE).accepted
    assert row.params == AS_KEYS and row.value == 0.9 and row.source == "h.csv:2"


def test_numbers_of_a_file_become_what_the_parameter_has() -> None:
    found, reason = point({**GOOD, "batch_size": 32.0, "hidden_size": 64.0, "lr": 1}, SPACE)
    assert reason is None
    assert [type(found[key]) for key in ("training.batch_size", "model.hidden_size", "optimizer.lr")] == [
        int,
        int,
        float,
    ]


def test_a_parameter_exists_only_where_its_when_holds() -> None:
    sgd = {**GOOD, "type": "sgd"}
    assert point(sgd, SPACE)[1] == "it has no value of optimizer.momentum"
    assert point({**sgd, "momentum": 0.3}, SPACE) == (
        {**AS_KEYS, "optimizer.type": "sgd", "optimizer.momentum": 0.3},
        None,
    )
    # Adam has none: a table of all trials has a column for it all the same.
    assert point({**GOOD, "momentum": 0.3}, SPACE) == (AS_KEYS, None)


def test_what_the_space_fixes_may_stand_there_with_the_same_value() -> None:
    assert point({**GOOD, "model.hidden_layers": 2}, SPACE)[1] is None
    assert point({**GOOD, "model.hidden_layers": 3}, SPACE)[1] == "model.hidden_layers is 3 there and fixed at 2 here"


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"optimizer.weight_decay": 0.01}, None),
        ({"weight_decay": 0.01, "training.num_epochs": 10}, None),
        ({"optimizer.weight_decay": 0.0}, "optimizer.weight_decay is 0.0 there and fixed at 0.01 here"),
        ({"weight_decay": 0.0}, "optimizer.weight_decay is 0.0 there and fixed at 0.01 here"),
        ({"optimizer.type": "sgd", "optimizer.weight_decay": 0.0}, None),
        ({"architecture": "cnn"}, "model.architecture is 'cnn' there and fixed at 'mlp' here"),
        ({"pressure": 0.01}, "pressure is not in the search space"),
    ],
)
def test_a_default_is_a_value_as_well(params: dict[str, Any], reason: str | None) -> None:
    """AdamW decays weights by 0.01 unless told otherwise, SGD by 0."""
    parameters = {"optimizer.type": Categorical(type="categorical", choices=["adamw", "sgd"])}
    space = Space({"model": {"architecture": "mlp"}, "optimizer": {"lr": 0.1}, "training": {}}, parameters)
    assert point({"optimizer.type": "adamw", **params}, space)[1] == reason


def test_free_names_have_no_defaults() -> None:
    free = Space({}, {"x": Uniform(type="uniform", low=0.0, high=1.0)})
    assert point({"x": 0.5, "seed": 42}, free)[1] == "seed is not in the search space"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"learning": 0.1}, "learning is not in the search space"),
        ({"optimizer.lrr": 0.1}, "did you mean optimizer.lr?"),
        ({"lr": 2.0}, "optimizer.lr is 2.0, outside the space: 0.0001 to 1, log scale"),
        ({"lr": "fast"}, "optimizer.lr is 'fast', outside"),
        ({"lr": True}, "optimizer.lr is True, outside"),
        ({"batch_size": 33}, "training.batch_size is 33, outside"),
        ({"batch_size": 32.5}, "training.batch_size is 32.5, outside"),
        ({"hidden_size": 48}, "model.hidden_size is 48, outside the space: one of 32, 64"),
        ({"type": "sgd", "momentum": 0.35}, "optimizer.momentum is 0.35, outside"),
    ],
)
def test_rows_that_are_no_point_of_the_space(changes: dict[str, Any], reason: str) -> None:
    ((_, found),) = judge([Row("h.csv:2", {**GOOD, **changes}, 0.9)], SPACE).rejected
    assert reason in found


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "it has no value"),
        ("n/a", "its value 'n/a' is not a number"),
        (float("nan"), "its value nan is not a number"),
        (True, "its value True is not a number"),
        ("0.5", "its value '0.5' is not a number"),
        ([1.0], "its value [1.0] is not a number"),
        (float("-inf"), "its value -inf is not finite"),
        ("inf", "its value inf is not finite"),
    ],
)
def test_a_value_that_is_no_number(value: Any, reason: str) -> None:
    ((_, found),) = judge([Row("h.csv:2", GOOD, value)], SPACE).rejected
    assert found == reason


def test_a_trial_that_did_not_end_teaches_nothing() -> None:
    ((_, found),) = judge([Row("h.csv:2", GOOD, 0.5, "pruned")], SPACE).rejected
    assert "it is pruned" in found


def test_zero_and_negative_values_are_numbers() -> None:
    assert [row.value for row in judge([Row("a", GOOD, 0), Row("b", GOOD, -3.5)], SPACE).accepted] == [0.0, -3.5]


def test_a_known_good_setting_may_leave_parameters_to_the_sampler() -> None:
    assert point({"lr": 0.5}, SPACE, partial=True) == ({"optimizer.lr": 0.5}, None)
    assert point({"lr": 5.0}, SPACE, partial=True)[1] is not None


def test_a_file_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(
        "\ufefflr, type ,batch_size,val_acc\n1e-2,adam,32,0.75\n,sgd,16,\n0.1,sgd,16,nan\n", encoding="utf-8"
    )
    rows = read_rows(History(path=str(path)), "val_acc")
    assert rows == [
        Row(f"{path}:2", {"lr": 0.01, "type": "adam", "batch_size": 32}, 0.75),
        Row(f"{path}:3", {"type": "sgd", "batch_size": 16}, None),
        Row(f"{path}:4", {"lr": 0.1, "type": "sgd", "batch_size": 16}, "nan"),
    ]


def test_a_row_with_more_fields_than_columns_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text("lr,type,batch_size,hidden_size,value\n0,01,adam,32,64,0.75\n0.01,adam,32,64,0.75\n0.01,adam,32\n")
    imported = judge(read_rows(History(path=str(path)), "val_acc"), SPACE)
    assert [row.source for row in imported.accepted] == [f"{path}:3"]
    assert [reason for _, reason in imported.rejected] == [
        "it has 6 fields, and the header 5 columns",
        "it has no value of model.hidden_size",
    ]


def test_the_trials_csv_of_a_study_is_a_history(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    path.write_text(
        "number,state,value,best_epoch,epochs,seconds,reason,optimizer.lr\n0,complete,0.5,3,4,1.5,,0.1\n"
        "1,pruned,0.1,,2,0.5,behind,0.2\n"
    )
    rows = read_rows(History(path=str(path)), "val_acc")
    assert [(row.params, row.value, row.state) for row in rows] == [
        ({"optimizer.lr": 0.1}, 0.5, "complete"),
        ({"optimizer.lr": 0.2}, 0.1, "pruned"),
    ]


def test_files_that_are_no_history(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"nowhere\.csv: cannot be read: No such file"):
        read_rows(History(path=str(tmp_path / "nowhere.csv")), "val_acc")
    (tmp_path / "h.csv").write_text("lr,loss\n1,2\n")
    with pytest.raises(StudyError, match=r"no column of values; call it value or val_acc \(there: lr, loss\)"):
        read_rows(History(path=str(tmp_path / "h.csv")), "val_acc")
    for text, message in {
        "": "is empty; its first line should name the columns",
        "lr;dropout;value\n1;2;3\n": "its columns are separated by ';'; separate them by commas",
    }.items():
        (tmp_path / "h.csv").write_text(text)
        with pytest.raises(StudyError) as error:
            read_rows(History(path=str(tmp_path / "h.csv")), "val_acc")
        assert str(error.value) == f"{tmp_path / 'h.csv'}: {message}"
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00value\n")
    with pytest.raises(StudyError, match="is no csv file of text"):
        read_rows(History(path=str(tmp_path / "b.csv")), "val_acc")


@pytest.mark.parametrize("settings", [{}, {"path": "a", "study": "b"}, {"path": "a", "storage": "sqlite:///x.db"}])
def test_a_history_is_a_file_or_a_study(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        History(**settings)
