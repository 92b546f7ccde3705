"""The programs on the ONNX page run as they stand there and agree with the package.

JavaScript needs `npm install onnxruntime-node` (or onnxruntime-web) in the checkout, or NODE_PATH;
C++ needs `ORT=<unpacked release of ONNX Runtime>`. Without the release the C++ program is compiled
against a small imitation of its header, which checks what the program passes, not what comes back.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED

from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers import read_record
from ecg_siglip.signals.leads import LEADS, order_leads

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "export-to-onnx.md").read_text(encoding="utf-8")
REAL = SHARED / "ptbxl" / "records500"
# What the page uses of the header: Run checks the inputs and returns the first sample of each lead.
IMITATION = """
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>
enum OrtAllocatorType { OrtArenaAllocator };
enum OrtMemType { OrtMemTypeDefault };
namespace Ort {
struct Env {};
struct SessionOptions {};
struct RunOptions { explicit RunOptions(std::nullptr_t) {} };
struct MemoryInfo {
  static MemoryInfo CreateCpu(OrtAllocatorType, OrtMemType) { return {}; }
};
struct TensorTypeAndShapeInfo {
  size_t n;
  size_t GetElementCount() const { return n; }
};
struct Value {
  std::vector<float> values;
  std::vector<int64_t> shape, codes;
  Value() = default;
  Value(Value&&) = default;  // cannot be copied, as the real one
  template <class T>
  static Value CreateTensor(const MemoryInfo&, T* data, size_t n, const int64_t* shape,
                            size_t n_dims) {
    Value value;
    value.values.assign(data, data + n);
    value.shape.assign(shape, shape + n_dims);
    return value;
  }
  template <class T>
  const T* GetTensorData() const;
  TensorTypeAndShapeInfo GetTensorTypeAndShapeInfo() const { return {values.size()}; }
};
template <> inline const float* Value::GetTensorData<float>() const { return values.data(); }
template <> inline const int64_t* Value::GetTensorData<int64_t>() const { return codes.data(); }
struct Session {
  Session(const Env&, const char*, const SessionOptions&) {}
  std::vector<Value> Run(const RunOptions&, const char* const* names, const Value* inputs,
                         size_t n_in, const char* const* outputs, size_t n_out) {
    const auto& shape = inputs[0].shape;
    if (n_in != 2 || n_out != 2 || names[0] != std::string("signal") || shape.size() != 3 ||
        shape[1] != 12 || inputs[0].values.size() != size_t(12 * shape[2]) ||
        inputs[1].values.size() != 1 || outputs[1] != std::string("error"))
      std::exit(3);
    std::vector<Value> results(2);
    for (int lead = 0; lead < 12; ++lead)
      results[0].values.push_back(inputs[0].values[lead * shape[2]]);
    results[1].codes.push_back(inputs[1].values[0] > 0 ? 0 : 1);
    return results;
  }
};
}  // namespace Ort
"""


def code(language):
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
    return block


def node_modules(package):
    """Return the folder that has a package of npm, or skip."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    named = filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep))
    for folder in (*map(Path, named), ROOT / "node_modules"):
        if (folder / package).is_dir():
            return folder
    pytest.skip(f"needs {package}: npm install --no-save --ignore-scripts {package}")


@pytest.fixture(params=["simulated", "real"])
def ecg(request, exported_file, trained, tmp_path):
    """A folder with the model and ecg.csv, 10 s at 500 Hz, and the probabilities of the package."""
    for name in ("model.onnx", "model.json"):
        shutil.copy(exported_file.with_name(name), tmp_path)
    table = tmp_path / "ecg.csv"
    if request.param == "simulated":
        shutil.copy(exported_file.with_name("model.golden.csv"), table)
        description = json.loads(exported_file.with_name("model.json").read_text("utf-8"))
        return tmp_path, description["golden"]["probabilities"]
    if not REAL.is_dir():
        pytest.skip("needs shared/ptbxl/records500")
    record = read_record(min(REAL.rglob("*.hea")).with_suffix(""))
    assert record.fs == 500
    signal = order_leads(record.signal, record.leads)
    np.savetxt(table, signal.T, "%.4f", ",", header=",".join(LEADS), comments="")
    predictor = Predictor.load(trained / "model", "cpu")
    y_prob = predictor.probabilities(predictor.prepare(record)[None])[0]
    return tmp_path, dict(zip(predictor.artifact.codes, y_prob, strict=True))


def run(*command, cwd):
    return subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("package", ["onnxruntime-node", "onnxruntime-web"])
def test_javascript_agrees_with_the_package(ecg, package):
    folder, expected = ecg
    (folder / "node_modules").symlink_to(node_modules(package), target_is_directory=True)
    program = code("javascript").replace('from "onnxruntime-node"', f'from "{package}"')
    (folder / "predict.mjs").write_text(program, encoding="utf-8")
    done = run("node", "predict.mjs", "model.onnx", "ecg.csv", "500", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(expected)
    assert [float(line[1]) for line in lines] == pytest.approx([*expected.values()], abs=1e-4)
    # A wrong unit stops it, with the reason.
    table = np.loadtxt(folder / "ecg.csv", delimiter=",", skiprows=1)
    np.savetxt(folder / "uv.csv", 1000 * table, "%.1f", ",", header=",".join(LEADS), comments="")
    done = run("node", "predict.mjs", "model.onnx", "uv.csv", "500", cwd=folder)
    assert done.returncode != 0 and "the signal is not in mV" in done.stderr


def test_cpp_passes_the_signal_as_the_page_states(ecg):
    folder, expected = ecg
    compiler = next(filter(None, map(shutil.which, ("g++", "clang++"))), None)
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    (folder / "predict.cpp").write_text(code("cpp"), encoding="utf-8")
    command = [
        compiler,
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Werror",
        "predict.cpp",
        "-o",
        "predict",
    ]
    release = os.environ.get("ORT")
    if release:
        libraries = Path(release, "lib")
        command += [
            f"-I{release}/include",
            f"-L{libraries}",
            "-lonnxruntime",
            f"-Wl,-rpath,{libraries}",
        ]
    else:
        (folder / "onnxruntime_cxx_api.h").write_text(IMITATION, encoding="utf-8")
        command.append("-I.")
    done = run(*command, cwd=folder)
    assert done.returncode == 0, done.stderr
    done = run(folder / "predict", "model.onnx", "ecg.csv", "500", cwd=folder)
    assert done.returncode == 0, done.stderr
    first = np.loadtxt(folder / "ecg.csv", delimiter=",", skiprows=1, max_rows=1)
    printed = [*expected.values()] if release else first
    assert [float(line) for line in done.stdout.split()] == pytest.approx(printed, abs=1e-4)
    done = run(folder / "predict", "model.onnx", "ecg.csv", "0", cwd=folder)
    assert done.returncode == 1 and done.stderr == "error 1, see model.json\n"
