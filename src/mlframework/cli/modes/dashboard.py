"""`ml-visualise --mode dashboard`: a study's storage in optuna-dashboard, in the browser of this machine.

It runs in this process, with our storage, so that no password stands on a command line. It is there to look: it may write
notes, and nothing else. By its own buttons a study could be deleted, and a trial be ended that a worker is training.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from mlframework.cli import console
from mlframework.cli.serving import HOST, free_port, leave, stay
from mlframework.errors import ConfigError, MissingExtraError, Problem

USUAL_PORT = 8080
_LOOKING = ("GET", "HEAD")
_NOTE = re.compile(r"/api/studies/\d+(/\d+)?/note/?")
_OURS = ("127.0.0.1", "localhost", "[::1]")

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


def show(arguments: argparse.Namespace) -> None:
    """Serve the storage until Ctrl-C."""
    if arguments.study_name is None and arguments.storage is None:
        what = "or --storage is needed: the study to show, or where the studies are"
        raise ConfigError([Problem("ml-visualise", "--study-name", what)])
    try:
        from optuna_dashboard import wsgi  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtraError("optuna-dashboard", "dashboard", "--mode dashboard") from None
    from mlframework.search.lookup import find_study, open_there
    from mlframework.search.quiet import require_optuna
    from mlframework.search.storage import masked

    require_optuna()
    what, page = f"the studies of {masked(arguments.storage or '')}", "dashboard"
    if arguments.study_name is None:
        storage: Any = open_there(arguments.storage)
    else:
        study = find_study(arguments.study_name, arguments.storage)[0]
        storage = study._storage
        what, page = f"the study {arguments.study_name}", f"dashboard/studies/{study._study_id}"
    _say_in_a_line(logging.getLogger("optuna_dashboard"))
    port = free_port(arguments.port, USUAL_PORT)
    name_objectives(storage)
    with make_server(HOST, port, looked_at(wsgi(storage)), _Server, _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            if stay(f"{what} in optuna-dashboard", f"http://{HOST}:{port}/{page}", thread.is_alive):
                leave()
        finally:
            server.shutdown()  # a loop whose socket is closed under it would take a whole core


def name_objectives(storage: Any) -> None:
    """Let a storage tell what its studies' objectives are called, which pages would else call `Objective 0`.

    Optuna keeps the names beside the study, where we have none; nothing is written for the sake of a page.
    """
    import copy

    from mlframework.errors import StudyError
    from mlframework.search.started import started_with

    all_studies = storage.get_all_studies

    def named() -> list[Any]:
        studies = [copy.copy(study) for study in all_studies()]
        for study in studies:
            with suppress(StudyError):
                found = started_with(study.user_attrs, study.study_name)
                names = [each["metric"] for each in found.get("objectives") or []] or [found.get("metric")]
                if names != [None] and len(names) == len(study.directions):
                    study.system_attrs = {"study:metric_names": names, **study.system_attrs}
        return studies

    storage.get_all_studies = named


def looked_at(app: App) -> App:
    """Return an app to which only this machine's browser comes, to look and to write notes."""

    def guarded(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        refusal = _refusal(environ)
        if refusal is None:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [json.dumps({"reason": refusal}).encode()]

    return guarded


def _refusal(environ: dict[str, Any]) -> str | None:
    host = environ.get("HTTP_HOST", "")
    # A page of another site may have its name lead to this machine, and read what is served under it.
    if re.sub(r":\d+$", "", host) not in _OURS:
        return f"this is served to {HOST} and localhost, and not to {host!r}"
    if environ["REQUEST_METHOD"] in _LOOKING:
        return None
    if environ["REQUEST_METHOD"] == "PUT" and _NOTE.fullmatch(environ.get("PATH_INFO", "")):
        return None
    return (
        "ml-visualise shows studies and changes none, but for their notes; optuna-dashboard's own command changes them"
    )


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that breaks off what it asked for does so all the time."""


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each file that the browser asks for."""


def _say_in_a_line(logger: logging.Logger) -> None:
    """Show what goes wrong as one line, and once: a page asks again every few seconds."""
    said: set[str] = set()

    class OneLine(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage().strip().partition("\n")[0]
            if text not in said:
                said.add(text)
                console.err().print(f"optuna-dashboard: {text}", markup=False, soft_wrap=True)

    logger.handlers, logger.propagate = [OneLine(logging.WARNING)], False
