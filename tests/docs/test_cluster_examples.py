"""The examples for clusters: their syntax, their settings, and that shares are whole."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ecg_siglip import config
from ecg_siglip.core.settings import setting_names

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "cluster" / "slurm_array.sh"
RAY_JOB = ROOT / "examples" / "cluster" / "kuberay_job.yaml"
bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")


def check_names(arguments: list[str]) -> None:
    names = {argument.partition("=")[0] for argument in arguments}
    assert names <= set(setting_names(config.PredictConfig)) and {"records", "out"} <= names


@bash
def test_the_script_of_slurm_has_no_mistake_of_syntax():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    options = re.findall(r"^#SBATCH --([a-z-]+)", SCRIPT.read_text(), re.M)
    assert {"array", "cpus-per-task", "mem", "time", "requeue", "output"} <= set(options)


@bash
@pytest.mark.parametrize("exit_code", [0, 1, 3])
def test_the_tasks_of_the_array_predict_each_path_one_time(tmp_path, exit_code):
    if b"GNU" not in subprocess.run(["split", "--version"], capture_output=True).stdout:
        pytest.skip("split of GNU coreutils is missing")
    command = tmp_path / "bin" / "ecg-siglip"
    command.parent.mkdir()
    command.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" >> "$CALLS"\nexit {exit_code}\n')
    command.chmod(0o755)
    paths = [f"/data/{i} a.hea" for i in range(10)]
    (tmp_path / "ecgs.txt").write_text("".join(f"{path}\n" for path in paths))
    environment = os.environ | {
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "SLURM_ARRAY_TASK_COUNT": "4",
    }
    for task in range(4):
        done = subprocess.run(
            ["bash", SCRIPT, "ecgs.txt", "out"],
            cwd=tmp_path,
            env=environment | {"SLURM_ARRAY_TASK_ID": str(task)},
        )
        assert done.returncode == (1 if exit_code == 1 else 0)
    shares = [path.read_text().splitlines() for path in sorted((tmp_path / "out").glob("list-*"))]
    assert len(shares) == 4 and [path for share in shares for path in share] == paths
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls.count("predict") == 4
    check_names([call for call in calls if "=" in call])
    assert len({call for call in calls if call.startswith("out=")}) == 4


def test_the_job_of_kuberay_has_what_the_operator_requires():
    job = yaml.safe_load(RAY_JOB.read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["metadata"]["name"]
    spec = job["spec"]
    command, _, accepted = spec["entrypoint"].partition("||")
    assert "-eq 3" in accepted
    program, name, *arguments = shlex.split(command)
    assert (program, name) == ("ecg-siglip", "predict")
    check_names(arguments)
    assert "engine=ray" in arguments
    cluster = spec["rayClusterSpec"]
    assert f"ray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text().splitlines()
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        [container] = group["template"]["spec"]["containers"]
        assert container["image"] and container["resources"]["limits"]
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for group in groups[1:]:
        assert group["groupName"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
