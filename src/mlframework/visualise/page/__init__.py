"""The one kind of page that is written: sections and a list of them, light and dark, nothing from elsewhere.

`shell.page_of` makes a page of sections that are a data function and a template each (the report of a study);
`blocks.page_of_blocks` one of texts, tables, pictures and charts (runs, comparisons, data, predictions). Both have the
same shell: `templates/page.html`, one style sheet, one set of scripts.
"""

from mlframework.visualise.page.shell import Absent as Absent
from mlframework.visualise.page.shell import Page as Page
from mlframework.visualise.page.shell import Section as Section
from mlframework.visualise.page.shell import page_of as page_of
