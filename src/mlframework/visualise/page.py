"""A page of its own: sections of text, tables, pictures and charts in one HTML file that asks for nothing from elsewhere.

What comes from data or files is escaped here, once: every function that takes a text takes it as it is, and returns HTML.
"""

import base64
import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlframework.visualise.export import PAGE_CONFIG

if TYPE_CHECKING:
    import plotly.graph_objects as go

Kind = Literal["note", "warning", "good"]


@dataclass(frozen=True)
class Section:
    """A part of a page: its heading, and the HTML beneath it."""

    title: str
    blocks: Sequence[str]


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return a whole page. plotly.js stands in it once, where there is a chart."""
    body = "\n".join(
        f'<section aria-labelledby="s{number}"><h2 id="s{number}">{escaped(section.title)}</h2>\n'
        + "\n".join(section.blocks)
        + "\n</section>"
        for number, section in enumerate(sections, 1)
    )
    script = ""
    if any(_CHART in block for section in sections for block in section.blocks):
        from plotly.offline import get_plotlyjs

        script = f"<script>{get_plotlyjs()}</script>"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escaped(title)}</title>\n'
        f"<style>{_STYLE}</style>\n{script}</head>\n<body><main>\n"
        f'<h1>{escaped(title)}</h1>\n<p class="subtitle">{escaped(subtitle)}</p>\n{body}\n'
        f"</main>\n<script>{_COLOURS}</script></body></html>\n"
    )


def escaped(text: object) -> str:
    """Return a text as HTML."""
    return html.escape(str(text))


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escaped(text)}</p>"


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
        return f'<th scope="row">{shown}</th>' if column == 0 else f"<td{side}>{shown}</td>"

    head = "".join(
        f'<th scope="col"{_NUMBER if column in numbers else ""}>{_breakable(text)}</th>'
        for column, text in enumerate(header)
    )
    body = "\n".join(
        "<tr>" + "".join(cell(row, column, text) for column, text in enumerate(cells)) + "</tr>"
        for row, cells in enumerate(rows)
    )
    return (
        f'<div class="scrolled" tabindex="0" role="region" aria-label="{escaped(caption)}"><table>'
        f"{f'<thead><tr>{head}</tr></thead>' if any(header) else ''}\n<tbody>{body}</tbody></table></div>"
    )


def _breakable(text: str) -> str:
    """Return a heading that may go on in the next line after each of its parts."""
    return escaped(text).replace("_", "_<wbr>").replace("/", "/<wbr>")


def chart(figure: "go.Figure", alt: str) -> str:
    """Return a chart; `alt` says what it shows, for those who do not see it."""
    drawn = figure.to_html(full_html=False, include_plotlyjs=False, config=PAGE_CONFIG)
    return f'<div {_CHART} role="group" aria-label="{escaped(alt)}">{drawn}</div>'


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
    return f'<div class="tiles">{"".join(rows)}</div>'


def card(inside: Sequence[str]) -> str:
    """Return what belongs together, in a frame of its own."""
    return f'<div class="card">{"".join(inside)}</div>'


def cards(each: Sequence[str]) -> str:
    """Return cards side by side, as many in a row as there is room for."""
    return f'<div class="cards">{"".join(each)}</div>'


_CHART = 'class="chart"'
_LONG = 32  # characters; a longer text goes on in the next line
_NUMBER = ' class="number"'

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #262626; --soft: #5f6368; --line: #dcdfe4; --faint: #f5f6f8;
  --warning: #fff4e5; --warning-line: #d55e00; --good: #e8f5f0; --good-line: #009e73;
  --best: #00684d; --bad: #a34700; --bar: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --ink: #e8eaed; --soft: #a8adb5; --line: #3a3f47;
  --faint: #1f2329; --warning: #33240f; --warning-line: #e69f00; --good: #12291f; --good-line: #2fbf92;
  --best: #52d9ae; --bad: #f0a860; --bar: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 Inter, "Segoe UI", Helvetica, Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 26px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 40px 0 12px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 0 0 6px; overflow-wrap: anywhere; }
p { max-width: 80ch; margin: 8px 0; overflow-wrap: anywhere; }
.subtitle { color: var(--soft); margin: 4px 0 0; }
.notice { padding: 10px 14px; border-left: 4px solid var(--line); background: var(--faint); white-space: pre-line; }
.notice.warning { background: var(--warning); border-color: var(--warning-line); }
.notice.good { background: var(--good); border-color: var(--good-line); }
.scrolled { overflow: auto; max-height: 78vh; border: 1px solid var(--line); border-radius: 6px; margin: 12px 0;
  width: fit-content; max-width: 100%; }
table { border-collapse: separate; border-spacing: 0; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { position: sticky; top: 0; background: var(--faint); z-index: 1; }
th[scope=row], thead th:first-child { position: sticky; left: 0; background: var(--faint); font-weight: 500; }
thead th:first-child { z-index: 2; }
.number { text-align: right; }
td.long { white-space: normal; min-width: 220px; overflow-wrap: anywhere; }
td strong { color: var(--best); } td strong.wrong { color: var(--bad); }
thead th { white-space: normal; vertical-align: bottom; }
img { image-rendering: pixelated; border: 1px solid var(--line); border-radius: 3px; margin: 2px; max-width: 100%; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 12px; margin: 12px 0; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: 12px; background: var(--faint); overflow: hidden; }
.card p { margin: 4px 0; font-size: 14px; } .right { color: var(--best); } .wrong { color: var(--bad); }
.bar { display: grid; grid-template-columns: minmax(0, 9ch) 1fr 5ch; gap: 6px; align-items: center; font-size: 13px; }
.bar span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bar i { height: 9px; border-radius: 2px; background: var(--bar); display: block; min-width: 1px; }
.bar span:last-child { text-align: right; font-variant-numeric: tabular-nums; }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: 2px; margin: 6px 0; }
.row h3 { flex: 0 0 150px; font-weight: 500; } small { color: var(--soft); font-weight: 400; }
.tiles { display: flex; flex-wrap: wrap; gap: 14px; } .tiles .row { flex-direction: column-reverse; align-items: flex-start; }
.tiles .row h3 { flex: none; max-width: 160px; }
.chart { margin: 12px -10px; }
@media (max-width: 600px) { .row h3 { flex-basis: 100%; } h1 { font-size: 22px; } }
@media print { .scrolled { max-height: none; overflow: visible; } .chart, .card, tr { break-inside: avoid; } }
"""

