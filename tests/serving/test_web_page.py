"""The page shows the predictions of predict, keeps no upload and loads nothing from elsewhere."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers import configured

from ecg_siglip import config
from ecg_siglip.app import app
from ecg_siglip.core.translation import LANGUAGE_NAMES, translator
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics.likelihood import likelihood_word, percent
from ecg_siglip.serving.monitoring import Metrics
from ecg_siglip.serving.prediction_service import PredictionService
from ecg_siglip.serving.upload_folder import UploadFolder, remove_uploads
from ecg_siglip.serving.web_page import build

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "test-artifacts"
sys.path.insert(0, str(ROOT / "benchmarks"))

pytest.importorskip("gradio", reason="needs the extra [app]")
TestClient = pytest.importorskip("starlette.testclient", reason="needs httpx").TestClient
BASE = "http://127.0.0.1:7860"


@pytest.fixture(scope="module")
def record(simulated) -> Path:
    return simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]


@pytest.fixture(scope="module")
def page(trained, tmp_path_factory):
    """A client of the whole application, and the folder of its uploads."""
    uploads = tmp_path_factory.mktemp("uploads")
    settings = config.AppConfig(max_mb=0.1)
    service = PredictionService(Predictor.load(trained / "model", "cpu"), settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        guarded = build(service, UploadFolder(uploads, 10**8), Metrics())
        with TestClient(guarded, base_url=BASE, raise_server_exceptions=False) as client:
            yield client, uploads
    service.close()


def test_the_page_names_its_model_and_loads_nothing_from_elsewhere(page, trained):
    client, _ = page
    response = client.get("/")
    assert response.status_code == 200
    assert f"Model {trained.name}" in response.text
    assert "For research, not for diagnosis" in response.text
    loads = r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=\"([^\"]+)\""
    loaded = re.findall(loads, response.text)
    assert loaded
    assert not [url for url in loaded if urlsplit(url).netloc]
    assert "default-src 'self'" in response.headers["content-security-policy"]
    settings = client.get("/config").json()
    assert settings["analytics_enabled"] is False
    assert client.get("/gradio_api/info").json()["named_endpoints"] == {}


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/gradio_api/file%3D/etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/deep_link",
        "/gradio_api/runs",
        "/gradio_api/queue/data",
        "/de/gradio_api/file=/etc/passwd",
        "/ja/gradio_api/proxy=http://127.0.0.1:1/",
    ],
)
def test_no_file_of_the_machine_is_sent(page, path):
    response = page[0].get(path)
    assert response.status_code == 403
    assert "root:" not in response.text


@pytest.mark.parametrize("kind", ["outside", "record", "address"])
def test_no_file_that_was_not_uploaded_is_read(page, kind, simulated):
    """Requests that no browser sends: the page must not open any path that it receives."""
    client, uploads = page
    record = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    paths = {
        "outside": ["/etc/passwd"],
        "record": [f"{record}.hea", f"{record}.dat"],
        "address": [f"{BASE}/healthz"],
    }[kind]
    before = set(uploads.rglob("*"))
    dropped = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    inputs = [dropped, "balanced", False, "", "", "", "", False, False, False, False, ""]
    config = client.get("/config").json()
    event = next(d["id"] for d in config["dependencies"] if len(d["inputs"]) == len(inputs))
    body = {"fn_index": event, "data": inputs, "session_hash": "direct"}
    response = client.post("/gradio_api/run/predict", json=body)
    assert response.status_code == 500
    for word in ("findings", "passwd", "record", "healthz"):
        assert word not in response.text
    assert set(uploads.rglob("*")) == before


def test_no_more_sessions_are_kept_than_the_setting_allows(trained, record, tmp_path, monkeypatch):
    from gradio.state_holder import StateHolder

    holders = []
    original = StateHolder.set_blocks
    monkeypatch.setattr(
        StateHolder,
        "set_blocks",
        lambda holder, blocks: [holders.append(holder), original(holder, blocks)],
    )
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    predictor = Predictor.load(trained / "model", "cpu")
    service = PredictionService(predictor, config.AppConfig(max_sessions=2))
    guarded = build(service, UploadFolder(tmp_path, 10**8), Metrics())
    with TestClient(guarded, base_url=BASE) as client:
        events = client.get("/config").json()["dependencies"]
        event = next(each["id"] for each in events if len(each["inputs"]) == 12)
        for i in range(5):
            files = [("files", (path.name, path.read_bytes())) for path in files_of(record)]
            dropped = [
                {"path": path, "meta": {"_type": "gradio.FileData"}}
                for path in client.post("/gradio_api/upload", files=files).json()
            ]
            inputs = [dropped, "balanced", False, "", "", "", "", False, False, False, False, ""]
            body = {"fn_index": event, "data": inputs, "session_hash": f"session{i}"}
            assert client.post("/gradio_api/run/predict", json=body).status_code == 200
    service.close()
    kept = [list(holder.session_data) for holder in holders if holder.session_data]
    assert kept == [["session3", "session4"]]


@pytest.mark.parametrize("path", ["/static/../../../../etc/passwd", "/assets/%2e%2e/%2e%2e/app.py"])
def test_no_file_is_sent_by_the_paths_of_the_page(page, path):
    response = page[0].get(path)
    assert response.status_code in (400, 403, 404)
    assert "root:" not in response.text and "import" not in response.text


def test_an_upload_stays_in_its_folder_is_not_sent_and_is_swept(page):
    client, uploads = page
    before = {path for path in uploads.rglob("*") if path.is_file()}
    files = {"files": ("../../evil.csv", b"I,II\n1,2\n")}
    response = client.post("/gradio_api/upload", files=files)
    assert response.status_code == 200
    (upload,) = map(Path, response.json())
    assert upload.is_relative_to(uploads) and upload.is_file()
    assert client.get(f"/gradio_api/file={upload}").status_code == 403
    UploadFolder(uploads, 10**8).sweep(3600)
    assert upload.is_file()
    UploadFolder(uploads, 10**8).sweep(-1)
    assert not upload.exists()
    assert {path for path in uploads.rglob("*") if path.is_file()} <= before
    too_large = {"files": ("a.csv", b"1" * 200_000)}
    assert client.post("/gradio_api/upload", files=too_large).status_code == 413


def test_two_sessions_with_the_same_ecg_share_no_file(page, record):
    client, _ = page
    files = [("files", (f"{record.name}.dat", record.with_suffix(".dat").read_bytes()))]
    first, second = (
        Path(client.post("/gradio_api/upload", files=files).json()[0]) for _ in range(2)
    )
    remove_uploads([str(first)])
    assert second.is_file() and not first.exists()
    remove_uploads([str(second)])


def test_waiting_requests_do_not_block_the_page(trained, tmp_path, monkeypatch):
    """More requests than the forty threads that serve files and uploads."""
    ended = threading.Event()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    service = PredictionService(
        Predictor.load(trained / "model", "cpu"), config.AppConfig(max_waiting=50)
    )
    guarded = build(service, UploadFolder(tmp_path, 10**8), Metrics())

    async def from_many_addresses(scope, receive, send):
        """Take the address of the client from a header: one client may not fill the queue."""
        number = dict(scope.get("headers", [])).get(b"x-number", b"0").decode()
        await guarded({**scope, "client": (f"10.0.0.{number}", 1)}, receive, send)

    files = {"files": ("a.csv", b"I\n1\n")}
    with TestClient(from_many_addresses, base_url=BASE, raise_server_exceptions=False) as client:
        (name,) = client.post("/gradio_api/upload", files=files).json()
        dropped = [{"path": name, "meta": {"_type": "gradio.FileData"}}]
        inputs = [dropped, "balanced", False, "", "", "", "", False, False, False, False, ""]
        known = client.get("/config").json()["dependencies"]
        event = next(event["id"] for event in known if len(event["inputs"]) == len(inputs))

        def request(i: int) -> str:
            body = {"fn_index": event, "data": inputs, "session_hash": f"waits{i}"}
            number = {"x-number": str(i)}
            return client.post("/gradio_api/run/predict", json=body, headers=number).text

        service.submit(ended.wait)
        with ThreadPoolExecutor(60) as clients:
            requests = [clients.submit(request, i) for i in range(60)]
            try:
                refused = list(islice(as_completed(requests, 60), 11))
                page, response = client.get("/theme.css"), client.post("/predict", files=files)
            finally:
                ended.set()
        assert all("requests are waiting" in one.result() for one in refused)
        assert (page.status_code, response.status_code) == (200, 503)
        rest = [one.result() for one in requests if one not in refused]
        assert not any("requests are waiting" in text for text in rest)
        assert all("record a" in text for text in rest)
    service.close()


def test_the_json_api_is_served_with_the_page(page, record):
    client, _ = page
    files = [
        ("files", (record.name + end, record.with_suffix(end).read_bytes()))
        for end in (".hea", ".dat")
    ]
    assert client.post("/predict", files=files).json()["predictions"][0]["record"] == record.name
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/docs").status_code == 200


def test_wrong_settings_and_missing_packages_are_named(trained, monkeypatch, unpackaged):
    with pytest.raises(ValueError, match=r"no model named, .*: expected run\.name"):
        app(config.AppConfig(run=config.RunConfig(name="")))
    root = str(trained.parent)
    with pytest.raises(ValueError, match="no trained model there"):
        app(config.AppConfig(run=config.RunConfig(name="no_such", root=root)))
    settings = {"run.name": trained.name, "run.root": root, "device": "cpu"}
    with pytest.raises(ValueError, match=r"host=0\.0\.0\.0: expected hosts="):
        app(configured(config.AppConfig, settings | {"host": "0.0.0.0"}))
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ValueError, match=r"gradio: pip install 'ecg_siglip\[app\]'"):
        app(configured(config.AppConfig, settings))


# The tests below start the command and use a browser: make test-app.


@pytest.fixture(scope="module")
def server(trained, tmp_path_factory):
    """The address of a running server, and the only folder that it may write to."""
    import app as bench

    folder, log = tmp_path_factory.mktemp("temporary"), tmp_path_factory.mktemp("log") / "stderr"
    settings = ("device=cpu", "n_threads=1")
    with (
        log.open("w") as file,
        bench.serve_run(trained, *settings, log=file, TMPDIR=str(folder)) as url,
    ):
        yield url, folder
    assert list(folder.iterdir()) == [], "the server has left files"
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    with playwright.sync_playwright() as started:
        # Containers lack the user namespaces of its sandbox; nothing but our page is opened.
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(server, browser):
    """A page of headless Chromium at the address; no request of it may leave this machine."""
    url, _ = server
    requests, errors = [], []
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, accept_downloads=True, locale="en-GB"
    )
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(url)
    tab.wait_for_selector("text=Findings of a 12-lead ECG")
    yield tab
    # Shown if a test fails: the text of the page, and its requests.
    print(tab.inner_text("body"), *requests, sep="\n")
    context.close()
    assert requests
    assert not [u for u in requests if not u.startswith((f"{url}/", "data:", "blob:"))]
    assert not errors


def files_of(record: Path) -> list[Path]:
    return [record.with_suffix(end) for end in (".hea", ".dat")]


def drop(tab, paths, nth=0):
    tab.locator("input[type=file]").nth(nth).set_input_files([str(path) for path in paths])


def stored(folder: Path) -> list[Path]:
    """Return the uploads: files that are not empty, other than the lock of the server."""
    files = [path for path in folder.rglob("*") if not path.name.startswith(".lock")]
    return [path for path in files if path.is_file() and path.stat().st_size]


@pytest.fixture(scope="module")
def expected(trained, record):
    import app as bench

    return bench.run_predict(trained, record)


@pytest.mark.app
def test_a_dropped_ecg_is_shown_with_its_findings(visit, server, record, expected):
    drop(visit, files_of(record))
    visit.wait_for_selector("#findings .bar")
    visit.wait_for_selector("#ecg img")
    assert record.name in visit.inner_text("#summary h2")
    assert visit.locator("#summary .strip div").count() == 7, "the measurements of the first line"
    assert visit.locator("#measurements table.measured").count()
    present = visit.locator("#findings .bar.present .name .code").all_inner_texts()
    assert present == [finding["code"] for finding in expected["findings"]]
    numbers = visit.locator("#findings .bar .number").all_inner_texts()
    shown = visit.locator("#findings .bar .name .code").all_inner_texts()
    for code, number in zip(shown, numbers, strict=True):
        probability = expected["probabilities"][code]
        assert number == f"{likelihood_word(probability)} {percent(probability)}"
    for warning in expected["warnings"]:
        assert warning in visit.inner_text("#summary")
    assert stored(server[1]) == [], "an upload is deleted after its prediction"

    # The samples that support a finding are marked on another image.
    plain = visit.get_attribute("#ecg img", "src")
    visit.click("#why input")
    visit.click("[role=option]:has-text('Left ventricular hypertrophy')")
    visit.wait_for_selector("#ecg :text('Left ventricular hypertrophy')")
    visit.wait_for_function("plain => document.querySelector('#ecg img').src != plain", arg=plain)

    # Questions in three languages, and one that matches no finding.
    for words, name, language in (
        ("is there a left bundle branch block?", "Complete left bundle branch block", "en"),
        ("Linksschenkelblock?", "Kompletter Linksschenkelblock", "de"),
        ("左脚ブロック", "完全左脚ブロック", "ja"),
    ):
        visit.fill("#question textarea", words)
        visit.press("#question textarea", "Enter")
        visit.wait_for_selector(f"#question-result :text('{words}')")
        assert name in visit.inner_text("#question-result")
        assert translator(language)("not calibrated") in visit.inner_text("#question-result")
    visit.fill("#question textarea", "pizza")
    visit.press("#question textarea", "Enter")
    visit.wait_for_selector("#question-result :text('far from all that the model was trained on')")


@pytest.mark.app
def test_the_record_report_is_downloaded(visit, server, record):
    drop(visit, files_of(record))
    visit.wait_for_selector("#findings .bar")
    starts = {"Record report (HTML)": b"<!doctype html>", "Record report (PDF)": b"%PDF"}
    for button, start in starts.items():
        with visit.expect_download() as download:
            visit.click(f"button:has-text('{button}')")
        content = Path(download.value.path()).read_bytes()
        assert content.lstrip().startswith(start)
        assert download.value.suggested_filename.startswith(record.name)
    assert stored(server[1]) == []


@pytest.mark.app
def test_a_bad_file_shows_an_error_and_is_read_again_with_settings(visit, server, tmp_path):
    (tmp_path / "bad.csv").write_text("hello")
    drop(visit, [tmp_path / "bad.csv"])
    alert = visit.inner_text(".error")
    assert not visit.is_visible("#result")
    assert "record bad" in alert
    assert "Traceback" not in visit.inner_text("body")
    assert str(server[1]) not in visit.inner_text("body")

    visit.reload()
    # Opened early: in rare runs the page sent an empty field if it was filled in within
    # milliseconds of its appearance, faster than a user can.
    visit.click("button:has-text('Values that the file does not state') >> visible=true")
    rows = [[str((i * 7 + k * 3) % 13 / 10) for k in range(12)] for i in range(2000)]
    leads = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    with open(tmp_path / "bare.csv", "w", newline="") as file:
        csv.writer(file).writerows([[f"{lead} (mV)" for lead in leads], *rows])
    drop(visit, [tmp_path / "bare.csv"])
    visit.wait_for_selector(".error:has-text('give “Sampling rate of the file (Hz)”')")
    visit.get_by_label("Sampling rate of the file (Hz)").first.fill("200")
    visit.click("button:has-text('Read again')")
    visit.wait_for_selector("#findings .bar")
    assert visit.locator(".error:visible").count() == 0


@pytest.mark.app
def test_a_picture_is_named_as_one(visit, server, tmp_path):
    (tmp_path / "scan.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))  # whatever its name
    drop(visit, [tmp_path / "scan.csv"])
    visit.wait_for_selector(".error:has-text('this is a picture')")
    assert "The waveform file is needed, for example DICOM" in visit.inner_text(".error")
    assert not visit.is_visible("button:has-text('Read again')")
    assert "scan.csv" not in [path.name for path in stored(server[1])]


WIDTHS, MODES = (1280, 390), ("light", "dark")
# Controls that the keyboard reaches.
CONTROLS = ("button", "textbox", "radio", "checkbox", "combobox", "link", "tab", "listbox")
OUTLINED = """() => {
  let element = document.activeElement;
  const name = element.outerHTML.slice(0, 120);
  for (let i = 0; i < 3 && element; i++, element = element.parentElement) {
    const style = getComputedStyle(element);
    if (style.outlineStyle != "none" && parseFloat(style.outlineWidth) >= 2) return "";
  }
  return name;
}"""
# Elements that reach beyond the right edge, and buttons whose text is below their arrow.
TOO_WIDE = """() => [...document.querySelectorAll("body *")]
  .filter((each) => each.offsetParent && each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.outerHTML.slice(0, 120))"""
OVERLAPS = """() => [...document.querySelectorAll(".label-wrap")]
  .filter((each) => each.offsetParent)
  .filter((each) => {
    const [text, icon] = [...each.children].map((child) => child.getBoundingClientRect());
    return text.right > icon.left + 1;
  }).length"""


def open_page(browser, url, width=1280, mode="light", locale="en-GB"):
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=mode, locale=locale
    )
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    tab.goto(url)
    tab.wait_for_selector("h1")
    tab.wait_for_selector("text=WFDB")
    return tab


@pytest.mark.app
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_accessible(browser, server, record, width, mode):
    """No serious finding of axe, nothing wider than the screen, every focus visible."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab = open_page(browser, server[0], width, mode)
    tab.add_style_tag(content="* { transition: none !important; animation: none !important; }")

    def check(state: str) -> None:
        tab.wait_for_timeout(300)
        found = axe.run(tab).response["violations"]
        bad = [
            (each["id"], node["html"][:200], node["failureSummary"][:300])
            for each in found
            for node in each["nodes"]
            if each["impact"] in ("serious", "critical")
        ]
        assert not bad, (state, bad)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert not tab.evaluate(TOO_WIDE), state
        assert not tab.evaluate(OVERLAPS), state

    check("without a result")
    tab.click("button:has-text('Values that the file does not state') >> visible=true")
    check("with the fields for the file")
    tab.click("button:has-text('Values that the file does not state') >> visible=true")
    drop(tab, files_of(record))
    tab.wait_for_selector("#findings .bar")
    tab.wait_for_selector("#ecg img")
    tab.wait_for_function("document.activeElement.id == 'result-title'")
    check("with a result")
    if mode == "light":
        check_keyboard(tab)
    tab.fill("#question textarea", "is there a left bundle branch block?")
    tab.press("#question textarea", "Enter")
    tab.wait_for_selector("#question-result .question")
    check("with a question")
    drop(tab, [record.with_suffix(".dat")])
    tab.wait_for_selector(".error")
    tab.wait_for_function("document.activeElement.classList.contains('error')")
    check("with an error")
    tab.click("button[role=tab] >> nth=1")
    drop(tab, files_of(record), nth=1)
    tab.wait_for_selector("#many table")
    check("with many")
    tab.context.close()


