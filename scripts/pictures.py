"""The pictures of docs/images, made from real runs: `python scripts/pictures.py [NAME ...] [--folder FOLDER]`.

PICTURES says what makes each. Most come from the commands of the page that shows them: they are read from the page and
run in a folder of their own, with the configs of `configs/` and the samples beside them, so that picture and page can't
disagree. All seeds are the configs' own and the number of threads is fixed: on one machine the same pictures come again.
All of them take about half an hour on two cores; one that others have made the ground for takes seconds.
"""

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from picture_kinds import DOCS, Left, Maker, Place, Served, Typed, screenshot, smaller

IMAGES = DOCS / "images"
STUDIES = "runs/optuna_studies"
BY_HAND = {"floors.svg", "one-trainer.svg", "trial.svg"}
"""Diagrams: they are their own source."""


def ranking(plot: str) -> Typed:
    """Return what draws the final run of the page on ratings."""
    needles = ("ml-init-config", "--refit", "--mode run")
    return Typed("getting-started/ratings.md", needles, f"runs/ratings_optimization-final/plots/{plot}.png")


def comparison(plot: str) -> Typed:
    """Return what draws the comparison of the guide to proof."""
    return Typed("guides/proof.md", ("--compare",), f"{STUDIES}/engines_compare/plots/{plot}.png")


def of_study(page: str, study: str, plot: str, *needles: str) -> Typed:
    """Return what draws a study that a page searches, by commands that name it, or contain something else."""
    return Typed(page, (study, *needles), f"{STUDIES}/{study}/plots/{plot}.png")


def of_run(config: str, options: str, run: str, plot: str) -> Left:
    """Return what draws a run of one of the configs."""
    train = f"ml-train --config configs/{config}.yaml {options}".rstrip()
    return Left((train, f"ml-visualise --mode run runs/{run}"), f"runs/{run}/plots/{plot}.png")


def data_leakage(place: Place, path: Path) -> None:
    """Look at digits of which one was copied into another class, twice."""
    folder = place.folder / "data" / "digits_with_copies"
    shutil.copytree(place.folder / "data" / "digits", folder, dirs_exist_ok=True)
    for name in ("copy1.png", "copy2.png"):
        shutil.copy(folder / "3" / "0003.png", folder / "5" / name)
    text = (place.folder / "configs" / "digits.yaml").read_text(encoding="utf-8")
    changes = {
        "name: digits ": "name: digits_with_copies ",
        "path: data/digits": "path: data/digits_with_copies",
        "augment: none": "augment: light",
    }
    for old, new in changes.items():
        text = text.replace(old, new)
    (place.folder / "configs" / "digits_with_copies.yaml").write_text(text, encoding="utf-8")
    page = "runs/data/digits_with_copies/data.html"
    Left(("ml-visualise --mode data configs/digits_with_copies.yaml",), page, (1100, 1950))(place, path)


def predictions(place: Place, path: Path) -> None:
    """Let a model that has hardly learnt say what eight digits are; in half of them it is mistaken."""
    for name in ("0/0416", "1/0151", "2/1214", "3/1118", "6/1569", "7/0413", "8/0905", "9/0547"):
        digit = place.folder / "digits" / f"{name}.png"
        digit.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place.folder / "data" / "digits" / f"{name}.png", digit)
    config, options, run = DIGITS
    predict = f"ml-visualise --mode predictions runs/{run} --input digits"
    page = f"runs/{run}/predictions/predictions.html"
    Left((f"ml-train --config configs/{config}.yaml {options}", predict), page)(place, path)


def board(tab: str, line: str) -> Maker:
    """Return what takes a picture of a tab of TensorBoard, after a command."""

    def make(place: Place, path: Path) -> None:
        from tensorboard_pictures import take

        place.run(shlex.split(line))
        take(place.folder, tab, path)
        smaller(path, path, 1280)

    return make


def report(of: str, size: tuple[int, int], dark: bool) -> Maker:
    """Return what shows the report of the search that its guide describes."""

    def make(place: Place, path: Path) -> None:
        page = (DOCS / "guides" / "report.md").read_text(encoding="utf-8")
        plain = (place.folder / "configs" / "breast_cancer.yaml").read_text(encoding="utf-8")
        search = page.partition("```yaml\n")[2].partition("```")[0]
        (place.folder / "configs" / "tumours.yaml").write_text(plain.partition("search:")[0] + search, encoding="utf-8")
        place.run(shlex.split("ml-search --config configs/tumours.yaml"))
        file = place.folder / STUDIES / "tumours" / "report.html"
        screenshot(file.as_uri(), path, size, dark, settle=2, of=of)

    return make


