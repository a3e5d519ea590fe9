"""Which files are interaction logs, what is found in them, and what is refused because training would."""

import gzip
import tempfile
import warnings
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.data.inspect_interactions import InteractionFacts, Kept, inspect_interactions
from mlframework.data.interactions import InteractionsConfig
from mlframework.data.splits import split
from mlframework.errors import DataError

PAIRS = [(user, item) for user in range(1, 7) for item in range(10, 20) if (user * item) % 3]
ROWS = [f"{user},{item},{1 + (user + item) % 5},{1000 * user + item}" for user, item in PAIRS]
HEADER = "user_id,item_id,rating,timestamp"


def write(path: Path, header: str | None, rows: list[str], separator: str = ",") -> Path:
    lines = [*([] if header is None else [header]), *rows]
    path.write_text("".join(line.replace(",", separator) + "\n" for line in lines), encoding="utf-8")
    return path


def facts_of(path: Path) -> InteractionFacts:
    facts = inspect_interactions(path)
    assert facts is not None
    return facts


def columns_of(path: Path) -> tuple[str | None, ...]:
    facts = facts_of(path)
    return facts.user_column, facts.item_column, facts.rating_column, facts.time_column


@pytest.mark.parametrize(
    "header",
    [
        "user_id,item_id,rating,timestamp",
        "userId,movieId,rating,timestamp",
        "User-ID,ISBN,Book-Rating,Date",
        "reviewer_id,asin,overall,unixReviewTime",
        "customer,product,stars,ts",
        "UID,SKU,Score,datetime",
        "visitor_id,article,preference,time",
        "session_id,song_id,rate,created_at",
        "user_id:token,business_id:token,stars:float,date:token",
    ],
)
def test_columns_are_found_by_their_names(tmp_path: Path, header: str) -> None:
    names = tuple(name.partition(":")[0] for name in header.split(","))
    assert columns_of(write(tmp_path / "log.csv", header, ROWS)) == names


def test_ids_beat_names_and_users_beat_sessions(tmp_path: Path) -> None:
    rows = [f"s{i % 4},{user},title{item},{item}" for i, (user, item) in enumerate(PAIRS)]
    found = columns_of(write(tmp_path / "log.csv", "session_id,user,item_name,item", rows))
    assert found == ("user", "item", None, None)


def test_ids_beat_what_they_are_ids_of(tmp_path: Path) -> None:
    rows = [f"{user},title{item},{item}" for user, item in PAIRS]
    assert columns_of(write(tmp_path / "log.csv", "user,movie,movie_id", rows))[1] == "movie_id"


@pytest.mark.parametrize("name", ["u.data", "log.inter", "ratings.dat", "log.tsv"])
def test_a_file_without_a_header_is_read_by_position(tmp_path: Path, name: str) -> None:
    facts = facts_of(write(tmp_path / name, None, ROWS, "\t"))
    assert columns_of(tmp_path / name) == ("user_id", "item_id", "rating", "timestamp")
    assert facts.n_interactions == len(ROWS)
    assert facts.reason.startswith("has no header, and 4 columns of numbers")


def test_gzip_and_parquet(tmp_path: Path) -> None:
    plain = facts_of(write(tmp_path / "log.csv", HEADER, ROWS))
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(plain.path.read_bytes()))
    (tmp_path / "u.data.gz").write_bytes(gzip.compress("\n".join(ROWS).replace(",", "\t").encode()))
    pl.read_csv(plain.path).write_parquet(tmp_path / "log.parquet")
    for name in ("log.csv.gz", "u.data.gz", "log.parquet"):
        facts = facts_of(tmp_path / name)
        assert (facts.liked, facts.n_pairs, facts.ratings) == (plain.liked, plain.n_pairs, plain.ratings)


