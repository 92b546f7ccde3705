"""Parts of HTML pages: numbers, inline figures and templates."""

import base64

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure

from ecg_siglip.reporting.html import format_number, inline_figure, load_template


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (1234, "1,234"),
        (0.12345, "0.123"),
        (0.0, "0.000"),
        (0.0000321, "3e-05"),
    ],
)
def test_numbers_are_short_and_missing_ones_are_a_dash(value, text):
    assert format_number(value) == text


def test_the_number_of_digits_can_be_set():
    assert format_number(0.126, 2) == "0.13"


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_figure_is_an_image_in_the_page(kind, start):
    image = inline_figure(Figure(figsize=(2, 1)), kind, "an empty figure")
    scheme, content = image["source"].split(",")
    assert scheme.startswith(f"data:image/{kind}") and scheme.endswith(";base64")
    assert base64.b64decode(content).startswith(start)
    assert (image["alt"], image["width"]) == ("an empty figure", "2.000in")


def test_values_in_a_template_are_escaped_and_must_be_given(tmp_path):
    (tmp_path / "page.j2").write_text("<p>{{ name }}: {{ score | number }}</p>")
    template = load_template("page.j2", tmp_path)
    assert template.render(name="a < b", score=0.5) == "<p>a &lt; b: 0.500</p>"
    with pytest.raises(UndefinedError, match="score"):
        template.render(name="a")


def test_a_further_folder_is_searched_first(tmp_path):
    (tmp_path / "bars.html.j2").write_text("other bars")
    assert load_template("bars.html.j2", tmp_path).render() == "other bars"
    assert load_template("bars.html.j2").render() != "other bars"
