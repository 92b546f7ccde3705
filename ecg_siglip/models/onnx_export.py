"""Export a model as one ONNX file, which needs no Python.

The ONNX file maps signals as recorded to calibrated probabilities. The preparation of the signal,
embedded prompts, scale, bias and calibration are in it. What prediction needs otherwise (leads,
vocabulary, thresholds) is in its metadata.

Shape letters: B records, L leads (12), S samples, F findings, D embedding.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import math
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecg_siglip.metrics.operating_points import with_minimum
from ecg_siglip.models.artifact import Artifact
from ecg_siglip.models.dual_encoder import Model
from ecg_siglip.models.onnx_preparation import ERRORS, FS_RANGE, preparation_graph
from ecg_siglip.models.provenance import SIMULATED
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.preprocessing import prepare_signal, quantize
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation.dataset import make_record

MAX_DIFFERENCE = 1e-4  # of a probability, between onnxruntime and PyTorch
# The int8 form is compared with itself on another machine, whose sums may saturate.
MAX_DIFFERENCE_INT8 = 0.05
OPSET = 20
# Sampling rate and number of the ECG that is written with the file; rates at which it is compared.
GOLDEN_FS, GOLDEN_ID = 500, 1
COMPARED_FS = (500, 250, 257, 1000)
# Simulated ECGs that set the ranges of the activations of the int8 form.
N_CALIBRATION = 64


class OnnxModule(nn.Module):
    """The function of the file: signals (B, 12, S) float32 mV -> probabilities (B, F) float32."""

    text_FD: Tensor
    slope_F: Tensor
    intercept_F: Tensor

    def __init__(self, artifact: Artifact):
        super().__init__()
        self.model: Model = artifact.model.cpu().eval()
        with torch.no_grad():
            text_FD = self.model.encode_text(artifact.prompts)
        slope_F, intercept_F = torch.from_numpy(artifact.calibration.T.copy()).float()
        self.register_buffer("text_FD", text_FD)
        self.register_buffer("slope_F", slope_F)
        self.register_buffer("intercept_F", intercept_F)

    def forward(self, signal_BLS: Tensor) -> Tensor:
        logits_BF = self.model.logits(self.model.encode_ecg(signal_BLS), self.text_FD)
        return torch.sigmoid(self.slope_F * logits_BF + self.intercept_F)


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """An exported model, with an ECG and what the model predicts for it.

    Attributes
    ----------
    content : bytes
        The ONNX file.
    metadata : dict
        Its metadata, see ``metadata``.
    signal : ndarray of shape (12, n), float32, mV
        A simulated ECG as an input of the file.
    fs : int, Hz
        Its sampling rate.
    probabilities : ndarray of shape (n_findings,), float64
        For it, of this package; of onnxruntime for an int8 file.
    tolerance : float
        How far other programs may be from ``probabilities``.
    """

    content: bytes
    metadata: dict[str, Any]
    signal: np.ndarray
    fs: int
    probabilities: np.ndarray
    tolerance: float

    def signal_csv(self) -> str:
        """Return the signal as a table: a line with the leads, then a line for each sample, mV."""
        rows = io.StringIO()
        np.savetxt(rows, self.signal.T, fmt="%.3f", delimiter=",")
        return ",".join(LEADS) + "\n" + rows.getvalue()

    def description(self, csv_name: str) -> str:
        """Return the metadata as JSON, with the hash of the file and the expected probabilities.

        Parameters
        ----------
        csv_name : str
            Name of the file that has ``signal_csv``.
        """
        by_code = zip(self.metadata["codes"], self.probabilities.tolist(), strict=True)
        golden = {
            "signal": csv_name,
            "fs": self.fs,
            "tolerance": self.tolerance,
            "probabilities": {code: round(p, 7) for code, p in by_code},
        }
        content = {"sha256": hashlib.sha256(self.content).hexdigest()} | self.metadata
        return json.dumps(content | {"golden": golden}, ensure_ascii=False, indent=1) + "\n"


def metadata(
    artifact: Artifact, prepares: bool = True, precision: str = "float32"
) -> dict[str, Any]:
    """Return the metadata of the file; each value is stored in it as JSON.

    Parameters
    ----------
    artifact : Artifact
    prepares, precision
        As of ``to_onnx``.
    """
    spec = artifact.waveform
    provenance = artifact.provenance.to_json()
    provenance.pop("tune_scores", None)
    notice = f"{SIMULATED}." if artifact.provenance.simulated else ""
    content: dict[str, Any] = {
        "format": 2,
        "input": "recorded" if prepares else "prepared",
        "precision": precision,
        "leads": list(LEADS),
        "units": "mV",
        "fs": spec["to_fs"],
        "n_samples": n_samples(artifact),
        "duration_s": spec["duration_s"],
        "low_hz": spec["low_hz"],
        "high_hz": spec["high_hz"],
        "preparation": dict(spec),
        "codes": list(artifact.codes),
        "names": artifact.names,
        "thresholds": {rule: t.tolist() for rule, t in artifact.thresholds.items()},
        "operating": {
            rule: with_minimum(rule, t).tolist() for rule, t in artifact.operating.items()
        },
        "about": provenance,
        "simulated": artifact.provenance.simulated,
        "use": f"For research, not for diagnosis. {notice}".strip(),
    }
    if prepares:
        content |= {"errors": ERRORS, "fs_range": FS_RANGE}
    return content


def n_samples(artifact: Artifact) -> int:
    """Return the length of the signals that the model was trained on."""
    return round(artifact.waveform["to_fs"] * artifact.waveform["duration_s"])


def to_onnx(artifact: Artifact, prepares: bool = True, precision: str = "float32") -> OnnxFile:
    """Convert a model to an ONNX file, and compare it with this package.

    Parameters
    ----------
    artifact : Artifact
    prepares : bool
        With the preparation of the signal. Its inputs are then ``signal`` (batch, 12, n) float32,
        mV, as recorded, and ``fs`` (1,) float32, Hz; its outputs ``probabilities``
        (batch, n_findings) float32, calibrated, and ``error`` (batch,) int64, a key of
        ``onnx_preparation.ERRORS`` or 0. With an error the probabilities are NaN. Without
        preparation the input is ``signal`` (batch, 12, n_samples), what ``Predictor.prepare``
        returns divided by 1000, and the output is ``probabilities``.
    precision : {"float32", "int8"}
        int8: weights and activations of the convolutions and matrix products of the ECG encoder in
        8 bits, static quantization whose ranges are those of simulated ECGs.

    Returns
    -------
    OnnxFile
        The batch may have any size.

    Raises
    ------
    ValueError
        If a package is missing, or if onnxruntime and this package differ by more than
        ``MAX_DIFFERENCE`` before quantization.
    """
    _check_packages()
    import onnx

    module = OnnxModule(artifact).eval()
    proto = _encoder(module, n_samples(artifact))
    _compare_with_torch(proto, module, n_samples(artifact))
    spec = dict(artifact.waveform)
    signal = simulated_signal(spec["duration_s"])
    prepared = prepare_signal(signal, GOLDEN_FS, LEADS, **spec)
    with torch.no_grad():
        expected = module(torch.from_numpy(prepared[None]))[0].double().numpy()
    if precision == "int8":
        proto = _quantize(proto, spec)
    if prepares:
        proto = _with_preparation(proto, spec)
        if precision == "float32":
            _compare_with_package(proto, module, signal, spec)
    stored = metadata(artifact, prepares, precision)
    texts = {key: json.dumps(value, ensure_ascii=False) for key, value in stored.items()}
    onnx.helper.set_model_props(proto, texts)
    content: bytes = proto.SerializeToString()
    shown, fs = (signal, GOLDEN_FS) if prepares else (prepared, int(spec["to_fs"]))
    tolerance = MAX_DIFFERENCE
    if precision == "int8":
        tolerance = MAX_DIFFERENCE_INT8
        row_BF = _run(_session(proto), shown[None], fs if prepares else None)
        expected = row_BF[0].astype(np.float64)
    return OnnxFile(content, stored, shown, fs, expected, tolerance)


def simulated_signal(
    duration_s: float, number: int = GOLDEN_ID, difficulty: str = "plain"
) -> np.ndarray:
    """Return a simulated ECG, (12, n) float32, mV, 500 Hz, repeated until it is long enough."""
    signal, _ = make_record(0, number, 20 + number % 60, number % 2 == 0, difficulty)
    return quantize(np.tile(signal, math.ceil(duration_s * GOLDEN_FS / signal.shape[1])))


def _check_packages() -> None:
    """Refuse to start without the packages of the extra."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise ValueError(
            f"export needs the package {error.name}: pip install 'ecg_siglip[export]'"
        ) from error


