"""Predictions as a page, a table in a file, and pictures."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlframework.data import decode_image
from mlframework.runs import replacing, write_text
from mlframework.visualise.data_plots.images import as_png
from mlframework.visualise.export import Format, Written, write
from mlframework.visualise.page import blocks
from mlframework.visualise.page.blocks import Block
from mlframework.visualise.page.charts import chart_of
from mlframework.visualise.predictions.answers import Answer, Answers
from mlframework.visualise.predictions.draw import draw
from mlframework.visualise.predictions.recommendations import ForUser, Recommendations
from mlframework.visualise.wording import count_of, short

SHOWN, USERS_SHOWN = 24, 12
_BARS = 5  # classes
_HISTORY = 12  # items
_DECODED = 160  # pixels


def write_answers(
    found: Answers, title: str, notes: Sequence[str], folder: Path, formats: Sequence[Format], n_shown: int
) -> Written:
    """Write `predictions.csv` with every answer, `predictions.html` with the first of them, and a PNG for each picture.

    Raises:
        MissingExtraError: plotly or kaleido is not installed.
        RunError: the folder cannot be written.
    """
    write_text(folder / "predictions.csv", answers_csv(found))
    paths = [folder / "predictions.csv"]
    figures = {} if found.unit == "image" else {"predicted": draw(found)}
    shown = found.answers[:n_shown]
    pictures = [decode_image(each.name, _DECODED) for each in shown] if found.unit == "image" else []
    if "html" in formats:
        charts = [chart_of(name, figure) for name, figure in figures.items()]
        listed: list[Block] = (
            [blocks.cards([_image_card(each, pixels) for each, pixels in zip(shown, pictures, strict=True)])]
            if pictures
            else [_table(found, shown)]
        )
        rest = len(found.answers) - len(shown)
        if rest:
            listed.append(
                blocks.paragraph(f"{rest:,} more are in predictions.csv; --samples N shows more of them here.")
            )
        told = [
            *map(blocks.notice, notes),
            *([blocks.paragraph(found.summary)] if found.summary and not charts else []),
        ]
        sections: list[tuple[str, Sequence[Block]]] = [
            ("What the model says", [*told, *charts]),
            (f"{count_of(len(shown), found.unit)}", listed),
        ]
        # Images without a truth have no summary to tell.
        write_text(folder / "predictions.html", _page(title, found.source, [each for each in sections if each[1]]))
        paths.insert(0, folder / "predictions.html")
    if pictures and "png" in formats:
        with replacing(folder / "images.png") as temporary:
            temporary.write_bytes(_grid(shown, pictures))
        paths.append(folder / "images.png")
    drawn = write(figures, folder, [each for each in formats if each == "png"])
    return Written((*paths, *drawn.paths), drawn.reason)


def _page(title: str, source: str, sections: Sequence[tuple[str, Sequence[Block]]]) -> str:
    return blocks.page_of_blocks(title, "What a trained model says", [source], sections).html


def answers_csv(found: Answers) -> str:
    """Return all answers as CSV: the example, its columns, what the model says, the probabilities, the truth."""
    columns = list(found.answers[0].cells)
    classes = list(found.answers[0].prediction.probabilities)
    added = ["predicted", *(f"p_{name}" for name in classes)]
    added += ["truth"] if any(answer.truth is not None for answer in found.answers) else []
    # A column of the table may have such a name already.
    header = [found.unit, *columns, *(name if name not in columns else f"model_{name}" for name in added)]
    rows = [
        [
            answer.name, *(answer.cells.get(name, "") for name in columns), answer.prediction.value,
            *(f"{answer.prediction.probabilities[name]:.6g}" for name in classes),
            *([answer.truth if answer.truth is not None else ""] if "truth" in added else []),
        ]
        for answer in found.answers
    ]  # fmt: skip
    return _as_csv(header, rows)


def _as_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _image_card(answer: Answer, pixels: Any) -> str:
    png, width, height = as_png(pixels)
    said = str(answer.prediction.value)
    verdict = "" if answer.is_right is None else " – right" if answer.is_right else f" – wrong, it is {answer.truth}"
    kind = "" if answer.is_right is None else ' class="right"' if answer.is_right else ' class="wrong"'
    inside = [
        blocks.picture(png, f"{answer.name}, predicted {said}", width, height),
        f"<h3{kind}>{blocks.escaped(said + verdict)}</h3>",
        *_bars(answer),
        f"<p><small>{blocks.escaped(answer.name)}</small></p>",
    ]
    return blocks.card(inside)


def _bars(answer: Answer) -> list[str]:
    """Return a bar for each of the most probable classes, and for the true one."""
    chances = answer.prediction.probabilities
    names = sorted(chances, key=lambda name: -chances[name])[:_BARS]
    if isinstance(answer.truth, str) and answer.truth in chances and answer.truth not in names:
        names[-1] = answer.truth
    return [
        f'<div class="bar"><span title="{blocks.escaped(name)}">{blocks.escaped(name)}</span>'
        f'<i style="width:{100 * chances[name]:.1f}%"></i><span>{chances[name]:.2f}</span></div>'
        for name in names
    ]


def _table(found: Answers, shown: Sequence[Answer]) -> str:
    with_truth = any(answer.truth is not None for answer in shown)
    is_class = isinstance(shown[0].prediction.value, str)
    columns = list(shown[0].cells)
    header = [found.unit, f"predicted {found.target}", *(["probability"] if is_class else [])]
    header += ["truth"] if with_truth else []
    rows, mistakes = [], set()
    for at, answer in enumerate(shown):
        cells = [answer.name, short(answer.prediction.value)]
        cells += [f"{max(answer.prediction.probabilities.values()):.2f}"] if is_class else []
        if with_truth:
            wrong = answer.is_right is False
            cells.append("–" if answer.truth is None else short(answer.truth) + (" (wrong)" if wrong else ""))
        if answer.is_right is False:
            mistakes.add((at, 1))
        rows.append([*cells, *(answer.cells.get(name, "") for name in columns)])
    numbers = [2] if is_class else [1, 2] if with_truth else [1]
    return blocks.table([*header, *columns], rows, f"predictions of {found.target}", numbers=numbers, wrong=mistakes)


def _grid(shown: Sequence[Answer], pictures: Sequence[Any]) -> bytes:
    from PIL import Image

    from mlframework.training.tracking.pictures import image_grid

    labels = []
    for each in shown:
        chance = max(each.prediction.probabilities.values(), default=0.0)
        wrong = f", not {each.truth}" if each.is_right is False else ""
        labels.append(f"{each.prediction.value} {chance:.2f}{wrong}")
    buffer = io.BytesIO()
    Image.fromarray(image_grid(np.stack(pictures), labels, columns=6)).save(buffer, "PNG")
    return buffer.getvalue()


def write_recommendations(
    found: Recommendations, title: str, notes: Sequence[str], folder: Path, formats: Sequence[Format], n_shown: int
) -> Written:
    """Write `predictions.csv` with every recommendation, and `predictions.html` with those of the first users.

    Raises:
        RunError: the folder cannot be written.
    """
    write_text(folder / "predictions.csv", recommendations_csv(found))
    paths = [folder / "predictions.csv"]
    if "html" in formats:
        shown = found.users[:n_shown]
        rest = len(found.users) - len(shown)
        more = f"{rest:,} more users are in predictions.csv; --samples N shows more of them here."
        sections = [
            ("What the model recommends", [*map(blocks.notice, notes), blocks.paragraph(_hits(found))]),
            *((f"User {each.user}", [_user(found, each)]) for each in shown),
            *([("More", [blocks.paragraph(more)])] if rest else []),
        ]
        write_text(folder / "predictions.html", _page(title, found.source, sections))
        paths.insert(0, folder / "predictions.html")
    return Written(tuple(paths), None)


def recommendations_csv(found: Recommendations) -> str:
    """Return all recommendations as CSV, a line each."""
    held_out = any(item.held_out is not None for each in found.users for item in each.items)
    header = ["user", "rank", "item", "score", *(["name"] if found.names else []), *(["in_val"] if held_out else [])]
    rows = [
        [
            each.user, rank, item.item, f"{item.score:.6g}", *([found.name(item.item)] if found.names else []),
            *([str(bool(item.held_out)).lower()] if held_out else []),
        ]
        for each in found.users
        for rank, item in enumerate(each.items, 1)
    ]  # fmt: skip
    return _as_csv(header, rows)


def _hits(found: Recommendations) -> str:
    items = [item for each in found.users for item in each.items]
    said = f"{count_of(len(items), 'recommendation')} for {count_of(len(found.users), 'user')}"
    if all(item.held_out is None for item in items):
        return f"{said}."
    hits = sum(item.held_out is True for item in items)
    held = sum(each.held_out for each in found.users)
    return f"{said}; {hits:,} of the {held:,} items that they have in val are among them."


def _user(found: Recommendations, each: ForUser) -> str:
    marked = [item.held_out is not None for item in each.items]
    header = ["", "item", *(["name"] if found.names else []), "score", *(["in val"] if any(marked) else [])]
    rows, strong = [], set()
    for at, item in enumerate(each.items):
        row = [str(at + 1), str(item.item), *([found.name(item.item)] if found.names else []), short(item.score)]
        rows.append([*row, *(["yes" if item.held_out else ""] if any(marked) else [])])
        if item.held_out:
            strong |= {(at, 1), (at, len(header) - 1)}
    table = blocks.table(header, rows, f"recommended to user {each.user}", strong, [header.index("score")])
    if not each.history:
        return table
    had = [found.name(item) or str(item) for item in each.history[:_HISTORY]]
    more = f" and {len(each.history) - _HISTORY} more" if len(each.history) > _HISTORY else ""
    return table + blocks.paragraph(f"Had in training: {'; '.join(had)}{more}.")
