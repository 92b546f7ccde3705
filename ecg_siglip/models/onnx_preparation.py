"""The preparation of a signal as an ONNX graph: what ``prepare_signal`` does, in any runtime.

Shape letters: B records, L leads (12), N samples as recorded, S samples of the model's input,
M samples at the model's rate, T taps of the low-pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ecg_siglip.signals.gaps import PADDING_S
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.preprocessing import INT16_LIMIT, ROUNDING_S, UV_PER_MV
from ecg_siglip.signals.resampling import LOW_PASS_CORNER, LOW_PASS_PERIODS
from ecg_siglip.signals.signal_checks import FLAT_MV, PLAUSIBLE_MV

# Sampling rates that the graph accepts, Hz: its memory grows with either ratio to the model's rate.
FS_RANGE = (50.0, 10_000.0)
LIMIT_MV = INT16_LIMIT / UV_PER_MV
# Meaning of the output `error`; 0: none. Of several, the first is given.
ERRORS = {
    1: f"fs is not from {FS_RANGE[0]:g} to {FS_RANGE[1]:g} Hz",
    2: "the signal is too short, or fs is not its sampling rate",
    3: "a sample is NaN or infinite",
    4: f"a typical lead has no amplitude of {PLAUSIBLE_MV[0]:g} to {PLAUSIBLE_MV[1]:g} mV: "
    "the signal is not in mV",
    5: f"a lead is flat: its range is below {FLAT_MV:g} mV",
    6: f"a sample is more than {LIMIT_MV:g} mV from the baseline",
}
# Values of the low-pass between its middle and its end; the graph interpolates between them.
N_KERNEL = 1 << 14
# What is cut off at the end of an impulse response, as a share of a constant signal.
TAIL = 1e-8


def kernel(n_periods: int, corner: float) -> np.ndarray:
    """Return one half of the low-pass of ``resample``, from its middle to its end and two zeros.

    Parameters
    ----------
    n_periods : int
        Half its length, in periods of the lower rate.
    corner : float
        Where it halves the amplitude, of half the lower rate.

    Returns
    -------
    ndarray of shape (N_KERNEL + 3,), float32
        A sinc in a Kaiser window of 5, as ``scipy.signal.firwin`` makes it, not normalised.
    """
    u = np.arange(N_KERNEL + 1) / N_KERNEL
    half = np.sinc(corner * n_periods * u) * np.i0(5 * np.sqrt(1 - u**2)) / np.i0(5)
    return np.pad(half, (0, 2)).astype(np.float32)


def impulse_response(spec: Mapping[str, Any]) -> tuple[np.ndarray, float, int] | None:
    """Return the filter of ``bandpass`` as the graph needs it.

    Returns
    -------
    ndarray of shape (n,), float32
        Impulse response of one pass; what is cut off is below ``TAIL``.
    float
        Its output for a constant input of 1: 0 with a high-pass, else 1.
    int
        Number of samples by which both ends are mirrored.
    None
        If the model has no filter.
    """
    low_hz, high_hz, fs = spec["low_hz"], spec["high_hz"], spec["to_fs"]
    corners = [corner for corner in (low_hz, high_hz) if corner is not None]
    if not corners:
        return None
    from scipy.signal import butter, sosfilt

    kind = "bandpass" if len(corners) == 2 else "lowpass" if low_hz is None else "highpass"
    sections = butter(2, corners if len(corners) == 2 else corners[0], kind, fs=fs, output="sos")
    # The slowest part decays by a factor of e within sqrt(2) / (2 pi corner) s.
    pulse = np.zeros(round(8 * fs / corners[0]) + 8)
    pulse[0] = 1.0
    response = sosfilt(sections, pulse)
    rest = np.cumsum(np.abs(response)[::-1])[::-1]
    n_pad = round(fs / corners[0]) + 3 * (2 * len(sections) + 1)
    return (
        response[: int((rest > TAIL).sum())].astype(np.float32),
        0.0 if low_hz is not None else 1.0,
        n_pad,
    )


def preparation_graph(spec: Mapping[str, Any]) -> Any:
    """Return the preparation of a model as an ONNX model.

    Parameters
    ----------
    spec : mapping
        ``Artifact.waveform``, keyword arguments of ``preprocessing.prepare_signal``.

    Returns
    -------
    onnx.ModelProto
        Inputs: ``signal`` (B, 12, N) float32, mV, leads in the order of ``LEADS``; ``fs`` (1,)
        float32, Hz. Outputs: ``prepared`` (B, 12, S) float32, mV; ``error`` (B,) int64, a key of
        ``ERRORS``, or 0.

    Notes
    -----
    The same steps as ``prepare_signal``, in float32. What that function repairs in a few samples is
    refused: gaps (``allow_gaps``) and samples out of the range of 16 bits.
    """
    from onnx import inliner
    from onnxscript import FLOAT, INT64, script
    from onnxscript import opset20 as op

    is_new = spec.get("version", 1) >= 2
    check = _check(is_new and spec["low_hz"] is not None, bool(spec["allow_flat"]))
    resample = _resample(float(spec["to_fs"]), is_new)
    bandpass = _bandpass(spec)
    n_samples = round(spec["to_fs"] * spec["duration_s"])
    fit_length = _fit_length(n_samples, float(spec["to_fs"]), bool(spec["allow_short"]))
    lowest, highest = FS_RANGE
    to_fs, n_leads = float(spec["to_fs"]), len(LEADS)
    real: Any = FLOAT
    whole: Any = INT64

    @script(default_opset=op)
    def prepare(signal, fs):
        is_rate = op.And(fs >= lowest, fs <= highest)
        rate = op.Where(is_rate, fs, op.CastLike(to_fs, fs))
        checked, code = check(signal, rate)
        fitted, is_short = fit_length(bandpass(resample(checked, rate)))
        is_large = op.ReduceMax(op.Abs(fitted), [1, 2], keepdims=0) > LIMIT_MV
        code = op.Where(op.And(code == 0, is_large), op.CastLike(6, code), code)
        code = op.Where(is_short, op.CastLike(2, code), code)
        error = op.Where(is_rate, code, op.CastLike(1, code))
        microvolts = op.Round(op.Clip(fitted * 1000.0, -32767.0, 32767.0))
        prepared = microvolts / 1000.0
        return prepared, error

    model = prepare.to_model_proto(
        input_types=[real["batch", n_leads, "n"], real[1]],
        output_types=[real["batch", n_leads, n_samples], whole["batch"]],
    )
    return inliner.inline_local_functions(model)


def _check(is_leveled: bool, allow_flat: bool) -> Any:
    """Return the function that finds errors and levels padded ends: signal, fs -> signal, error.

    See ``check_signal``, ``level_padding`` and ``amplitude_mv``.
    """
    from onnxscript import opset20 as op
    from onnxscript import script

    lowest, highest = PLAUSIBLE_MV
    levels, refuses_flat = int(is_leveled), int(not allow_flat)
    infinity = float("inf")

    @script(default_opset=op)
    def check(signal_BLN, fs):
        is_finite = op.Not(op.Or(op.IsNaN(signal_BLN), op.IsInf(signal_BLN)))
        finite_BLN = op.Where(is_finite, signal_BLN, op.CastLike(0.0, signal_BLN))
        # At least 8 samples, so that no part is empty; so short a signal is refused later.
        n_given = op.Shape(finite_BLN, start=2, end=3)
        n_added = op.Max(8 - n_given, op.CastLike([0], n_given))
        x_BLN = op.Pad(
            finite_BLN, op.Concat(op.CastLike([0, 0, 0, 0, 0], n_added), n_added, axis=0)
        )
        n = op.Shape(x_BLN, start=2, end=3)
        # The samples between the padded ends, as `recorded_span`.
        steps_BN = op.ReduceMax(op.Abs(x_BLN[:, :, 1:] - x_BLN[:, :, :-1]), [1], keepdims=0)
        changes_BN = op.Cast(steps_BN > 0.0, to=6)  # int32
        shortest = op.Cast(op.Floor(fs * PADDING_S), to=7)  # int64
        first_B1 = op.ArgMax(changes_BN, axis=1) + 1
        first_B1 = op.Where(first_B1 > shortest, first_B1, op.CastLike(0, first_B1))
        stop_B1 = op.ArgMax(changes_BN, axis=1, select_last_index=1) + 1
        stop_B1 = op.Where(n - stop_B1 > shortest, stop_B1, n)
        is_part_B1 = op.And(op.ReduceMax(changes_BN, [1]) > 0, first_B1 < stop_B1)
        is_part_B1 = op.And(is_part_B1, op.Cast(levels, to=9))  # bool
        first_B1 = op.Where(is_part_B1, first_B1, op.CastLike(0, first_B1))
        stop_B1 = op.Where(is_part_B1, stop_B1, n)
        samples_N = op.Range(op.CastLike(0, n), op.Squeeze(n), op.CastLike(1, n))
        is_recorded_BN = op.And(samples_N >= first_B1, samples_N < stop_B1)
        is_recorded_B1N = op.Unsqueeze(is_recorded_BN, [1])
        # The median of each lead.
        recorded_BLN = op.Where(is_recorded_B1N, x_BLN, op.CastLike(infinity, x_BLN))
        sorted_BLN, _ = op.TopK(recorded_BLN, n, axis=2, largest=0)
        n_B11 = op.Unsqueeze(stop_B1 - first_B1, [1])
        shape_BL1 = op.Concat(op.Shape(x_BLN, start=0, end=2), [1], axis=0)
        lower_BL1 = op.GatherElements(sorted_BLN, op.Expand((n_B11 - 1) / 2, shape_BL1), axis=2)
        upper_BL1 = op.GatherElements(sorted_BLN, op.Expand(n_B11 / 2, shape_BL1), axis=2)
        median_BL1 = (lower_BL1 + upper_BL1) * 0.5
        leveled_BLN = op.Where(is_recorded_B1N, x_BLN, median_BL1)
        # The amplitude of each lead: the 99th percentile of the distance from the median.
        distance_BLN = op.Abs(leveled_BLN - median_BL1)
        position = op.Cast(n - 1, to=11) * 0.99  # float64
        below = op.Floor(position)
        largest_BLN, _ = op.TopK(distance_BLN, n - op.Cast(below, to=7), axis=2)
        share = op.CastLike(position - below, distance_BLN)
        last_BL1 = largest_BLN[:, :, -1:]
        amplitude_BL1 = last_BL1 + share * (largest_BLN[:, :, -2:-1] - last_BL1)
        range_BL1 = op.ReduceMax(leveled_BLN, [2]) - op.ReduceMin(leveled_BLN, [2])
        # Its median over the leads that are not constant.
        is_constant_BL1 = range_BL1 == 0.0
        shown_BL1 = op.Where(is_constant_BL1, op.CastLike(infinity, amplitude_BL1), amplitude_BL1)
        sorted_BL1, _ = op.TopK(shown_BL1, [12], axis=1, largest=0)
        n_shown_B11 = op.ReduceSum(op.Cast(op.Not(is_constant_BL1), to=7), [1])
        middle_B11 = op.Max(n_shown_B11 - 1, op.CastLike(0, n_shown_B11)) / 2
        low_B11 = op.GatherElements(sorted_BL1, middle_B11, axis=1)
        high_B11 = op.GatherElements(
            sorted_BL1, op.Min(n_shown_B11 / 2, op.CastLike(11, n)), axis=1
        )
        typical_B = op.Squeeze((low_B11 + high_B11) * 0.5, [1, 2])
        is_typical = op.And(typical_B >= lowest, typical_B <= highest)
        all_constant = op.Squeeze(n_shown_B11 == 0, [1, 2])
        is_flat_BL = op.Squeeze(range_BL1 < FLAT_MV, [2])
        n_flat_B = op.ReduceSum(op.Cast(is_flat_BL, to=7), [1], keepdims=0)
        is_flat = op.Or(n_flat_B == 12, op.And(n_flat_B > 0, op.Cast(refuses_flat, to=9)))
        is_far = (
            op.ReduceMax(
                op.Where(op.Cast(levels, to=9), distance_BLN, op.Abs(x_BLN)), [1, 2], keepdims=0
            )
            > LIMIT_MV
        )
        has_gap = op.ReduceMin(op.Cast(is_finite, to=6), [1, 2], keepdims=0) == 0
        code = op.Where(is_far, op.CastLike(6, n), op.CastLike(0, n))
        code = op.Where(is_flat, op.CastLike(5, n), code)
        code = op.Where(op.Or(is_typical, all_constant), code, op.CastLike(4, n))
        code = op.Where(has_gap, op.CastLike(3, n), code)
        return leveled_BLN, code

    return check


def _resample(to_fs: float, is_steep: bool) -> Any:
    """Return the function ``resample``: signal, fs -> signal at the model's rate."""
    from onnx import numpy_helper
    from onnxscript import opset20 as op
    from onnxscript import script

    steep = numpy_helper.from_array(kernel(LOW_PASS_PERIODS, LOW_PASS_CORNER), "steep")
    plain = numpy_helper.from_array(kernel(10, 1.0), "plain")
    # Rates that differ by less are the same fraction, see `resample`.
    lowest_steep = to_fs * (1 + 2.5e-5) if is_steep else float("inf")
    n_periods, last = float(LOW_PASS_PERIODS), float(N_KERNEL)

    @script(default_opset=op)
    def resample(x_BLN, fs):
        rate = op.Cast(fs, to=11)  # float64
        own = op.CastLike(to_fs, rate)
        is_lower = fs > lowest_steep
        half_N = op.Where(is_lower, op.Constant(value=steep), op.Constant(value=plain))
        periods = op.Where(is_lower, op.CastLike(n_periods, rate), op.CastLike(10.0, rate))
        n_half = periods * op.Max(rate / own, op.CastLike(1.0, rate))
        # The samples that each sample of the result depends on.
        n = op.Shape(x_BLN, start=2, end=3)
        n_out = op.Cast(op.Ceil(op.Cast(n, to=11) * own / rate - 1e-6), to=7)
        out_M = op.Range(op.CastLike(0, n), op.Squeeze(n_out), op.CastLike(1, n))
        position_M1 = op.Unsqueeze(op.Cast(out_M, to=11) * (rate / own), [1])
        n_taps = op.Cast(op.Floor(n_half * 2.0 + 1e-6), to=7) + 1
        tap_T = op.Range(op.CastLike(0, n), op.Squeeze(n_taps), op.CastLike(1, n))
        first_M1 = op.Cast(op.Ceil(position_M1 - n_half - 1e-6), to=7)
        sample_MT = first_M1 + tap_T
        distance_MT = op.Abs(op.Cast(sample_MT, to=11) - position_M1) / n_half * last
        left_MT = op.Floor(distance_MT)
        share_MT = op.CastLike(distance_MT - left_MT, x_BLN)
        index_MT = op.Min(op.Cast(left_MT, to=7), op.CastLike(N_KERNEL + 1, n))
        left_MT = op.Gather(half_N, index_MT)
        weight_MT = left_MT + share_MT * (op.Gather(half_N, index_MT + 1) - left_MT)
        weight_MT = weight_MT / op.ReduceMean(op.ReduceSum(weight_MT, [1]))
        # Beyond its ends the signal goes on along the line from its first to its last sample.
        inside_MT = op.Max(op.Min(sample_MT, n - 1), op.CastLike(0, n))
        beyond_MT = op.CastLike(sample_MT - inside_MT, x_BLN)
        slope_BL1 = (x_BLN[:, :, -1:] - x_BLN[:, :, 0:1]) / op.CastLike(n - 1, x_BLN)
        y_BLM = op.ReduceSum(op.Gather(x_BLN, inside_MT, axis=2) * weight_MT, [3], keepdims=0)
        return y_BLM + slope_BL1 * op.ReduceSum(beyond_MT * weight_MT, [1], keepdims=0)

    return resample


