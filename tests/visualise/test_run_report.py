"""The page of a run: everything once, as it is, and nothing from elsewhere."""

import json
import re
from pathlib import Path

import pytest

from mlframework.visualise.draw_all import draw_run
from mlframework.visualise.run_view import RunView
from support.browser import DRAWN, chromium, opened
from support.outputs import said_of

NAMES = ("<i>cat</i>", "dog")


@pytest.fixture
def view(tmp_path: Path) -> RunView:
    """A run of three epochs, the second its best, with a mistake; its data is not there."""
    folder = tmp_path / "pets & <b>co"
    config = "name: pets\ndata: {type: table, path: gone.csv, target: y}\nmodel: {architecture: mlp}\nmetric: val_acc\nseed: 7\n"
    config += "optimizer: {type: sgd, lr: 0.13677843416434182}\n"
    said_of(folder, [0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], NAMES, config=config)
    epochs = [
        {"epoch": n, "val_acc": acc, "train_loss": 1 / n, "seconds": 1.0} for n, acc in ((1, 0.5), (2, 0.75), (3, 0.6))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in epochs))
    (folder / "environment.json").write_text('{"started": "2026-11-21", "python": "3.11.7"}')
    return RunView.of(folder)


def written(view: RunView) -> Path:
    path = view.run.path / "report.html"
    outcomes = draw_run(view, [], view.run.path / "plots", ["html"], path)
    assert outcomes[-1].name == "report" and outcomes[-1].paths == (path,)
    return path


def test_the_page_has_the_figures_the_settings_the_reasons_and_the_commands(view: RunView) -> None:
    text = written(view).read_text(encoding="utf-8")
    told = text[text.index('id="how-it-ended-1-title"') :].replace("<wbr>", "")
    cells = re.sub(r"<[^>]+>", " ", told[: told.index("</section>")]).split()
    assert cells[-6:] == ["val_acc", "0.75", "0.6", "train_loss", "0.5", "0.3333"]
    assert "<strong>0.75</strong>" in text, "what chose the epoch stands out"
    assert "3 epochs in 3.0 s · best val_acc 0.75 (epoch 2)" in text
    assert "mistakes: needs gone.csv" in text and "Not drawn" in text
    assert re.search(r"seed.{0,40}<td>7</td>", text) and "started 2026-11-21 · Python 3.11.7" in text
    assert '<td title="0.13677843416434182">0.136778</td>' in text
    assert "ml-train --resume &#x27;" in text, "the run has not ended, and its folder has a blank in its name"
    assert text.count('id="plotly">H4sI') == 1, "plotly.js is there once, packed"
    assert "<i>cat" not in text and "<b>co" not in text


def test_the_page_asks_for_nothing_and_has_no_error(view: RunView) -> None:
    path = written(view)
    with chromium() as browser, opened(browser, path.as_uri()) as seen:
        seen.page.wait_for_selector(DRAWN)
        assert (seen.errors, seen.requests) == ([], [])
        assert seen.page.locator(".js-plotly-plot").count() == 5
