"""The benchmark suite: ours beside what an expert would write by hand for the one case, in turn, results checked first.

`make bench`, or `python benchmarks/suite.py --case tiny_mlp --rounds 1`. It prints a table and writes `results.md` beside
this file; it ends with exit 1 where a bar is missed, or where two sides do not come to the same result.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from case_table import CASES, Case
from measure import PEERS, Measured, SideError, run_in, run_side
from scores import Score
from show import table_of, write_results

ROUNDS = 5
RESULTS = Path(__file__).resolve().parent / "results.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases that are asked for, print the table and write the results; returns the exit status."""
    options = _options(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    cases = [case for case in CASES if not options.case or case.name in options.case]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    scores: list[Score] = []
    with Progress(*columns, console=console, transient=True) as progress:
        line = progress.add_task("")

        def tell(number: int, text: str) -> None:
            text = f"{number}/{len(cases)} {text}"
            progress.update(line, description=text)
            if not console.is_terminal:
                console.print(text, markup=False)

        for number, case in enumerate(cases, 1):
            source = next((score for score in scores if score.case.name == case.runs_of), None)
            if source is not None:
                scores.append(score_of(case, source))
            else:
                n_rounds = options.rounds or ROUNDS * (1 if options.peers else case.times)
                scores.append(run_case(case, n_rounds, options.peers, partial(tell, number)))
    console.print(table_of(scores))
    for score in scores:
        for problem in score.problems:
            console.print(f"{score.case.name}: {problem}", markup=False)
    write_results(scores, options.results)
    console.print(f"written: {options.results}")
    return 0 if all(score.is_met for score in scores) else 1


def score_of(case: Case, source: Score) -> Score:
    """Score a case by the runs of another that has the same sides."""
    score = Score(case)
    score.problems += [problem for problem in source.problems if not source.rounds]
    for found in source.rounds:
        score.add(found)
    return score


def run_case(case: Case, n_rounds: int, with_peers: bool, tell: Callable[[str], None]) -> Score:
    """Run all sides of a case in turn, round by round; a case whose sides fail or disagree is given up."""
    score = Score(case, with_peers)
    n_rounds = min(n_rounds, case.most_rounds or n_rounds)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        prepared = Path(folder)
        try:
            tell(f"{case.name}: prepare")
            run_in(case.script, "prepare", prepared)
            for number in range(1, n_rounds + 1):
                tell(f"{case.name}: round {number} of {n_rounds}")
                score.add({side: _run(case, side, prepared) for side in score.sides})
                if score.problems:
                    break
        except SideError as error:
            score.problems.append(str(error))
    return score


def _run(case: Case, side: str, prepared: Path) -> Measured:
    return run_side(case.script, side, prepared, PEERS if side in case.peers else None)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure ours beside scripts by hand.")
    parser.add_argument(
        "--case", action="append", choices=[case.name for case in CASES], help="only this one; repeatable"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        help=f"how often each side is run (default: {ROUNDS}, in cases of seconds some times that)",
    )
    parser.add_argument("--peers", action="store_true", help="also the other frameworks (first: make bench-peers)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to write")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: at least 1")
    if options.peers and not PEERS.exists():
        parser.error(f"--peers: {PEERS} is not there; install the other frameworks by: make bench-peers")
    return options


if __name__ == "__main__":
    sys.exit(main())
