"""What is done in TensorBoard before its picture is taken; scripts/pictures.py takes them, where these have run:

ml-search --config configs/breast_cancer.yaml --n-trials 20
ml-train --config configs/digits.yaml
ml-train --config configs/two_tower.yaml
"""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from playwright.sync_api import Page  # noqa: E402

from support.browser import chromium, opened  # noqa: E402

STUDY = "runs/optuna_studies/breast_cancer_optimization"
_SETTLED = 6000  # milliseconds in which the pages draw what they have loaded


@contextmanager
def served(folder: Path, runs: str) -> Iterator[str]:
    """Start TensorBoard, and yield its address."""
    words = [Path(sys.executable).parent / "ml-visualise", "--mode", "launch", runs]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://[\d.:]+/", process.stdout.readline())
        assert found is not None
        yield found[0]
        process.send_signal(signal.SIGINT)


def take(folder: Path, tab: str, path: Path) -> None:
    """Take the picture of a tab, of what has run in a folder."""
    runs, prepare = TABS[tab]
    size = {"width": 1280, "height": 800}
    with (
        chromium() as browser,
        served(folder, runs) as address,
        opened(browser, f"{address}#{tab}", size=size) as seen,
    ):
        seen.page.set_default_timeout(90_000)
        seen.page.wait_for_timeout(_SETTLED)
        prepare(seen.page)
        seen.page.wait_for_timeout(_SETTLED)
        # Beside the images stands the folder's whole path.
        clip: Any = {"x": 310, "y": 64, "width": 970, "height": 620} if tab == "images" else None
        seen.page.screenshot(path=path, clip=clip)


def _timeseries(page: Page) -> None:
    page.get_by_role("button", name="Settings").last.click()
    tags = page.get_by_role("combobox", name="Filter tags (regex)")
    tags.fill("auc/val|loss/val|^lr|gradient_norm$")
    tags.press("Escape")


def _hparams(page: Page) -> None:
    for name in ("acc/train", "acc/val", "auc/val", "f1/val", "model.dropout"):
        page.locator("paper-checkbox", has_text=name).first.click()


def _images(page: Page) -> None:
    page.get_by_label("Filter tags").first.fill("confusion|roc")


def _projector(page: Page) -> None:
    inner = page.frame_locator("iframe").frame_locator("iframe")
    inner.get_by_text("1 tensor found").wait_for()
    inner.get_by_label("Color by").first.click(force=True)
    inner.get_by_text("6 colors").first.click()
    page.wait_for_timeout(_SETTLED)


TABS: Mapping[str, tuple[str, Callable[[Page], None]]] = {
    "timeseries": (STUDY, _timeseries),
    "hparams": (STUDY, _hparams),
    "images": ("runs/digits", _images),
    "projector": ("runs/two_tower", _projector),
}
"""Tab: the runs that it is shown of, and what is done in it."""
