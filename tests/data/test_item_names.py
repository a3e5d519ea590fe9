"""What items are called."""

from pathlib import Path

import pytest

from mlframework.data.feature_tables import FeatureTable
from mlframework.data.interactions import InteractionsConfig
from mlframework.data.item_names import item_names


def names(tmp_path: Path, text: str, known: tuple[int, ...] | tuple[str, ...], suffix: str = "csv") -> object:
    path = tmp_path / f"items.{suffix}"
    path.write_text(text)
    return item_names(FeatureTable(path=str(path)), "item_id", known)


@pytest.mark.parametrize("header", ["title", "Title", "movie_title", "Movie Title", "name", "product_name"])
def test_a_column_of_titles_or_names_is_found(tmp_path: Path, header: str) -> None:
    text = f"item_id,genre,{header}\n3,war,Ran\n1,war,Alien\n2,love,Up\n"
    assert names(tmp_path, text, (1, 2, 3)) == ("Alien", "Up", "Ran")


def test_an_item_without_a_name_or_a_row_is_called_by_its_id(tmp_path: Path) -> None:
    assert names(tmp_path, "item_id,title\na,Alien\nb,\nd,Ran\n", ("a", "b", "c")) == ("Alien", "b", "c")


def test_a_title_comes_before_a_name(tmp_path: Path) -> None:
    assert names(tmp_path, "item_id,file_name,title\n1,x.mp4,Alien\n2,y.mp4,Up\n", (1, 2)) == ("Alien", "Up")


@pytest.mark.parametrize(
    "text",
    [
        "item_id,genre\n1,war\n2,love\n",
        "item_id,untitled\n1,war\n2,love\n",
        "item_id,brand_name\n1,Acme\n2,Acme\n3,Acme\n4,Duff\n",
    ],
)
def test_other_columns_are_no_names(tmp_path: Path, text: str) -> None:
    assert names(tmp_path, text, (1, 2)) is None


def test_a_catalogue_has_the_names_also_of_a_column_that_is_no_feature(tmp_path: Path) -> None:
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    log.write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for user in range(6) for item in (1, 2, 3)))
    items.write_text("item_id,genre,title\n1,war,Alien\n2,love,Up\n3,war,Ran\n")
    config = InteractionsConfig(
        type="interactions", path=str(log), item_features={"path": str(items), "drop": ["title"]}
    )
    catalogue = config.load().examples.catalogue
    assert catalogue.item_names == ("Alien", "Up", "Ran")
    assert catalogue.item_features is not None and catalogue.item_features.schema.categorical == ("genre",)
    without = InteractionsConfig(type="interactions", path=str(log)).load().examples.catalogue
    assert without.item_names is None
