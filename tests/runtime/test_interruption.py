"""What a stop signal does where Python drops what a handler raises."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from jokbo.runtime.interruption import SIGNALS, Interrupted, raising


class Stopping:
    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        sum(range(100))  # the handler is run here, and what it raises is dropped


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stop_that_a_destructor_drops_is_raised_again(number: signal.Signals) -> None:
    def work() -> None:
        with raising():
            Stopping(number)
            assert threading.Event().wait(60), "the stop was lost"

    with pytest.raises(Interrupted, match=number.name):
        work()
