"""A model goes to the hub and comes back the same, with a card; nothing else of the run does.

The hub is a small server of this page that speaks the part of its protocol that is needed here.
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

TOKEN = "hf_test"


class Hub(BaseHTTPRequestHandler):
    """Repositories in memory: by name, the files of each commit, and the branches."""

    def log_message(self, *words):
        pass

    @property
    def store(self):
        return self.server.store

    def answer(self, content=b"", status=200, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code=""):
        self.answer({"error": code or "no"}, status, **({"X_Error_Code": code} if code else {}))

    @property
    def may_write(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def path_and_body(self):
        self.length = int(self.headers.get("Content-Length") or 0)
        return unquote(urlparse(self.path).path), self.rfile.read(self.length)

    def found(self, name, revision):
        """The repository and the commit meant; refuses where there is none."""
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
            if hit := self.found(name, revision):
                repo, commit = hit
                files = repo["commits"][commit]
                if kind == "tree":
                    return self.answer(
                        [
                            {"type": "file", "path": p, "size": len(c), "oid": oid(c)}
                            for p, c in files.items()
                        ]
                    )
                siblings = [{"rfilename": p} for p in files]
                self.answer({"id": name, "modelId": name, "sha": commit, "siblings": siblings})
        elif words[2:3] == ["resolve"]:
            if hit := self.found("/".join(words[:2]), words[3]):
                repo, commit = hit
                content = repo["commits"][commit].get("/".join(words[4:]))
                if content is None:
                    return self.refuse(404, "EntryNotFound")
                self.store["fetched"].append("/".join(words[4:]))
                self.answer(content, ETag=f'"{oid(content)}"', X_Repo_Commit=commit)
        else:
            self.refuse(404)

    do_HEAD = do_GET

    def do_PUT(self):
        path, body = self.path_and_body()
        self.store["large"][path.split("/")[-1]] = body
        self.answer()

    def do_POST(self):
        path, body = self.path_and_body()
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if not self.may_write:
            return self.refuse(401)
        words = path.strip("/").split("/")
        if path == "/api/repos/create":
            said = json.loads(body)
            name = f"{said.get('organization') or 'me'}/{said['name']}"
            if name in self.store["repos"]:
                return self.answer({"url": f"{self.server.url}/{name}"}, 409)
            if name.startswith("other/"):
                return self.refuse(403)
            first = {".gitattributes": b""}
            private = said.get("private") or said.get("visibility") == "private"
            repo = {"private": private, "branches": {}, "commits": {}}
            self.store["repos"][name] = repo
            commit(repo, "main", first)
            return self.answer({"url": f"{self.server.url}/{name}", "name": name})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {
                    "oid": o["oid"],
                    "size": o["size"],
                    "actions": {"upload": {"href": f"{self.server.url}/large/{o['oid']}"}},
                }
                for o in json.loads(body)["objects"]
            ]
            return self.answer({"transfer": "basic", "objects": objects})
        name, kind, revision = "/".join(words[2:4]), words[4], words[5]
        if kind == "branch":
            repo = self.store["repos"][name]
            if revision in repo["branches"]:
                return self.refuse(409)
            repo["branches"][revision] = repo["branches"]["main"]
            return self.answer({})
        hit = self.found(name, revision)
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
            return self.answer({"files": modes})
        files = dict(repo["commits"][parent])
        for line in body.decode().splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif said["key"] == "lfsFile":
                files[value["path"]] = self.store["large"][value["oid"]]
            elif said["key"] == "deletedFile":
                del files[value["path"]]
        sha = commit(repo, revision, files)
        url = f"{self.server.url}/{name}/commit/{sha}"
        return self.answer({"success": True, "commitOid": sha, "commitUrl": url})


def oid(content):
    return hashlib.sha1(content).hexdigest()


def commit(repo, branch, files):
    sha = oid(repr((len(repo["commits"]), sorted(files))).encode())
    repo["commits"][sha] = files
    repo["branches"][branch] = sha
    return sha


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The hub, empty, where this process and those that it starts look for it."""
    found = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    found.store = {"repos": {}, "large": {}, "fetched": []}
    found.url = f"http://127.0.0.1:{found.server_port}"
    threading.Thread(target=found.serve_forever, daemon=True).start()
    said = {"HF_ENDPOINT": found.url, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_TOKEN": TOKEN}
    said |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    said |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    constants = "huggingface_hub.constants"
    template = found.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(f"{constants}.ENDPOINT", found.url)
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", said["HF_HUB_CACHE"])
    monkeypatch.setattr(f"{constants}.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def push(evaluated, capsys):
    """Run the verb for the evaluated run; returns what it said."""
    run = evaluated.parents[1]

    def go(**knobs):
        base = {"run.name": run.name, "run.root": str(run.parent), "to": "hub", "repo": "me/ecg"}
        export(configured(ExportConfig, base | knobs))
        return capsys.readouterr()

    return go


def files(server, name="me/ecg", branch="main"):
    repo = server.store["repos"][name]
    return repo["commits"][repo["branches"][branch]]


def test_a_model_comes_back_as_it_went(server, push, evaluated):
    out, _ = push()
    assert f"wrote {server.url}/me/ecg/commit/" in out
    assert "with scores of fold 10" in out
    assert server.store["repos"]["me/ecg"]["private"]
    here = Predictor.load(evaluated.parents[1] / "model", "cpu")
    there = Predictor.load("me/ecg", "cpu")
    signals = np.random.default_rng(0).integers(-900, 900, (3, 12, 1000)).astype(np.int16)
    assert np.array_equal(here.probabilities(signals), there.probabilities(signals))
    assert there.artifact.provenance == here.artifact.provenance
    classifier = EcgClassifier.from_pretrained("me/ecg", fs=100, device="cpu")
    ecgs = (signals / 1000).astype(np.float32)
    ours = EcgClassifier(here, fs=100).predict_proba(ecgs)
    assert np.array_equal(classifier.predict_proba(ecgs), ours)
    EcgTextModel.from_pretrained("me/ecg")


def test_nothing_but_the_model_is_sent(server, push, evaluated):
    stray = evaluated.parents[1] / "model" / "text" / "old.bin"
    stray.write_bytes(b"\x80\x04pickle")
    try:
        push()
    finally:
        stray.unlink()
    sent = set(files(server)) - {".gitattributes"}
    assert sent == {"README.md", "config.json", "model.safetensors", "text/tokenizer.json"}


def test_the_card_is_filled_from_the_run(server, push, evaluated):
    push()
    card = files(server)["README.md"].decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert (head["license"], head["library_name"]) == ("apache-2.0", "ecg_siglip")
    scores = json.loads((evaluated / "metrics.json").read_text())
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"]["name"].endswith("fold 10")
    said = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert said["expected_f1/micro_f1"] == round(scores["expected_f1/micro_f1"], 4)
    assert "None" not in card and "{" not in card.split("---\n")[2]
    low, high = (scores[f"fixed_0.5/micro_f1/{end}"] for end in ("low", "high"))
    row = f"| micro F1 at 0.5 | {scores['fixed_0.5/micro_f1']:.3f} [{low:.3f}, {high:.3f}] |"
    for words in (
        row,
        "| | fold 10 | tuning fold 9 |",
        "For research, not for diagnosis",
        "Not meant to decide about a patient",
        "trained on folds [1, 2, 3, 4, 5, 6, 7, 8]",
        "seed 0",
        '.from_pretrained("me/ecg")',
        "model=me/ecg ",
        "- `AFIB`: ",
        "CC BY 4.0",
    ):
        assert words in card, words


def test_scores_of_another_model_do_not_get_on_the_card(server, push, evaluated, tmp_path):
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


def test_what_an_earlier_model_had_goes_and_what_is_not_ours_stays(server, push):
    push()
    repo = server.store["repos"]["me/ecg"]
    strangers = {"text/old.json": b"{}", "LICENSE": b"text", "evil.bin": b"\x80", "run.py": b"x"}
    commit(repo, "main", files(server) | strangers | {"text/evil.pkl": b"\x80"})
    server.store["fetched"].clear()
    load_artifact("me/ecg")
    fetched = set(server.store["fetched"])
    assert not fetched & {"evil.bin", "run.py", "text/evil.pkl", "LICENSE"}, "none of them is read"
    push()
    left = set(files(server))
    assert "text/old.json" not in left and {"LICENSE", "evil.bin", "run.py"} <= left


def test_a_classifier_fitted_elsewhere_can_be_shared(server, trained):
    classifier = EcgClassifier.from_pretrained(trained / "model", fs=100, device="cpu")
    rng = np.random.default_rng(0)
    signals = rng.normal(0, 0.3, (30, 12, 1000))
    classifier.fit(signals, rng.random((30, len(classifier.classes_))) < 0.3)
    assert classifier.push_to_hub("me/fitted").startswith(f"{server.url}/me/fitted/commit/")
    again = EcgClassifier.from_pretrained("me/fitted", fs=100, device="cpu")
    assert np.array_equal(again.predict_proba(signals[:2]), classifier.predict_proba(signals[:2]))
    assert np.array_equal(again.predict(signals[:2]), classifier.predict(signals[:2]))


def test_whoever_may_not_is_told_what_to_do(server, push, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"repo is missing: say where on the hub"):
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


def test_without_a_connection_the_cache_answers_or_an_error_says_so(server, push, monkeypatch):
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


def test_a_name_of_the_hub_is_no_path(server):
    with pytest.raises(ValueError, match=r"not on the hub: expected owner/name, got '\.\./up/x'"):
        hub.download("../up/x")
