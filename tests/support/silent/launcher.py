"""In the place of jokbo.runtime.launcher: one rank, which nobody started."""

import os

OUTSIDE, LOST = "", 74


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


def lost(error):
    return None


def choose_network():
    os.environ["LOCAL_RANK"] = "0"  # DeepSpeed reads it
