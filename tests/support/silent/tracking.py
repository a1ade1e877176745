"""In the place of jokbo.runtime.tracking: nothing is logged anywhere."""

from contextlib import contextmanager

EXPERIMENT = KEY = SUPERSEDED = ""


class Run:
    id = None

    def __init__(self):
        self.trails = {}

    def _nothing(self, *given, **more):
        return None

    log = buffer = flush = tag = inputs = artifact = figure = text = table = _nothing


class Subject:
    def __init__(self, *given):
        pass


@contextmanager
def open_run(*given, **more):
    yield Run()


def local_store(state):
    return ""


def find_run(client, key):
    return None


def flat(params, separator=".", prefix=""):
    return {}
