"""The report at the end of a search: whatever becomes of it, the search is what counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlframework.cli import console

if TYPE_CHECKING:
    from mlframework.search.study import OpenStudy


def say_report(study: OpenStudy) -> None:
    """Write a study's report and say where it is; where that fails, say why, and how to have it later."""
    from mlframework.visualise.report import write_report

    spec = study.spec
    try:
        path = write_report(study.study, spec.folder, spec.goal)
    except Exception as error:  # noqa: BLE001 - all trials are written: nothing about a page may end the command otherwise
        why = str(error) or type(error).__name__
        console.err().print(
            f"warning: no report was written: {why}; once that is mended: "
            f"ml-visualise --mode search --study-name {spec.name} --report",
            markup=False, soft_wrap=True,
        )  # fmt: skip
        return
    console.out().print(f"report:    {path}", markup=False, soft_wrap=True)
