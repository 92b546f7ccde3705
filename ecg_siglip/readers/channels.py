"""What a file states about its channels, and optional libraries: shared by the readers."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ecg_siglip.readers.identity import DeviceResults, Identity


class Channel(NamedTuple):
    """One channel of a file, as the file states it: a lead of the ECG or any other signal.

    Attributes
    ----------
    name : str
        As spelled in the file; "" where the file does not name it.
    samples : ndarray of shape (n_samples,), float64
        In the unit of the file; NaN where the file marks a sample as invalid.
    unit : str
        As spelled in the file; "" where the file states none.
    fs : float, Hz, or None
        None where the file states no sampling rate.
    start_s : float, s
        Time of the first sample after the beginning of the recording.
    """

    name: str
    samples: np.ndarray
    unit: str = ""
    fs: float | None = None
    start_s: float = 0.0


class Stated(NamedTuple):
    """What a file states; the caller supplies what it does not state.

    Attributes
    ----------
    channels : list of Channel
        All channels, in the order of the file. ``selection.select_leads`` chooses the leads of the
        ECG and checks them; a reader checks only what belongs to its format.
    comments : sequence of str
        Lines of a header that begin with ``#``, without it; statements of the device.
    warnings : sequence of str
        What the user should know about the recording, one sentence each.
    scale : str
        A gain or an offset of the samples, as ``a gain of 200``, that is not applied to them. Next
        to a unit of voltage it is not clear what they are (``selection.settled_units``).
    identity : Identity
    device : DeviceResults
    """

    channels: list[Channel]
    comments: Sequence[str] = ()
    warnings: Sequence[str] = ()
    scale: str = ""
    identity: Identity = Identity()
    device: DeviceResults = DeviceResults()


def make_channels(
    signal: np.ndarray,
    fs: float | None,
    units: str | Sequence[str],
    names: Iterable[str] | None = None,
) -> list[Channel]:
    """Return the channels of a signal whose channels have one sampling rate.

    Parameters
    ----------
    signal : ndarray of shape (n_channels, n_samples), float64
    fs : float, Hz, or None
    units : str, or sequence of str of length n_channels
        One unit for all, or one for each.
    names : iterable of str of length n_channels, optional
        None where the file does not name its channels.
    """
    names = [""] * len(signal) if names is None else names
    units = [units] * len(signal) if isinstance(units, str) else units
    return [
        Channel(name, samples, unit, fs)
        for name, samples, unit in zip(names, signal, units, strict=True)
    ]


def join_groups(groups: Sequence[list[Channel]]) -> list[Channel]:
    """Return the channels of the group that has all leads, or of all groups if none has.

    Parameters
    ----------
    groups : sequence of list of Channel
        Channels that were recorded together. Several groups are the parts of one recording, or one
        is the rhythm and the others are strips or beats of it.

    Returns
    -------
    list of Channel
        Of the longest group with every name that occurs; otherwise of all groups, in their order.
        ``selection.select_leads`` refuses them if they differ in length or time.
    """
    names = {channel.name for group in groups for channel in group}
    complete = [group for group in groups if {channel.name for channel in group} == names]
    if complete:
        return max(complete, key=lambda group: len(group[0].samples))
    return [channel for group in groups for channel in group]


def import_reader(name: str) -> Any:
    """Import the optional library that reads a format.

    Raises
    ------
    ValueError
        If it is not installed; the message names the package.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(
            f"reading it needs the package {package}: pip install 'ecg_siglip[formats]'"
        ) from error
