"""Small data sets written as files, for the quickstart and for tests: real ones that come with scikit-learn, and ratings.

`python -m mlframework.data.samples digits data/digits`; a table wants a file: `breast_cancer data/breast_cancer.csv`, and
so does `ratings data/ratings.csv`, which writes users.csv and items.csv beside it.
"""

import argparse
import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlframework.data.splits import Array


def write_digits(folder: str | Path) -> Path:
    """Write 1,797 grey 8x8 images of handwritten digits as `folder/<digit>/<number>.png`; returns the folder."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = Path(folder)
    digits = load_digits()
    # The scans count black dots from 0 to 16.
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
    for number, (image, digit) in enumerate(zip(pixels, digits.target, strict=True)):
        Image.fromarray(image).save(folder / str(digit) / f"{number:04d}.png")
    return folder


def write_breast_cancer(path: str | Path) -> Path:
    """Write 569 tumours, 30 numeric columns and the target `diagnosis` (malignant, benign), as csv; returns the path."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return _write_csv(Path(path), data.feature_names, data.data, "diagnosis", data.target_names[data.target])


def write_diabetes(path: str | Path) -> Path:
    """Write 442 patients, 10 numeric columns and the target `progression` (25 to 346), as csv; returns the path."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    return _write_csv(Path(path), data.feature_names, data.data, "progression", data.target)


RATINGS_SEED = 5
N_USERS, N_ITEMS, N_RATINGS = 600, 400, 24_000
GENRES = ("action", "comedy", "drama", "horror", "musical", "western")
_N_FACTORS = 6
# How much taste decides over what is watched, beside popularity; and how far individual tastes are from the group's.
_TASTE, _OWN = 1.6, 0.6
_SKEW = 0.7
_FIRST_SECOND, _ONE_YEAR = 1_577_836_800, 365 * 24 * 3600


@dataclass(frozen=True)
class PlantedTastes:
    """What `write_ratings` plants: of users (600, 6) and items (400, 6), and the log popularity of items (400,)."""

    users: NDArray[np.float64]
    items: NDArray[np.float64]
    log_popularity: NDArray[np.float64]
    groups: NDArray[np.int64]
    genres: NDArray[np.int64]

    @property
    def affinity(self) -> NDArray[np.float64]:
        """How much each user likes each item, of mean 0 and deviation 1, (600, 400)."""
        found: NDArray[np.float64] = self.users @ self.items.T
        found -= found.mean()
        found /= found.std()
        return found


def planted_tastes(rng: np.random.RandomState) -> PlantedTastes:
    """Draw tastes: each user is near the centre of one of six groups, each item near that of one of six genres.

    The group i and the genre i have the same centre, a normal draw of six factors, to which each user and item adds its
    own of 0.6 times that size. The popularity of the item at rank r goes with (r + 5)^-0.7, and says nothing of its genre.
    """
    centres = rng.normal(size=(len(GENRES), _N_FACTORS))
    groups, genres = rng.randint(len(GENRES), size=N_USERS), rng.randint(len(GENRES), size=N_ITEMS)
    return PlantedTastes(
        users=centres[groups] + _OWN * rng.normal(size=(N_USERS, _N_FACTORS)),
        items=centres[genres] + _OWN * rng.normal(size=(N_ITEMS, _N_FACTORS)),
        log_popularity=-_SKEW * np.log(rng.permutation(N_ITEMS) + 5.0),
        groups=groups,
        genres=genres,
    )


def write_ratings(path: str | Path) -> Path:
    """Write 24,000 ratings (1 to 5) by 600 users of 400 items as csv, users.csv and items.csv beside it; returns the path.

    Columns: user_id (u0001), item_id (i0001), rating, timestamp (seconds). Generated, always the same: tastes are planted
    (`planted_tastes`). A user watches 12 items or more, 40 on average, drawn without replacement with a probability in
    proportion to popularity * exp(1.6 * affinity), and rates each 3.3 + 0.9 * affinity + noise of deviation 0.7, rounded.
    users.csv has each user's group, its age (which goes with the group) and its country (which says nothing); items.csv
    each item's genre, its year (nothing) and its length in minutes (which goes with the genre).
    """
    path, rng = Path(path), np.random.RandomState(RATINGS_SEED)
    planted = planted_tastes(rng)
    counts = 12 + rng.multinomial(N_RATINGS - 12 * N_USERS, rng.dirichlet(np.full(N_USERS, 1.5)))
    # The largest of log-probability plus Gumbel noise are a draw without replacement (Vieira 2014).
    keys = planted.log_popularity + _TASTE * planted.affinity + rng.gumbel(size=(N_USERS, N_ITEMS))
    users = np.repeat(np.arange(N_USERS), counts)
    items = np.concatenate([row[:n] for row, n in zip(np.argsort(-keys, axis=1), counts, strict=True)])
    liked = 3.3 + 0.9 * planted.affinity[users, items] + 0.7 * rng.normal(size=N_RATINGS)
    ratings = np.clip(np.rint(liked), 1, 5).astype(np.int64)
    times = _FIRST_SECOND + rng.randint(_ONE_YEAR, size=N_RATINGS)
    order = np.argsort(times, kind="stable")
    log = ((_id("u", users[row]), _id("i", items[row]), ratings[row], times[row]) for row in order)
    _write_rows(path, ("user_id", "item_id", "rating", "timestamp"), log)
    _write_features(path, planted, rng)
    return path


def _write_features(path: Path, planted: PlantedTastes, rng: np.random.RandomState) -> None:
    ages = 20 + 7 * planted.groups + rng.randint(-4, 5, size=N_USERS)
    countries = rng.choice(["Chile", "Ghana", "Japan", "Norway"], size=N_USERS)
    users = ((_id("u", row), f"group {planted.groups[row] + 1}", ages[row], countries[row]) for row in range(N_USERS))
    _write_rows(path.with_name("users.csv"), ("user_id", "group", "age", "country"), users)
    years = rng.randint(1960, 2020, size=N_ITEMS)
    minutes = 80 + 10 * planted.genres + rng.randint(-8, 9, size=N_ITEMS)
    items = ((_id("i", row), GENRES[planted.genres[row]], years[row], minutes[row]) for row in range(N_ITEMS))
    _write_rows(path.with_name("items.csv"), ("item_id", "genre", "year", "minutes"), items)


def _id(letter: str, row: int) -> str:
    return f"{letter}{row + 1:04d}"


SAMPLES: dict[str, Callable[[str | Path], Path]] = {
    "digits": write_digits,
    "breast_cancer": write_breast_cancer,
    "diabetes": write_diabetes,
    "ratings": write_ratings,
}


def _write_csv(path: Path, names: Sequence[str], values: Array, target: str, targets: Array) -> Path:
    header = [*(str(name).replace(" ", "_") for name in names), target]
    return _write_rows(path, header, ([*row, y] for row, y in zip(values.tolist(), targets.tolist(), strict=True)))


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sample that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m mlframework.data.samples", description="Write a small data set.")
    parser.add_argument("sample", choices=SAMPLES)
    parser.add_argument("path", type=Path, help="the folder or file to write")
    chosen = parser.parse_args(arguments)
    print(f"wrote {SAMPLES[chosen.sample](chosen.path)}")  # noqa: T201 - a command says what it did


if __name__ == "__main__":
    main()
