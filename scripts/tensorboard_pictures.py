"""Take the pictures of TensorBoard that the guide shows: `python scripts/tensorboard_pictures.py FOLDER`.

FOLDER is where these have run, with the data that the comments of the configs name:

    ml-search --config configs/breast_cancer.yaml --n-trials 20
    ml-train --config configs/digits.yaml
    ml-train --config configs/two_tower.yaml
"""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from playwright.sync_api import Browser, Page  # noqa: E402

from support.browser import chromium, opened  # noqa: E402

PICTURES = ROOT / "docs" / "images"
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


@contextmanager
def page_of(browser: Browser, address: str, tab: str) -> Iterator[Page]:
    """Open a tab, and take its picture in the end."""
    with opened(browser, f"{address}#{tab}", size={"width": 1280, "height": 800}) as seen:
        seen.page.set_default_timeout(90_000)
        seen.page.wait_for_timeout(_SETTLED)
        yield seen.page
        seen.page.wait_for_timeout(_SETTLED)
        # Beside the images stands the folder's whole path.
        clip: Any = {"x": 310, "y": 64, "width": 970, "height": 620} if tab == "images" else None
        seen.page.screenshot(path=PICTURES / f"tensorboard_{tab}.png", clip=clip)


def main(folder: Path) -> None:
    """Take all pictures."""
    with chromium() as browser:
        with served(folder, STUDY) as address:
            with page_of(browser, address, "timeseries") as page:
                page.get_by_role("button", name="Settings").last.click()
                tags = page.get_by_role("combobox", name="Filter tags (regex)")
                tags.fill("auc/val|loss/val|^lr|gradient_norm$")
                tags.press("Escape")
            with page_of(browser, address, "hparams") as page:
                for name in ("acc/train", "acc/val", "auc/val", "f1/val", "model.dropout"):
                    page.locator("paper-checkbox", has_text=name).first.click()
        with served(folder, "runs/digits") as address, page_of(browser, address, "images") as page:
            page.get_by_label("Filter tags").first.fill("confusion|roc")
        with served(folder, "runs/two_tower") as address, page_of(browser, address, "projector") as page:
            inner = page.frame_locator("iframe").frame_locator("iframe")
            inner.get_by_text("1 tensor found").wait_for()
            inner.get_by_label("Color by").first.click(force=True)
            inner.get_by_text("6 colors").first.click()
            page.wait_for_timeout(_SETTLED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