def check_keyboard(tab) -> None:
    """Every control has a name, and what has the focus has an outline."""
    tree = tab.context.new_cdp_session(tab).send("Accessibility.getFullAXTree")["nodes"]
    nameless = [
        node["role"]["value"]
        for node in tree
        if not node.get("ignored")
        and node.get("role", {}).get("value") in CONTROLS
        and not node.get("name", {}).get("value")
    ]
    assert not nameless
    tab.evaluate("document.querySelector('nav a').focus()")
    reached = []
    for _ in range(60):
        tab.keyboard.press("Tab")
        name = tab.evaluate("document.activeElement.tagName")
        if name != "BODY":  # the end of the page, and Gradio's dropdown, which gives the focus away
            reached.append(name)
            assert tab.evaluate(OUTLINED) == ""
        if tab.evaluate("document.activeElement == document.querySelector('nav a')"):
            break
    else:
        raise AssertionError("the focus does not leave a control")
    assert len(reached) >= 15 and {"A", "BUTTON", "INPUT", "TEXTAREA", "SUMMARY"} <= {*reached}


@pytest.mark.app
def test_with_a_token_and_a_certificate_the_page_opens_after_the_form(
    browser, trained, record, certificate, tmp_path
):
    import app as bench

    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef")
    token.chmod(0o600)
    words = [f"tls_cert={certificate[0]}", f"tls_key={certificate[1]}", f"token_file={token}"]
    with bench.serve_run(trained, "device=cpu", "n_threads=1", *words) as url:
        assert url.startswith("https://")
        context = browser.new_context(ignore_https_errors=True, locale="en-GB")
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        tab.goto(url)
        assert not tab.locator("input[type=file]").count()
        tab.fill("input[name=token]", "another token of 16")
        tab.press("input[name=token]", "Enter")
        tab.wait_for_selector("text=Wrong token")
        tab.fill("input[name=token]", token.read_text())
        tab.press("input[name=token]", "Enter")
        tab.wait_for_selector("text=Findings of a 12-lead ECG")
        drop(tab, files_of(record))
        tab.wait_for_selector("#findings .bar")
        context.close()


