"""What of a training on an accelerator lies in the machine's own memory (ZeRO-Offload, Ren et al. 2021)."""

from __future__ import annotations

from typing import Any

_ON_CPU = {"device": "cpu"}
CONFIG: dict[str, dict[str, Any]] = {  # of compute.offload, in DeepSpeed's zero_optimization
    "none": {},
    "optimizer": {"offload_optimizer": _ON_CPU},
    "parameters": {"offload_optimizer": _ON_CPU, "offload_param": _ON_CPU},
}
