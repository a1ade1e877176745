"""In the place of jokbo.runtime.regular: every file is as it should be."""


def check_regular(*given):
    pass


def check_all_regular(*given):
    pass
