"""Tokenizers learned from text: byte-level BPE, WordPiece and unigram, all by the library `tokenizers`.

Normalisation is Unicode's (NFC, NFKC), which joins the jamo of a decomposed Hangul syllable. BERT's own normaliser does
not suit Korean: to strip accents it decomposes, and it leaves every syllable in jamo.
"""

from __future__ import annotations

import json
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from string import punctuation
from typing import TYPE_CHECKING

import regex
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from jokbo.data.counts import TokenCounts
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo import params

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|pad|>"  # not the end of text, for a classifier reads the last token that is no padding
ROLES = {"[UNK]": "unk_token", "[CLS]": "cls_token", "[SEP]": "sep_token", "[MASK]": "mask_token"}
ROLES |= {"<unk>": "unk_token"}
CJK = normalizers.BertNormalizer(
    clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
)
LONGEST_WORD = 100  # characters; WordPiece makes [UNK] of a longer word
LONGEST_SPAN = (
    1000  # characters without a space that are learned from together; the time grows with the square
)
RARE_LANGUAGE = 0.01  # of the documents; a language of fewer may well be a wrong guess
WORDS = 2**17  # whose tokens are held while texts are encoded
# a word of GPT-2 (Radford et al. 2019, section 2.2, whose code has this pattern)
WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)  # writes a word's bytes as letters
COVERAGE = 0.9995  # of the text's characters; rarer ones are unknown (sentencepiece's character_coverage)


