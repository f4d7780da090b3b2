"""What clients bring is served as content alone, what is kept is private, and workers know no secrets."""

import hashlib
import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import serving
from callers import TOKENS, as_, error_of, raw, status_of, token_file
from serving import NUMBER, Server

HOSTILE = Path(__file__).with_name("hostile_nodes.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("content")
    options = ["--token-file", token_file(folder), "--nodes", HOSTILE, "--webhook=http://127.0.0.1:9/"]
    found = serving.start(folder, *options, "--allow-origin=https://shop.example").ready()
    yield found
    found.stop()


def upload(server: Server, name: str, content: bytes, media: str = "application/octet-stream") -> dict[str, Any]:
    path = f"/v1/uploads?name={name}" if name else "/v1/uploads"
    answer = server.request("POST", path, content, {**as_("ann"), "Content-Type": media})
    assert answer.status in (200, 201), answer.text
    found: dict[str, Any] = answer.json
    return found


SCRIPT = b"<script>alert(document.domain)</script>"
ACTIVE = [
    ("a.html", "text/html", SCRIPT),
    ("a.htm", "text/html", SCRIPT + b"1"),
    ("a.xhtml", "application/xhtml+xml", b"<html xmlns='http://www.w3.org/1999/xhtml'>" + SCRIPT + b"</html>"),
    ("a.svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
    ("a.xml", "text/xml", b"<?xml version='1.0'?><a/>"),
    ("a.js", "text/javascript", b"alert(1)"),
    ("a.mjs", "application/javascript", b"alert(2)"),
    ("a.css", "text/css", b"* { background: url(https://evil.example) }"),
    ("a.pdf", "application/pdf", b"%PDF-1.4"),
    ("a.swf", "application/x-shockwave-flash", b"FWS"),
    ("a.mht", "multipart/related", b"MIME-Version: 1.0"),
    ("a", "text/html", SCRIPT + b"2"),
    ("a.png", "text/html", SCRIPT + b"3"),
    ("a.html%20", "text/html;charset=utf-7", b"+ADw-script+AD4-"),
    ("a.PNG.html", "image/png", SCRIPT + b"4"),
    ("", "text/html", SCRIPT + b"5"),
    ("x", "image/png; x=text/html", SCRIPT + b"6"),
]


def harmless(headers: dict[str, str]) -> None:
    """Whether no browser takes it for more than a file, or a picture."""
    inline = headers["Content-Type"].split(";")[0] in ("image/png", "text/plain", "application/json")
    assert inline or headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("inline;" if inline else "attachment;")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(("name", "media", "content"), ACTIVE)
def test_what_could_run_in_a_browser_is_sent_as_a_file(server: Server, name: str, media: str, content: bytes) -> None:
    found = upload(server, name, content, media)
    answer = server.get(found["url"], headers=as_("ann"))
    assert answer.content == content
    harmless(answer.headers)
    run = {"graph": f'latentgraph: 1\nparams: {{f: {{type: File, default: "{found["upload"]}"}}}}\nnodes:\n'}
    run["graph"] += (
        "  r: {type: ReadFile, inputs: {file: $params.f}}\n  s: {type: Shout, inputs: {text: $r}}\noutputs: {s: $s}\n"
    )
    job = server.request("POST", "/v1/jobs?wait=60", run, as_("ann")).json
    output = server.get(job["outputs"]["s"]["url"], headers=as_("ann"))
    assert output.content == content.upper()
    harmless(output.headers)


NAMES = [
    *("a%0d%0aSet-Cookie:%20x=1.txt", "a%0ab", "a%00b", "a%7fb", "a%1bb", "%e2%80%ae.txt", "a%c2%85b", "..", "."),
    *(
        "a/b",
        "../a",
        "%2e%2e%2fa",
        "a%5cb",
        "a" * 201,
        "%c3%bc" * 150,
        "%20" * 3 + "%0a",
        "%f0%9f%98%80" * 70,
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_no_names_are_refused(server: Server, name: str) -> None:
    answer = server.request("POST", f"/v1/uploads?name={name}", b"named", as_("ann"))
    assert answer.status == 400
    assert error_of(answer) == "bad-request"


@pytest.mark.parametrize(
    "name",
    [
        'a"b.txt',
        "a;b.txt",
        "a, b.txt",
        "ä😀.txt",
        "%41.txt",
        "'; filename=evil.exe",
        "a'b''c",
        "$(x).txt",
        "-rf",
        "CON",
    ],
)
def test_odd_names_are_safe_in_the_header(server: Server, name: str) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in name.encode())
    found = upload(server, quoted, f"the content of {name}".encode())
    assert found["name"] == name
    said = server.get(found["url"], headers=as_("ann")).headers["Content-Disposition"]
    kind, _, encoded = said.partition("; filename*=UTF-8''")
    assert kind in ("inline", "attachment")
    assert unquote(encoded) == name
    assert not set(encoded) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%-_.~")


def test_an_upload_is_what_its_digest_says(server: Server) -> None:
    first = upload(server, "first.txt", b"the same")
    second = upload(server, "second.txt", b"the same")
    assert first["digest"] == second["digest"] == hashlib.sha256(b"the same").hexdigest()
    assert second["name"] == "first.txt"


@pytest.mark.parametrize(
    ("boundary", "form"),
    [
        ("x", b""),
        ("x", b"no form at all"),
        ("x", b"--x"),
        ("x", b"--x\r\n"),
        ("x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n'),
        ("x", b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\na\r\n--x--\r\n'),
        ("x", b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../a\\"\r\n\r\n\r\n--x--\r\n'),
        ("x", b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y--\r\n--x--\r\n"),
        ("x", b"--x\r\n" + b"A: b\r\n" * 10_000 + b"\r\na\r\n--x--\r\n"),
        ("x" * 100, b"--" + b"x" * 100 + b"\r\n\r\n"),
        ('"', b"--"),
    ],
)
def test_a_broken_form_is_a_bad_request(server: Server, boundary: str, form: bytes) -> None:
    headers = {**as_("ann"), "Content-Type": f"multipart/form-data; boundary={boundary}"}
    assert server.request("POST", "/v1/uploads", form, headers).status == 400


def test_a_form_with_endless_other_parts_before_its_file_is_refused_at_the_first(server: Server) -> None:
    head = (
        f"POST /v1/uploads HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {TOKENS['ann'][1]}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 60000000\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="other"\r\n\r\n' + "x" * 10_000
    )
    assert status_of(raw(server, head.encode())) == 400


# what is kept


def test_everything_that_is_kept_is_its_owners_alone(server: Server) -> None:
    upload(server, "private.txt", b"private")
    server.request(
        "PUT", "/v1/graphs/deep/private", NUMBER.encode(), {**as_("ann"), "Content-Type": "application/yaml"}
    )
    server.request("POST", "/v1/jobs?wait=60", {"graph": NUMBER}, as_("ann"))
    data = server.folder / "data"
    found = [data, *data.rglob("*")]
    assert {"jobs.sqlite", "uploads", "graphs", "webhook-secret", "lock"} <= {path.name for path in found}
    for path in found:
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path
    assert stat.S_IMODE((data / "webhook-secret").stat().st_mode) == 0o600


def test_a_folder_that_is_in_use_for_something_else_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "of somebody").touch()
    with pytest.raises(AssertionError, match="has other things in it, and others can read it: name an empty folder"):
        serving.start(tmp_path)
    assert stat.S_IMODE(data.stat().st_mode) == 0o755


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    found = serving.start(tmp_path)
    found.stop()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


# workers


def test_a_worker_is_told_no_secrets(server: Server) -> None:
    graph = "latentgraph: 1\nnodes: {e: {type: Environment}}\noutputs: {e: $e}\n"
    knows = server.request("POST", "/v1/jobs?wait=60", {"graph": graph}, as_("ann")).json["outputs"]["e"]
    assert "latentgraph.server.workers.worker" in knows
    for secret in (*(token for _, token in TOKENS.values()), str(server.folder / "tokens"), "--token-file", "whsec_"):
        assert secret not in knows


def test_a_worker_dies_and_the_server_does_not(server: Server, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    graph = "latentgraph: 1\nnodes: {d: {type: Dies, inputs: {marks: MARKS, times: 99}}}\noutputs: {d: $d}\n"
    body = {"graph": graph.replace("MARKS", json.dumps(str(tmp_path / "marks")))}
    job = server.request("POST", "/v1/jobs?wait=60", body, as_("ann")).json
    assert job["state"] == "failed"
    assert "its worker ended 3 times" in job["error"]
    assert server.process.poll() is None
    deadline = time.monotonic() + 30
    while server.request("POST", "/v1/jobs?wait=30", {"graph": NUMBER}, as_("bob")).json["state"] != "done":
        assert time.monotonic() < deadline
