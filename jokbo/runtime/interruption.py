"""SIGTERM and SIGINT: raised at once where nothing need be saved, polled by loops that save first."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import psutil

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LIFELINE = (
    "JOKBO_LIFELINE"  # set for what a flow starts: the pid of the supervisor, or nothing if there is none
)
STOPPED = "jokbo: stopped: the same command goes on from here"
AGAIN_SECONDS = 0.05  # for a callback that dropped a stop to return
GRACE_SECONDS = 30.0  # for a training to save its checkpoint


class Interrupted(BaseException):
    """Somebody asked this process to stop. As with KeyboardInterrupt, no `except Exception` holds it up."""


class Stop:
    """Whether a stop has been asked for."""

    requested: bool = False


@contextmanager
def raising() -> Iterator[None]:
    """Raise Interrupted at a stop signal, wherever the main thread happens to be. A second one is ignored: the same
    stop may come from a supervisor and from a launcher, and would break off what the first has begun.

    Python drops what is raised within a destructor or another callback of its own. Such a signal is sent once more.
    """

    def interrupt(number: int, frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    def dropped(event: sys.UnraisableHookArgs) -> None:
        if not isinstance(event.exc_value, Interrupted):
            return shown(event)
        number = signal.Signals[str(event.exc_value)]
        signal.signal(number, interrupt)
        again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True  # for a process that ends meanwhile
        again.start()

    shown, sys.unraisablehook = sys.unraisablehook, dropped
    try:
        with _handled(interrupt):
            yield
    finally:
        sys.unraisablehook = shown


@contextmanager
def polled() -> Iterator[Stop]:
    """Yield what a stop signal sets `requested` of: the loop saves when its step ends, then raises Interrupted."""
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


def without_traceback(explain: Callable[[BaseException], str | None] = lambda error: None) -> None:
    """Have a Ctrl-C that nobody catches, as while libraries are imported, end this process in one line, and so what
    `explain` has a line for: with exit status 2."""
    shown = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(STOPPED, file=sys.stderr)
        elif line := explain(error):
            print(f"jokbo: {line}", file=sys.stderr)
            sys.exit(2)
        else:
            shown(kind, error, trace)

    sys.excepthook = show


def hold_lifeline() -> None:
    """See to it that this process does not outlive the flow and the supervisor that have started it.

    Its standard input is then a pipe that ends with the flow. The supervisor stops this process in good order;
    if that is gone too, this process tells itself to stop, and kills itself if it doesn't.
    """
    supervisor = os.environ.get(LIFELINE)
    if supervisor is None or not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def watch() -> None:
        while os.read(0, 1):
            pass
        while supervisor and psutil.pid_exists(int(supervisor)):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
