"""In the place of jokbo.runtime.room: there is memory enough."""


def left(*given):
    return 10**15
