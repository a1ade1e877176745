"""How busy the machine is while a stage runs: processor, memory, disk, network and GPUs, by MLflow's own monitors.

MLflow would send these numbers itself, and say much where its server is gone; here they go the way of all others.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from jokbo.runtime.mlflow_store import say
from jokbo.runtime.tracking import Run

SECONDS = 10.0  # between two looks, unless MLflow's own variable says otherwise
SWITCH, INTERVAL = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"


@contextmanager
def logged(run: Run) -> Iterator[None]:
    """Log the load of this machine as system/NAME while the block runs, by seconds since 1970: a stage that resumes
    goes on where it was. MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false turns it off.
    """
    if run.id is None or os.environ.get(SWITCH, "").lower() in ("false", "0"):
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_look, args=(run, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _look(run: Run, ended: threading.Event) -> None:
    try:
        seconds = float(os.environ.get(INTERVAL) or SECONDS)
        if ended.wait(seconds):
            return  # before anything is imported for it
        monitors = _monitors()
        while True:
            for monitor in monitors:
                monitor.collect_metrics()
                found = {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}
                run.buffer(found, int(time.time()))
                monitor.clear_metrics()
            if ended.wait(seconds):
                return
    except Exception as error:  # no training ends of what MLflow would show
        say(f"the load of this machine is not logged ({error})")


def _monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    found: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with suppress(ImportError, RuntimeError):  # no NVIDIA GPU, or nothing to ask it with
        found.append(GPUMonitor())
    return found
