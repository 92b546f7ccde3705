"""XML of devices: any encoding, whatever the declaration states, and bounded work."""

import pytest

from ecg_siglip.readers import xml_document
from ecg_siglip.readers.isolated import run_isolated
from ecg_siglip.readers.xml_document import (
    decode_xml,
    parse_number,
    parse_samples,
    parse_xml,
    root_name,
)

NAME = "<ECG><name>Müller</name></ECG>"


@pytest.mark.parametrize("declared", ["", "utf-8", "utf-16", "ISO-8859-1", "nonsense", "zlib"])
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"],
)
def test_the_bytes_decide_the_encoding(encoding: str, declared: str):
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    for start in ("", "\n ", "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""):
        root = parse_xml(f"{start}{declaration}\n{NAME}\n".encode(encoding) + b"\0" * 8)
        text = root.findtext("name")
        # Bytes of UTF-8 are also Latin-1: then the declaration decides.
        is_latin = declared.startswith("ISO") and encoding == "utf-8"
        assert text == ("MÃ¼ller" if is_latin else "Müller")


def test_other_encodings():
    declared = '<?xml version="1.0" encoding="windows-1251"?><ECG><name>Иванов</name></ECG>'
    assert parse_xml(declared.encode("cp1251")).findtext("name") == "Иванов"


def test_the_quick_search_finds_every_control_character():
    for number in [*range(0x300), 0xD800, 0xDFFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000]:
        text = f"a{chr(number)}ü"
        assert xml_document._has_controls(text) == bool(xml_document.CONTROLS.search(text))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_definitions_are_found_in_every_encoding(encoding: str):
    for definition in ("<!ENTITY a 'b'>", "<!ATTLIST b x CDATA 'long'>"):
        document = f"<!DOCTYPE a [{definition}]><a>ü</a>"
        assert xml_document.has_definitions(document.encode(encoding))
    assert not xml_document.has_definitions(b'<!DOCTYPE a SYSTEM "a.dtd"><a><!-- b --></a>')


def test_control_characters_and_padding_do_no_harm():
    root = parse_xml(b"<ECG><name>A\x0bB\x00</name></ECG>\x00\x00\x1a")
    assert root.findtext("name") == "A\ufffdB\ufffd"
    with pytest.raises(ValueError, match="samples of lead I"):
        parse_samples(decode_xml(b"1 2\x0b3 4"), "I")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (
            b"<?xml version='1.0'?><!-- <html> --><!DOCTYPE a [<!ELEMENT b ANY>]>\n<ns:ECG a='1'>",
            "ecg",
        ),
        ("<?xml version='1.0'?><RestingECG>".encode("utf-16"), "restingecg"),
        (b"<?xml <a", ""),
        (b"<??>" * 1000, ""),
        (b"", ""),
    ],
)
def test_the_root_is_found_in_the_beginning_of_a_file(head: bytes, name: str):
    assert root_name(head) == name


@pytest.mark.parametrize(
    "content",
    [
        b"<a>" * 5_000_000,
        b"<a/>" * 10_000_000 + bytes(1 << 25),
        b"<a " + b"x=" * (1 << 22) + b"=",
        b'<!DOCTYPE a [<!ATTLIST b x CDATA "%s">]><a>%s</a>' % (b"l" * (1 << 20), b"<b/>" * 10**6),
    ],
)
def test_work_is_bounded(content: bytes):
    with pytest.raises(ValueError, match=r"damaged|too large|took too long|not known"):
        run_isolated(b"xml", content)


def test_deep_nesting_is_an_error():
    deep = 200_000
    with pytest.raises((ValueError, RecursionError)):
        parse_samples(parse_xml(b"<a>" * deep + b"</a>" * deep).text, "I")


@pytest.mark.parametrize(
    ("text", "number"), [("4.88", 4.88), (" 4,88 ", 4.88), ("-1e-3", -1e-3), ("5", 5.0)]
)
def test_numbers(text: str, number: float):
    assert parse_number(text, "x") == number


@pytest.mark.parametrize("text", [None, "", "1,000", "nan", "inf", "1e999", "x" * 1000, "1 2"])
def test_what_is_no_number_is_refused(text: str | None):
    with pytest.raises(ValueError, match="expected a number as Field") as error:
        parse_number(text, "Field")
    assert len(str(error.value)) < 100


@pytest.mark.parametrize(
    "text", ["1 -2 3", "1,-2,3", "1, -2,\n3,", "1;-2; 3;\n", " 1\t-2\r\n3 ", "1,\n-2 ,3"]
)
def test_samples_with_any_delimiter(text: str):
    assert parse_samples(text, "I").tolist() == [1, -2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,5 2,5 3,5", "decimal commas"),
        ("1,5;2,5", "decimal commas"),
        ("", "finite numbers"),
        (None, "finite numbers"),
        ("1 inf", "finite numbers"),
        ("1 nan", "finite numbers"),
        ("9" * 400, "finite numbers"),
        ("1,,2", "between two commas"),
        (", 1", "between two commas"),
        ("1 " + "x" * 1000, "could not convert"),
    ],
)
def test_other_samples_are_refused(text: str | None, message: str):
    with pytest.raises(ValueError, match=message) as error:
        parse_samples(text, "I")
    assert len(str(error.value)) < 200


def test_an_entity_is_refused_by_its_name():
    content = b'<!DOCTYPE ECG [<!ENTITY word "x">]><ECG><name>&word;</name></ECG>'
    with pytest.raises(ValueError, match="defines the entity 'word'; expected no entities"):
        parse_xml(content)
