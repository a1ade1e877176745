"""In the place of jokbo.runtime.environment: nobody looks in what a run is made."""


def collect(**more):
    return {}


def worked(*given, **more):
    return []


def text(found):
    return ""