def _encoder(module: OnnxModule, n: int) -> Any:
    """Return the model without preparation as an ``onnx.ModelProto``: signal -> probabilities."""
    with _quiet():
        program = torch.onnx.export(
            module,
            (torch.randn(3, len(LEADS), n),),
            input_names=["signal"],
            output_names=["probabilities"],
            dynamic_shapes={"signal_BLS": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
        )
    assert program is not None
    proto = program.model_proto
    _remove_origin(proto.graph)
    for function in proto.functions:
        _remove_origin(function)
    return proto


def _with_preparation(proto: Any, spec: Mapping[str, Any]) -> Any:
    """Put the preparation before a model, and NaN in place of the output where it is refused."""
    from onnx import compose
    from onnxscript import FLOAT, INT64, script
    from onnxscript import opset20 as op

    nothing = float("nan")

    @script(default_opset=op)
    def refuse(given, code):
        is_fine = op.Unsqueeze(code == 0, [1])
        probabilities = op.Where(is_fine, given, op.CastLike(nothing, given))
        error = op.Identity(code)
        return probabilities, error

    n_findings = proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    real: Any = FLOAT
    whole: Any = INT64
    rows, codes = real["batch", n_findings], whole["batch"]
    last = refuse.to_model_proto(input_types=[rows, codes], output_types=[rows, codes])
    first = preparation_graph(spec)
    for part in (first, last):
        part.ir_version = proto.ir_version
    first = compose.add_prefix(first, "prepare/", rename_inputs=False)
    proto = compose.add_prefix(proto, "model/")
    last = compose.add_prefix(last, "last/", rename_outputs=False)
    merged = compose.merge_models(first, proto, io_map=[("prepare/prepared", "model/signal")])
    merged = compose.merge_models(
        merged,
        last,
        io_map=[("model/probabilities", "last/given"), ("prepare/error", "last/code")],
    )
    merged.producer_name = "ecg_siglip"
    return merged


def _quantize(proto: Any, spec: Mapping[str, Any]) -> Any:
    """Return the model with weights and activations in 8 bits."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Calibration(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.signals = calibration_signals(spec)

        def get_next(self) -> dict[str, np.ndarray] | None:
            signal = next(self.signals, None)
            return None if signal is None else {"signal": signal[None]}

    products = [n.name for n in proto.graph.node if n.op_type in ("Gemm", "MatMul")]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            proto,
            path,
            Calibration(),
            QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            # Projection and cosines decide by small differences.
            nodes_to_exclude=products[-2:],
            per_channel=True,
        )
        return onnx.load(path)


def calibration_signals(spec: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Yield the simulated ECGs that set the ranges of the int8 form, prepared, (12, n_samples)."""
    for number in range(N_CALIBRATION):
        signal = simulated_signal(spec["duration_s"], number, "realistic")
        # A simulated electrode may be off.
        yield prepare_signal(signal, GOLDEN_FS, LEADS, **{**spec, "allow_flat": True})


def _session(proto: Any) -> Any:
    """Load a file in onnxruntime."""
    import onnxruntime

    return onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def _run(session: Any, signal_BLS: np.ndarray, fs: float | None = None) -> np.ndarray:
    """Return the probabilities that a loaded file gives, (B, F)."""
    inputs = {"signal": signal_BLS}
    if fs is not None:
        inputs["fs"] = np.array([fs], np.float32)
    probabilities: np.ndarray = session.run(["probabilities"], inputs)[0]
    return probabilities


def _compare_with_torch(proto: Any, module: OnnxModule, n: int) -> None:
    """Compare a file without preparation with PyTorch on random signals."""
    session = _session(proto)
    signal_BLS = torch.randn(3, len(LEADS), n)
    for n_records in (1, 3):
        exported = _run(session, signal_BLS[:n_records].numpy())
        with torch.no_grad():
            expected = module(signal_BLS[:n_records]).numpy()
        _check_difference(exported, expected, f"for {n_records} record(s)")


def _compare_with_package(
    proto: Any, module: OnnxModule, signal: np.ndarray, spec: Mapping[str, Any]
) -> None:
    """Compare a file with ``prepare_signal`` and PyTorch on an ECG at several sampling rates."""
    session = _session(proto)
    for fs in COMPARED_FS:
        recorded = resample(signal, GOLDEN_FS, fs)
        prepared = prepare_signal(recorded, fs, LEADS, **spec)
        with torch.no_grad():
            expected = module(torch.from_numpy(prepared[None])).numpy()
        _check_difference(_run(session, recorded[None], fs), expected, f"for an ECG at {fs} Hz")


def _check_difference(exported: np.ndarray, expected: np.ndarray, what: str) -> None:
    difference = float(np.abs(exported - expected).max())
    if not difference <= MAX_DIFFERENCE:
        raise ValueError(
            f"onnxruntime and PyTorch differ by {difference:.1e} {what}, expected "
            f"{MAX_DIFFERENCE:.0e} at most; nothing is written"
        )


def _remove_origin(graph: Any) -> None:
    """Remove what the exporter notes about the code: it has paths of the machine."""
    kinds = ("node", "initializer", "input", "output", "value_info")
    parts = [part for kind in kinds for part in getattr(graph, kind, ())]
    for part in (graph, *parts):
        for field in ("metadata_props", "doc_string"):
            # Inputs and outputs of a function are names.
            if not isinstance(part, str) and field in part.DESCRIPTOR.fields_by_name:
                part.ClearField(field)
        for attribute in getattr(part, "attribute", ()):
            if not isinstance(attribute, str):
                own = [attribute.g] if attribute.HasField("g") else []
                for inner in (*own, *attribute.graphs):
                    _remove_origin(inner)


@contextlib.contextmanager
def _quiet() -> Any:
    """Suppress the messages of the exporter."""
    # onnxruntime.quantization uses the root logger.
    loggers = [logging.getLogger(name) for name in ("", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
