"""In the place of jokbo.runtime.errors: an error without a word of explanation."""

from contextlib import contextmanager

BAD_INPUT, WAITING, MUCH = 2, 75, 1.0


class InputError(Exception):
    pass


class Waiting(InputError):
    pass


def line_of(error):
    return ""


@contextmanager
def about(location):
    yield
