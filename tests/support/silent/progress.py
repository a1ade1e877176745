"""In the place of jokbo.runtime.progress: nothing is shown."""


def progress(items, what, total=None):
    return iter(items)


class Progress:
    def __init__(self, *given, **more):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def advance(self, **values):
        pass
