"""Who reaches the server at all: this machine unless told otherwise, and no pages of other sites."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serving
from callers import as_, error_of, raw, refused, status_of, token_file
from serving import Server

from latentgraph.engine.cli import main
from latentgraph.engine.problems import UserError
from latentgraph.server.http.access import Sites, Tokens, is_loopback

EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = serving.start(
        tmp_path_factory.mktemp("sites"),
        "--allow-origin=https://shop.example",
        "--allow-origin=http://localhost:3000/",
        "--allow-host=graphs.example",
    )
    yield found
    found.stop()


@pytest.fixture
def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Calls `latentgraph serve`, which does not begin with what is wrong with the options; gives what it says."""
    mask = os.umask(0o022)

    def call(*options: str) -> str:
        assert main(["serve", "--port=0", f"--data={tmp_path / 'data'}", *options]) == 2
        return capsys.readouterr().err

    yield call
    os.umask(mask)


# where it listens


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "", "0", "127.0.0.1.example.org"])
def test_another_address_than_loopback_needs_a_token_file_or_to_be_called_insecure(
    served: Callable[..., str], host: str
) -> None:
    said = served(f"--host={host}")
    assert "lets other machines in" in said
    assert "--token-file" in said
    assert "--insecure" in said


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "2130706433", "0x7f000001", "127.1", "localhost.evil.example")),
    ],
)
def test_loopback_is_told_by_the_address_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_it_listens_at_loopback_unless_told_otherwise(server: Server) -> None:
    listening = Path("/proc/net/tcp")
    if not listening.exists():
        pytest.skip("no /proc")
    rows = [line.split()[1] for line in listening.read_text().splitlines()[1:] if line.split()[3] == "0A"]
    assert [row for row in rows if row.endswith(f":{server.port:04X}")] == [f"0100007F:{server.port:04X}"]


def test_tokens_let_other_machines_in(tmp_path: Path) -> None:
    found = serving.start(tmp_path, "--host=0.0.0.0", "--token-file", token_file(tmp_path), nodes=False)
    try:
        assert found.get("/v1/server").status == 401
        assert found.get("/v1/server", headers={**as_("ann"), "Host": "any.example"}).status == 200
    finally:
        found.stop()


# the token file


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o610])
def test_a_token_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = token_file(tmp_path)
    path.chmod(mode)
    with pytest.raises(UserError, match=f"can be read by others: chmod 600 {path}"):
        Tokens(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ann read short\n", ":1: write NAME SCOPES TOKEN"),
        ("# tokens\n\nann read\n", ":3: write NAME SCOPES TOKEN"),
        ("ann 0123456789abcdef\n", ":1: write NAME SCOPES TOKEN"),
        ("ann read 0123456789abcdef more\n", ":1: write NAME SCOPES TOKEN"),
        ("../ann read 0123456789abcdef\n", ":1: write NAME SCOPES TOKEN"),
        (".. read 0123456789abcdef\n", ":1: write NAME SCOPES TOKEN"),
        ("ann write 0123456789abcdef\n", ":1: the scopes are read, submit, admin"),
        ("ann read,,submit 0123456789abcdef\n", ":1: the scopes are read, submit, admin"),
        ("ann read 0123456789abcdef\nANN read 0123456789abcdeg\n", ":2: there are two tokens called ANN"),
        ("ann read 0123456789abcdef\nbob read 0123456789abcdef\n", ":2: the token is there already"),
        ("ann read 0123456789äbcdef\n", ":1: write NAME SCOPES TOKEN"),
        ("# nothing\n", "has no token"),
        ("", "has no token"),
        ("\udcff\udcfe read 0123456789abcdef\n", "is no UTF-8 text"),
    ],
)
def test_a_malformed_token_file_says_where_and_never_what(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(UserError) as caught:
        Tokens(path)
    assert said in str(caught.value)
    assert "0123456789abcde" not in str(caught.value)


@pytest.mark.parametrize("found", ["missing", "folder"])
def test_a_token_file_that_cannot_be_read_ends_the_command(
    served: Callable[..., str], tmp_path: Path, found: str
) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    assert f"the token file {tmp_path / found} cannot be read" in served(f"--token-file={tmp_path / found}")


@pytest.mark.parametrize(
    "option",
    [
        *("--allow-origin=*", "--allow-origin=null", "--allow-origin=example.org", "--allow-origin=https://*.example"),
        *("--allow-origin=https://a.example/path", "--allow-origin=https://a@b.example", "--webhook=example.org"),
        *(
            "--allow-host=*",
            "--allow-host=a/b",
            "--limit=body=0",
            "--limit=body=-1",
            "--limit=bodies=1",
            "--limit=body",
        ),
    ],
)
def test_an_option_that_means_nothing_is_refused(served: Callable[..., str], option: str) -> None:
    assert option.partition("=")[0] in served(option)


# by which name it is called


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:PORT", "127.0.0.1.evil.example:PORT", "localhost.evil.example", "0.0.0.0"),
        *(
            "evil.example#127.0.0.1",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "127.0.0.1/evil",
            "",
            "0.0.0.0",
        ),
        *(
            "[::1].evil.example",
            "127.0.0.1:PORT:80",
            "127.0.0.1:PORT, evil.example",
            "\tevil.example",
            "127.1",
            "[evil]",
        ),
    ],
)
def test_a_name_that_somebody_else_may_have_turned_to_this_machine_is_refused(server: Server, host: str) -> None:
    # DNS rebinding: the page of evil.example, which now resolves to 127.0.0.1, counts as of this server's own origin.
    host = host.replace("PORT", str(server.port))
    for path in ("/", "/v1/health", "/v1/server", "/v1/openapi.json", "/page/page.js", "/nothing"):
        answer = raw(server, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert status_of(answer) in (400, 403), (path, answer[:200])
    assert refused(server, {"Host": host.strip(), "Origin": f"http://{host.strip()}"}) in (400, 403)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "graphs.example", "localhost:1"])
