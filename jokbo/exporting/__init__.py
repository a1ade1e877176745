"""Models leave the house: as a folder for transformers, as GGUF or as ONNX."""

from typing import Literal

Kind = Literal["folder", "gguf", "onnx"]
Precision = Literal["fp32", "bf16", "q8_0"]  # of weights in GGUF