OTHERS = [f"f{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("name", "header", "rows"),
    [
        ("t.csv", ",".join([HEADER, *OTHERS]), [row + ",1" * 12 for row in ROWS]),
        ("t.csv", ",".join([HEADER, *OTHERS[:4]]), [row + ",1" * 4 for row in ROWS]),
        ("t.csv", "user_id,item_id,label", [row.rsplit(",", 1)[0] for row in ROWS]),
        ("t.csv", "user_id,age,rating,timestamp", ROWS),
        ("t.csv", "owner,item_id,rating,timestamp", ROWS),
        ("t.csv", "customer_id,product,price", [f"{number},{number % 3},{number}.5" for number in range(30)]),
        ("t.csv", None, ROWS),
        ("t.tsv", None, [f"{row},7" for row in ROWS]),
        ("t.data", None, [f"{number}.5,{number},3" for number in range(9)]),
        ("t.data", "length,width,kind", ["1.5,2,iris", "2.5,3,rose"]),
        ("t.zip", HEADER, ROWS),
    ],
)
def test_other_files_are_none(tmp_path: Path, name: str, header: str | None, rows: list[str]) -> None:
    path = write(tmp_path / name, header, rows, "\t" if name.endswith(".tsv") else ",")
    assert inspect_interactions(path) is None


def test_three_more_columns_are_let_through_and_named(tmp_path: Path) -> None:
    facts = facts_of(write(tmp_path / "t.csv", ",".join([HEADER, *OTHERS[:3]]), [row + ",1" * 3 for row in ROWS]))
    assert list(facts.unused) == OTHERS[:3]


def test_counts_and_median(tmp_path: Path) -> None:
    rows = [
        "a,1,5,1",
        "a,2,4,1",
        "a,3,3,1",
        "a,4,1,1",
        "b,1,3,1",
        "b,2,3,1",
        "b,4,5,1",
        "c,1,1,1",
        "c,1,2,2",
        "d,9,4,1",
    ]
    facts = facts_of(write(tmp_path / "t.csv", HEADER, rows))
    assert (facts.n_interactions, facts.n_users, facts.n_items, facts.n_pairs) == (10, 4, 5, 9)
    assert facts.density == 9 / 20
    assert facts.ratings is not None
    assert (facts.ratings.lowest, facts.ratings.median, facts.ratings.highest) == (1, 3, 5)
    assert (facts.ratings.liked_from, facts.ratings.class_from) == (3, 3)
    assert facts.liked == Kept(6, 2, 4)
    assert facts.rated == Kept(7, 2, 4)
    assert facts.a_user in ("a", "b")


def ratings_of(folder: Path, values: list[object]) -> InteractionFacts:
    rows = [f"{user},{item},{values[number % len(values)]}" for number, (user, item) in enumerate(PAIRS)]
    return facts_of(write(folder / "t.csv", "user,item,score", rows))


def test_two_different_ratings_are_liked_or_not(tmp_path: Path) -> None:
    facts = ratings_of(tmp_path, [0, 1, 1, 0, 0])
    assert facts.ratings is not None
    assert (facts.ratings.median, facts.ratings.liked_from, facts.ratings.class_from) == (0, 1, 1)
    assert facts.liked.n_interactions < facts.rated.n_interactions


def test_the_lowest_rating_makes_no_class_although_it_is_the_median(tmp_path: Path) -> None:
    facts = ratings_of(tmp_path, [1, 1, 1, 2, 3])
    assert facts.ratings is not None
    assert (facts.ratings.median, facts.ratings.liked_from, facts.ratings.class_from) == (1, 1, 2)
    assert facts.liked == facts.rated


def test_half_or_more_are_liked(tmp_path: Path) -> None:
    rows = [f"{user},{item},{rating}" for user in "ab" for item, rating in enumerate([1, 2, 3, 5])]
    facts = facts_of(write(tmp_path / "t.csv", "user,item,score", rows))
    assert facts.ratings is not None
    assert (facts.ratings.median, facts.liked.n_interactions) == (2, 6)


def test_of_repeated_pairs_the_newest_rating_makes_the_classes(tmp_path: Path) -> None:
    newest = [f"{user},{item},{2 + 2 * (item % 2)},9" for user in "ab" for item in range(4)]
    older = [f"{user},{item},5,1" for user in "ab" for item in range(4)]
    ratings = facts_of(write(tmp_path / "t.csv", HEADER, [*newest, *older])).ratings
    assert ratings is not None and (ratings.median, ratings.class_from) == (4, 4)


