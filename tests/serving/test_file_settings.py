"""Fields of the page: their names, and errors that name them in place of the settings."""

import pytest

from ecg_siglip.core.translation import LANGUAGE_NAMES, translator
from ecg_siglip.serving.file_settings import SETTINGS, field_names, parse_number, with_field_names


@pytest.mark.parametrize("language", LANGUAGE_NAMES)
def test_every_setting_has_a_field_with_a_name_of_its_own(language):
    names = field_names(translator(language))
    assert tuple(names) == SETTINGS
    assert len({*names.values()}) == len(SETTINGS)
    assert not any("." in name for name in names.values())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("give read.fs=... in Hz", "give “Sampling rate of the file (Hz)” in Hz"),
        ("contradicts read.fs=250", "contradicts “Sampling rate of the file (Hz)” = 250"),
        ("give read.leads=[I,II,...] in", "give “Leads, in the order of the file” in"),
        (
            "contradicts read.leads=[I,II,III]",
            "contradicts “Leads, in the order of the file” = [I,II,III]",
        ),
        (
            "flat; accept with waveform.allow_flat=true",
            "flat; accept with “Accept a lead without any signal”",
        ),
        (
            "read.fs=fast: expected a number",
            "“Sampling rate of the file (Hz)” = fast: expected a number",
        ),
        ("windows.max_hours and read.fsx stay", "windows.max_hours and read.fsx stay"),
    ],
)
def test_an_error_names_the_field(error, expected):
    assert with_field_names(error, translator()) == expected


def test_an_error_names_the_field_in_the_language_of_the_page():
    assert with_field_names("read.fs=1", translator("de")) == "„Abtastrate der Datei (Hz)“ = 1"


def test_a_number_is_read_from_a_text_field():
    assert parse_number("read.fs", " 500 ") == 500.0
    assert parse_number("read.fs", "  ") is None
    with pytest.raises(ValueError, match=r"read\.fs=fast: expected a number"):
        parse_number("read.fs", "fast")
