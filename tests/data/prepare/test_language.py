from __future__ import annotations

import pytest

from jokbo.data.prepare.language import identify

REVIEWS = {
    "en": "A wonderful little film. The acting is first rate and the story never once insults its audience.",
    "ko": "이 영화는 참으로 아름답습니다. 배우들의 연기도 훌륭하고 이야기도 감동적입니다.",
    "es": "una película oscura, precisa, por momentos grandiosa y casi siempre conmovedora de principio a fin.",
    "pt": "o filme não é ruim, mas a direção acaba sendo frustrada pelo roteiro e pela péssima atuação de todos.",
    "fr": "Un film magnifique, avec des acteurs formidables, que je recommande vivement à tout le monde.",
    "de": "Ein wunderschöner Film mit großartigen Schauspielern, den man unbedingt gesehen haben sollte.",
    "ja": "これはとても美しい映画でした。俳優の演技も素晴らしかったです。",
    "ru": "Это замечательный фильм, и актёры играют в нём просто превосходно.",
}


@pytest.mark.parametrize("code", REVIEWS)
def test_a_sentence_is_in_its_language(code):
    assert identify([REVIEWS[code]]) == [code]


@pytest.mark.parametrize(
    "text", ["", " \n", ":) :) :)", "10/10 !!!", "...", "@ 3.5 ― 4"], ids=lambda text: repr(text[:5])
)
def test_without_a_letter_nobody_can_tell(text):
    assert identify([text]) == ["und"]


@pytest.mark.parametrize(
    "text",  # each of which the model alone takes for another language
    [
        "KENT GORDIS New York, Nov. 5, 1989",
        "@anonymous im perfect",
        "The latest extension ends Jan. 29.",
        "a gem of a movie .",
        "So annoyed",
        "A vivid cinematic portrait.",
        "...a delicious crime drama on par with the slickest of Mamet.",
    ],
)
def test_a_short_or_unclear_snippet_stays_english(text):
    assert identify([text]) == ["en"]


def test_where_english_is_not_wanted_a_short_text_is_what_the_model_takes_it_for():
    german = "Ein wunderbarer Film, den man gesehen haben muss!"
    assert identify([german]) == ["en"]
    assert identify([german], unclear=None) == ["de"]


@pytest.mark.parametrize(
    "text", ["네", "안녕! OK", "대통령(大統領) 담화(談話)", "ㅋㅋㅋ lol", "1964년 1월 WTO와"]
)
def test_hangul_is_korean(text):
    assert identify([text]) == ["ko"]


def test_texts_keep_their_order_and_newlines_do_no_harm():
    texts = [text.replace(" ", "\n") for text in REVIEWS.values()]
    assert identify(texts) == list(REVIEWS)
    assert identify([]) == []


def test_the_beginning_of_a_text_decides():
    assert identify([REVIEWS["en"] * 3 + REVIEWS["fr"] * 50]) == ["en"]