@pytest.mark.app
def test_the_language_is_the_browsers_or_the_chosen_one(browser, server, record):
    tab = open_page(browser, server[0], locale="de-AT")
    assert tab.evaluate("document.documentElement.lang") == "de"
    assert tab.inner_text("h1") == "Befunde eines 12-Kanal-EKGs"
    assert "Datei hier ablegen" in tab.inner_text("body"), "Gradio's own text"
    drop(tab, files_of(record))
    tab.wait_for_selector("#findings .bar")
    assert "Sinusrhythmus" in tab.inner_text("#findings")
    tab.click("nav a[hreflang=ja]")
    tab.wait_for_selector("h1:has-text('12誘導心電図の所見')")
    assert tab.evaluate("document.documentElement.lang") == "ja"
    tab.click("nav a[hreflang=en]")
    tab.wait_for_selector("h1:has-text('Findings of a 12-lead ECG')")
    assert tab.evaluate("document.documentElement.lang") == "en"
    assert tab.get_attribute("nav a[hreflang=en]", "aria-current") == "page"
    tab.context.close()


@pytest.mark.app
@pytest.mark.parametrize("language", LANGUAGE_NAMES)
def test_screenshots(browser, server, record, language):
    """For people to look at: ``page-<language>-<width>-<mode>.png`` and the printed report."""
    ARTIFACTS.mkdir(exist_ok=True)
    for width in WIDTHS:
        for mode in MODES:
            tab = open_page(browser, f"{server[0]}/?lang={language}", width, mode)
            drop(tab, files_of(record))
            tab.wait_for_selector("#ecg img")
            tab.wait_for_selector("#measurements img")
            tab.wait_for_timeout(1500)
            name = f"page-{language}-{width}-{mode}.png"
            tab.screenshot(path=ARTIFACTS / name, full_page=True)
            if (width, mode) == (WIDTHS[0], MODES[0]):
                with tab.expect_download() as download:
                    tab.click("button:has-text('PDF')")
                download.value.save_as(ARTIFACTS / f"report-{language}.pdf")
                assert (ARTIFACTS / f"report-{language}.pdf").read_bytes()[:5] == b"%PDF-"
            tab.context.close()


