"""The report from the command line: at the end of a search, and on request."""

import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlframework.cli import search, visualise
from support.running import Ended
from support.searches import write_config

STUDY = Path("runs/optuna_studies/tiny_optimization")


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[str], Ended]:
    """A command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(line: str) -> Ended:
        words = shlex.split(line)
        monkeypatch.setattr(sys, "argv", words)
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as end:
                {"ml-search": search, "ml-visualise": visualise}[words[0]].main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        return Ended(end.value.code or 0, *capfd.readouterr())

    return call


def test_a_search_ends_with_its_report(main: Callable[[str], Ended]) -> None:
    write_config()
    done = main("ml-search --config config.yaml --n-trials 2")
    assert done.code == 0, done.err
    assert f"report:    {STUDY}/report.html" in done.out
    page = (STUDY / "report.html").read_text(encoding="utf-8")
    assert "2 trials: 2 complete" in page
    again = "ml-search --config config.yaml --resume --n-trials 2"
    assert again in page  # what was typed is typed again
    assert "--add-trials 50" in page
    (STUDY / "report.html").unlink()
    done = main("ml-visualise --mode search --study-name tiny_optimization --report")
    assert (done.code, done.out.strip()) == (0, f"report: {STUDY}/report.html")
    assert again in (STUDY / "report.html").read_text(encoding="utf-8")
    assert not (STUDY / "plots").exists()
    done = main("ml-visualise --mode search --study-name tiny_optimization --report --plot-type slice --format html")
    assert done.code == 0, done.err
    assert (STUDY / "plots/slice.html").is_file()
    done = main("ml-visualise --mode search --study-name tiny_optimization --report --format html")
    assert done.code == 2
    assert "--format: is of plots" in done.err


def test_a_report_that_cannot_be_written_does_not_cost_the_search(main: Callable[[str], Ended]) -> None:
    write_config()
    (STUDY / "report.html/in_the_way").mkdir(parents=True)
    done = main("ml-search --config config.yaml --n-trials 1")
    assert done.code == 0
    assert "warning: no report was written" in done.err
    assert "ml-visualise --mode search --study-name tiny_optimization --report" in done.err
    assert (STUDY / "results.json").is_file()


def test_a_search_in_which_all_failed_has_a_report_of_why(main: Callable[[str], Ended]) -> None:
    write_config({"search_space": {"optimizer.lr": {"type": "loguniform", "low": 1e30, "high": 1e38}}})
    done = main("ml-search --config config.yaml --n-trials 2")
    assert done.code == 2
    assert "no trial came to its end" in done.err
    assert "2 trials failed (100 %)" in (STUDY / "report.html").read_text(encoding="utf-8")
