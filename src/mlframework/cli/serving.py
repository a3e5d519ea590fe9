"""Serving pages to a browser on this machine: a port that is free, the address, and the end by Ctrl-C."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from mlframework.cli import console
from mlframework.errors import ConfigError, Problem

HOST = "127.0.0.1"
"""Where pages are served: to this machine alone. Whoever may look from another one comes through a tunnel of his own."""

_NEXT = 100  # ports behind the usual one that are tried
_LOOK = 0.2  # seconds between two looks at whether what serves is still there


def port_number(text: str) -> int:
    """Read `--port`."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, got {text!r}")
    return int(text)


def free_port(asked: int | None, usual: int) -> int:
    """Return the port to serve at: the one that was asked for, or the usual one, or the next that is free.

    Args:
        asked: what `--port` says, None where it was left out.
        usual: where the search for a free one begins.

    Raises:
        ConfigError: the port that was asked for is taken.
    """
    if asked is not None:
        if (why := _taken(asked)) is not None:
            what = f"{asked} at {HOST} can't be used: {why}; name another one, or leave it out: the next free one is taken then"
            raise ConfigError([Problem("ml-visualise", "--port", what)])
        return asked
    found = next((port for port in range(usual, min(usual + _NEXT, 65536)) if _taken(port) is None), None)
    if found is not None:
        return found
    with socket.socket() as any_port:
        any_port.bind((HOST, 0))
        return int(any_port.getsockname()[1])


def _taken(port: int) -> str | None:
    """Say why a port can't be used, None where it can be."""
    with socket.socket() as probe:
        # As servers do: what a former one left behind, which the system keeps for a minute, is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return (error.strerror or str(error)).lower()
    return None


def leave() -> NoReturn:
    """End this process at once, after what was printed is out.

    A thread that still answers a browser may be importing libraries; an orderly end could wait for it for ever.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def stay(what: str, address: str, serves: Callable[[], bool] = lambda: True) -> bool:
    """Say where the pages are, and stay until Ctrl-C, which is how it is meant to end; SIGTERM goes through.

    Args:
        what: is served, for the line that is printed.
        address: of the first page.
        serves: whether it is still served; where not, there is nothing to stay for.

    Returns:
        Whether it was ended by Ctrl-C; false where what serves has gone.
    """
    try:
        console.out().print(f"{what}: {address} (to end it: Ctrl-C)", soft_wrap=True)
        sys.stdout.flush()
        while serves():
            time.sleep(_LOOK)
    except KeyboardInterrupt:
        console.out().print("\nended")
        return True
    return False
