"""Export a model as one ONNX file, which needs no Python.

The ONNX file maps signals to calibrated probabilities. Embedded prompts, scale, bias and
calibration are constants in it. What prediction needs otherwise (leads, sampling rate, vocabulary,
thresholds) is in its metadata.

Shape letters: B records, L leads (12), S samples, F findings, D embedding.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ecg_siglip.metrics.operating_points import with_minimum
from ecg_siglip.models.artifact import Artifact
from ecg_siglip.models.dual_encoder import Model
from ecg_siglip.models.provenance import SIMULATED
from ecg_siglip.signals.leads import LEADS

MAX_DIFFERENCE = 1e-4  # of a probability, between onnxruntime and PyTorch


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


def metadata(artifact: Artifact) -> dict[str, str]:
    """Return the metadata of the file: JSON texts by name."""
    spec = artifact.waveform
    provenance = artifact.provenance.to_json()
    provenance.pop("tune_scores", None)
    notice = f"{SIMULATED}." if artifact.provenance.simulated else ""
    content: dict[str, Any] = {
        "leads": list(LEADS),
        "units": "mV",
        "fs": spec["to_fs"],
        "n_samples": n_samples(artifact),
        "low_hz": spec["low_hz"],
        "high_hz": spec["high_hz"],
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
    return {key: json.dumps(value, ensure_ascii=False) for key, value in content.items()}


def n_samples(artifact: Artifact) -> int:
    """Return the length of the signals that the model was trained on."""
    return round(artifact.waveform["to_fs"] * artifact.waveform["duration_s"])


def to_onnx(artifact: Artifact) -> bytes:
    """Convert a model to an ONNX file, and compare it with PyTorch.

    Parameters
    ----------
    artifact : Artifact

    Returns
    -------
    bytes
        The file. Its input is ``signal`` (batch, 12, n_samples) float32, mV: what
        ``Predictor.prepare`` returns, divided by 1000. Its output is ``probabilities``
        (batch, n_findings) float32, calibrated. The batch may have any size.

    Raises
    ------
    ValueError
        If a package is missing, or if onnxruntime and PyTorch differ by more than
        ``MAX_DIFFERENCE``.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise ValueError(
            f"export needs the package {error.name}: pip install 'ecg_siglip[export]'"
        ) from error
    module = OnnxModule(artifact).eval()
    signal_BLS = torch.randn(3, len(LEADS), n_samples(artifact))
    with _quiet():
        program = torch.onnx.export(
            module,
            (signal_BLS,),
            input_names=["signal"],
            output_names=["probabilities"],
            dynamic_shapes={"signal_BLS": {0: torch.export.Dim("batch")}},
            dynamo=True,
        )
    assert program is not None
    proto = program.model_proto
    _remove_origin(proto.graph)
    for function in proto.functions:
        _remove_origin(function)
    onnx.helper.set_model_props(proto, metadata(artifact))
    content: bytes = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for n in (1, 3):
        (exported,) = session.run(None, {"signal": signal_BLS[:n].numpy()})
        with torch.no_grad():
            difference = (torch.from_numpy(exported) - module(signal_BLS[:n])).abs().max().item()
        if not difference <= MAX_DIFFERENCE:
            raise ValueError(
                f"onnxruntime and PyTorch differ by {difference:.1e} for {n} record(s), expected "
                f"{MAX_DIFFERENCE:.0e} at most; nothing is written"
            )
    return content


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
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
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
