"""What models say of examples: of files, of rows, of users, and of a part of the validation split with its truth."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mlframework
from mlframework.data.interactions import InteractionsConfig
from mlframework.data.tables import TableConfig
from mlframework.errors import DataError
from mlframework.experiment import ExperimentConfig, load_data
from mlframework.learners.base import Prediction
from mlframework.visualise.predictions import answers, recommendations
from mlframework.visualise.predictions.answers import Answer, Answers
from mlframework.visualise.predictions.page import (
    answers_csv,
    recommendations_csv,
    write_answers,
    write_recommendations,
)
from support.browser import chromium, opened

Trained = Callable[[str], tuple[ExperimentConfig, Any]]


@pytest.fixture(scope="module")
def trained(planted: dict[str, Any], make_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trains a family for two epochs, once; returns its config and its predictor."""
    folder = tmp_path_factory.mktemp("trained")
    done: dict[str, tuple[ExperimentConfig, Any]] = {}

    def train(family: str) -> tuple[ExperimentConfig, Any]:
        if family not in done:
            tree = {**planted[family], "name": family.replace(" ", "_"), "tracking": {"tensorboard": False}}
            tree["training"] = {**tree["training"], "num_epochs": 2}
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                run = folder / mlframework.train(tree).folder
            done[family] = make_config(tree), mlframework.load(run)
        return done[family]

    return train


def test_rows_of_the_validation_split_are_predicted_as_the_file_has_them(trained: Trained, tmp_path: Path) -> None:
    config, model = trained("mlp classification")
    val = load_data(config).val
    found = answers.of_rows(model, val, 30)
    assert len(found.answers) == 30 and found.source == "30 of the 48 examples of val, drawn at random"
    assert list(found.answers[0].cells) == ["x0", "x1", "colour"]
    # The file has the same rows, so that what it says of them is the same.
    lines = list(pl.read_csv(config.data.path).iter_rows(named=True))
    again = []
    for answer in found.answers:
        row = lines[int(answer.name) - 1]  # the first after the header is row 1
        assert abs(row["x0"] - float(answer.cells["x0"])) < 1e-4
        assert answer.truth == row["kind"] and answer.cells["colour"] == row["colour"]
        again.append({key: row[key] for key in ("x0", "x1", "colour")})
    assert [each.value for each in model.predict(pl.DataFrame(again))] == [a.prediction.value for a in found.answers]
    assert answers.of_rows(model, val, 30) == found  # the same draw every time


def test_rows_of_a_file_have_their_truth_where_there_is_a_column_of_it(trained: Trained, tmp_path: Path) -> None:
    config, model = trained("mlp classification")
    assert isinstance(config.data, TableConfig)
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("colour,x1,x0,kind,more\nred,0,3,high,a\nblue,0,-3,high,b\nblue,,-3,,c\n")
    two.write_text("x0,x1,colour\n3,0,green\n")
    found = answers.of_tables(model, [str(one)], config.data)
    assert [answer.truth for answer in found.answers] == ["high", "high", None]
    assert [answer.is_right for answer in found.answers] == [True, False, None]
    assert found.summary == "1 of 2 are right (50.0%)"
    assert found.answers[1].cells["more"] == "b"
    both = answers.of_tables(model, [str(one), str(two)], config.data)
    assert [answer.name for answer in both.answers] == [f"{one}:1", f"{one}:2", f"{one}:3", f"{two}:1"]
    assert answers.of_tables(model, [str(two)], config.data).summary is None


def test_a_class_that_the_model_has_never_seen_is_a_mistake_and_named(trained: Trained, tmp_path: Path) -> None:
    config, model = trained("mlp classification")
    assert isinstance(config.data, TableConfig)
    path = tmp_path / "new.csv"
    path.write_text("colour,x1,x0,kind\nred,0,3,high\nblue,0,-3,merlot\n")
    found = answers.of_tables(model, [str(path)], config.data)
    assert [answer.is_right for answer in found.answers] == [True, False]
    said = "The model does not know the class merlot, which it was not trained with; its 1 row counts as a mistake."
    assert found.notes == (said,)
    write_answers(found, "A", found.notes, tmp_path, ["html"], 6)
    page = (tmp_path / "predictions.html").read_text()
    assert said in page and "merlot (wrong)" in page
    right, wrong = (answer.prediction.value for answer in found.answers)
    assert f'<strong class="wrong">{wrong}</strong>' in page and f"<td>{right}</td>" in page
    assert page.count("<td><strong") == 1
    path.write_text("colour,x1,x0,kind\nred,0,3,merlot\nblue,0,-3,pinot\nred,0,3,merlot\n")
    [note] = answers.of_tables(model, [str(path)], config.data).notes
    assert "the classes merlot, pinot," in note and "the 3 rows of them count as mistakes" in note


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x1,colour\n1,red\n", "bad.csv: the table: no column 'x0'"),
        (
            "x0,x1,colour\none,1,red\n",
            "'x0' is to be numeric, .* mend them, or leave them empty: the model was trained with numbers there$",
        ),
        ("x0,x1,colour\n2020-01-02,1,red\n", "'x0' holds dates, .* the model was trained with numbers there$"),
    ],
)
def test_a_table_that_does_not_fit_is_named(trained: Trained, tmp_path: Path, text: str, said: str) -> None:
    config, model = trained("mlp classification")
    assert isinstance(config.data, TableConfig)
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        answers.of_tables(model, [str(tmp_path / "bad.csv")], config.data)


