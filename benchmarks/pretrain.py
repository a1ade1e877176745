"""`python -m benchmarks.pretrain`: the engine against a bare PyTorch loop, and both against the machine.

The same network, batch, precision (bf16 autocast), compilation and AdamW; steps of the two taken in turns, so that
what else the machine does falls on both alike. The peak is that of a square bf16 matrix product.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from benchmarks import scratch
from jokbo import params  # first: it keeps DeepSpeed quiet
from jokbo.models import access, causal
from jokbo.training import engine, processes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="turns each loop gets")
    parser.add_argument("--steps", type=int, default=10, help="steps a turn")
    arguments = parser.parse_args()
    settings = params.load()
    start, training, tokenizer = scratch.parts(settings)
    adamw = training.optimizer.model_copy(
        update={"name": "adamw", "learning_rate": 1e-4, "weight_decay": 0.01}
    )
    processes.join()
    device, context = processes.device(), start.context
    config = causal.configuration(start, vocabulary=tokenizer.vocabulary, end_of_text=0, padding=1)
    batch = {
        "tokens_BS": torch.randint(2, config.vocab_size, (training.batch_size, context + 1), device=device),
        "weights_BT": torch.ones(training.batch_size, context, device=device),
    }
    bare = access.moved(causal.build(config, seed=1), device)
    engine.prefer_attention(bare)  # the same network in both, kernels included
    loops = {
        "bare loop": bare_step(causal.NextToken(bare), adamw, batch),
        "engine": engine_step(causal.NextToken(causal.build(config, seed=1)), adamw, batch, settings.compute),
    }
    seconds = dict.fromkeys(loops, float("inf"))
    for step in loops.values():
        timed(step, 3)  # compilation
    for _ in range(arguments.rounds):
        for name, step in loops.items():
            seconds[name] = min(seconds[name], timed(step, arguments.steps))
    peak = matrix_product_peak(device)
    tokens = training.batch_size * context
    network = causal.build(config, seed=1)
    # a multiply and an add a weight forward, twice that backward; and attention's two products over the context
    attention = 12 * config.num_hidden_layers * config.hidden_size * context
    flops = tokens * (6 * network.num_parameters() + attention)
    print(f"{network.num_parameters():,} parameters, batch {training.batch_size} x {context}, bf16, compiled")
    print(f"{'':12}{'tokens/s':>10}{'GFLOP/s':>10}{'of peak':>9}")
    for name, value in seconds.items():
        print(f"{name:12}{tokens / value:>10,.0f}{flops / value / 1e9:>10,.0f}{flops / value / peak:>9.1%}")
    print(f"{'peak':12}{'':>10}{peak / 1e9:>10,.0f}")
    print(f"engine / bare loop: {seconds['bare loop'] / seconds['engine']:.2f}")


def bare_step(objective: torch.nn.Module, settings, batch: engine.Batch) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(
        objective.parameters(),
        lr=settings.learning_rate,
        betas=tuple(settings.betas),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    compiled = torch.compile(objective)

    def step() -> None:
        with torch.autocast(batch["tokens_BS"].device.type, torch.bfloat16):
            loss, _ = compiled(**batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def engine_step(objective: torch.nn.Module, settings, batch: engine.Batch, compute) -> Callable[[], None]:
    started = engine.start(
        objective, engine.StepSettings(len(batch["tokens_BS"]), "bf16", 0.0), settings, compute, compiled=True
    )

    def step() -> None:
        loss, _ = started(**batch)
        started.backward(loss)
        started.step()

    return step


def timed(step: Callable[[], object], steps: int) -> float:
    """Return seconds a step."""
    synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    synchronize()
    return (time.perf_counter() - began) / steps


def synchronize() -> None:
    """Wait for a GPU to finish what it was given; a CPU has."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_product_peak(device: torch.device, n: int = 2048) -> float:
    """Return FLOP/s of the best of a few square bf16 products."""
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * n**3 / min(timed(lambda: torch.mm(a, b), 5) for _ in range(5))


if __name__ == "__main__":
    main()
