"""In the place of jokbo.runtime.hosts: nobody compares hosts."""


def check(*given):
    pass
