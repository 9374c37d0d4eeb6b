"""Single keys of a terminal, as they are pressed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pressed(key: str) -> Iterator[asyncio.Event]:
    """An event that is set when the key is pressed; never where nobody sits at a terminal."""
    event = asyncio.Event()
    if not sys.stdin.isatty():
        yield event
        return
    import termios
    import tty

    descriptor, loop = sys.stdin.fileno(), asyncio.get_running_loop()

    def read() -> None:
        if key.encode() in os.read(descriptor, 64).lower():
            event.set()

    former = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield event
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, former)
