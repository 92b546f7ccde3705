"""Settings carry their help text and range; values outside are rejected by name."""

import dataclasses
from dataclasses import dataclass

import pytest

from ecg_siglip.core.settings import (
    check_settings,
    group,
    same_setting,
    setting,
    setting_fields,
    setting_help,
    setting_names,
)


@dataclass
class Inner:
    rates: list[float] = setting([0.1, 0.2], "Rates, Hz.", 0.0, 1.0)
    kind: str | None = setting(None, "Kind.", choices=("a", "b"))


@dataclass
class Outer:
    n: int = setting(3, "Number.", 1)
    inner: Inner = group(Inner)


@dataclass
class Other:
    own: int = setting(0, "Own.")
    rates: list[float] = same_setting(Inner, "rates")
    n: int = same_setting(Outer, "n")


@dataclass
class Several:
    all: list[Inner] = setting([], "Groups.", items=Inner)


def test_every_item_of_a_list_of_groups_is_checked():
    check_settings(Several([Inner(), Inner([0.5], "a")]))
    with pytest.raises(ValueError, match=r"^all\[1\]\.kind=c: expected one of a, b"):
        check_settings(Several([Inner(), Inner(kind="c")]))
    with pytest.raises(ValueError, match=r"^all\[0\]\.rates=2\.0: expected at most 1\.0"):
        check_settings(Several([Inner(rates=[0.5, 2.0])]))


def test_names_are_dotted_and_in_the_order_of_the_fields():
    assert setting_names(Outer) == ["n", "inner.rates", "inner.kind"]
    assert setting_help(Outer, "inner.rates") == "Rates, Hz."


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"n": 0}, "^n=0: expected at least 1"),
        ({"inner": Inner(rates=[0.5, 1.5])}, r"^inner\.rates=1\.5: expected at most 1\.0"),
        ({"inner": Inner(kind="c")}, r"^inner\.kind=c: expected one of a, b"),
        ({"inner": Inner(rates=[float("nan")])}, r"^inner\.rates=nan"),
    ],
)
def test_a_value_outside_its_range_is_named(change, error):
    with pytest.raises(ValueError, match=error):
        check_settings(dataclasses.replace(Outer(), **change))


def test_null_and_the_ends_of_a_range_are_allowed():
    check_settings(Outer(n=1, inner=Inner([0.0, 1.0], None)))
    check_settings(Outer(n=10**9, inner=Inner([], "b")))


def test_a_list_is_copied_for_each_configuration():
    first, second = Outer(), Outer()
    first.inner.rates.append(0.3)
    assert second.inner.rates == [0.1, 0.2]


def test_the_same_setting_has_default_range_and_help_and_its_own_place():
    assert setting_names(Other) == ["own", "rates", "n"]
    ours, theirs = dict(setting_fields(Other)), dict(setting_fields(Inner))
    assert ours["rates"].metadata == theirs["rates"].metadata
    assert (Other().n, Other().rates) == (3, [0.1, 0.2])
    Other().rates.append(0.3)
    assert Other().rates == Inner().rates == [0.1, 0.2]
    with pytest.raises(ValueError, match="n=0"):
        check_settings(Other(n=0))