def test_its_own_names_and_those_that_were_allowed_are_fine(server: Server, host: str) -> None:
    assert server.get("/v1/server", headers={"Host": host}).status == 200


def test_at_all_addresses_without_tokens_only_addresses_and_the_machine_are_names() -> None:
    sites = Sites("0.0.0.0", [], [], tokens=False)
    assert sites._called("192.0.2.7:8765")
    assert sites._called("[2001:db8::1]:8765")
    assert sites._called("localhost")
    assert not sites._called("rebound.example:8765")
    assert Sites("0.0.0.0", ["rebound.example"], [], tokens=False)._called("rebound.example:8765")
    assert Sites("0.0.0.0", [], [], tokens=True)._called("anything.example")


# pages of other sites

OTHERS = [
    EVIL,
    "null",
    "",
    "http://127.0.0.1:1",
    "http://localhost:PORT",  # the same machine by another name is another site
    "http://127.0.0.1",
    "http://127.0.0.1:PORT.evil.example",
    "http://127.0.0.1.evil.example:PORT",
    "http://evil.example:PORT",
    "http://127.0.0.1:PORT@evil.example",
    "http://evil.example/http://127.0.0.1:PORT",
    "http://127.0.0.1:PORT/",
    "ws://127.0.0.1:PORT",
    "file://127.0.0.1:PORT",
    "chrome-extension://127.0.0.1:PORT",
    "127.0.0.1:PORT",
    "https://shop.example.evil.example",
    "https://evil-shop.example",
    "http://shop.example",
    "https://shop.example:8443",
    "https://shop.example@evil.example",
]


@pytest.mark.parametrize("origin", OTHERS)
def test_pages_of_other_sites_do_and_read_nothing(server: Server, origin: str) -> None:
    headers = {"Origin": origin.replace("PORT", str(server.port))}
    simple = {**headers, "Content-Type": "text/plain"}
    for method, path, more in [
        ("GET", "/v1/server", headers),
        ("GET", "/v1/jobs", headers),
        ("GET", "/v1/health", headers),
        ("GET", "/", headers),
        ("POST", "/v1/jobs", simple),
        ("POST", "/v1/uploads?name=x", simple),
        ("POST", "/v1/jobs/j0000000000000000000000/cancel", simple),
        ("POST", "/v1/queue", {**headers, "Content-Type": "application/json"}),
        ("DELETE", "/v1/graphs/x", headers),
    ]:
        answer = server.request(method, path, b'{"graph": "txt2img"}' if method == "POST" else None, more)
        assert answer.status == 403, (method, path)
        assert error_of(answer) == "forbidden"
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert refused(server, headers) == 403


def test_the_servers_own_pages_and_allowed_sites_are_fine(server: Server) -> None:
    own = [f"http://127.0.0.1:{server.port}", f"https://127.0.0.1:{server.port}"]  # there may be TLS in front of it
    for origin in [*own, "https://shop.example", "HTTPS://Shop.Example", "http://localhost:3000"]:
        assert server.get("/v1/server", headers={"Origin": origin}).status == 200
        assert refused(server, {"Origin": origin}) == 101
    allowed = server.get("/v1/server", headers={"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert allowed.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    assert "Access-Control-Allow-Origin" not in server.get("/v1/server", headers={"Origin": own[0]}).headers


def test_a_page_over_http_is_not_taken_for_one_over_https_where_the_browser_says_so(server: Server) -> None:
    headers = {"Origin": f"https://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-site"}
    assert server.get("/v1/server", headers=headers).status == 403
    assert server.get("/v1/server", headers={**headers, "Sec-Fetch-Site": "same-origin"}).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_what_browsers_fetch_for_other_sites_without_an_origin_is_refused(server: Server, site: str) -> None:
    for mode in ("no-cors", "navigate", "websocket"):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
        for path in ("/v1/jobs", "/v1/events", "/page/page.js", "/v1/openapi.json", "/metrics"):
            assert server.get(path, headers=headers).status == 403
        assert refused(server, headers) == 403
    assert server.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}).status == 403
    assert server.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}).status == 200


