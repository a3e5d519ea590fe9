"""Real data sets small enough to come with scikit-learn, written as files: for the quickstart and for tests.

`python -m mlframework.data.samples digits data/digits`; a table wants a file: `breast_cancer data/breast_cancer.csv`.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

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


SAMPLES: dict[str, Callable[[str | Path], Path]] = {
    "digits": write_digits,
    "breast_cancer": write_breast_cancer,
    "diabetes": write_diabetes,
}


def _write_csv(path: Path, names: Sequence[str], values: Array, target: str, targets: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(str(name).replace(" ", "_") for name in names), target])
        writer.writerows([*row, y] for row, y in zip(values.tolist(), targets.tolist(), strict=True))
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
