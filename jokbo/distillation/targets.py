"""What a student is taught by: the teacher's distribution at a temperature (Hinton et al. 2015, section 2)."""

from __future__ import annotations

from torch import Tensor, nn


def divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return KL(teacher || student) in nats, [...] of logits [..., V] that are divided by the temperature."""
    student, teacher = (
        nn.functional.log_softmax(logits / temperature, -1) for logits in (student_logits, teacher_logits)
    )
    return nn.functional.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