def test_images_of_folders_have_their_class_as_truth(trained: Trained, tmp_path: Path) -> None:
    config, model = trained("image classifier")
    root = Path(config.data.path)
    (tmp_path / "loose").mkdir()
    shutil.copy(root / "left" / "0.png", tmp_path / "loose" / "a.png")
    found = answers.of_files(model, [str(root / "left"), str(tmp_path / "loose")])
    assert [answer.truth for answer in found.answers] == ["left"] * 20 + [None]
    of_one = answers.of_files(model, [str(tmp_path / "loose" / "a.png")])
    [alone] = of_one.answers
    assert alone.truth is None
    page = write_answers(of_one, "One", [], tmp_path / "one", ["html"], 6).paths[0].read_text(encoding="utf-8")
    assert page.count("<section") == 1  # there is no sum of what is right
    assert alone.prediction.value == found.answers[20].prediction.value
    (tmp_path / "empty").mkdir()
    for missing, said in (("empty", "there is no image in it"), ("none.png", "there is no such file")):
        with pytest.raises(DataError, match=said):
            answers.of_files(model, [str(tmp_path / missing)])
    of_val = answers.of_images(model, load_data(config).val, 5)
    assert [answer.truth for answer in of_val.answers] == [Path(answer.name).parent.name for answer in of_val.answers]


def test_ratings_are_predicted_with_their_truth(trained: Trained, tmp_path: Path) -> None:
    config, model = trained("fm regression")
    assert isinstance(config.data, InteractionsConfig)
    path = tmp_path / "pairs.csv"
    path.write_text("user_id,item_id,rating\nu00,1,5\nu01,2,1\n")
    found = answers.of_pairs(model, [str(path)], config.data)
    assert [(answer.cells["user_id"], answer.truth) for answer in found.answers] == [("u00", 5.0), ("u01", 1.0)]
    assert found.summary is not None and found.summary.startswith("root mean squared error")
    splits = load_data(config)
    of_val = answers.of_ratings(model, splits.val, config.data, 7)
    truths = {
        (row["user_id"], str(row["item_id"])): row["rating"]
        for row in pl.read_csv(config.data.path).iter_rows(named=True)
    }
    assert [answer.truth for answer in of_val.answers] == [
        truths[answer.cells["user_id"], answer.cells["item_id"]] for answer in of_val.answers
    ]


def test_recommendations_leave_out_the_history_and_mark_what_was_held_out(trained: Trained) -> None:
    config, model = trained("als")
    splits = load_data(config)
    users = recommendations.some_users(splits.val, splits.train, 40)
    found = recommendations.recommend(model, users, 10, "some", {}, splits.train, splits.val)
    items = splits.train.catalogue.items
    assert len(found.users) == 40
    for each in found.users:
        code = splits.train.catalogue.users.index(each.user)
        had = {items[item] for item in splits.train.items[splits.train.users == code]}
        held = {items[item] for item in splits.val.items[splits.val.users == code]}
        assert set(each.history) == had and each.held_out == len(held)
        assert {item.item for item in each.items if item.held_out} == held & {item.item for item in each.items}
        assert not had & {item.item for item in each.items}
    # They keep to their own group's items: more than one in five would be chance.
    assert sum(bool(item.held_out) for each in found.users for item in each.items) > 0.4 * sum(
        u.held_out for u in found.users
    )
    plain = recommendations.recommend(model, users[:1], 3, "", {}, None, None)
    assert (plain.users[0].history, plain.users[0].items[0].held_out) == ((), None)


