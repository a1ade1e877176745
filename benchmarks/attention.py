"""`python -m benchmarks.attention`: peak memory of GPT-2's attention by length, fused and as plain products.

One step, forward and backward, of a small network on one row; what it needs beyond weights and gradients. The plain way
keeps a matrix of length times length for each head; torch's fused kernels keep none (Dao et al. 2022, theorem 2). On a
GPU its allocator counts; on a CPU each measurement is a process of its own, and counts by how much its resident memory
was ever larger than before the step. The figure is left in .jokbo/benchmarks.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import resource
from pathlib import Path

import torch
from matplotlib.figure import Figure
from transformers import PreTrainedModel

from jokbo.models import access
from jokbo.systems import gpt2
from jokbo.systems.common import Size, SpecialTokens
from tasks.frame.paths import STATE

KINDS = {"fused": "sdpa", "plain": "eager"}  # what transformers calls them
SPECIAL_TOKENS = SpecialTokens(end_of_text=0, padding=1, unknown=2, cls=3, sep=4, mask=5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    arguments = parser.parse_args()
    processes = multiprocessing.get_context("fork")  # before torch has done anything here
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    print(f"{'tokens':>8}" + "".join(f"{kind + ', MB':>12}" for kind in KINDS), flush=True)
    for length in arguments.lengths:
        for kind, megabytes in found.items():
            with processes.Pool(1) as pool:
                megabytes.append(pool.apply(peak, (KINDS[kind], length)) / 1e6)
        print(f"{length:>8}" + "".join(f"{megabytes[-1]:>12.1f}" for megabytes in found.values()), flush=True)
    print(draw(arguments.lengths, found, STATE / "benchmarks" / "attention.svg"))


def peak(attention: str, length: int) -> int:
    """Return the bytes that one step needs beyond what is there before and after it."""
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    torch.set_num_threads(1)
    size = Size(vocabulary=64, layers=2, hidden_size=256, heads=4, context=length)
    network = access.moved(gpt2.network(size, SPECIAL_TOKENS, 0), device)
    network.set_attn_implementation(attention)
    step(network, 64)  # kernels, buffers and gradients are there before the count begins
    gc.collect()
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats()
        before = torch.accelerator.memory_allocated()
        step(network, length)
        return torch.accelerator.max_memory_allocated() - before
    before = resident()
    step(network, length)
    return max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


def step(network: PreTrainedModel, length: int) -> None:
    tokens_BT = torch.zeros((1, length), dtype=torch.int64, device=network.device)
    network.base_model(tokens_BT, use_cache=False).last_hidden_state.sum().backward()


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def draw(lengths: list[int], found: dict[str, list[float]], path: Path) -> Path:
    figure = Figure(figsize=(4.5, 3), layout="constrained")
    axes = figure.add_subplot(
        xlabel="tokens in a row", ylabel="peak memory of a step, MB", xscale="log", yscale="log"
    )
    for kind, megabytes in found.items():
        axes.plot(lengths, megabytes, marker="o", label=f"{kind} attention")
    axes.set_xticks(lengths, [str(length) for length in lengths], minor=False)
    axes.minorticks_off()
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


if __name__ == "__main__":
    main()