@pytest.mark.app
def test_many_ecgs_become_a_table(visit, server, simulated, tmp_path):
    names = ptbxl.read_metadata(simulated)["filename_lr"].iloc[:3]
    (tmp_path / "bad.csv").write_text("hello")
    before = stored(server[1])  # unreadable files of other tests, for a second try
    paths = [path for name in names for path in files_of(simulated / name)]
    visit.click("button[role=tab]:has-text('Many')")
    drop(visit, [*paths, tmp_path / "bad.csv"], nth=1)
    visit.wait_for_selector("#many :text('3 read, 1 not')")
    with visit.expect_download() as download:
        visit.click("button:has-text('Findings as CSV')")
    text = Path(download.value.path()).read_text("utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["record"] for row in rows] == [Path(name).name for name in names] + ["bad.csv"]
    assert sum(name.startswith("probability/") for name in rows[0]) == 71
    assert rows[3]["error"]
    assert stored(server[1]) == before


@pytest.mark.app
def test_every_prediction_under_load_is_that_of_predict(server, record, expected):
    import app as bench

    url, folder = server
    before, rows = stored(folder), []
    for n_clients in bench.N_CLIENTS:
        row = bench.send_requests(url, bench.form_body(record), n_clients, 2 * n_clients + 6)
        assert row["statuses"] == [200]
        (response,) = row.pop("responses")
        # A file that is sent to the API has no table of PTB-XL with it.
        sent = {key: value for key, value in expected.items() if key != "recording"}
        assert response["predictions"] == [sent]
        rows.append(row)
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / "load.json").write_text(json.dumps(rows, indent=1) + "\n")
    assert stored(folder) == before


