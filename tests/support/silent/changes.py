"""In the place of jokbo.runtime.changes: git is asked nothing."""


class Changes:
    commit = diff = ""

    def notes(self):
        return []


def collect(without=()):
    return Changes()


def git(*arguments, **more):
    return ""