def train_tokenizer(texts: Iterable[str], settings: params.Tokenizer) -> Tokenizer:
    """Return a tokenizer of at most `settings.vocabulary` tokens, learned from texts, which are iterated over twice.

    Tokens 0 and 1 are END_OF_TEXT and PADDING. The result depends neither on the number of threads nor on the order of
    the library's hash tables.

    byte_bpe: byte-pair encoding (Sennrich et al. 2016, section 3) over bytes as in GPT-2 (2019, section 2.2). All 256
    bytes are tokens. So any text can be encoded, and unless it was normalised it decodes to itself.
    wordpiece: BERT's (Devlin et al. 2019, section 3), with ## before what continues a word, and [UNK], [CLS], [SEP] and
    [MASK]. White space is lost. As in BERT each Chinese character is a word. BERT makes [UNK] of a word with more than
    100 characters or with a rare character. In a script without spaces, such as Thai, that is nearly all of a text. So
    here long words are divided, and only the rare character is [UNK].
    unigram: a language model over pieces (Kudo 2018, section 3.2), with spaces written as U+2581, and <unk>.

    Raises InputError if the vocabulary has no room for the characters of the texts.
    """
    steps = [normalizers.Lowercase()] if settings.lowercase else []
    steps += {"none": [], "nfc": [normalizers.NFC()], "nfkc": [normalizers.NFKC()]}[settings.normalisation]
    train = {"byte_bpe": _byte_bpe, "wordpiece": _wordpiece, "unigram": _unigram}[settings.kind]
    tokenizer = train(texts, settings.vocabulary, normalizers.Sequence(steps))
    if not steps and settings.kind != "wordpiece":
        tokenizer.normalizer = None
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write the files that `AutoTokenizer.from_pretrained` opens.

    END_OF_TEXT begins and ends a text; PADDING pads it.
    """
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        clean_up_tokenization_spaces=False,
        **{role: token for token, role in ROLES.items() if token in special},
    ).save_pretrained(path)


def end_of_text(file: Path) -> int:
    """Return the token that ends a text, of the tokenizer in a tokenizer.json, as tokenizer_config.json names it."""
    named = json.loads(file.with_name("tokenizer_config.json").read_text("utf-8"))["eos_token"]
    found = Tokenizer.from_file(str(file)).token_to_id(named["content"] if isinstance(named, dict) else named)
    assert found is not None  # AutoTokenizer saves no such folder
    return found


@contextmanager
def taken_literally(tokenizer: Tokenizer) -> Iterator[Tokenizer]:
    """Encode, within the block, a text that spells a special token as the characters that it consists of."""
    tokenizer.encode_special_tokens = True
    try:
        yield tokenizer
    finally:
        tokenizer.encode_special_tokens = False


def unknown_token(tokenizer: Tokenizer) -> int | None:
    """Return the id of the token for what the tokenizer does not know; None if it has no such token."""
    special = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
    return next(
        (special[token] for token, role in ROLES.items() if role == "unk_token" and token in special), None
    )


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[tuple[list[int], dict[str, int]]]:
    """Yield the tokens of each text, taken literally, and four counts of it.

    `tokens`; `characters`, without white space; and how many of them are unknown: `unknown`, `unknown_characters`.
    """
    unknown = unknown_token(tokenizer)
    encodings = _by_words(tokenizer, texts) if _as_gpt2(tokenizer) else _by_library(tokenizer, texts, unknown)
    for text, (ids, lost, characters) in zip(texts, encodings, strict=True):
        count = {"tokens": len(ids), "characters": sum(map(len, text.split()))}
        yield ids, {**count, "unknown": lost, "unknown_characters": characters}


def _by_library(
    tokenizer: Tokenizer, texts: Sequence[str], unknown: int | None
) -> Iterator[tuple[list[int], int, int]]:
    """Yield the tokens of each text, how many are unknown, and how many characters those stand for."""
    with taken_literally(tokenizer):
        # offsets, which only unknown tokens need, take time
        encode = tokenizer.encode_batch_fast if unknown is None else tokenizer.encode_batch
        encodings = encode(list(texts), add_special_tokens=False)
    for encoding in encodings:
        ids = encoding.ids
        lost = unknown is not None and ids.count(unknown)
        spans = (span for token, span in zip(ids, encoding.offsets, strict=True) if token == unknown)
        yield ids, lost, sum(end - start for start, end in spans) if lost else 0


def _as_gpt2(tokenizer: Tokenizer) -> bool:
    """Return whether the tokenizer splits texts into words as GPT-2 does, no other way, and knows all bytes."""
    split, added = tokenizer.pre_tokenizer, tokenizer.get_added_tokens_decoder().values()
    words = isinstance(split, pre_tokenizers.ByteLevel) and split.use_regex and not split.add_prefix_space
    return words and all(token.special for token in added) and unknown_token(tokenizer) is None


def _by_words(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[tuple[list[int], int, int]]:
    """Yield the same as `_by_library`, twice as fast: each distinct word goes through the library once.

    Unicode assigns more characters each year. What is a letter is the library's to say in a text with newer ones.
    """
    normalizer, encoded = tokenizer.normalizer, _word_encoder(tokenizer)
    for text in texts:
        if not text.isascii() and any(unicodedata.category(character) == "Cn" for character in set(text)):
            yield from _by_library(tokenizer, [text], None)
            continue
        ids: list[int] = []
        for word in WORD.findall(normalizer.normalize_str(text) if normalizer else text):
            ids += encoded(word)
        yield ids, 0, 0


@lru_cache(maxsize=1)
def _word_encoder(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    """Return what gives the tokens of a word: the same list each time."""

    @lru_cache(maxsize=WORDS)
    def encoded(word: str) -> list[int]:
        return [token.id for token in tokenizer.model.tokenize(BYTES.pre_tokenize_str(word)[0][0])]

    return encoded


def counted(tokenizer: Tokenizer, texts: Sequence[str]) -> TokenCounts:
    """Return the counts of texts, without ends of text."""
    counts: Counter[str] = Counter()
    for _, found in encode_texts(tokenizer, texts):
        counts.update(found)
    return TokenCounts(documents=len(texts), bytes=sum(len(text.encode()) for text in texts), **counts)


def check_unknown(counts: Mapping[str, TokenCounts], limit: float, at_least: float = 0.0) -> None:
    """Raise InputError if too many tokens, or characters, of a source or a language are unknown.

    counts: by name of the source, or of the language. Names with less than `at_least` of the documents are not checked.
    """
    documents = sum(found.documents for found in counts.values())
    for name, found in counts.items():
        for what, unknown, whole in (
            ("tokens", found.unknown, found.tokens),
            ("characters", found.unknown_characters, found.characters),
        ):
            share = unknown / max(whole, 1)
            if share > limit and found.documents >= at_least * documents:
                raise InputError(
                    f"tokenizer: {share:.1%} of the {what} of {name} are unknown to it: give it a larger "
                    f"vocabulary or kind: byte_bpe, or raise maximum_unknown, which is {limit:g}"
                )


def measure(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, float]:
    """Return six measures of a tokenizer on texts, of which there must be at least one.

    bytes (UTF-8), tokens, bytes_per_token, unknown (share of tokens), unknown_characters (share of characters),
    round_trip (share of texts that decode to themselves, white space and case included).
    """
    counts: Counter[str] = Counter()
    for start in range(0, len(texts), 1000):
        batch = texts[start : start + 1000]
        rows = []
        for ids, found in encode_texts(tokenizer, batch):
            rows.append(ids)
            counts.update(found)
        decoded = tokenizer.decode_batch(rows, skip_special_tokens=False)
        counts["bytes"] += sum(len(text.encode()) for text in batch)
        counts["same"] += sum(text == again for text, again in zip(batch, decoded, strict=True))
    return {
        "bytes": counts["bytes"],
        "tokens": counts["tokens"],
        "bytes_per_token": counts["bytes"] / counts["tokens"],
        "unknown": counts["unknown"] / counts["tokens"],
        "unknown_characters": counts["unknown_characters"] / max(counts["characters"], 1),
        "round_trip": counts["same"] / len(texts),
    }


def _byte_bpe(texts: Iterable[str], vocabulary: int, normalizer: normalizers.Normalizer) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    words, short = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.FixedLength(length=LONGEST_SPAN),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, short])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = words
    return tokenizer


def _wordpiece(texts: Iterable[str], vocabulary: int, normalizer: normalizers.Normalizer) -> Tokenizer:
    special = [END_OF_TEXT, PADDING, "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer = normalizers.Sequence([normalizer, CJK])
    alphabet = [c for c in _alphabet(texts, normalizer)[0] if not c.isspace()]
    # The trainer meets pieces such as ##a in the order of a hash table, numbers them in that order, and decides between
    # equally frequent merges by number (huggingface/tokenizers#1794). As special tokens they are numbered beforehand.
    inner = [f"##{character}" for character in alphabet if not _stands_alone(character)]
    _check_room(vocabulary, len(special) + len(alphabet) + len(inner))
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=[*special, *alphabet, *inner],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner = _bert(models.WordPiece(), normalizer, alphabet)
    learner.train_from_iterator(texts, trainer)
    pieces = json.loads(learner.to_str())["model"]["vocab"]
    tokenizer = _bert(models.WordPiece(pieces, unk_token="[UNK]"), normalizer, alphabet)
    tokenizer.add_special_tokens(special)
    return tokenizer


def _bert(model: models.Model, normalizer: normalizers.Normalizer, alphabet: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizer
    known = "".join(rf"\x{{{ord(character):X}}}" for character in ["\n", *alphabet])
    rare = pre_tokenizers.Split(Regex(f"[^{known}]"), "isolated")
    short = pre_tokenizers.FixedLength(length=LONGEST_WORD)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), rare, short])
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return tokenizer


def _stands_alone(character: str) -> bool:
    """Return whether BERT's pre-tokenizer makes a word of the character alone."""
    punctuated = character in punctuation or unicodedata.category(character).startswith("P")
    return punctuated or CJK.normalize_str(character) != character


