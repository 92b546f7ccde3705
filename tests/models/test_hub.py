"""A model is uploaded to the hub and downloaded without change, with its card and nothing else.

The hub is a small server in this file that implements the required part of its protocol.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
import yaml
from helpers import configured

from ecg_siglip import EcgClassifier
from ecg_siglip.config import ExportConfig
from ecg_siglip.export import export
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models import hub
from ecg_siglip.models.artifact import load_artifact
from ecg_siglip.models.dual_encoder import EcgTextModel
from ecg_siglip.models.text_encoders import text_encoder

TOKEN = "hf_test"


class Hub(BaseHTTPRequestHandler):
    """Repositories in memory: by name, the files of each commit, and the branches."""

    def log_message(self, *words):
        pass

    @property
    def store(self):
        return self.server.store

    def respond(self, content=b"", status=200, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code=""):
        self.respond({"error": code or "no"}, status, **({"X_Error_Code": code} if code else {}))

    @property
    def may_write(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def path_and_body(self):
        self.length = int(self.headers.get("Content-Length") or 0)
        return unquote(urlparse(self.path).path), self.rfile.read(self.length)

    def find(self, name, revision):
        """Return the repository and the commit; refuse the request if there is none."""
        repo = self.store["repos"].get(name)
        if repo is None or (repo["private"] and not self.may_write):
            return self.refuse(404 if self.may_write else 401, "RepoNotFound")
        commit = repo["branches"].get(revision, revision)
        if commit not in repo["commits"]:
            return self.refuse(404, "RevisionNotFound")
        return repo, commit

    def do_GET(self):
        path, _ = self.path_and_body()
        words = path.strip("/").split("/")
        if words[:2] == ["api", "models"]:
            name = "/".join(words[2:4])
            kind, revision = (*words[4:6], "revision", "main")[:2] if words[5:] else ("", "main")
            if hit := self.find(name, revision):
                repo, commit = hit
                files = repo["commits"][commit]
                if kind == "tree":
                    return self.respond(
                        [
                            {"type": "file", "path": p, "size": len(c), "oid": oid(c)}
                            for p, c in files.items()
                        ]
                    )
                siblings = [{"rfilename": p} for p in files]
                self.respond({"id": name, "modelId": name, "sha": commit, "siblings": siblings})
        elif words[2:3] == ["resolve"]:
            if hit := self.find("/".join(words[:2]), words[3]):
                repo, commit = hit
                content = repo["commits"][commit].get("/".join(words[4:]))
                if content is None:
                    return self.refuse(404, "EntryNotFound")
                self.store["downloaded"].append("/".join(words[4:]))
                self.respond(content, ETag=f'"{oid(content)}"', X_Repo_Commit=commit)
        else:
            self.refuse(404)

    do_HEAD = do_GET

    def do_PUT(self):
        path, body = self.path_and_body()
        self.store["large"][path.split("/")[-1]] = body
        self.respond()

    def do_POST(self):
        path, body = self.path_and_body()
        if path == "/api/validate-yaml":
            return self.respond({"errors": [], "warnings": []})
        if not self.may_write:
            return self.refuse(401)
        words = path.strip("/").split("/")
        if path == "/api/repos/create":
            repository = json.loads(body)
            name = f"{repository.get('organization') or 'me'}/{repository['name']}"
            if name in self.store["repos"]:
                return self.respond({"url": f"{self.server.url}/{name}"}, 409)
            if name.startswith("other/"):
                return self.refuse(403)
            first = {".gitattributes": b""}
            private = repository.get("private") or repository.get("visibility") == "private"
            repo = {"private": private, "branches": {}, "commits": {}}
            self.store["repos"][name] = repo
            commit(repo, "main", first)
            return self.respond({"url": f"{self.server.url}/{name}", "name": name})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {
                    "oid": o["oid"],
                    "size": o["size"],
                    "actions": {"upload": {"href": f"{self.server.url}/large/{o['oid']}"}},
                }
                for o in json.loads(body)["objects"]
            ]
            return self.respond({"transfer": "basic", "objects": objects})
        name, kind, revision = "/".join(words[2:4]), words[4], words[5]
        if kind == "branch":
            repo = self.store["repos"][name]
            if revision in repo["branches"]:
                return self.refuse(409)
            repo["branches"][revision] = repo["branches"]["main"]
            return self.respond({})
        hit = self.find(name, revision)
        if not hit:
            return None
        repo, parent = hit
        if kind == "preupload":
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for f in json.loads(body)["files"]
            ]
            return self.respond({"files": modes})
        files = dict(repo["commits"][parent])
        for line in body.decode().splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.store["large"][value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        sha = commit(repo, revision, files)
        url = f"{self.server.url}/{name}/commit/{sha}"
        return self.respond({"success": True, "commitOid": sha, "commitUrl": url})


def oid(content):
    return hashlib.sha1(content).hexdigest()


def commit(repo, branch, files):
    sha = oid(repr((len(repo["commits"]), sorted(files))).encode())
    repo["commits"][sha] = files
    repo["branches"][branch] = sha
    return sha


@pytest.fixture
def server(monkeypatch, tmp_path):
    """An empty hub, used by this process and the processes that it starts."""
    hub_server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    hub_server.store = {"repos": {}, "large": {}, "downloaded": []}
    hub_server.url = f"http://127.0.0.1:{hub_server.server_port}"
    threading.Thread(target=hub_server.serve_forever, daemon=True).start()
    variables = {
        "HF_ENDPOINT": hub_server.url,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN": TOKEN,
    }
    variables |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    variables |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    constants = "huggingface_hub.constants"
    template = hub_server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(f"{constants}.ENDPOINT", hub_server.url)
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", variables["HF_HUB_CACHE"])
    monkeypatch.setattr(f"{constants}.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
    yield hub_server
    hub_server.shutdown()
    hub_server.server_close()


@pytest.fixture
def push(evaluated, capsys):
    """Return a function that exports the evaluated run and returns what was printed."""
    run = evaluated.parents[1]

    def run_export(**settings):
        base = {"run.name": run.name, "run.root": str(run.parent), "to": "hub", "repo": "me/ecg"}
        export(configured(ExportConfig, base | settings))
        return capsys.readouterr()

    return run_export


def files(server, name="me/ecg", branch="main"):
    repo = server.store["repos"][name]
    return repo["commits"][repo["branches"][branch]]


def test_a_model_is_downloaded_as_it_was_uploaded(server, push, evaluated):
    out, _ = push()
    assert f"wrote {server.url}/me/ecg/commit/" in out
    assert "with scores of fold 10" in out
    assert server.store["repos"]["me/ecg"]["private"]
    local = Predictor.load(evaluated.parents[1] / "model", "cpu")
    downloaded = Predictor.load("me/ecg", "cpu")
    signals = np.random.default_rng(0).integers(-900, 900, (3, 12, 1000)).astype(np.int16)
    assert np.array_equal(local.probabilities(signals), downloaded.probabilities(signals))
    assert downloaded.artifact.provenance == local.artifact.provenance
    classifier = EcgClassifier.from_pretrained("me/ecg", fs=100, device="cpu")
    ecgs = (signals / 1000).astype(np.float32)
    expected = EcgClassifier.from_pretrained(local, fs=100).predict_proba(ecgs)
    assert np.array_equal(classifier.predict_proba(ecgs), expected)
    EcgTextModel.from_pretrained("me/ecg")


def test_only_the_files_of_the_model_are_uploaded(server, push, evaluated):
    stray = evaluated.parents[1] / "model" / "text" / "old.bin"
    stray.write_bytes(b"\x80\x04pickle")
    try:
        push()
    finally:
        stray.unlink()
    uploaded = set(files(server)) - {".gitattributes"}
    parts = {"README.md", "config.json", "vocabulary.json", "model.safetensors"}
    assert uploaded == parts | {"text/tokenizer.json"}


def test_the_card_is_filled_from_the_run(server, push, evaluated):
    push()
    card = files(server)["README.md"].decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert (head["license"], head["library_name"]) == ("apache-2.0", "ecg_siglip")
    scores = json.loads((evaluated / "metrics.json").read_text())
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"]["name"].endswith("fold 10")
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["expected_f1/micro_f1"] == round(scores["expected_f1/micro_f1"], 4)
    assert "None" not in card and "{" not in card.split("---\n")[2]
    low, high = (scores[f"fixed_0.5/micro_f1/{end}"] for end in ("low", "high"))
    row = f"| micro F1 at 0.5 | {scores['fixed_0.5/micro_f1']:.3f} [{low:.3f}, {high:.3f}] |"
    for words in (
        row,
        "| | fold 10 | tuning fold 9 |",
        "For research, not for diagnosis",
        "Not intended to decide about a patient",
        "trained on folds [1, 2, 3, 4, 5, 6, 7, 8]",
        "seed 0",
        '.from_pretrained("me/ecg")',
        "model=me/ecg ",
        "- `AFIB`: ",
        "CC BY 4.0",
    ):
        assert words in card, words


def test_scores_of_another_model_are_not_on_the_card(server, push, evaluated, tmp_path):
    run = tmp_path / "again"
    shutil.copytree(evaluated.parents[1], run)
    about = run / "evaluate" / "fold10" / "about.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"best_epoch": 99}))
    out, err = push(**{"run.name": "again", "run.root": str(tmp_path)})
    assert "no scores of a test fold" in out
    assert "is of another model; not on the card" in err
    assert "model-index" not in files(server)["README.md"].decode()


def test_a_revision_is_a_branch_of_its_own(server, push):
    push(private=False)
    push(revision="v2")
    assert set(files(server)) == set(files(server, branch="v2"))
    assert "me/ecg@v2" in files(server, branch="v2")["README.md"].decode()
    assert "me/ecg@v2" not in files(server)["README.md"].decode()
    old = server.store["repos"]["me/ecg"]["branches"]["main"]
    files(server)["config.json"] = b"{}"  # main is broken from now on
    with pytest.raises(ValueError, match=r"config\.json lacks|damaged|me/ecg"):
        load_artifact("me/ecg")
    assert load_artifact("me/ecg@v2").codes
    assert EcgClassifier.from_pretrained("me/ecg", device="cpu", revision="v2").classes_.size == 71
    with pytest.raises(ValueError, match=r"me/ecg@v9: .*has no such revision"):
        load_artifact("me/ecg@v9")
    assert len(old) == 40


def test_files_of_an_earlier_model_are_deleted_and_other_files_are_kept(server, push):
    push()
    repo = server.store["repos"]["me/ecg"]
    other_files = {"text/old.json": b"{}", "LICENSE": b"text", "evil.bin": b"\x80", "run.py": b"x"}
    commit(repo, "main", files(server) | other_files | {"text/evil.pkl": b"\x80"})
    server.store["downloaded"].clear()
    load_artifact("me/ecg")
    downloaded = set(server.store["downloaded"])
    assert not downloaded & {"evil.bin", "run.py", "text/evil.pkl", "LICENSE"}, (
        "files that are not of the model are not downloaded"
    )
    push()
    remaining = set(files(server))
    assert "text/old.json" not in remaining
    assert {"LICENSE", "evil.bin", "run.py"} <= remaining


def test_a_fitted_classifier_is_uploaded_with_its_calibration(server, trained):
    classifier = EcgClassifier.from_pretrained(trained / "model", fs=100, device="cpu")
    rng = np.random.default_rng(0)
    signals = rng.normal(0, 0.3, (30, 12, 1000))
    classifier.fit(signals, rng.random((30, len(classifier.classes_))) < 0.3)
    assert classifier.push_to_hub("me/fitted").startswith(f"{server.url}/me/fitted/commit/")
    downloaded = EcgClassifier.from_pretrained("me/fitted", fs=100, device="cpu")
    for method in ("predict_proba", "predict"):
        expected = getattr(classifier, method)(signals[:2])
        assert np.array_equal(getattr(downloaded, method)(signals[:2]), expected)


def test_without_access_the_error_names_what_to_do(server, push, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"repo is missing"):
        push(repo=None)
    with pytest.raises(ValueError, match=r"repo=ecg: expected owner/name, got 'ecg'"):
        push(repo="ecg")
    with pytest.raises(ValueError, match=r"repo=other/ecg: no token, or one without the right"):
        push(repo="other/ecg")
    with pytest.raises(
        ValueError, match=r"no trained model there; expected the name of a finished run"
    ):
        push(**{"run.name": "nothing"})
    push(repo="me/secret")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(
        ValueError, match=r"repo=me/ecg: no token, or one without the right.*HF_TOKEN"
    ):
        push()
    missing = (
        r"model me/secret: no such folder, and not on the hub: no such repository, or a private"
    )
    with pytest.raises(ValueError, match=missing):
        load_artifact("me/secret")


def test_without_a_connection_the_cache_is_used_or_there_is_an_error(server, push, monkeypatch):
    push()
    load_artifact("me/ecg")
    server.shutdown()
    server.server_close()
    assert load_artifact("me/ecg").codes
    for name in ("me/other", "me/ecg@v3"):
        with pytest.raises(
            ValueError, match="the hub cannot be reached, and it is not in the cache"
        ):
            load_artifact(name)
    with pytest.raises(ValueError, match=r"repo=me/ecg: the hub cannot be reached"):
        push()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load_artifact("me/ecg").codes
    with pytest.raises(ValueError, match=r"repo=me/ecg: the hub cannot be reached"):
        push()


@pytest.mark.slow
def test_the_command_line_pushes_and_predicts(server, evaluated, simulated):
    run = evaluated.parents[1]
    words = [f"run.name={run.name}", f"run.root={run.parent}", "to=hub", "repo=me/cli"]
    done = subprocess.run(
        [sys.executable, "-m", "ecg_siglip.export", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    record = simulated / "records100" / "00000" / "00001_lr"
    words = ["model=me/cli@main", f"records=[{record}]", "device=cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "ecg_siglip.predict", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["probabilities"]) == 71


def test_a_path_is_not_a_name_of_the_hub(server):
    with pytest.raises(ValueError, match=r"not on the hub: expected owner/name, got '\.\./up/x'"):
        hub.download("../up/x")


def publish(server, folder, name, **added):
    """Put the files of a folder into a repository of the server."""
    content = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    repo = {"private": False, "branches": {}, "commits": {}}
    server.store["repos"][name] = repo
    commit(repo, "main", content | added)


ENCODER = {"width": 16, "depth": 1, "n_heads": 2, "max_tokens": 16, "pool": "mean", "vocab_size": 0}


def test_of_a_text_encoder_only_the_needed_files_are_downloaded(server, tiny_bert):
    others = {"pytorch_model.bin": b"\x80", "modeling.py": b"x", "onnx/config.json": b"{}"}
    publish(server, tiny_bert, "lab/bert", **others)
    encoder = text_encoder("lab/bert", [], **ENCODER)
    assert encoder.n_features == 16
    downloaded = set(server.store["downloaded"])
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= downloaded
    assert downloaded <= {path.name for path in tiny_bert.iterdir()}


def test_a_text_encoder_of_pickled_weights_is_refused(server, tiny_bert):
    publish(server, tiny_bert, "lab/pickled", **{"pytorch_model.bin": b"\x80"})
    files(server, "lab/pickled").pop("model.safetensors")
    with pytest.raises(ValueError, match=r"lab/pickled: has no weights as safetensors"):
        text_encoder("lab/pickled", [], **ENCODER)
    assert "pytorch_model.bin" not in server.store["downloaded"]


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_a_repository_is_refused_without_a_question(server, tiny_bert, monkeypatch, file):
    def wait_for_a_reply(*_):
        raise AssertionError("expected no question")

    monkeypatch.setattr("builtins.input", wait_for_a_reply)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    publish(server, tiny_bert, "lab/code", **{"modeling.py": b"raise SystemExit"})
    content = json.loads(files(server, "lab/code")[file]) | {
        "auto_map": {"AutoModel": "modeling.Model", "AutoConfig": "modeling.Config"},
        "model_type": "unknown",
    }
    files(server, "lab/code")[file] = json.dumps(content).encode()
    with pytest.raises(ValueError, match=rf"text\.name=lab/code: .*{file} has auto_map"):
        text_encoder("lab/code", [], **ENCODER)
    assert "modeling.py" not in server.store["downloaded"]
