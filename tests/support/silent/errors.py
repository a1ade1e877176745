"""In the place of jokbo.runtime.errors: an error without a word of explanation."""

from contextlib import contextmanager

MUCH = 1.0


class InputError(Exception):
    pass


@contextmanager
def about(place):
    yield
