"""`python -m benchmarks.network`: what a training on two hosts sends in a step, and how large its checkpoints are.

Two hosts are made on this machine, each with a network of its own, so root is needed. Both train the same network, by a
rank each, under ZeRO 0 to 3. Counted are the bytes that the network card of the first has sent, and a checkpoint's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jokbo.reporting import markdown
from tests.support import hosts

STEPS, ROWS, CONTEXT = 5, 2, 16  # few tokens: what is sent does not depend on their number
SENT = Path("/sys/class/net", hosts.CABLE, "statistics/tx_bytes")


def main() -> None:
    if "RANK" in os.environ:
        measure(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder, hosts.two() as both:
        place = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "OMP_NUM_THREADS": "1"}
        place |= {"MASTER_ADDR": both[0].address, "MASTER_PORT": "29513"}
        command = [sys.executable, "-m", "benchmarks.network", folder]
        ranks = [
            subprocess.Popen(host.here(command), env={**os.environ, **place, "RANK": str(number)})
            for number, host in enumerate(both)
        ]
        statuses = [rank.wait() for rank in ranks]
        if any(statuses):
            sys.exit(1)
        found = json.loads(Path(folder, "found.json").read_text())
    columns = [
        "precision",
        "ZeRO",
        "sent by a rank, bytes a parameter and step",
        "checkpoint, bytes a parameter",
    ]
    rows = [[precision, str(stage), f"{sent:.2f}", f"{size:.2f}"] for precision, stage, sent, size in found]
    print(markdown.table(columns, rows))


def measure(folder: Path) -> None:
    """Train under each ZeRO stage, as one of the ranks."""
    from jokbo.runtime import launcher
    from jokbo.training import processes

    warnings.simplefilter("ignore", FutureWarning)  # of torch, at DeepSpeed
    launcher.take_rank("external", 2, trains=True)
    processes.join()
    found = [
        [precision, stage, *_measured(folder / f"{precision}-{stage}", precision, stage)]
        for precision in ("fp32", "bf16")
        for stage in (0, 1, 2, 3)
    ]
    if processes.rank() == 0:
        (folder / "found.json").write_text(json.dumps(found))


def _measured(folder: Path, precision: str, stage: int) -> tuple[float, float]:
    """Return the bytes that this rank sends, and those of a checkpoint, by the network's parameters."""
    import torch

    from jokbo.models import causal
    from jokbo.training import checkpoints, engine, processes

    shape: Any = SimpleNamespace(
        architecture="llama", layers=4, hidden_size=256, heads=4, context=CONTEXT, dropout=0.0
    )
    network = causal.build(causal.configuration(shape, vocabulary=1024, end_of_text=0, padding=1), seed=0)
    parameters = network.num_parameters()
    compute: Any = SimpleNamespace(zero_stage=stage, micro_batch=0, compile=False, offload="none")
    adamw = torch.optim.AdamW(network.parameters(), fused=True)
    own = engine.start(causal.NextToken(network), engine.StepSettings(ROWS, precision, 1.0), adamw, compute)
    batch = {
        "tokens_BS": torch.randint(2, 1024, (ROWS, CONTEXT + 1)),
        "weights_BT": torch.ones(ROWS, CONTEXT),
    }
    engine.update(own, batch)  # what is sent once
    processes.meet()
    before = int(SENT.read_text())
    for _ in range(STEPS):
        engine.update(own, batch)
    processes.meet()
    sent = (int(SENT.read_text()) - before) / STEPS
    saved = checkpoints.save(folder, STEPS, {"model": own}, {})
    size = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
    own.destroy()
    return sent / parameters, size / parameters


if __name__ == "__main__":
    main()
