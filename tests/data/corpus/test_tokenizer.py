from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, GPT2Config

from jokbo.data.corpus.tokenizer import (
    END_OF_TEXT,
    PADDING,
    check_unknown,
    counted,
    encode_texts,
    measure,
    save_tokenizer,
    taken_literally,
)
from jokbo.runtime.errors import InputError
from tests.support.corpora import trained

TEXTS = [f"The film number {i} is a film that I liked, isn't it?\n\nSo did they." for i in range(50)]
KOREAN = [
    "단군성조가 천혜의 이 강토 위에 국기를 닦으신지 반만년, 연면히 이어온 역사와 전통 위에",
    "이제 새 공화국을 바로 세우면서, 나는 국헌을 준수하고 나의 신명을 조국과 민족 앞에 바칠 것을 맹세하면서",
    "겨레가 쌓은 이 성단에 서게 되었습니다. 나의 사랑하는 삼천만 동포들이여!",
]
KINDS = ("byte_bpe", "wordpiece", "unigram")


@pytest.fixture(scope="module")
def plain():
    return trained(TEXTS, 300)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return trained(TEXTS + KOREAN, 500, request.param, normalisation="nfc")


@pytest.fixture
def opened(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    return AutoTokenizer.from_pretrained(tmp_path)


def test_readers_whose_default_is_to_tidy_are_told_not_to(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    assert (
        json.loads((tmp_path / "tokenizer_config.json").read_text())["clean_up_tokenization_spaces"] is False
    )


def test_vocabulary_is_of_the_size_asked_for_or_of_what_there_is(plain):
    assert plain.get_vocab_size() == 300
    assert trained(["ab ab"], 300).get_vocab_size() == 258 + len(["ab", "Ġab"])
    assert trained(TEXTS, 120, "wordpiece").get_vocab_size() == 120
    assert 40 < trained(TEXTS, 120, "unigram").get_vocab_size() <= 120


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_vocabulary_without_room_for_the_characters(kind):
    with pytest.raises(
        InputError, match=r"vocabulary is 30: the characters of the text alone need \d+: raise it"
    ) as caught:
        trained(KOREAN, 30, kind)
    enough = int(str(caught.value).removesuffix(": raise it").split()[-1])
    assert trained(KOREAN, enough, kind).get_vocab_size() == enough


@given(text=st.one_of(st.text(), st.text(st.sampled_from("가각힣ᄀ\u1161🎬👩\u200d🚀é ,'\n\t"))))
def test_any_text_comes_back_from_bytes(plain, text):
    with taken_literally(plain):
        assert plain.decode(plain.encode(text).ids) == text


def test_auto_tokenizer_does_the_same(tokenizer, opened):
    for text in [*TEXTS[:3], *KOREAN, " a  b \n", "漢字 never seen"]:
        ids = opened(text)["input_ids"]
        assert ids == tokenizer.encode(text).ids
        assert opened.decode(ids) == tokenizer.decode(ids, skip_special_tokens=False)


@given(st.text() | st.text(st.sampled_from("ab 'sté\n\t  0\u0661½^.\u0301\u200d\U0001fae9\U0001c8ff가각")))
def test_texts_are_encoded_as_the_library_does(tokenizer, text):
    with taken_literally(tokenizer):
        expected = tokenizer.encode(text, add_special_tokens=False).ids
    assert [ids for ids, _ in encode_texts(tokenizer, [text, text])] == [expected, expected]


def test_merges_shorten_text(plain):
    assert len(plain.encode(TEXTS[0]).ids) < len(TEXTS[0]) / 2


def test_special_tokens(tokenizer, opened):
    assert (opened.bos_token_id, opened.eos_token_id, opened.pad_token_id) == (0, 0, 1)
    assert opened.convert_ids_to_tokens([0, 1]) == [END_OF_TEXT, PADDING]
    assert opened(END_OF_TEXT)["input_ids"] == [0]
    assert opened.model_max_length > 10**9
    model = json.loads(tokenizer.to_str())["model"]["type"]
    expected = {
        "BPE": [None, None, None, None],
        "WordPiece": ["[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        "Unigram": ["<unk>", None, None, None],
    }[model]
    roles = [opened.unk_token, opened.cls_token, opened.sep_token, opened.mask_token]
    assert roles == expected
    marks = [token for token in expected if token]
    assert opened.convert_tokens_to_ids(marks) == list(range(2, 2 + len(marks)))


def test_no_text_can_spell_a_special_token(tokenizer):
    special = list(tokenizer.get_added_tokens_decoder())
    with taken_literally(tokenizer):
        for mark in (END_OF_TEXT, PADDING, f"good{END_OF_TEXT}evil", f"{END_OF_TEXT * 2} [CLS][MASK]"):
            assert not {0, 1, *special[3:]}.intersection(tokenizer.encode(mark).ids)
    assert tokenizer.encode(END_OF_TEXT).ids == [0], "the tokenizer itself is left as it was"


def test_special_tokens_that_the_text_taught():
    """Every character of the marks is known, and the text full of them."""
    for kind in KINDS:
        tokenizer = trained([f"{END_OF_TEXT} is {END_OF_TEXT}, <unk> [CLS] {PADDING}"] * 20, 300, kind)
        with taken_literally(tokenizer):
            assert not {0, 1}.intersection(tokenizer.encode(f"a{END_OF_TEXT}{PADDING}").ids)


@pytest.mark.parametrize("text", ["it 's here , is n't it ?", " leading", "trailing ", "a  b", "a\n\nb"])
@pytest.mark.parametrize("kind", ["byte_bpe", "unigram"])
def test_nothing_is_added_or_tidied(kind, text):
    tokenizer = trained([*TEXTS, text * 9], 300, kind)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


THAI = ["ภาษาไทยเป็นภาษาที่เขียนติดกันโดยไม่เว้นวรรคระหว่างคำ" * 4, "หนังเรื่องนี้สนุกมากและนักแสดงก็เล่นได้ดีทุกคน" * 5] * 20
CHINESE = ["这部电影非常好看。演员的表演也很出色。" * 9, "我不喜欢这部影片的结局。太无聊了。" * 9] * 20


@pytest.mark.parametrize("texts", [THAI, CHINESE, [*THAI, "漢" + THAI[0]], ["a" * 10**6]])
@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_scripts_without_spaces_are_known(kind, texts):
    found = measure(trained(texts, 400, kind), texts)
    assert found["unknown_characters"] < 0.001
    assert found["tokens"] > 100


def test_a_chinese_character_is_a_word_as_for_bert():
    tokenizer = trained([*CHINESE, *["film"] * 40], 400, "wordpiece")
    assert tokenizer.encode("这部film电影").tokens == ["这", "部", "film", "电", "影"]


def test_a_rare_character_takes_no_word_with_it():
    tokenizer = trained([*TEXTS * 9, "§"], 300, "wordpiece")
    tokens = tokenizer.encode("a film§film").tokens
    assert tokens == ["a", "film", "[UNK]", "film"]


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_what_is_unknown_is_counted_and_refused_above_a_share(kind):
    tokenizer = trained(TEXTS, 120, kind)
    text = f"a film {'漢字' * 10} film"
    one = counted(tokenizer, [text])
    assert (one.documents, one.unknown_characters, one.characters) == (1, 20, 29)
    few, many = counted(tokenizer, [*TEXTS * 20, text]), counted(tokenizer, [*TEXTS, *[text] * 9])
    check_unknown({"mine": few}, 0.01)
    check_unknown({"mine": many}, 0.9)
    with pytest.raises(InputError, match=r"of mine are unknown to it.*maximum_unknown"):
        check_unknown({"mine": many}, 0.01)
    rare = {"en": replace(few, documents=1000), "zh": one}
    check_unknown(rare, 0.01, at_least=0.01)
    with pytest.raises(InputError, match=r"of zh are unknown to it"):
        check_unknown(rare, 0.01)


def test_words_are_continued_with_marks():
    tokenizer = trained(["unlikely", "un", "like"] * 9, 45, "wordpiece")
    assert tokenizer.encode("unlikely, 漢").tokens == ["unlikely", "[UNK]", "[UNK]"]
    assert tokenizer.encode("ununlike").tokens[0] == "un"
    assert all(token.startswith("##") for token in tokenizer.encode("ununlike").tokens[1:])


@pytest.mark.parametrize("normalisation", ["nfc", "nfkc"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_decomposed_hangul_comes_together(tokenizer, normalisation, lowercase):
    kind = {"BPE": "byte_bpe", "WordPiece": "wordpiece", "Unigram": "unigram"}
    kind = kind[json.loads(tokenizer.to_str())["model"]["type"]]
    made = trained(KOREAN, 600, kind, normalisation=normalisation, lowercase=lowercase)
    for text in KOREAN:
        apart = unicodedata.normalize("NFD", text)
        assert len(apart) > 1.5 * len(text)
        assert made.encode(apart).ids == made.encode(text).ids
        assert made.decode(made.encode(apart).ids).replace(" ", "") == text.replace(" ", "")
    assert not any("\u1100" <= character < "\u1200" for token in made.get_vocab() for character in token)


def test_normalisation_and_case():
    text = "\uff26ilm ① é"
    assert trained(TEXTS, 300).encode(text).ids != trained(TEXTS, 300).encode("Film 1 é").ids
    compatible = trained(TEXTS, 300, normalisation="nfkc", lowercase=True)
    assert compatible.decode(compatible.encode(text).ids) == "film 1 é"


def test_measures():
    plain = trained(TEXTS, 300)
    assert measure(plain, TEXTS)["round_trip"] == 1
    lower = trained(TEXTS, 300, "unigram", lowercase=True)
    found = measure(lower, ["number 1", "Number 1", f"漢{END_OF_TEXT}"])
    tokens = sum(len(lower.encode(text).ids) for text in ("number 1", "Number 1"))
    with taken_literally(lower):
        last = lower.encode(f"漢{END_OF_TEXT}").ids
    assert found["tokens"] == tokens + len(last)
    assert found["bytes"] == 8 + 8 + 3 + len(END_OF_TEXT)
    assert found["bytes_per_token"] == found["bytes"] / found["tokens"]
    assert found["unknown"] == last.count(2) / found["tokens"] > 0
    assert found["round_trip"] == pytest.approx(1 / 3)


def test_same_class_beside_a_model(tokenizer, opened, tmp_path):
    """A model's config.json must not make AutoTokenizer build GPT-2's own tokenizer of these files."""
    GPT2Config(vocab_size=300, bos_token_id=0, eos_token_id=0).save_pretrained(tmp_path)
    beside = AutoTokenizer.from_pretrained(tmp_path)
    assert type(beside) is type(opened)
    assert beside(" a film , 영화")["input_ids"] == opened(" a film , 영화")["input_ids"]


def test_training_again_gives_the_same_bytes_whatever_the_threads(tmp_path):
    program = (
        "from tests.data.corpus.test_tokenizer import KINDS, KOREAN, TEXTS; from tests.support.corpora import trained;"
        "texts = [text[i:] for text in TEXTS[:20] + KOREAN for i in range(0, 30, 3)];"
        "print(*(trained(texts, 500, kind).to_str() for kind in KINDS))"
    )
    environments = ({"TOKENIZERS_PARALLELISM": "false"}, {"RAYON_NUM_THREADS": "3"})
    processes = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE)
        for environment in environments
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert first == second
    assert first.count(b"added_tokens") == len(KINDS)
