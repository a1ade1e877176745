"""In the place of jokbo.runtime.errors: an error without a word of explanation."""

from contextlib import contextmanager

BAD_INPUT, MUCH = 2, 1.0


class InputError(Exception):
    pass


@contextmanager
def about(location):
    yield
