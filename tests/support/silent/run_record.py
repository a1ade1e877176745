"""In the place of jokbo.runtime.run_record: no record is kept."""

from pathlib import Path

FOLDER = DIFF = ""


class RunRecord:
    def __init__(self, **given):
        pass


class Account:
    def __init__(self, *given):
        pass

    def save(self, folder):
        pass


def said(changes):
    return {}


def place(state, stage, key):
    return Path(state)
