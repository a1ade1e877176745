"""In the place of jokbo.runtime.load: nobody looks how busy the machine is."""

from contextlib import nullcontext


def logged(run):
    return nullcontext()
