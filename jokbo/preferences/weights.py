"""Whether two networks are the same: the hash of their weights."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def hash_of(network: PreTrainedModel) -> hashlib._Hash:
    """Return the hash, which more can be added to, of all weights and their names, as they are in fp32."""
    found = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        found.update(name.encode() + weight.detach().cpu().float().numpy().tobytes())
    return found