def test_browsers_that_ask_before_they_send_get_no_answer_but_for_allowed_sites(server: Server) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, authorization"}
    for path in ("/v1/jobs", "/v1/graphs/x", "/v1/uploads", "/v1/ws"):
        for origin in (EVIL, "null", "http://localhost:1"):
            answer = server.request("OPTIONS", path, headers={**asked, "Origin": origin})
            assert answer.status == 403
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        assert server.request("OPTIONS", path, headers=asked).status == 404
        allowed = server.request("OPTIONS", path, headers={**asked, "Origin": "https://shop.example"})
        assert allowed.status == 204
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://shop.example"


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain;json"]
)
def test_what_a_form_of_a_page_could_send_is_no_request(server: Server, media: str) -> None:
    for path in ("/v1/jobs", "/v1/check", "/v1/queue"):
        answer = server.request("POST", path, b'{"graph": "txt2img", "paused": true}', {"Content-Type": media})
        assert answer.status == 415
        assert error_of(answer) == "unsupported-type"
    assert (
        server.request("PUT", "/v1/graphs/x", b"a: 1", {"Content-Type": "application/x-www-form-urlencoded"}).status
        == 415
    )
    assert server.get("/v1/queue").json["paused"] is False


# what is no HTTP

SERVER = b"GET /v1/server HTTP/1.1\r\nHost: HOST\r\n"
CHECK = b"POST /v1/check HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        CHECK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        CHECK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHECK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        CHECK + b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 2\r\n\r\n{}",
        CHECK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        CHECK + b"Content-Length: -1\r\n\r\n",
        CHECK + b"Content-Length: +2\r\n\r\n{}",
        CHECK + b"Content-Length : 2\r\n\r\n{}",
        CHECK + b"Content-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
        CHECK + b"Content-Length: 2\r\nContent-Encoding: br\r\n\r\n{}",
        b"GET http://evil.example/v1/server HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        b"GET http://HOST/v1/server HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        b"GET //evil.example/v1/server HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: HOST\r\n\r\n",
        SERVER + b"Host: evil.example\r\n\r\n",
        b"GET /v1/server HTTP/1.1\r\n\r\n",
        b"GET /v1/server HTTP/1.0\r\n\r\n",
        SERVER + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        SERVER + b"X: a\r\n" * 5000 + b"\r\n",
        SERVER + b"X\x00: a\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: HOST\r\n\r\n",
        b"GET /v1/jobs/j\xff\xfe HTTP/1.1\r\nHost: HOST\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: HOST\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        b"TRACE /v1/server HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        SERVER + b"Upgrade: h2c\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    ],
)
def test_what_is_no_proper_request_is_refused_as_what_it_is(server: Server, request_: bytes) -> None:
    answer = raw(server, request_)
    assert 400 <= status_of(answer) < 500, answer[:300]
    assert answer.count(b"HTTP/1.") == 1  # not a second one, smuggled in the first
    assert b"aiohttp" not in answer
    assert b"X-Content-Type-Options: nosniff" in answer


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "latentgraph",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", path, 200) for path in ("/", "/docs", "/page/page.js", "/v1/server", "/metrics", "/v1/openapi.json")),
        *(("GET", path, 404) for path in ("/page/nothing", "/nothing", "/v1/graphs/nothing", "/v1/uploads/nothing")),
        *[("GET", "/page", 403), ("GET", "/page/", 403), ("DELETE", "/v1/server", 405), ("GET", "/v1/jobs?x=1", 400)],
        *[("HEAD", "/v1/jobs", 405), ("POST", "/v1/jobs", 415), ("OPTIONS", "/v1/jobs", 404), ("GET", "/v1/ws", 400)],
        *[("HEAD", "/", 200), ("PUT", "/v1/graphs/x", 415), ("POST", "/v1/uploads", 400)],
    ],
)
def test_every_answer_has_the_headers_that_keep_browsers_from_harm(
    server: Server, method: str, path: str, status: int
) -> None:
    answer = server.request(method, path)
    assert answer.status == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    policy = answer.headers["Content-Security-Policy"]
    for part in ("default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert part in policy
    assert "'unsafe-eval'" not in policy
    assert "script-src" not in policy  # so that it is `default-src`
