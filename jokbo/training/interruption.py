"""SIGTERM and SIGINT: raised at once where nothing need be saved, polled by loops that save first."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
    """Somebody asked this process to stop. As with KeyboardInterrupt, no `except Exception` holds it up."""


class Stop:
    """Whether a stop has been asked for."""

    requested: bool = False


@contextmanager
def raising() -> Iterator[None]:
    """Inside, a stop signal raises Interrupted wherever the main thread happens to be; a second one is ignored, as
    the same stop may come from a supervisor and from a launcher, and would break off what the first has begun."""

    def interrupt(number: int, frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    with _handled(interrupt):
        yield


@contextmanager
def polled() -> Iterator[Stop]:
    """Inside, a stop signal sets `requested`: the loop saves when its step ends, then raises Interrupted."""
    stop = Stop()

    def request(number: int, frame: object) -> None:
        stop.requested = True

    with _handled(request):
        yield stop


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