def _bandpass(spec: Mapping[str, Any]) -> Any:
    """Return the function ``bandpass``: signal -> filtered signal.

    With the initial state of ``sosfiltfilt``, the ends go on at their value for ever. A filter's
    response to that value is a constant, so the rest is filtered, which goes on at 0.
    """
    from onnx import numpy_helper
    from onnxscript import opset20 as op
    from onnxscript import script

    designed = impulse_response(spec)
    if designed is None:

        @script(default_opset=op)
        def unchanged(x_BLM):
            return op.Identity(x_BLM)

        return unchanged

    response, gain, n_mirrored = designed
    forward = numpy_helper.from_array(response[None, None, ::-1].copy(), "forward")
    backward = numpy_helper.from_array(response[None, None], "backward")
    n_response = len(response)

    @script(default_opset=op)
    def bandpass(x_BLM):
        m = op.Shape(x_BLM, start=2, end=3)
        n_pad = op.Min(m - 1, op.CastLike(n_mirrored, m))
        none = op.CastLike([0], m)
        pads = op.Concat(none, none, n_pad, none, none, n_pad, axis=0)
        mirrored_BLM = op.Pad(x_BLM, pads, mode="reflect")
        n_taps = op.Min(m + n_pad + n_pad, op.CastLike(n_response, m))
        added = n_taps - 1
        # One row for each lead, (B x L, 1, M).
        rows = op.Reshape(mirrored_BLM, op.Concat([-1, 1], m + n_pad + n_pad, axis=0))
        taps = op.Slice(op.Constant(value=forward), -n_taps, [2147483647], [2])
        start = rows[:, :, 0:1]
        padded = op.Pad(rows - start, op.Concat(none, none, added, none, none, none, axis=0))
        rows = op.Conv(padded, taps) + start * gain
        taps = op.Slice(op.Constant(value=backward), [0], n_taps, [2])
        end = rows[:, :, -1:]
        padded = op.Pad(rows - end, op.Concat(none, none, none, none, none, added, axis=0))
        rows = op.Conv(padded, taps) + end * gain
        kept = op.Slice(rows, n_pad, n_pad + m, [2])
        return op.Reshape(kept, op.Shape(x_BLM))

    return bandpass


def _fit_length(n_samples: int, to_fs: float, allow_short: bool) -> Any:
    """Return the function ``fit_length``: signal -> signal of n_samples, whether it was shorter."""
    from onnxscript import opset20 as op
    from onnxscript import script

    n_rounding = max(1, round(ROUNDING_S * to_fs))
    refuses_short = int(not allow_short)

    @script(default_opset=op)
    def fit_length(x_BLM):
        m = op.Shape(x_BLM, start=2, end=3)
        # The middle; of an odd number of superfluous samples, one more at the end.
        first = op.Max(m - n_samples, op.CastLike(0, m)) / 2
        index_S = first + op.Range(op.CastLike(0, m), op.CastLike(n_samples, m), op.CastLike(1, m))
        y_BLS = op.Gather(x_BLM, op.Min(index_S, m - 1), axis=2)
        is_missing = n_samples - m > n_rounding
        y_BLS = op.Where(op.And(is_missing, index_S >= m), op.CastLike(0.0, y_BLS), y_BLS)
        return y_BLS, op.And(is_missing, op.Cast(refuses_short, to=9))

    return fit_length
