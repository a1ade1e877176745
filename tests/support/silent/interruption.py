"""In the place of jokbo.runtime.interruption: nobody stops anything."""

from contextlib import contextmanager

SIGNALS, LIFELINE, STOPPED, GRACE_SECONDS = (), "", "", 0.0


class Interrupted(BaseException):
    pass


class Stop:
    requested = False


@contextmanager
def raising():
    yield


@contextmanager
def polled():
    yield Stop()


def without_traceback(explain=None):
    pass


def hold_lifeline():
    pass
