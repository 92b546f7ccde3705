"""The page of each language has its own address; the browser's language and ?lang= lead to it."""

import pytest

from ecg_siglip.serving.page_language import PATHS, PageLanguages

TestClient = pytest.importorskip("starlette.testclient", reason="needs httpx").TestClient
PAGE = b'<!doctype html><html\n\tlang="en"\n\tstyle=""><head></head><body>x</body></html>'


async def application(scope, receive, send):
    assert (b"accept-encoding", b"br") not in scope["headers"] or scope["path"] == "/de/config"
    headers = [(b"content-type", b"text/html"), (b"content-length", str(len(PAGE)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for part in (PAGE[:20], PAGE[20:]):
        await send({"type": "http.response.body", "body": part, "more_body": part == PAGE[:20]})


@pytest.fixture
def client():
    return TestClient(PageLanguages(application), follow_redirects=False)


@pytest.mark.parametrize(
    ("address", "browser", "expected"),
    [
        ("/", "de-AT,de;q=0.9", "/de/"),
        ("/", "ja", "/ja/"),
        ("/", "fr,en;q=0.5", "/"),
        ("/", "", "/"),
        ("/?lang=ja", "de", "/ja/"),
        ("/?lang=en", "de", "/?lang=en"),
        ("/de/", "ja", "/de/"),
        ("/de", "ja", "/de/"),
        ("/de/?lang=en", "de", "/?lang=en"),
        ("/de/?lang=ja", "de", "/ja/"),
        ("/ja/?lang=fr", "ja", "/?lang=en"),
        ("/?lang=de&__theme=dark", "en", "/de/?__theme=dark"),
    ],
)
def test_the_language_of_the_address_or_the_browser_is_shown(client, address, browser, expected):
    response = client.get(address, headers={"accept-language": browser, "accept-encoding": "br"})
    for _ in range(2):
        if response.is_redirect:
            url = response.url.join(response.headers["location"])
            response = client.get(str(url), headers={"accept-language": browser})
    assert response.status_code == 200
    assert response.url.raw_path.decode() == expected
    language = next(name for name, path in PATHS.items() if path == response.url.path)
    assert f'lang="{language}"' in response.text
    assert f'value: "{language}"' in response.text.partition("</head>")[0]


def test_other_addresses_are_not_changed(client):
    response = client.get("/de/config", headers={"accept-language": "ja"})
    assert response.content == PAGE