def test_ratings_that_are_all_the_same_say_nothing(tmp_path: Path) -> None:
    facts = ratings_of(tmp_path, [5])
    assert facts.rating_column is None and facts.ratings is None
    assert facts.unused == {"score": "always 5"}


def test_what_is_no_time_is_not_used(tmp_path: Path) -> None:
    rows = [f"{user},{item},Monday" for user, item in PAIRS]
    facts = facts_of(write(tmp_path / "t.csv", "user,item,date", rows))
    assert facts.time_column is None
    assert facts.unused["date"].startswith("no times: t.csv:2: column 'date' is 'Monday'")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["-3,10,5,1", *ROWS], r"t\.csv:2: .*'-3'.*cannot be negative"),
        ([*ROWS, ",10,5,1"], r"column 'user_id' is empty"),
        ([*ROWS, "1,2,good,1"], r"column 'rating' is 'good', which is no number"),
        ([*ROWS, "1,2,3"], r"3 fields, but the header has 4 columns"),
        (
            [f"{number},{number % 3},{number % 5},1" for number in range(30)],
            r"no user has a rating of 2 or more for 3 diff",
        ),
        ([f"7,{number},{number % 5},1" for number in range(30)], r"only one user has a rating of 2 or more for 3 diff"),
        (
            [f"{number % 9},1,{number % 5},1" for number in range(90)],
            r"no user has a rating of 2 or more for 3 different",
        ),
        (["1,1,5,1", "1,2,5,1", "2,1,5,1"], r"no user has interactions with 3 different items, but two users"),
    ],
)
def test_logs_that_cannot_be_trained_with(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        inspect_interactions(write(tmp_path / "t.csv", HEADER, rows))


def test_what_was_a_log_by_mistake_is_told_how_to_be_a_table(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"\(user_id\) and an item column \(item_id\); --target COLUMN makes it a table"
    ):
        inspect_interactions(write(tmp_path / "t.csv", HEADER, ["-1,1,1,1"]))
    with pytest.raises(DataError, match="negative") as refused:
        inspect_interactions(write(tmp_path / "t.data", None, ["-1,1,1,1"], "\t"))
    assert "--target" not in str(refused.value)  # no table is read from a file of this name


def test_latin_1_and_empty_files(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(f"{HEADER}\n".encode() + "José,1,2,3\n".encode("latin-1"))
    (tmp_path / "t.data").write_bytes(b"")
    with pytest.raises(DataError, match="not UTF-8 text"):
        inspect_interactions(tmp_path / "t.csv")
    with pytest.raises(DataError, match="the file is empty"):
        inspect_interactions(tmp_path / "t.data")


logs = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(-1, 4), st.integers(0, 9)), min_size=1, max_size=80
)


@given(rows=logs)
def test_training_keeps_what_the_facts_say(rows: list[tuple[int, int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "t.csv"), HEADER, [",".join(map(str, row)) for row in rows])
        try:
            facts = facts_of(path)
        except DataError:
            return
        settings = {
            "type": "interactions", "path": str(path), "time_column": facts.time_column, "min_user_interactions": 3,
            "rating_column": facts.rating_column,
        }  # fmt: skip
        plans = [({"min_rating": facts.ratings and facts.ratings.liked_from}, facts.liked)]
        if facts.ratings is not None:
            plans.append(({"task": "regression"}, facts.rated))
            if facts.ratings.class_from is not None:
                plans.append(({"task": "classification", "min_rating": facts.ratings.class_from}, facts.rated))
        for more, kept in plans:
            config = InteractionsConfig.model_validate({**settings, **more})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded = config.load()
            catalogue = loaded.examples.catalogue
            assert kept == Kept(len(loaded.examples), len(catalogue.users), len(catalogue.items))
            assert split(loaded, config.split, 42).test is not None
            assert more.get("task") is not None or facts.a_user in catalogue.users
