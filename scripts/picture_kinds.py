"""What pictures are made of: commands in a folder of their own, and what they leave or serve."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
THREADS = "2"
WIDTH, COLOURS = 1150, 256
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAMPLES = {"digits": "data/digits", "breast_cancer": "data/breast_cancer.csv", "diabetes": "data/diabetes.csv",
           "ratings": "data/ratings.csv"}  # fmt: skip


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
        needles: those of its commands are typed that contain one of these; a line ends in `\\n`.
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
        lines = [(words, f"{shlex.join(words)}\n") for words in commands(self.page)]
        return [words for words, line in lines if any(needle in line for needle in self.needles)]


def smaller(source: Path, path: Path, width: int = WIDTH) -> None:
    """Write a PNG in the width of a page, with few colours."""
    with Image.open(source) as picture:
        height = round(picture.height * min(1.0, width / picture.width))
        small = picture.convert("RGB").resize((min(width, picture.width), height), Image.Resampling.LANCZOS)
    few = Image.new("P", small.size)
    palette = _palette(small)
    few.putpalette(palette.tobytes())
    seen, which = np.unique(np.asarray(small).reshape(-1, 3), axis=0, return_inverse=True)
    apart = ((seen[:, None].astype(np.int32) - palette[None]) ** 2).sum(axis=2)
    few.putdata(apart.argmin(axis=1)[which.ravel()].tolist())
    few.save(path, optimize=True)


def _palette(picture: Image.Image) -> np.ndarray:
    """Return a row a colour: those that most of the picture has, as they are, and others between which all the rest lie."""
    counted = sorted(picture.getcolors(picture.width * picture.height) or [], reverse=True)
    frequent = [colour for _, colour in counted[: COLOURS // 2]]
    rest = picture.quantize(COLOURS - len(frequent), Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).getpalette()
    return np.array([*np.ravel(frequent), *(rest or [])], dtype=np.uint8).reshape(-1, 3)


def screenshot(
    url: str,
    path: Path,
    size: tuple[int, int] = (1280, 900),
    dark: bool = False,
    wait: str = "",
    settle: float = 0.0,
    of: str = "",
    clicks: Sequence[str] = (),
) -> None:
    """Write what a browser shows at an address.

    Args:
        url: the address; `Path.as_uri()` of a file.
        path: the PNG.
        size: of the window, in pixels.
        dark: whether the reader's system is set to dark.
        wait: a selector of what has to be there first.
        settle: seconds that it is then left alone, for what moves.
        clicks: selectors of what is clicked on, one after another, once all is there.
        of: a selector of what alone is shown; the window's content where it is empty.
    """
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.goto(url)
        if wait:
            page.wait_for_selector(wait)
        page.wait_for_timeout(1000 * settle)
        raw = Path(folder) / "raw.png"
        for click in clicks:
            page.locator(click).first.click()
            page.wait_for_timeout(1000 * settle)
        if of:
            page.locator(of).scroll_into_view_if_needed()
            page.wait_for_timeout(1000 * settle)
            page.locator(of).screenshot(path=raw)
        else:
            page.screenshot(path=raw)
        browser.close()
        smaller(raw, path, size[0])


@dataclass(frozen=True)
class Left:
    """A PNG that commands leave, or a page of HTML, which a browser is then shown.

    Attributes:
        lines: the commands.
        file: what they leave.
        size: of the browser's window.
    """

    lines: tuple[str, ...]
    file: str
    size: tuple[int, int] = (1100, 1000)

    def __call__(self, place: Place, path: Path) -> None:
        """Make the picture."""
        for line in self.lines:
            place.run(shlex.split(line))
        file = place.folder / self.file
        if file.suffix == ".png":
            smaller(file, path)
        else:
            screenshot(file.as_uri(), path, self.size, settle=2)


@dataclass(frozen=True)
class Served:
    """What a server of ours shows: TensorBoard, optuna-dashboard.

    Attributes:
        lines: commands that make what it shows.
        server: its command.
        at: what comes behind its address.
        wait: a selector of what has to be there.
        size: of the browser's window.
        clicks: selectors of what is then clicked on.
    """

    lines: tuple[str, ...]
    server: str
    at: str
    wait: str
    size: tuple[int, int] = (1280, 900)
    clicks: tuple[str, ...] = ()

    def __call__(self, place: Place, path: Path) -> None:
        """Make the picture."""
        for line in self.lines:
            place.run(shlex.split(line))
        with served(place, shlex.split(self.server)) as address:
            screenshot(f"{address}{self.at}", path, self.size, wait=self.wait, settle=5, clicks=self.clicks)


@contextmanager
def served(place: Place, words: list[str]) -> Iterator[str]:
    """Start a server, and yield the address that it says."""
    program = Path(sys.executable).parent / words[0]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with subprocess.Popen(
        [program, *words[1:]],
        cwd=place.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            found = (re.search(r"http://127\S+", line) for line in server.stdout)
            address = next((each[0] for each in found if each is not None), None)
            if address is None:
                raise SystemExit(f"{shlex.join(words)}: says no address")
            yield address
        finally:
            server.terminate()
