"""The built documentation: it needs no network, says no error, can be used by everybody, and finds what is searched."""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from support.browser import PHONE, chromium, opened

ROOT = Path(__file__).parents[2]
MKDOCS = ROOT / ".tools" / "docs" / "bin" / "mkdocs"
SOME = [("index", False), ("getting-started/table", True), ("concepts/one-trainer", False), ("troubleshooting", True)]

# It has an environment of its own, which needs a later Python than mlframework does; .ci/run builds the site before the tests.
pytestmark = pytest.mark.skipif(not MKDOCS.is_file(), reason="mkdocs is not installed; `make site` does it")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    ended = subprocess.run(
        [MKDOCS, "build", "--strict", "--quiet", "--site-dir", folder], cwd=ROOT, capture_output=True, text=True,
        timeout=300, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stdout + ended.stderr
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served: the search's worker wants a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def pages(site: Path) -> list[str]:
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


def test_every_page_is_there(site: Path) -> None:
    written = {
        path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")
    }
    assert written == set(pages(site)) - {"404.html"}


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*?(?:src|href|data)=[\"']?([^\"' >]+)")
    outside = re.compile(r"(?:@import|url\()\s*[\"']?(https?:|//)")
    for path in site.rglob("*.html"):
        found = [
            target for target in loads.findall(path.read_text(encoding="utf-8")) if re.match(r"https?:|//", target)
        ]
        assert not found, f"{path}: {found}"
    for path in site.rglob("*.css"):
        assert not outside.search(path.read_text(encoding="utf-8")), path


def faults(browser: Browser, address: str, page: str, dark: bool) -> list[str]:
    """Return what is wrong with a page."""
    with opened(browser, f"{address}/{page}", dark=dark) as seen:
        seen.page.wait_for_load_state("networkidle")
        elsewhere = [asked for asked in seen.requests if not asked.startswith(address)]
        scheme = seen.page.evaluate("document.body.dataset.mdColorScheme")
        looks = [] if scheme == ("slate" if dark else "default") else [f"the scheme is {scheme}"]
        return [f"{page}: {fault}" for fault in (*seen.errors, *elsewhere, *seen.serious(), *looks)]


@pytest.mark.parametrize(("page", "dark"), SOME)
def test_a_page_says_no_error_and_is_accessible(browser: Browser, address: str, page: str, dark: bool) -> None:
    assert faults(browser, address, f"{page}.html", dark) == []


@pytest.mark.slow
def test_no_page_says_an_error_or_is_inaccessible(browser: Browser, address: str, site: Path) -> None:
    """All that is wrong with all pages, at once."""
    found = [fault for page in pages(site) for dark in (False, True) for fault in faults(browser, address, page, dark)]
    assert found == []


def test_the_search_finds(browser: Browser, address: str) -> None:
    with opened(browser, f"{address}/index.html") as seen:
        seen.page.click(".md-search__input")
        seen.page.keyboard.type("all trials are pruned")
        # Results come while one types: that of the whole question has to be among the last.
        seen.page.locator(".md-search-result__link[href*='troubleshooting']").first.wait_for()
        assert seen.errors == []


def test_home_shows_what_it_is_and_how_to_begin(browser: Browser, address: str) -> None:
    with opened(browser, f"{address}/index.html") as seen:
        text = seen.page.inner_text("article")
        assert "make setup" in text
        assert "ml-search --config" in text
        picture = seen.page.locator("article img").first
        assert picture.evaluate("image => image.naturalWidth") > 600


def test_a_picture_opens_in_full_size_and_a_name_in_a_table_stays_whole(browser: Browser, address: str) -> None:
    with opened(browser, f"{address}/guides/engines.html", size=PHONE) as seen:
        name = seen.page.locator("article table code", has_text="SuccessiveHalvingPruner")
        assert name.evaluate("code => code.getClientRects().length") == 1
        seen.page.locator("article img").first.click()
        seen.page.wait_for_url("**/images/engines_gp.png")


@pytest.mark.parametrize("page", ["index", "reference/python", "getting-started/table"])
def test_a_phone_shows_it_whole(browser: Browser, address: str, page: str) -> None:
    with opened(browser, f"{address}/{page}.html", size=PHONE) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
