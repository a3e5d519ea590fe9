"""A reader who types what is on a page of docs/getting-started, in an empty folder, arrives."""

from pathlib import Path

import pytest

from mlframework.runs import read_json
from support.reader import Shell, Step, commands, follow, in_process, is_as_shown, steps

PAGES = Path(__file__).parents[2] / "docs" / "getting-started"
PLOTS = {
    "contour", "intermediate_values", "optimization_history", "parallel_coordinate", "param_importances", "slice",
}  # fmt: skip


def test_the_table_page_leads_to_predictions(tmp_path: Path) -> None:
    with in_process(tmp_path) as typist:
        printed = follow(PAGES / "table.md", typist)
    assert_table_arrived(tmp_path, printed)


@pytest.mark.slow
def test_the_table_page_leads_to_predictions_in_a_shell(tmp_path: Path) -> None:
    assert_table_arrived(tmp_path, follow(PAGES / "table.md", Shell(tmp_path)))


def assert_table_arrived(folder: Path, printed: str) -> None:
    assert printed.splitlines()[-1] == "malignant"
    study = folder / "runs" / "optuna_studies" / "breast_cancer_optimization"
    best = read_json(study / "results.json")["best_value"]
    assert len(read_json(study / "results.json")["trials"]) == 20
    assert {path.stem for path in (study / "plots").glob("*.html")} == PLOTS
    assert (study / "report.html").is_file()
    assert read_json(folder / "runs" / "breast_cancer-2" / "result.json")["value"] == best
    final = folder / "runs" / "breast_cancer-2-final"
    assert read_json(final / "result.json")["test_metrics"]["test_acc"] > 0.9
    assert len((final / "test_ledger.jsonl").read_text(encoding="utf-8").splitlines()) == 1


@pytest.mark.slow
def test_the_ratings_page_leads_to_recommendations(tmp_path: Path) -> None:
    follow(PAGES / "ratings.md", Shell(tmp_path))
    plots = tmp_path / "runs" / "ratings_optimization-final" / "plots"
    assert {path.stem for path in plots.glob("*.html")} >= {"curves", "recall_at_k", "popularity"}


@pytest.mark.slow
def test_the_images_page_leads_to_predictions(tmp_path: Path) -> None:
    """About five minutes on two cores: twelve trainings of a resnet18."""
    printed = follow(PAGES / "images.md", Shell(tmp_path))
    assert printed.splitlines()[-1].startswith("183 3 ")
    study = tmp_path / "runs" / "optuna_studies" / "digits_optimization"
    assert (
        read_json(tmp_path / "runs" / "digits" / "result.json")["value"]
        == read_json(study / "results.json")["best_value"]
    )


@pytest.mark.parametrize("name", ["images", "table", "ratings"])
def test_every_page_goes_from_data_to_predictions(name: str) -> None:
    """All commands are there, in an order in which each has what it needs."""
    page = list(steps(PAGES / f"{name}.md"))
    typed = [words[0] for step in page if step.language == "bash" for words in commands(step.text)]
    first = [typed.index(command) for command in ("python", "ml-init-config", "ml-search", "ml-visualise")]
    assert first == sorted(first)
    assert page[-1].language == "python"
    assert "mlframework.load(" in page[-1].text


def test_what_was_not_printed_is_found() -> None:
    printed = "Found 12 rows\nepoch 1  loss 0.25 *\nepoch 2  loss 0.20\ndone in 3.0 s\n"
    assert is_as_shown("Found 1,797 rows\n...\ndone in 12.5 s\n", printed) is None
    assert is_as_shown("epoch 7  loss 1e-5\nepoch 8 ...\n", printed) is None
    assert is_as_shown("done in 3 s\nFound 12 rows\n", printed) == "Found 12 rows"
    assert is_as_shown("Found 12 columns\n", printed) == "Found 12 columns"


def test_a_text_block_is_the_output_of_what_stands_before_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\na\n```\n\n```text\n1\n```\n\n```bash\nb\n```\n\n<!-- a file -->\n```text\n2\n```\n")
    assert list(steps(page)) == [Step("bash", "a\n", "1\n"), Step("bash", "b\n", "")]
