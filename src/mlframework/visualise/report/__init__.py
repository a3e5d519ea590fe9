"""The report of a study: one page that stands alone. Every section is computed first (plain data), then drawn.

`build` makes the page of a study, `write_report` writes it. The shell around them is that of every page: `visualise/page`.
"""

from mlframework.visualise.report.study import build as build
from mlframework.visualise.report.study import write_report as write_report
