"""The stages of dvc.yaml, a file each, and what all of them share."""

import time

STARTED = time.time()  # before any other file of ours is read

from jokbo.training import interruption  # noqa: E402

interruption.without_traceback()
