"""`python -m tests.support.forked "MODULE ARGUMENT..." ...` runs each as `python -m MODULE ARGUMENT...` would, in turn.

Each has a process of its own, forked from this one, which has imported the libraries: in the miniature that takes a
stage longer than its work. None of our own code is imported before the fork.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys

LIBRARIES = (
    *("torch", "datasets", "mlflow", "peft", "sklearn.linear_model", "scipy.stats"),
    *("transformers.modeling_utils", "transformers.trainer_utils", "transformers.models.auto"),
    *("deepspeed", "deepspeed.runtime.zero.muon.muon_optimizer"),
)


def main() -> None:
    """Stop at the first that fails, with its exit status."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # as jokbo does, which is not imported yet
    for library in LIBRARIES:
        importlib.import_module(library)
    for command in sys.argv[1:]:
        module, *arguments = command.split()
        child = os.fork()
        if not child:
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            return
        if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            sys.exit(status if status > 0 else 128 - status)


if __name__ == "__main__":
    main()
