"""The terminal: messages, exit codes, signals. Every command's `main` goes through `run`."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from mlframework.errors import MlframeworkError, Terminated

if TYPE_CHECKING:
    from rich.console import Console

EXIT_DONE, EXIT_DEFECT, EXIT_USER, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143
EXIT_UNREAD = 141  # as a shell says of SIGPIPE: a training that `| head` cut short is not done

_resume_hint: list[str] = []


def out() -> Console:
    """Return the console of stdout."""
    from rich.console import Console

    return Console(markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Return the console of stderr."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=not sys.stderr.isatty())


def say_on_interrupt(hint: str) -> None:
    """Set what is said when the work is interrupted from now on: what is saved, and the command that resumes."""
    _resume_hint[:] = [hint]


def run(command: Callable[[], None]) -> NoReturn:
    """Run a command and end the process: 0 done, 2 the user can mend it, 130, 141 and 143 cut short, 1 a defect."""
    _let_threads_wait_briefly()
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _show_warning
    try:
        command()
        sys.stdout.flush()
        code = EXIT_DONE
    except MlframeworkError as error:
        _message(str(error))
        code = EXIT_USER
    except KeyboardInterrupt:
        _message("interrupted" + _hint())
        code = EXIT_INTERRUPTED
    except Terminated:
        _message("terminated" + _hint())
        code = EXIT_TERMINATED
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does: that is no fault, and nothing can be said any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_UNREAD
    except OSError as error:
        _message(f"{error.filename or 'a file'}: {error.strerror or error}")
        code = EXIT_USER
    except Exception:  # noqa: BLE001 - the last stop before the user
        traceback.print_exc()
        _message("this is a defect of mlframework; please report it with the lines above and the config")
        code = EXIT_DEFECT
    sys.exit(code)


def _let_threads_wait_briefly() -> None:
    """Keep OpenMP's threads from spinning while they wait: docs/decisions/0006 has the figures.

    It is read when torch is first imported, which is later than this.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _terminate(_signal: int, _frame: object) -> None:
    raise Terminated("SIGTERM")


def _message(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text + "\n")


def _hint() -> str:
    return f"; {_resume_hint[0]}" if _resume_hint else "; nothing was lost"


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """Show our own warnings as plain lines; others' are for developers."""
    if category is UserWarning and "mlframework" in Path(filename).parts:
        sys.stderr.write(f"warning: {message}\n")
