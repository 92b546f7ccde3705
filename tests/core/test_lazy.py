"""Public names are imported on first use, and every listed one exists."""

import importlib
import pkgutil

import pytest

import ecg_siglip
from ecg_siglip.core.lazy import lazy_names

PACKAGES = ["", *(f".{m.name}" for m in pkgutil.iter_modules(ecg_siglip.__path__) if m.ispkg)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_imported(package):
    module = importlib.import_module(f"ecg_siglip{package}")
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_a_name_comes_from_its_module_and_an_empty_one_is_a_sub_package():
    load = lazy_names("ecg_siglip", {"one_line": "core.files", "core": ""})
    assert load("one_line") is importlib.import_module("ecg_siglip.core.files").one_line
    assert load("core") is importlib.import_module("ecg_siglip.core")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'p' has no attribute 'b'"):
        lazy_names("p", {"a": "core"})("b")