@pytest.mark.app
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_ended_leaves_no_files(trained, tmp_path, number):
    words = [f"run.root={trained.parent}", f"run.name={trained.name}", "port=0", "device=cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ecg_siglip.app", *words, "host=0.0.0.0", "hosts=[localhost]"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert process.stdout.readline().startswith("http://0.0.0.0:")
    assert list(tmp_path.iterdir())
    time.sleep(2)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "warning: listening on 0.0.0.0" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.app
def test_a_screenshot_for_the_readme(browser):
    """``make screenshot`` sets run and record: ``runs/demo:data/demo/.../00129_lr``."""
    paths = os.environ.get("ECG_SIGLIP_SCREENSHOT")
    if not paths:
        pytest.skip("only by make screenshot")
    import app as bench

    image = pytest.importorskip("PIL.Image")
    run, record = map(Path, paths.split(":"))
    with bench.serve_run(run.resolve()) as url:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(url)
        drop(tab, files_of(record))
        tab.wait_for_selector("#ecg :text('samples that raised')")
        tab.fill("#question textarea", "Gibt es einen Linksschenkelblock?")
        tab.press("#question textarea", "Enter")
        tab.wait_for_selector("#question-result .question")
        tab.evaluate("window.scrollTo(0, 0)")
        content = tab.screenshot(full_page=True)
        tab.close()
    picture = image.open(io.BytesIO(content)).convert("RGB").quantize(128)
    picture.save(ROOT / "docs" / "app.png", optimize=True)
