"""Ctrl-C that waits for a good moment, and SIGTERM that does what Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def interruption(enabled: bool = True) -> Generator[threading.Event, None, None]:
    """Turn the first Ctrl-C (or SIGTERM) into an event, so that no step is cut in two.

    The second one raises at once. Outside the main thread, which alone hears signals, nothing changes.

    Parameters
    ----------
    enabled
        False leaves the signals as they are.

    Yields
    ------
    threading.Event
        Set once the user wants to stop.

    Raises
    ------
    KeyboardInterrupt
        On the second signal.
    """
    interrupted = threading.Event()
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    old = [signal.getsignal(number) for number in signals]

    def note(_number: int, _frame: object) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    for number in signals:
        signal.signal(number, note)
    try:
        yield interrupted
    finally:
        for number, handler in zip(signals, old, strict=True):
            signal.signal(number, handler)


@contextmanager
def terminable() -> Generator[None, None, None]:
    """Let SIGTERM raise what Ctrl-C raises, so that what was begun is cleaned up.

    Outside the main thread, which alone hears signals, nothing changes.

    Raises
    ------
    KeyboardInterrupt
        On SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
