"""The tests run in as many processes as there are cores (make test), each with one thread for what it computes."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