def _unigram(texts: Iterable[str], vocabulary: int, normalizer: normalizers.Normalizer) -> Tokenizer:
    special = [END_OF_TEXT, PADDING, "<unk>"]
    alphabet, rare = _alphabet(texts, normalizer)
    _check_room(
        vocabulary, len(special) + len({*alphabet, " "}) + 1
    )  # with no further piece the trainer would exceed it
    blanks = dict.fromkeys(map(ord, rare), " ")
    trainer = trainers.UnigramTrainer(
        vocab_size=vocabulary, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    learner = _sentencepiece(models.Unigram(), normalizer)
    learner.train_from_iterator((normalizer.normalize_str(text).translate(blanks) for text in texts), trainer)
    pieces = json.loads(learner.to_str())["model"]["vocab"]
    scored = [(token, 0.0) for token in special] + _settled(pieces[len(special) :])
    tokenizer = _sentencepiece(models.Unigram(scored, unk_id=2), normalizer)
    tokenizer.add_special_tokens(special)
    return tokenizer


def _settled(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the pieces as if the trainer did not add up in the order of a hash table.

    That order changes the last digits of scores, and the order of equal scores. Single characters that the trainer
    keeps only so that they are known get the lowest score, and 0.0001 more for each one before;
    here all get the lowest.
    The order could also decide which of two equally good pieces stays. No run so far showed that.
    """
    lowest = min(score for _, score in pieces)

    def settled(piece: str, score: float) -> float:
        steps = (score - lowest) / 1e-4
        return round(lowest if len(piece) == 1 and abs(steps - round(steps)) < 1e-5 else score, 6)

    return sorted(((piece, settled(piece, score)) for piece, score in pieces), key=lambda p: (-p[1], p[0]))


def _sentencepiece(model: models.Model, normalizer: normalizers.Normalizer) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizer
    # no piece crosses a "<": the model would else find its own special tokens, spelled in a text
    spaces = pre_tokenizers.Metaspace(prepend_scheme="never")
    short = pre_tokenizers.FixedLength(length=LONGEST_SPAN)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("<", "isolated"), spaces, short])
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    return tokenizer


def _alphabet(texts: Iterable[str], normalizer: normalizers.Normalizer) -> tuple[list[str], list[str]]:
    """Return the characters that make up COVERAGE of the normalised texts, most frequent first, and the others."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    found = sorted(counts, key=lambda character: (-counts[character], character))
    sums = list(accumulate(counts[character] for character in found))
    kept = bisect_left(sums, COVERAGE * sums[-1]) + 1 if sums else 0
    return found[:kept], found[kept:]


def _check_room(vocabulary: int, needed: int) -> None:
    if vocabulary < needed:
        raise InputError(
            f"the tokenizer's vocabulary is {vocabulary}: the characters of the text alone need {needed}: raise it"
        )
