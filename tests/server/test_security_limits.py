"""What one client may ask for: each limit can be set, and says so; and what may not run does not, by no way."""

import asyncio
import json
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import serving
from callers import Talk, error_of, raw, status_of, talk
from serving import NUMBER, Answer, Server

from latentgraph.server.checks.limits import Limits

HOSTILE = Path(__file__).with_name("hostile_nodes.py")
SET = {
    "body": 50_000,
    "upload": 40_000,
    "nodes": 50,
    "pixels": 10_000,
    "steps": 100,
    "graphs": 5,
    "queue": 3,
    "connections": 4,
    "messages": 20,
    "subscriptions": 3,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = [f"--limit={name}={number}" for name, number in SET.items()]
    found = serving.start(tmp_path_factory.mktemp("limits"), *options, "--nodes", HOSTILE).ready()
    yield found
    found.stop()


def graph(*nodes: str, params: str = "") -> str:
    """A graph whose last node is its output."""
    names = [f"n{number}" for number in range(len(nodes))]
    listed = "".join(f"  {name}: {node}\n" for name, node in zip(names, nodes, strict=True))
    declared = f"params: {{{params}}}\n" if params else ""
    return f"latentgraph: 1\n{declared}nodes:\n{listed}outputs: {{out: ${names[-1]}}}\n"


def over(server: Server, text: str, **params: Any) -> str:
    """The message of the limit that a graph exceeds."""
    answer = server.request("POST", "/v1/jobs", {"graph": text, "params": params})
    assert answer.status == 422, answer.text
    (found,) = [problem for problem in answer.json["error"]["diagnostics"] if problem["code"] == "over-limit"]
    return str(found["message"])


def test_every_limit_can_be_set_and_is_told(server: Server) -> None:
    assert set(SET) == set(Limits().as_json())
    assert server.get("/v1/server").json["limits"] == SET


def test_a_body_has_a_limit_with_its_length_said_or_not(server: Server) -> None:
    body = json.dumps({"graph": NUMBER + "#" * 60_000}).encode()
    for path in ("/v1/jobs", "/v1/check"):
        answer = server.request("POST", path, body, {"Content-Type": "application/json"})
        assert (answer.status, error_of(answer)) == (413, "too-large")
    kept = server.request("PUT", "/v1/graphs/x", b"#" * 60_000, {"Content-Type": "application/yaml"})
    assert kept.status == 413
    chunk = f"{len(body):x}".encode() + b"\r\n" + body + b"\r\n0\r\n\r\n"
    head = (
        b"POST /v1/check HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert status_of(raw(server, head + chunk)) == 413


def test_a_frame_of_the_websocket_has_the_same(server: Server) -> None:
    async def sent(talk: Talk) -> int | None:
        await talk.socket.send_str("x" * 60_000)
        return await talk.closed()

    assert talk(server, sent) == 4413


def test_an_upload_has_a_limit_with_its_length_said_or_not(server: Server) -> None:
    content = b"x" * 41_000
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + content + b"\r\n--x--\r\n"
    assert server.request("POST", "/v1/uploads?name=x", content).status == 413
    assert (
        server.request("POST", "/v1/uploads", form, {"Content-Type": "multipart/form-data; boundary=x"}).status == 413
    )
    chunk = f"{len(content):x}".encode() + b"\r\n" + content + b"\r\n0\r\n\r\n"
    head = b"POST /v1/uploads?name=x HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status_of(raw(server, head + chunk)) == 413
    assert not [path for path in (server.folder / "data" / "uploads").rglob("*") if path.is_file()]


def png(width: int, height: int) -> bytes:
    """A PNG that claims to be of a size; it has no such pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(101, 100), (2**31 - 1, 2**31 - 1), (20_000, 20_000), (10_001, 1)])
@pytest.mark.parametrize("name", ["bomb.png", "bomb.txt", "bomb"])
def test_a_picture_that_claims_too_many_pixels_is_refused_whatever_it_is_called(
    server: Server, name: str, width: int, height: int
) -> None:
    answer = server.request("POST", f"/v1/uploads?name={name}", png(width, height))
    assert (answer.status, error_of(answer)) == (413, "too-large")
    assert "10,000" in answer.json["error"]["message"]


def test_pictures_within_the_limit_and_what_only_looks_like_one_are_taken(server: Server) -> None:
    for content in (
        png(100, 100),
        b"\x89PNG\r\n\x1a\n",
        b"II*\0\xff\xff\xff\xff",
        b"GIF89a\xff",
        b"BM" + b"\xff" * 100,
        b"%!PS",
    ):
        assert server.request("POST", "/v1/uploads?name=x.png", content).status in (200, 201)


# nodes, pixels, steps


def test_nodes_are_counted_with_those_of_products_and_of_graph_files(server: Server) -> None:
    assert "60 nodes" in over(server, graph(*["{type: Constant}"] * 60))
    ten = "[0,1,2,3,4,5,6,7,8,9]"
    assert "100 nodes" in over(server, graph(f"{{type: Add, foreach: {{a: {ten}, b: {ten}}}}}"))
    headers = {"Content-Type": "application/yaml"}
    inner = graph(*["{type: Constant}"] * 10)
    server.request("PUT", "/v1/graphs/inner", inner.encode(), headers)
    middle = graph(*["{type: ./inner.yaml}"] * 3)
    server.request("PUT", "/v1/graphs/middle", middle.encode(), headers)
    assert "60 nodes" in over(server, graph(*["{type: ./inner.yaml}"] * 6))
    assert "60 nodes" in over(server, graph(*["{type: ./middle.yaml}"] * 2))
    with_param = inner.replace("nodes:", "params: {v: {type: int}}\nnodes:").replace(
        "Constant}", "Constant, inputs: {value: $params.v}}", 1
    )
    server.request("PUT", "/v1/graphs/inner", with_param.encode(), headers)
    assert "100 nodes" in over(server, graph(f"{{type: ./inner.yaml, foreach: {{v: {ten}}}}}"))


def test_lists_that_come_to_be_make_no_more_nodes_than_may_run(server: Server) -> None:
    job = server.run(graph("{type: Many, inputs: {count: 150}}", "{type: Volatile, foreach: {value: $n0}}"))
    assert job["state"] == "failed"
    assert "this server runs at most 50 nodes of a graph" in job["error"]
    product = server.run(graph("{type: Many, inputs: {count: 90000}}", "{type: Add, foreach: {a: $n0, b: $n0}}"))
    assert "8,100,000,000 elements" in product["error"]


STEPS = "101 steps are more than the 100 that this server does"


def test_steps_have_a_limit_however_they_are_said(server: Server) -> None:
    slow = "{{type: Slow, inputs: {{seconds: 0, steps: {}}}}}"
    assert STEPS in over(server, graph(slow.format(101)))
    assert STEPS in over(server, graph(slow.format("$params.s"), params="s: {type: int, default: 101}"))
    assert STEPS in over(server, graph(slow.format("$params.s"), params="s: {type: int, default: 1}"), s=101)
    assert STEPS in over(server, graph(slow.format("$(params.s * 2 - 1)"), params="s: {type: int, default: 51}"))
    linked = server.run(graph("{type: Constant, inputs: {value: 101}}", slow.format("$n0")))
    assert linked["state"] == "failed"
    assert STEPS in linked["error"]
    each = server.run(graph("{type: Slow, inputs: {seconds: 0}, foreach: {steps: [1, 101]}}"))
    assert STEPS in each["error"]
    server.request(
        "PUT",
        "/v1/graphs/slow",
        graph(slow.format("$params.s"), params="s: {type: int}").encode(),
        {"Content-Type": "application/yaml"},
    )
    inner = server.request("POST", "/v1/jobs?wait=60", {"graph": graph("{type: ./slow.yaml, inputs: {s: 101}}")})
    assert STEPS in inner.text


def test_pixels_have_a_limit_with_the_whole_batch(server: Server) -> None:
    canvas = "{{type: EmptyLatent, inputs: {{model: $n0.model, width: {}, height: {}, batch_size: {}}}}}"
    decoded = "{type: VAEDecode, inputs: {vae: $n0.vae, latent: $n1}}"
    for size in [(256, 64, 1), (64, 64, 3)]:
        assert "pixels are more than the 10,000" in over(
            server, graph("{type: LoadModel}", canvas.format(*size), decoded)
        )


# more than one at once


def test_a_client_has_so_many_jobs_waiting(server: Server) -> None:
    server.request("POST", "/v1/queue", {"paused": True})
    try:
        answers = [server.request("POST", "/v1/jobs", {"graph": NUMBER, "params": {"value": n}}) for n in range(5)]
        assert [answer.status for answer in answers] == [202, 202, 202, 429, 429]
        assert error_of(answers[3]) == "too-many"
        assert answers[3].json["error"]["temporary"] is True
        assert answers[3].headers["Retry-After"]
    finally:
        for job in server.get("/v1/jobs?state=queued").json["jobs"]:
            server.request("POST", f"/v1/jobs/{job['job']}/cancel")
        server.request("POST", "/v1/queue", {"paused": False})


def test_so_many_graphs_are_kept(server: Server) -> None:
    headers = {"Content-Type": "application/yaml"}
    found = [server.request("PUT", f"/v1/graphs/kept{n}", NUMBER.encode(), headers).status for n in range(7)]
    assert found[-1] == 429
    assert server.request("PUT", "/v1/graphs/kept0", NUMBER.encode(), headers).status == 200  # it is there already


def test_connections_subscriptions_and_messages_have_limits(server: Server) -> None:
    async def connected() -> None:
        async with aiohttp.ClientSession() as session:
            sockets = [await session.ws_connect(f"{server.url}/v1/ws") for _ in range(3)]
            stream = await session.get(f"{server.url}/v1/events")
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{server.url}/v1/ws")
            assert refused.value.status == 429
            async with session.get(f"{server.url}/v1/events") as another:
                assert another.status == 429
            stream.close()
            first, second = Talk(sockets[0]), Talk(sockets[1])
            found = [await first.ask("subscribe", feed="mine") for _ in range(4)]
            assert ["ok" in reply for reply in found] == [True, True, True, False]
            assert found[3]["error"]["code"] == "too-many"
            for number in range(300):
                await second.socket.send_json({"id": number, "do": "jobs"})
            assert await second.closed() == 4429
            for socket in sockets:
                await socket.close()

    asyncio.run(connected())


# which node types may run


@pytest.fixture(scope="module")
def choosy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ["--allow=Peek*", "--deny=LoadImage", "--deny=Sh*", "--allow=*ow", "--deny=Old"]
    found = serving.start(tmp_path_factory.mktemp("choosy"), *options).ready()
    yield found
    found.stop()


def kinds(answer: Answer) -> set[str]:
    return {problem["code"] for problem in answer.json["error"]["diagnostics"] if problem["severity"] == "error"}


REFUSED = ["Writes, inputs: {path: PATH}", "Phones", "LoadImage, inputs: {image: x}", "Shout, inputs: {text: x}"]


@pytest.mark.parametrize("node", REFUSED)
@pytest.mark.parametrize("way", ["plain", "foreach", "when", "Switch", "graph file"])
def test_a_node_type_that_may_not_run_does_not_by_any_way(choosy: Server, tmp_path: Path, node: str, way: str) -> None:
    written = tmp_path / "written"
    node = node.replace("PATH", str(written))
    plain = f"{{type: {node}}}"
    if way == "foreach":
        plain = plain.replace("inputs: {path: ", "foreach: {path: [").replace("inputs: {image: ", "foreach: {image: [")
        plain = (
            plain.replace("inputs: {text: ", "foreach: {text: [").replace("}}", "]}}") if "foreach" in plain else plain
        )
    text = {
        "when": graph(plain.replace("{type", "{when: true, type", 1)),
        "Switch": graph(plain, "{type: Switch, inputs: {condition: true, then: $n0, otherwise: $n0}}"),
        "graph file": graph("{type: ./inner.yaml}"),
    }.get(way, graph(plain))
    if way == "graph file":
        kept = choosy.request("PUT", "/v1/graphs/inner", graph(plain).encode(), {"Content-Type": "application/yaml"})
        assert kept.status in (200, 201)
    answer = choosy.request("POST", "/v1/jobs", {"graph": text})
    assert answer.status == 422
    assert "refused-type" in kinds(answer)
    assert not written.exists()


def test_a_param_is_not_read_by_a_node_type_that_may_not_run(choosy: Server) -> None:
    upload = choosy.request("POST", "/v1/uploads?name=x.png", png(8, 8)).json["upload"]
    text = graph("{type: SaveImage, inputs: {image: $params.i}}", params="i: {type: Image}")
    answer = choosy.request("POST", "/v1/jobs", {"graph": text, "params": {"i": upload}})
    assert answer.status == 422
    assert "may not run here" in answer.text


def test_of_allow_and_deny_the_one_that_says_more_counts(choosy: Server) -> None:
    listed = {node["name"] for node in choosy.get("/v1/node-types").json["node_types"]}
    assert {"Peeks", "Slow", "Constant", "Switch", "KSampler"} <= listed
    assert not {"Writes", "Phones", "LoadImage", "Shout", "ShowDataset"} & listed
    assert choosy.get("/v1/node-types/LoadImage").status == 404


# hostile graphs

MANY = "latentgraph: 1\nnodes:\n" + "".join(
    f"  n{i}: {{type: Add, inputs: {{a: 1, b: $n{i - 1}}}}}\n" for i in range(9000)
)
NINE = ",".join(["*a"] * 9)
BOMBS = {
    "aliases": "a: &a [x, x]\n" + "".join(f"b{i}: &a [{NINE}]\n" for i in range(50)),
    "merges": "a: &a {x: 1}\n" + "".join(f"b{i}: &a {{<<: [{NINE}], k{i}: 1}}\n" for i in range(500)),
    "lists": "a: " + "[" * 3_000_000,
    "mappings": "a: " + "{a: " * 1_000_000,
    "block": "".join(" " * depth + "a:\n" for depth in range(2000)),
    "line": "a: " + "x" * 8_000_000,
    "comment": "#" * 4_000_000 + "\n",
    "key": "a" * 4_000_000 + ": 1\n",
    "dollars": graph('{type: Shout, inputs: {text: "' + "$" * 2_000_000 + '"}}'),
    "expression": graph('{type: Shout, inputs: {text: "$(' + "(" * 1_000_000 + '"}}'),
    "path": graph('{type: ReadFile, inputs: {file: "' + "x/" * 1_500_000 + '"}}'),
    "type": graph("{type: " + "x" * 2_000_000 + "}"),
    "graph file": graph("{type: ./" + "../" * 500_000 + "x.yaml}"),
    "name": "x" * 8_000_000,
    "nodes": MANY,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_hostile_graph_is_answered_and_keeps_nobody_waiting(choosy: Server, bomb: str) -> None:
    waits, over = list[float](), threading.Event()

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            assert choosy.get("/v1/health").status == 200
            waits.append(time.monotonic() - began)
            time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        began = time.monotonic()
        answer = choosy.request("POST", "/v1/check", {"graph": BOMBS[bomb]}, timeout=60)
        took = time.monotonic() - began
    finally:
        over.set()
        thread.join()
    assert answer.status in (200, 400, 413)
    assert answer.status != 200 or not answer.json["ok"] or bomb == "dollars"
    assert took < (40 if bomb == "nodes" else 10)
    assert max(waits) < 3, f"somebody else waited {max(waits):.1f} seconds"


def test_checks_of_one_client_do_not_keep_the_server_from_others(choosy: Server) -> None:
    hostile = threading.Thread(target=lambda: choosy.request("POST", "/v1/check", {"graph": MANY}))
    hostile.start()
    try:
        began = time.monotonic()
        assert choosy.run(NUMBER)["state"] == "done"
        assert choosy.get("/v1/graphs").status == 200
        assert time.monotonic() - began < 10
    finally:
        hostile.join()
