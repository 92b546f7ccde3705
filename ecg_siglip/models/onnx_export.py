"""A model for elsewhere: on the Hugging Face hub, or as one ONNX file that needs no Python.

The ONNX file takes signals and gives calibrated probabilities. Text encoder, prompts, scale, bias
and calibration are folded into its numbers; what an answer needs besides (leads, sampling rate,
vocabulary, thresholds) stands in its metadata.

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

from ecg_siglip.models.artifact import Artifact
from ecg_siglip.models.dual_encoder import Model
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.vocabulary import findings

LARGEST_DIFFERENCE = 1e-4  # of a probability, between the file and PyTorch


class OnnxModule(nn.Module):
    """What the file computes: signals (B, 12, S) float32 mV -> probabilities (B, F) float32."""

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
    """What stands in the file beside the numbers: JSON texts by name."""
    spec = artifact.waveform
    about = {k: v for k, v in artifact.provenance.to_json().items() if k != "tune_scores"}
    content: dict[str, Any] = {
        "leads": list(LEADS),
        "units": "mV",
        "fs": spec["to_fs"],
        "n_samples": n_samples(artifact),
        "low_hz": spec["low_hz"],
        "high_hz": spec["high_hz"],
        "codes": list(artifact.codes),
        "names": findings.names(artifact.codes),
        "thresholds": {rule: t.tolist() for rule, t in artifact.thresholds.items()},
        "operating": {wanted: t.tolist() for wanted, t in artifact.operating.items()},
        "about": about,
        "use": "For research, not for diagnosis.",
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in content.items()}


def n_samples(artifact: Artifact) -> int:
    """Length of the signals that the model was trained on."""
    return round(artifact.waveform["to_fs"] * artifact.waveform["duration_s"])


def to_onnx(artifact: Artifact) -> bytes:
    """The model as an ONNX file, held against PyTorch.

    Parameters
    ----------
    artifact : Artifact

    Returns
    -------
    bytes
        Input ``signal`` (batch, 12, n_samples) float32, mV, as ``Predictor.prepare`` makes it
        (its int16 divided by 1000); output ``probabilities`` (batch, n_findings) float32,
        calibrated. The batch may have any size.

    Raises
    ------
    ValueError
        If a package is missing, or if onnxruntime answers otherwise than PyTorch by more than
        ``LARGEST_DIFFERENCE``.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise ValueError(
            f"export needs the package {error.name}: pip install 'ecg_siglip[export]'"
        ) from error
    answering = OnnxModule(artifact).eval()
    signal_BLS = torch.randn(3, len(LEADS), n_samples(artifact))
    with _quiet():
        program = torch.onnx.export(
            answering,
            (signal_BLS,),
            input_names=["signal"],
            output_names=["probabilities"],
            dynamic_shapes={"signal_BLS": {0: torch.export.Dim("batch")}},
            dynamo=True,
        )
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, metadata(artifact))
    content: bytes = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for n in (1, 3):
        (ours,) = session.run(None, {"signal": signal_BLS[:n].numpy()})
        with torch.no_grad():
            difference = (torch.from_numpy(ours) - answering(signal_BLS[:n])).abs().max().item()
        if not difference <= LARGEST_DIFFERENCE:
            raise ValueError(
                f"onnxruntime and PyTorch differ by {difference:.1e} for {n} record(s), expected "
                f"{LARGEST_DIFFERENCE:.0e} at most; nothing is written"
            )
    return content


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the exporter's running commentary on its own doings."""
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