# The charts are drawn for paper; in a dark page their ground is taken away and their ink turned.
_COLOURS = """
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function paint() {
    if (!window.Plotly) return;
    const ink = dark.matches ? "#e8eaed" : "#262626", line = dark.matches ? "#3a3f47" : "#eceef1";
    document.querySelectorAll(".js-plotly-plot").forEach(function (plot) {
      const change = {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", "font.color": ink,
        "title.subtitle.font.color": dark.matches ? "#a8adb5" : "#5f6368",
        "hoverlabel.bgcolor": dark.matches ? "#1f2329" : "#ffffff", "hoverlabel.font.color": ink};
      const legend = plot._fullLayout.legend;
      const narrow = plot.clientWidth < 700;
      if (narrow && legend && legend.orientation === "v") Object.assign(change, {"legend.orientation": "h", "legend.x": 0,
        "legend.xanchor": "left", "legend.y": -0.12, "legend.yanchor": "top", "margin.r": 15});
      if (narrow) change["margin.l"] = 55;
      Object.keys(plot._fullLayout).filter(key => /^[xy]axis\\d*$/.test(key)).forEach(function (key) {
        change[key + ".gridcolor"] = line; change[key + ".linecolor"] = line; change[key + ".tickcolor"] = line;
      });
      window.Plotly.relayout(plot, change);
    });
  }
  dark.addEventListener("change", paint); paint();
})();
"""