def test_users_are_read_as_the_data_has_them(trained: Trained, tmp_path: Path) -> None:
    _, model = trained("als")
    assert recommendations.known_users(model, ["u001", "u000", "u001"]) == ["u001", "u000"]
    with pytest.raises(DataError, match=r"users u99999: not among the 180 users .* did you mean 'u"):
        recommendations.known_users(model, ["u001", "u99999"])
    lines, table, odd = tmp_path / "users.txt", tmp_path / "users.csv", tmp_path / "odd.csv"
    lines.write_text("u001\n\nu002\n")
    table.write_text("age,user_id\n3,u003\n4,u004\n")
    odd.write_text("age\n3\n")
    assert recommendations.users_of([str(lines), str(table)], "user_id") == ["u001", "u002", "u003", "u004"]
    with pytest.raises(DataError, match=r"unknown column .user_id."):
        recommendations.users_of([str(odd)], "user_id")
    with pytest.raises(DataError, match=r"none\.txt: cannot be read: No such file"):
        recommendations.users_of([str(tmp_path / "none.txt")], "user_id")


def test_users_that_are_numbers_are_taken_as_numbers() -> None:
    class Model:
        users, items = (7, 11), (1,)

        def recommend(self, user_ids: Any, k: int) -> Any:
            raise AssertionError("who is known is asked of the model's users: nothing is recommended")

    assert recommendations.known_users(Model(), ["11", "7"]) == [11, 7]
    with pytest.raises(DataError, match="users 12"):
        recommendations.known_users(Model(), ["12"])


def test_items_have_their_title_as_a_name_and_else_their_first_columns(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,year,Title\n1,1999,The <b>Fog</b>\n2,2001,Rain\n")
    assert recommendations.item_names(str(path), "--items", "item_id") == {"1": "The <b>Fog</b>", "2": "Rain"}
    path.write_text("item_id,year,genre\n1,1999,horror\n2,,drama\n")
    assert recommendations.item_names(str(path), "--items", "item_id") == {"1": "1999, horror", "2": "drama"}
    with pytest.raises(DataError, match="unknown column 'movie'"):
        recommendations.item_names(str(path), "--items", "movie")


def test_the_table_has_every_answer_and_no_column_twice() -> None:
    said = Prediction("a", {"a": 0.75, "b": 0.25})
    found = Answers("x", "row", (Answer("1", said, "b", {"x": "1,5", "truth": "t", "predicted": ""}),), "kind")
    header, row = csv.reader(answers_csv(found).splitlines())
    assert header == ["row", "x", "truth", "predicted", "model_predicted", "p_a", "p_b", "model_truth"]
    assert row == ["1", "1,5", "t", "", "a", "0.75", "0.25", "b"]


def test_the_pages_open_without_an_error(trained: Trained, tmp_path: Path) -> None:
    config, images = trained("image classifier")
    rows_config, rows = trained("mlp classification")
    als_config, als = trained("als")
    splits = load_data(als_config)
    users = recommendations.some_users(splits.val, splits.train, 5)
    names = {str(item): f"<i>film</i> {item}" for item in als.items}
    recommended = recommendations.recommend(als, users, 4, "some", names, splits.train, splits.val)
    of_images = answers.of_images(images, load_data(config).val, 9)
    of_rows = answers.of_rows(rows, load_data(rows_config).val, 9)
    pages = [
        write_answers(of_images, "A <title>", ["<b>note</b>"], tmp_path / "images", ["html", "png"], 6),
        write_answers(of_rows, "B", [], tmp_path / "rows", ["html"], 6),
        write_recommendations(recommended, "C", [], tmp_path / "users", ["html"], 3),
    ]
    assert [[path.name for path in each.paths] for each in pages] == [
        ["predictions.html", "predictions.csv", "images.png"],
        ["predictions.html", "predictions.csv"],
        ["predictions.html", "predictions.csv"],
    ]
    assert len(recommendations_csv(recommended).splitlines()) == 21
    with chromium() as browser:
        for number, each in enumerate(pages):
            with opened(browser, each.paths[0].as_uri()) as seen:
                said = seen.page.inner_text("body")
                assert (seen.errors, seen.requests, seen.serious()) == ([], [], [])
                assert (seen.page.locator(".card").count(), seen.page.locator("section").count()) == [
                    (6, 2),
                    (0, 2),
                    (0, 5),
                ][number]
                assert number != 0 or (
                    "A <title>" in said and "<b>note</b>" in said and "3 more are in predictions.csv" in said
                )
                assert number != 2 or ("<i>film</i>" in said and "2 more users are in predictions.csv" in said)