DIGITS = ("digits", "--num_epochs 3", "digits_num_epochs-3")
COMPARED = ("breast_cancer", "breast_cancer_lr-0.03_hidden_size-16", "breast_cancer_type-sgd_lr-0.05")
TRAINED = "ml-train --config configs/breast_cancer.yaml"
SEARCHED = "ml-search --config configs/breast_cancer.yaml --n-trials 20"

PICTURES: Mapping[str, Maker] = {
    "compare_runs": Left(
        (TRAINED, f"{TRAINED} --lr 0.03 --hidden_size 16", f"{TRAINED} --optimizer.type sgd --lr 0.05",
         f"ml-visualise --mode compare {' '.join(f'runs/{name}' for name in COMPARED)} --output runs/compared"),
        "runs/compared/comparison.html", (1100, 1560),
    ),
    "dashboard": Served(
        (SEARCHED,), "ml-visualise --mode dashboard --study-name breast_cancer_optimization", "", "text=Timeline",
        (1280, 1160),
    ),
    "data_leakage": data_leakage,
    "engines_gp": of_study("guides/engines.md", "with_gp", "slice"),
    "engines_qmc": of_study("guides/engines.md", "with_qmc", "slice"),
    "folds": of_study("guides/cross-validation.md", "five_folds", "folds"),
    "lr_finder": Typed("guides/training.md", ("--find-lr",), "runs/breast_cancer_find_lr/plots/lr_finder.png"),
    "mlflow_study": Served(
        (f"{SEARCHED.replace('20', '14')} --study-name tracked --mlflow-tracking --experiment-name breast_cancer",),
        "mlflow server --host 127.0.0.1 --port 5017 --workers 1 --backend-store-uri sqlite:///mlflow.db",
        "/#/experiments/1/runs", "text=tracked", (1440, 700),
        clicks=("[aria-label=Close]", "text=Model training", "[col-id*='Run Name'] button"),
    ),
    "pareto_front": Typed(
        "guides/several-objectives.md", ("small_mlp.yaml\n", "--plot-type pareto_front\n"),
        f"{STUDIES}/small_mlp_optimization/plots/pareto_front.png",
    ),
    "popularity": ranking("popularity"),
    "predictions_images": predictions,
    "proof_best_so_far": comparison("best_so_far"),
    "proof_confirm": of_study("guides/proof.md", "proven", "confirm"),
    "proof_importance": of_study("guides/proof.md", "engines_compare-TPESampler-42", "importance_significance", "--compare"),
    "proof_ranks": comparison("ranks"),
    "recall": ranking("recall_at_k"),
    "report_found": report("", (1280, 1290), dark=False),
    "report_parallel": report("#parallel", (1280, 900), dark=True),
    "run_calibration": of_run(*DIGITS, "calibration"),
    "run_confusion_matrix": of_run(*DIGITS, "confusion_matrix"),
    "run_mistakes": of_run(*DIGITS, "mistakes"),
    "run_mistakes_rows": of_run("breast_cancer", "--num_epochs 8", "breast_cancer_num_epochs-8", "mistakes"),
    "run_precision_recall": of_run(*DIGITS, "precision_recall"),
    "run_ranking_at_k": of_run("als", "--mode final", "als-final", "ranking_at_k"),
    "run_residuals": of_run("diabetes", "--mode final", "diabetes-final", "residuals"),
    "run_user_hits": of_run("als", "--mode final", "als-final", "user_hits"),
    "search": of_study(
        "getting-started/images.md", "digits_optimization", "intermediate_values", "ml-init-config", "ml-search"
    ),
    "tensorboard_hparams": board("hparams", SEARCHED),
    "tensorboard_images": board("images", "ml-train --config configs/digits.yaml"),
    "tensorboard_projector": board("projector", "ml-train --config configs/two_tower.yaml"),
    "tensorboard_timeseries": board("timeseries", SEARCHED),
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
