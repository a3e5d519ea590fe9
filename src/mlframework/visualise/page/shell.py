"""The shell of every page: HTML that stands alone, with plotly.js in it once, and nothing from elsewhere."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mlframework.errors import MissingExtraError
from mlframework.visualise.export import PAGE_CONFIG
from mlframework.visualise.page import words
from mlframework.visualise.page.charts import Chart, Pool, compact, template_of, to_script
from mlframework.visualise.page.theme import DARK

if TYPE_CHECKING:
    from jinja2 import BaseLoader, Environment

_HERE = "mlframework.visualise.page"


class Absent(Exception):  # noqa: N818 - it is no error, but the reason why a section says nothing
    """A section has nothing to show, for a reason that the reader should know."""


@dataclass(frozen=True)
class Section:
    """One kind of section: compute, then draw.

    Attributes:
        name: anchor of the section, unique in the page.
        title: what stands above it.
        compute: what the page is about to the section's data. None leaves the section out; `Absent` says why it is empty.
        charts: the charts among the data.
        template: that draws the data; nothing: `<name>.html`.
        script: of its own, which stands among the templates.
    """

    name: str
    title: str
    compute: Callable[[Any], Any]
    charts: Callable[[Any], Sequence[Chart]] = lambda data: ()
    template: str = ""
    script: str = ""


@dataclass(frozen=True)
class Part:
    """A section that was drawn.

    Attributes:
        name: of the section.
        title: of the section.
        data: what it was drawn from; None where it only says why it is empty.
        body: its HTML, which needs the page around it for its style and its charts.
        charts: that stand in it.
    """

    name: str
    title: str
    data: Any
    body: str
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class Page:
    """A page that stands alone.

    Attributes:
        title: of the page.
        subtitle: what kind of page it is.
        parts: its sections, in their order.
        html: the whole file.
    """

    title: str
    subtitle: str
    parts: tuple[Part, ...] = field(repr=False)
    html: str = field(repr=False)

    def part(self, name: str) -> Part:
        """Return a section.

        Raises:
            KeyError: the page has none of that name.
        """
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(name)

    def _repr_html_(self) -> str:
        """Return it for a notebook: the whole page in a frame, which brings all it needs."""
        inside = escape(self.html, quote=True)
        return f'<iframe srcdoc="{inside}" title="{escape(self.title)}" style="width: 100%; height: 800px; border: 0"></iframe>'


def page_of(
    title: str, subtitle: str, sections: Sequence[Section], source: Any, lead: Sequence[str], templates: str = _HERE
) -> Page:
    """Make a page.

    Args:
        title: of the page.
        subtitle: what kind of page it is, above the title.
        sections: what it is made of.
        source: what the sections are computed from.
        lead: facts below the title.
        templates: the package in whose `templates/` those of the sections lie.

    Raises:
        MissingExtraError: jinja2 or plotly is not installed.
    """
    environment = _environment(templates)
    pool = Pool()
    parts = tuple(_parts(environment, sections, source, pool))
    charts = [chart for part in parts for chart in part.charts]
    html = environment.get_template("page.html").render(
        title=title,
        subtitle=subtitle,
        lead=lead,
        parts=parts,
        scripts=[section.script for section in sections if section.script],
        settings=to_script(
            {
                "template": template_of(charts[0].figure) if charts else None,
                "dark": DARK,
                "config": {**PAGE_CONFIG, "responsive": False},
                "texts": pool.texts,
            }
        ),
        plotly=_plotly() if charts else "",
    )
    return Page(title, subtitle, parts, html)


def _parts(environment: Environment, sections: Sequence[Section], source: Any, pool: Pool) -> Iterator[Part]:
    for section in sections:
        try:
            data = section.compute(source)
        except Absent as reason:
            body = environment.get_template("absent.html").render(reason=str(reason))
            yield Part(section.name, section.title, None, body, ())
            continue
        if data is None:
            continue
        charts = tuple(section.charts(data))
        drawn = {chart.name: to_script(compact(chart, pool)) for chart in charts}
        body = environment.get_template(section.template or f"{section.name}.html").render(data=data, drawn=drawn)
        yield Part(section.name, section.title, data, body, charts)


@cache
def _environment(templates: str) -> Environment:
    try:
        from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("jinja2", "optuna", "A page") from error
    loader = ChoiceLoader([PackageLoader(package) for package in dict.fromkeys((_HERE, templates))])
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters.update(
        short=words.short, seconds=words.duration, count=words.count_of, percent=words.percent, script=to_script
    )
    made.globals["asset"] = partial(_asset, loader)
    return made


@cache
def _asset(loader: BaseLoader, name: str) -> Any:
    """Return a script or a stylesheet of ours as it is."""
    from markupsafe import Markup

    return Markup(loader.get_source(_environment(_HERE), name)[0])


@lru_cache(maxsize=1)
def _plotly() -> str:
    """Return plotly.js as base64 of gzip: it is two fifths as large, and the page is read before it is unpacked."""
    try:
        code = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    except ModuleNotFoundError as error:
        raise MissingExtraError("plotly", "optuna", "A page") from error
    return base64.b64encode(gzip.compress(code, 6, mtime=0)).decode("ascii")
