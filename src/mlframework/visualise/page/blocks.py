"""Pages of blocks: texts, tables and pictures as HTML, and charts, put into sections one by one.

What comes from data or files is escaped here, once: every function that takes a text takes it as it is, and returns HTML.
"""

import base64
import html
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from mlframework.visualise.page.charts import Chart
from mlframework.visualise.page.shell import Page, Section, page_of

Kind = Literal["note", "warning", "good"]
Block: TypeAlias = str | Chart
"""A part of a section: HTML, or a chart."""


def page_of_blocks(
    title: str, subtitle: str, lead: Sequence[str], sections: Iterable[tuple[str, Sequence[Block]]]
) -> Page:
    """Make a page of sections that are known: the heading of each, and what stands beneath it.

    Args:
        title: of the page.
        subtitle: what kind of page it is.
        lead: facts below the title.
        sections: heading and blocks of each.

    Raises:
        MissingExtraError: jinja2, or plotly where there is a chart, is not installed.
    """
    made = [_section(number, *section) for number, section in enumerate(sections, 1)]
    return page_of(title, subtitle, made, None, lead)


def _section(number: int, title: str, blocks: Sequence[Block]) -> Section:
    """Return a section; its number makes the anchor one of its own, whatever is in the title."""
    plain = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return Section(
        name=f"{plain or 'section'}-{number}",
        title=title,
        compute=lambda _: blocks,
        charts=lambda found: [block for block in found if isinstance(block, Chart)],
        template="blocks.html",
    )


def escaped(text: object) -> str:
    """Return a text as HTML."""
    return html.escape(str(text))


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escaped(text)}</p>"


def heading(text: str) -> str:
    """Return a heading within a section."""
    return f"<h3>{escaped(text)}</h3>"


def notice(text: str, kind: Kind = "note") -> str:
    """Return a paragraph that stands out; a warning says so in words, too, for those who see no colours."""
    word = "<strong>Warning:</strong> " if kind == "warning" else ""
    return f'<p class="notice {kind}">{word}{escaped(text)}</p>'


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    strong: Collection[tuple[int, int]] = (),
    numbers: Collection[int] = (),
    wrong: Collection[tuple[int, int]] = (),
    titles: Mapping[tuple[int, int], str] | None = None,
) -> str:
    """Return a table; its first column says what a row is, and stays where it is when the rest is scrolled.

    Args:
        header: a heading a column; empty ones only: no line of headings.
        rows: as many cells each.
        caption: what it shows, for those who hear the page.
        strong: (row, column) of the cells that stand out.
        numbers: columns whose cells stand at the right.
        wrong: (row, column) of the cells that stand out as mistakes.
        titles: by (row, column), but for the first column, what the mouse shows of a cell.
    """

    def cell(row: int, column: int, text: str) -> str:
        shown = escaped(text)
        if (row, column) in wrong:
            shown = f'<strong class="wrong">{shown}</strong>'
        elif (row, column) in strong:
            shown = f"<strong>{shown}</strong>"
        looks = [*(["number"] if column in numbers else []), *(["long"] if len(text) > _LONG else [])]
        side = f' class="{" ".join(looks)}"' if looks else ""
        if titles is not None and (row, column) in titles:
            side += f' title="{escaped(titles[row, column])}"'
        return (
            f'<th scope="row">{_breakable(text) if shown == escaped(text) else shown}</th>'
            if column == 0
            else f"<td{side}>{shown}</td>"
        )

    head = "".join(
        f'<th scope="col"{_NUMBER if column in numbers else ""}>{_breakable(text)}</th>'
        for column, text in enumerate(header)
    )
    body = "\n".join(
        "<tr>" + "".join(cell(row, column, text) for column, text in enumerate(cells)) + "</tr>"
        for row, cells in enumerate(rows)
    )
    return (
        f'<div class="scrolls framed" tabindex="0" role="region" aria-label="{escaped(caption)}"><table>'
        f"{f'<thead><tr>{head}</tr></thead>' if any(header) else ''}\n<tbody>{body}</tbody></table></div>"
    )


def _breakable(text: str) -> str:
    """Return a heading that may go on in the next line after each of its parts."""
    return re.sub("([_/.])(?=[^ ])", r"\1<wbr>", escaped(text))


def picture(png: bytes, alt: str, width: int, height: int) -> str:
    """Return a picture, shown at this size in pixels."""
    return (
        f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escaped(alt)}" '
        f'width="{width}" height="{height}">'
    )


def row(label: str, note: str, inside: Sequence[str]) -> str:
    """Return a labelled row of pictures."""
    name = f"<h3>{escaped(label)}<br><small>{escaped(note)}</small></h3>"
    return f'<div class="row">{name}{"".join(inside)}</div>'


def side_by_side(rows: Sequence[str]) -> str:
    """Return rows of one picture each, beside one another as far as there is room."""
    return f'<div class="pictures">{"".join(rows)}</div>'


def card(inside: Sequence[str]) -> str:
    """Return what belongs together, in a frame of its own."""
    return f'<div class="card">{"".join(inside)}</div>'


def cards(each: Sequence[str]) -> str:
    """Return cards side by side, as many in a row as there is room for."""
    return f'<div class="cards">{"".join(each)}</div>'


_LONG = 32  # characters; a longer text goes on in the next line
_NUMBER = ' class="number"'
