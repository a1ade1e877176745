"""The card of an exported model: what it is, how it is opened and whom it descends from, without its project."""

from __future__ import annotations

from collections.abc import Mapping

from jokbo.exporting.lineage import Lineage
from jokbo.exporting.opening import Opened
from jokbo.reporting.markdown import table

READERS = {
    "folder": "safetensors and tokenizer: transformers (`{auto}.from_pretrained`), vLLM",
    "gguf": "`model.gguf`, {precision}: llama.cpp, and what is built on it",
    "onnx": "`model.onnx`, fp32, with its tokenizer: ONNX Runtime. Inputs `input_ids` and `attention_mask`, int64 "
    "[batch, tokens]; output `logits`. It keeps no state from token to token",
}
LOGITS = {
    "ForSequenceClassification": "One row a text, read at its last token that is no padding: text, end of text, "
    "padding.",
    "ForTokenClassification": "One row a token. The mean over a text's tokens, its end of text among them, is the "
    "answer.",
}


def text(opened: Opened, lineage: Lineage, licences: Mapping[str, str], *, kind: str, precision: str) -> str:
    """Return the card of a model that is exported as `kind`. `licences` are by what they are of."""
    network = opened.network
    config, task = network.config, "generation" if opened.writes else "classification"
    library = {"folder": "transformers", "gguf": "gguf", "onnx": "onnx"}[kind]
    auto = "AutoModelForCausalLM"
    if not opened.writes:
        auto = "AutoModel" + opened.kind[opened.kind.index("For") :]
    logits = next((words for ending, words in LOGITS.items() if opened.kind.endswith(ending)), None)
    lines = [
        f"- **Network**: {opened.kind}, {network.num_parameters():,} parameters, {config.num_hidden_layers} layers of",
        f"  {config.hidden_size}, a vocabulary of {config.vocab_size:,} tokens, a context of "
        f"{config.max_position_embeddings:,}.",
        f"- **Files**: {READERS[kind].format(auto=auto, precision=precision)}.",
        *([f"- **Logits**: {logits}"] if logits else []),
        f"- **Weights**: sha256 `{lineage.weights}`, of the safetensors that it was exported from.",
        "- **Licence**: what the texts and models that it descends from allow; "
        + ("see below." if licences else "ask whoever trained it."),
    ]
    head = f"---\nlibrary_name: {library}\npipeline_tag: text-{task}\nlicense: other\n---\n"
    found = f"\n\n## Licences\n\n{table(('of', 'licence'), licences.items())}" if licences else ""
    title = f"# {opened.folder.name}\n\n"
    return head + title + "\n".join(lines) + found + f"\n\n## Ancestry\n\n{_ancestry(lineage)}"


def _ancestry(lineage: Lineage) -> str:
    if not lineage.records:
        return "No record of ancestry stood beside this model: no stage of jokbo made it.\n"
    return (
        f"```text\n{lineage.tree}\n```\n\n`ancestry.json` has of each model: parameters, hashes of data, code and "
        "weights, and the machine.\n"
    )
