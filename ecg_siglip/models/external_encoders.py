"""ECG encoders of other packages: imported only if the user names the class in this session.

A model that was trained with such an encoder stores the name of the class, never its code. Loading
the model does not import it, since whoever wrote the model would choose what is executed.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from torch import nn

from ecg_siglip.core.files import one_line, shown

VARIABLE = "ECG_SIGLIP_ENCODERS"
_REGISTERED: dict[str, type[nn.Module]] = {}


def register_ecg_encoder(name: str, encoder: type[nn.Module] | None = None) -> None:
    """Allow models with an ECG encoder of another package to be trained and loaded.

    Parameters
    ----------
    name : str
        Dotted name of the class, as ``ecg.name`` has it and models store it.
    encoder : class, optional
        The class itself; null: it is imported by its name.

    Raises
    ------
    ValueError
        If it cannot be imported, or is no ``torch.nn.Module``.

    Notes
    -----
    The contract of an encoder is in ``encoder_checks.check_encoder``.
    """
    if encoder is None:
        encoder = _imported(name)
    if not (isinstance(encoder, type) and issubclass(encoder, nn.Module)):
        raise ValueError(f"ecg.name={shown(name)}: expected a class that is a torch.nn.Module")
    _REGISTERED[name] = encoder


def external_encoder(name: str, options: dict[str, Any]) -> nn.Module:
    """Return a new ECG encoder of another package.

    Parameters
    ----------
    name : str
        Dotted name of its class.
    options : dict
        Keyword arguments of the class.

    Raises
    ------
    ValueError
        If the user has not named the class, or it cannot be imported or built, or has no
        ``n_features``.
    """
    listed = [each.strip() for each in os.environ.get(VARIABLE, "").split(",")]
    if name not in _REGISTERED and name in listed:
        register_ecg_encoder(name)
    if name not in _REGISTERED:
        raise ValueError(
            f"ecg.name={shown(name)}: a class outside this package, which is not imported because "
            f"a model names it; to allow it, set the variable {VARIABLE}={shown(name)}, or in "
            "Python register_ecg_encoder(name, class)"
        )
    try:
        encoder = _REGISTERED[name](**options)
    except Exception as error:  # of any kind: the code is the user's
        raise ValueError(
            f"ecg.name={shown(name)}: cannot be built with ecg.options={options}: {one_line(error)}"
        ) from error
    n_features = getattr(encoder, "n_features", None)
    if type(n_features) is not int or n_features < 1:
        raise ValueError(
            f"ecg.name={shown(name)}: expected n_features, the number of features that it returns "
            f"per record, got {n_features!r}"
        )
    return encoder


def _imported(name: str) -> Any:
    """Import a class by its dotted name."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # of any kind: the code is the user's
        raise ValueError(
            f"ecg.name={shown(name)}: cannot be imported ({one_line(error)}); expected package and "
            "class of an installed package, or of a folder in PYTHONPATH"
        ) from error
