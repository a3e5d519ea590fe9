"""What docs/guides/compare.md shows runs as it stands, with fewer epochs and users."""

import importlib
import re
import shlex
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlframework.cli import console
from mlframework.data import samples

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "compare.md").read_text(encoding="utf-8")
RUN = re.findall(r"^<!-- run -->\n```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the page's blocks ran, in their order."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "configs").mkdir()
    for path in (ROOT / "configs").glob("*.yaml"):
        text = re.sub(r"num_epochs: \d+", "num_epochs: 3", path.read_text(encoding="utf-8"))
        (folder / "configs" / path.name).write_text(text, encoding="utf-8")
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        monkeypatch.setattr(console, "_resume_hint", [])
        for line in "".join(RUN).splitlines():
            _run(shlex.split(line), monkeypatch)
    signal.signal(signal.SIGTERM, handler)
    yield folder


def _run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if words[0] == "python":
        samples.main(words[3:])
        return
    # The pictures are drawn by other tests.
    drawn = [*words, "--format", "html"] if words[0] == "ml-visualise" else words
    monkeypatch.setattr(sys, "argv", drawn)
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"mlframework.cli.{words[0].removeprefix('ml-')}").main()
    assert not end.value.code, shlex.join(words)


def test_pages_are_where_the_guide_says(played: Path) -> None:
    for named in re.findall(r"into\n?\s?`(runs/\S+/)`", PAGE):
        assert list((played / named).glob("*.html")), named
    assert (played / "runs/breast_cancer/predictions/predictions.html").is_file()
    lines = (played / "runs/all_of_them/predictions.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 570 and lines[0].endswith(",predicted,p_benign,p_malignant,truth")


def test_users_are_recommended_items_with_names(played: Path) -> None:
    lines = (played / "runs/als/predictions/predictions.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "user,rank,item,score,name,in_val"
    assert [line.split(",")[0] for line in lines[1:]] == ["u0001"] * 5 + ["u0002"] * 5


def test_the_page_has_pictures(played: Path) -> None:
    for name in re.findall(r"\(\.\./images/(\S+)\)", PAGE):
        size = (ROOT / "docs" / "images" / name).stat().st_size
        assert 5_000 < size <= 150_000, name
    shutil.rmtree(played)
