"""Names of a package that are imported on first use."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy_names(package: str, module_of: dict[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that imports its public names on first use.

    Parameters
    ----------
    package : str
        ``__name__`` of the package.
    module_of : dict of str to str
        Module of each public name, relative to the package; ``""`` if the name is a sub-package.

    Notes
    -----
    One name does not load every module of a package: ``import ecg_siglip`` does not load PyTorch.
    """

    def load(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if not module_of[name]:
            return import_module(f"{package}.{name}")
        return getattr(import_module(f"{package}.{module_of[name]}"), name)

    return load
