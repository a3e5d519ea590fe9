"""The terminal: messages, exit codes, signals. Every command's `main` goes through `run`."""

from __future__ import annotations

import atexit
import codecs
import gc
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

from mlframework.errors import MlframeworkError, Terminated
from mlframework.learners.ranks import place
from mlframework.memory import is_out_of_memory, said

if TYPE_CHECKING:
    from rich.console import Console

EXIT_DONE, EXIT_DEFECT, EXIT_USER, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143
EXIT_UNREAD = 141  # as a shell says of SIGPIPE: a training that `| head` cut short is not done

_resume_hint: list[str] = []
_ALIKE = str.maketrans("±…–·━╸╺", "~.--===")
_LIKENESS = "mlframework.likeness"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def out() -> Console:
    """Return the console of stdout."""
    return _console(stderr=False)


def err() -> Console:
    """Return the console of stderr."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    file = sys.stderr if stderr else sys.stdout
    if not getattr(file, "isatty", lambda: False)():
        return cast("Console", _Lines(stderr))
    return _rich(stderr)


def _rich(stderr: bool) -> Console:
    screen = _screen()(stderr=stderr, markup=False, highlight=False)
    screen.soft_wrap = not screen.is_terminal
    return screen


def printable(text: str) -> str:
    """Return a text for a terminal: signs that move its cursor, colour it or turn its lines around are shown, not obeyed.

    Names of files and columns are whoever made the data's; line ends and tabs are ours, and stay.
    """
    return _CONTROL.sub(_shown, text) if _CONTROL.search(text) else text


def encodable(text: str, encoding: str) -> str:
    """Return a text whose signs all exist in an encoding, as long as before: marks of ours have a likeness there."""
    return text if text.isascii() else text.encode(encoding, _LIKENESS).decode(encoding)


def _liken(error: UnicodeError) -> tuple[str, int]:
    """Put something alike in the place of what can't be encoded, a sign for a sign, so that columns stay in line."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_ALIKE)
    return "".join(sign if sign.isascii() else "?" for sign in text), error.end


codecs.register_error(_LIKENESS, _liken)


def is_plain() -> bool:
    """Whether lines are wanted even on a terminal: where a machine reads along (`CI`), or it can't move its cursor."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false") or os.environ.get("TERM") in ("dumb", "unknown")


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    # Unicode has pictures of the first 32 signs: of the escape sign it is one with the letters ESC.
    return chr(0x2400 + code) if code < 0x20 else "\ufffd"


class _Lines:
    """A console where there is no terminal: lines are written as they are, and rich is imported for what is more than that.

    What rich would be told of a line, that it is not to be wrapped and has no markup, is so in any case.
    """

    is_terminal = False

    def __init__(self, stderr: bool) -> None:
        self._stderr = stderr

    def print(self, *what: Any, **options: Any) -> None:
        if len(what) != 1 or not isinstance(what[0], str):
            return self._console.print(*what, **options)
        file = sys.stderr if self._stderr else sys.stdout
        text = encodable(printable(what[0]), file.encoding or "utf-8")
        file.write(text + options.get("end", "\n"))
        file.flush()
        return None

    @cached_property
    def _console(self) -> Console:
        return _rich(self._stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._console, name)


@cache
def _screen() -> type[Console]:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Screen(Console):
        """A console that shows the terminal no control characters but rich's own: names come from files and data.

        What is redrawn is redrawn on terminals alone, whatever is said of colours; and all that it writes can be encoded.
        """

        @property
        def is_terminal(self) -> bool:
            isatty = getattr(self.file, "isatty", None)
            return super().is_terminal and isatty is not None and isatty() and not is_plain()

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else encodable(printable(segment.text), self.encoding)
                yield segment if text is segment.text else Segment(text, segment.style)

    return Screen


def say_on_interrupt(hint: str) -> None:
    """Set what is said when the work is interrupted from now on: what is saved, and the command that resumes."""
    _resume_hint[:] = [hint]


def run(command: Callable[[], None]) -> NoReturn:
    """Run a command and end the process: 0 done, 2 the user can mend it, 130, 141 and 143 cut short, 1 a defect."""
    _let_threads_wait_briefly()
    # To look for those of Pydantic reads the metadata of every package that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    atexit.register(_end_soon)
    os.umask(
        os.umask(0o077) | 0o002
    )  # nothing that is made may be written to by everybody, a database's files included
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _say_once_more
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
        _fall_silent()
        code = EXIT_UNREAD
    except OSError as error:
        what = error.filename or ("a file" if error.errno is None else "the output")
        _message(f"{what}: {error.strerror or error}")
        code = EXIT_USER
    except Exception as error:  # noqa: BLE001 - the last stop before the user
        code = EXIT_USER if is_out_of_memory(error) else EXIT_DEFECT
        if code == EXIT_USER:
            _message(said(error))
        else:
            traceback.print_exc()
            _message("this is a defect of mlframework; please report it with the lines above and the config")
    sys.exit(code)


def _end_soon() -> None:
    """Keep Python, when it ends, from looking for garbage in all that it throws away: it takes 0.1 to 0.2 s.

    All that is to be written has been written. What nanobind has bound, as Triton is, would be reported as leaked.
    """
    if "triton" not in sys.modules:
        gc.freeze()


def _let_threads_wait_briefly() -> None:
    """Keep OpenMP's threads from spinning while they wait: docs/decisions/0006 has the figures.

    It is read when torch is first imported, which is later than this.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _terminate(_signal: int, _frame: object) -> None:
    raise Terminated("SIGTERM")


def _say_once_more(ignored: sys.UnraisableHookArgs) -> None:
    """Send the signal again whose exception was raised where Python lets none out: in a `__del__` or a weak reference's callback.

    The work would go on as if nobody had asked it to end.
    """
    number = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}.get(ignored.exc_type)
    if number is None:
        sys.__unraisablehook__(ignored)
        return
    again = threading.Timer(0.05, os.kill, (os.getpid(), number))  # by when that callback has come to its end
    again.daemon = True
    again.start()


def _message(text: str) -> None:
    try:
        sys.stdout.flush()
    except OSError:  # the file that it goes into is on a full disk
        _fall_silent()
    with suppress(OSError):  # stderr may go into the same file
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()


def _fall_silent() -> None:
    """Let what is still to be printed go nowhere: the interpreter would try once more when it ends, and say so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _hint() -> str:
    if not _resume_hint:
        return "; nothing was lost"
    # What was typed before the command is torchrun's own.
    return f"; {_resume_hint[0]}" + (" (by torchrun as before, or with --trainer_type standard)" if place() else "")


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """Show our own warnings as plain lines; others' are for developers."""
    if category is UserWarning and "mlframework" in Path(filename).parts:
        sys.stderr.write(f"warning: {printable(str(message))}\n")
