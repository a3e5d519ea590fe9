"""The pictures of docs/images, made from real runs: `python scripts/pictures.py [NAME ...] [--folder FOLDER]`.

PICTURES says what makes each. A picture comes from the commands of the page that shows it: they are read from the page and
run in a folder of their own, with the configs of `configs/` and the samples beside them, so that picture and page can't
disagree. All seeds are the configs' own and the number of threads is fixed: on one machine the same pictures come again.
All of them take about half an hour on two cores; one that others have made the ground for takes seconds.
"""

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
THREADS = "2"
WIDTH, COLOURS = 1150, 256
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAMPLES = {"digits": "data/digits", "breast_cancer": "data/breast_cancer.csv", "diabetes": "data/diabetes.csv",
           "ratings": "data/ratings.csv"}  # fmt: skip
BY_HAND = {"floors.svg", "one-trainer.svg", "trial.svg"}
"""Diagrams: they are their own source."""


@dataclass(frozen=True)
class Place:
    """A folder in which commands are run, each once: what has been run is kept in `.done`."""

    folder: Path

    @classmethod
    def prepared(cls, folder: Path) -> "Place":
        """Put the samples and the configs into a folder, where they are not."""
        (folder / ".done").mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / "configs", folder / "configs", dirs_exist_ok=True)
        place = cls(folder)
        for sample, path in SAMPLES.items():
            place.run(["python", "-m", "mlframework.data.samples", sample, path])
        return place

    def run(self, words: list[str]) -> None:
        """Run a command, unless it has been run here."""
        mark = self.folder / ".done" / hashlib.sha256(shlex.join(words).encode()).hexdigest()[:16]
        if mark.exists():
            return
        sys.stdout.write(f"$ {shlex.join(words)}\n")
        sys.stdout.flush()
        programs = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": THREADS}
        subprocess.run(words, cwd=self.folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        mark.write_text(shlex.join(words), encoding="utf-8")


Maker = Callable[[Place, Path], None]
"""Writes a picture to a path."""


def commands(page: str) -> list[list[str]]:
    """Return the commands of a page of docs, each as its words."""
    text = (DOCS / page).read_text(encoding="utf-8")
    lines = "\n".join(_BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@dataclass(frozen=True)
class Typed:
    """A PNG that commands of a page leave.

    Attributes:
        page: which page of docs shows the picture, and has the commands.
        needles: those of its commands are typed that contain one of these.
        file: the PNG that they leave.
    """

    page: str
    needles: tuple[str, ...]
    file: str

    def __call__(self, place: Place, path: Path) -> None:
        """Make the picture."""
        for words in self.commands():
            place.run(words)
        smaller(place.folder / self.file, path)

    def commands(self) -> list[list[str]]:
        """Return the commands, in the page's order."""
        return [words for words in commands(self.page) if any(needle in shlex.join(words) for needle in self.needles)]


def smaller(source: Path, path: Path, width: int = WIDTH) -> None:
    """Write a PNG in the width of a page, with few colours."""
    with Image.open(source) as picture:
        height = round(picture.height * min(1.0, width / picture.width))
        small = picture.convert("RGB").resize((min(width, picture.width), height), Image.Resampling.LANCZOS)
        small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def screenshot(url: str, path: Path, size: tuple[int, int] = (1280, 900), dark: bool = False, wait: str = "") -> None:
    """Write what a browser shows at an address.

    Args:
        url: the address; `Path.as_uri()` of a file.
        path: the PNG.
        size: of the window, in pixels.
        dark: whether the reader's system is set to dark.
        wait: a selector of what has to be there first.
    """
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        page.goto(url)
        page.wait_for_load_state("networkidle")
        if wait:
            page.wait_for_selector(wait)
        raw = Path(folder) / "raw.png"
        page.screenshot(path=raw)
        browser.close()
        smaller(raw, path, size[0])


def ranking(plot: str) -> Typed:
    """Return what draws the final run of the page on ratings."""
    needles = ("ml-init-config", "--refit", "--mode run")
    return Typed("getting-started/ratings.md", needles, f"runs/ratings_optimization-final/plots/{plot}.png")


def comparison(plot: str) -> Typed:
    """Return what draws the comparison of the guide to proof."""
    return Typed("guides/proof.md", ("--compare",), f"runs/optuna_studies/engines_compare/plots/{plot}.png")


def of_study(page: str, study: str, plot: str, *needles: str) -> Typed:
    """Return what draws a study that a page searches, by commands that name it, or contain something else."""
    return Typed(page, (study, *needles), f"runs/optuna_studies/{study}/plots/{plot}.png")


PICTURES: Mapping[str, Maker] = {
    "engines_gp": of_study("guides/engines.md", "with_gp", "slice"),
    "engines_qmc": of_study("guides/engines.md", "with_qmc", "slice"),
    "folds": of_study("guides/cross-validation.md", "five_folds", "folds"),
    "lr_finder": Typed("guides/training.md", ("--find-lr",), "runs/breast_cancer_find_lr/plots/lr_finder.png"),
    "pareto_front": of_study("guides/several-objectives.md", "small_mlp_optimization", "pareto_front", "small_mlp.yaml"),
    "popularity": ranking("popularity"),
    "proof_best_so_far": comparison("best_so_far"),
    "proof_confirm": of_study("guides/proof.md", "proven", "confirm"),
    "proof_importance": of_study("guides/proof.md", "engines_compare-TPESampler-42", "importance_significance", "--compare"),
    "proof_ranks": comparison("ranks"),
    "recall": ranking("recall_at_k"),
    "search": of_study(
        "getting-started/images.md", "digits_optimization", "intermediate_values", "ml-init-config", "ml-search"
    ),
    "warm_start": of_study("guides/history.md", "warm", "optimization_history", "--n-trials 20"),
}  # fmt: skip
"""Name of a PNG in docs/images: what makes it."""


def main() -> None:
    """Make the pictures that the command line names, or all."""
    parser = argparse.ArgumentParser(description="Make the pictures of docs/images from real runs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(PICTURES)}; all unless given")
    parser.add_argument("--folder", type=Path, help="work here, and keep what was run; a temporary folder unless given")
    parser.add_argument("--output", type=Path, default=IMAGES, help="where the pictures go")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(PICTURES)
    if unknown:
        parser.error(f"no such picture: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as scratch:
        place = Place.prepared((chosen.folder or Path(scratch)).resolve())
        chosen.output.mkdir(parents=True, exist_ok=True)
        for name in chosen.names or PICTURES:
            PICTURES[name](place, chosen.output / f"{name}.png")
            sys.stdout.write(f"wrote {chosen.output / name}.png\n")


if __name__ == "__main__":
    main()
