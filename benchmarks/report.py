"""The report of a long study: how long it takes to write, how large it is, and when a browser lets its reader in.

Run it with `python benchmarks/report.py`. The study has 1,000 trials of 20 epochs and ten parameters; it is made with
Optuna directly, in memory. The page is opened in Chromium ten times: five times a reader types a filter for the table as
soon as there is one, and five times the reader waits for the first chart. By the page's own clock, which starts with the
navigation: when the table has answered the last key, and when the chart is drawn. It ends with exit 1 where the page has
6 MB or more, or where either takes 2 s or longer. (plotly.js alone takes half of that to be evaluated, on the machine that
this was written on.)
"""

import math
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import optuna
from rich.console import Console

from mlframework.search.folder import StudyFolder
from mlframework.search.goal import Goal
from mlframework.visualise.report import write_report

N_TRIALS, N_EPOCHS, ROUNDS = 1000, 20, 5
LARGEST, SLOWEST = 6_000_000, 2.0
FILTER = "state=complete"
WATCH = """
window.seconds = {};
new MutationObserver(() => {
  const now = performance.now() / 1000, said = document.getElementById("rows-shown"), input = document.getElementById("filter");
  if (said && input.value === FILTER && said.textContent.includes(" of ")) seconds.answered ??= now;
  if (document.querySelector(".plot[data-drawn]")) seconds.drawn ??= now;
  document.documentElement.dataset.marks ??= "";
  const marks = Object.keys(seconds).join(" ");
  if (document.documentElement.dataset.marks !== marks) document.documentElement.dataset.marks = marks;
}).observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
""".replace("FILTER", repr(FILTER))


def objective(trial: optuna.Trial) -> float:
    """Ten parameters, of which two matter; a median rule of its own prunes, every fortieth trial fails."""
    rng = random.Random(trial.number)
    lr = trial.suggest_float("optimizer.lr", 1e-5, 1e-1, log=True)
    width = trial.suggest_int("model.hidden_size", 8, 512, log=True)
    trial.suggest_categorical("optimizer.type", ["sgd", "adam", "adamw"])
    trial.suggest_categorical("training.batch_size", [16, 32, 64, 128])
    for name in (
        "model.dropout",
        "optimizer.momentum",
        "optimizer.weight_decay",
        "scheduler.gamma",
        "model.a",
        "model.b",
    ):
        trial.suggest_float(name, 0, 1)
    if trial.number % 40 == 39:
        trial.set_user_attr("mlframework:reason", f"the loss is nan at epoch {rng.randrange(9)}")
        raise RuntimeError
    reach = 0.98 - 0.04 * (math.log10(lr) + 2.5) ** 2 - 0.01 * abs(math.log2(width) - 7) + rng.gauss(0, 0.004)
    best = 0.0
    for epoch in range(1, N_EPOCHS + 1):
        value = reach * (1 - math.exp(-epoch / 4)) + rng.gauss(0, 0.003)
        best = max(best, value)
        trial.report(value, epoch)
        if epoch == 6 and reach < 0.9:
            raise optuna.TrialPruned
    return best


def long_study(n_trials: int = N_TRIALS) -> optuna.Study:
    """Return a study of many trials."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    study = optuna.create_study(study_name="long", direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=n_trials, catch=(RuntimeError,))
    return study


def interactive(page_file: Path) -> tuple[float, float]:
    """Return the median seconds until a typed filter is answered, and until the first chart is drawn."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from support.browser import DESKTOP, chromium

    found: dict[str, list[float]] = {"answered": [], "drawn": []}
    with chromium() as browser:
        for _ in range(ROUNDS):
            for mark, seconds in found.items():
                page = browser.new_page(viewport=DESKTOP)
                page.add_init_script(WATCH)
                page.goto(page_file.as_uri(), wait_until="commit")
                page.wait_for_selector("#filter")
                if mark == "answered":
                    page.evaluate("document.getElementById('filter').focus()")
                    page.keyboard.type(FILTER)
                page.wait_for_selector(f"html[data-marks~={mark}]", state="attached")
                seconds.append(page.evaluate(f"seconds.{mark}"))
                page.context.close()
    return median(found["answered"]), median(found["drawn"])


def main() -> int:
    """Measure, and say what was measured."""
    screen = Console()
    study = long_study()
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for _ in range(2):  # the second time all is imported
            started = time.perf_counter()
            path = write_report(study, StudyFolder(Path(folder)), Goal.single("val_acc", "maximize"))
            seconds.append(time.perf_counter() - started)
        size = path.stat().st_size
        answered, drawn = interactive(path)
    screen.print(f"{N_TRIALS} trials of {N_EPOCHS} epochs: written in {seconds[0]:.1f} s, again in {seconds[1]:.1f} s")
    screen.print(
        f"size: {size / 1e6:.2f} MB; a filter answered after {answered:.2f} s, the first chart drawn after {drawn:.2f} s (median)"
    )
    return 0 if size < LARGEST and max(answered, drawn) < SLOWEST else 1


if __name__ == "__main__":
    sys.exit(main())
