"""Fonts of figures, for names and codes in Chinese, Japanese and Korean."""

from __future__ import annotations

import contextlib
import functools
from contextlib import AbstractContextManager

from matplotlib import font_manager, rc_context

# Of Linux, macOS and Windows; the first that is installed is used.
FONTS = (
    *("Noto Sans CJK JP", "Noto Serif CJK JP", "IPAexGothic", "IPAGothic", "Hiragino Sans"),
    *(
        "Yu Gothic",
        "MS Gothic",
        "PingFang SC",
        "Microsoft YaHei",
        "Malgun Gothic",
        "Arial Unicode MS",
    ),
)


@functools.cache
def font_family() -> list[str]:
    """Return the fonts of a text: the default, then one for the letters that it does not have."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    if not installed.intersection(FONTS):
        installed = _found_again()
    return ["DejaVu Sans", *[name for name in FONTS if name in installed][:1]]


def _found_again() -> set[str]:
    """Return all installed fonts; Matplotlib's stored list lacks those installed after it."""
    manager = font_manager.fontManager
    known = {font.fname for font in manager.ttflist}
    for path in sorted({*font_manager.findSystemFonts()} - known):
        with contextlib.suppress(OSError, RuntimeError):  # a damaged font
            manager.addfont(path)
    return {font.name for font in manager.ttflist}


def with_all_letters() -> AbstractContextManager[None]:
    """Return a context in which texts of figures have these fonts."""
    return rc_context({"font.family": font_family()})
