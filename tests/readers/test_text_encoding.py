"""Texts in the encodings that devices and spreadsheets write."""

import pytest

from ecg_siglip.readers.text_encoding import decode


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *[("Gerät,µV\nAbleitung I", encoding) for encoding in ("utf-8", "utf-8-sig", "cp1252")],
        *[("Gerät,µV\nAbleitung I", encoding) for encoding in ("utf-16", "latin-1")],
        ("Sample Rate,512", "utf-16-le"),
        ("Sample Rate,512", "utf-16-be"),
        ("サンプルレート,512ヘルツ\n誘導,I誘導", "shift_jis"),
        ("采样率,512 赫兹\n导联,I导联\n单位,μV", "gb18030"),
        ("Größe,µV ß é", "cp1252"),
    ],
)
def test_texts_are_decoded(text: str, encoding: str):
    assert decode(text.encode(encoding)) == text


def test_the_beginning_of_a_text_may_end_within_a_character():
    assert decode("Einheit,µ".encode()[:-1]).startswith("Einheit,")
    assert decode("誘導,I誘導".encode()[:-1]).startswith("誘導,I誘")


def test_what_fills_the_end_of_a_file_is_no_text():
    assert decode(b"I,II\n1,2\n" + b"\0" * 600) == "I,II\n1,2\n"
    assert decode(b"I,II\n1,2\n\x1a") == "I,II\n1,2\n"
