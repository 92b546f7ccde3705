"""Export a trained model as an ONNX file or to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.files import write_file
from ecg_siglip.core.run_folder import evaluated_folds, find_model
from ecg_siglip.models.artifact import Artifact, load_artifact, push_to_hub
from ecg_siglip.models.onnx_export import n_samples, to_onnx


def to_hub(settings: config.ExportConfig, model: str | Path) -> None:
    """Upload a model to the hub: weights, configuration and card, nothing else of the run.

    Parameters
    ----------
    settings : config.ExportConfig
    model : str or Path
        The scores on the card are those of its run, if it is named by its run.

    Raises
    ------
    ValueError
        If there is no ``settings.repo``.
    """
    if settings.repo is None:
        raise ValueError("repo is missing: expected the repository on the hub, repo=owner/name")
    artifact = load_artifact(model)
    of_run = settings.model is None and settings.run.name
    run = Path(settings.run.root) / settings.run.name
    folds = evaluated_folds(run, artifact.provenance.to_json()) if of_run else {}
    address = push_to_hub(artifact, settings.repo, settings.private, settings.revision, folds)
    scored = f"scores of fold {', '.join(map(str, folds))}" if folds else "no scores of a test fold"
    print(f"wrote {address} (model and card, with {scored})")


def export(settings: config.ExportConfig) -> None:
    """Export a trained model as an ONNX file or to the Hugging Face hub."""
    model = find_model(settings.run.root, settings.run.name, settings.model, "export")
    if settings.to == "hub":
        to_hub(settings, model)
        return
    if not settings.out and (settings.model or not settings.run.name):
        raise ValueError("out is missing: expected the file to write, out=model.onnx")
    out = Path(settings.out or Path(settings.run.root) / settings.run.name / "model.onnx")
    if out.suffix != ".onnx":
        raise ValueError(f"out={out}: expected a name that ends with .onnx")
    write_onnx(settings, load_artifact(model), out)


def write_onnx(settings: config.ExportConfig, artifact: Artifact, out: Path) -> None:
    """Write the file, its metadata as JSON, and an ECG with the expected probabilities."""
    exported = to_onnx(artifact, settings.input == "recorded", settings.precision)
    description, signal = out.with_suffix(".json"), out.with_suffix(".golden.csv")
    # If this is interrupted, the hash in the JSON file shows that it belongs to another model.
    write_file(signal, exported.signal_csv())
    write_file(description, exported.description(signal.name))
    write_file(out, exported.content)
    n, rate = n_samples(artifact), artifact.waveform["to_fs"]
    size = f"{len(exported.content) / 1e6:.1f} MB, {settings.precision}"
    shape = f"(batch, 12, {n}) float32 mV, prepared at {rate} Hz"
    if settings.input == "recorded":
        shape = f"(batch, 12, n) float32 mV, {n / rate:g} s or more at fs Hz"
    print(f"wrote {out} ({size}): signal {shape} -> {len(artifact.codes)} probabilities")
    print(f"wrote {description} (metadata) and {signal} (an ECG to test with)")


def main() -> None:
    run_command("export", config.ExportConfig, export)


if __name__ == "__main__":
    main()
