"""In the place of jokbo.runtime.launcher: one rank, which nobody started."""

import os

OUTSIDE = ""


def cores():
    return 1


def rank():
    return 0


def world():
    return 1


def meeting():
    return None


def begun_elsewhere():
    return False


def take_rank(*given, **more):
    return True


def stay_on_this_machine():
    os.environ["LOCAL_RANK"] = "0"  # DeepSpeed reads it
