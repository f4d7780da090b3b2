"""Clients of the websocket that do what they should not: the server lives on, serves others, and logs no mistake."""

import contextlib
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serving
from rawsocket import BINARY, CLOSE, CONTINUED, PING, PONG, TEXT, Raw, frame

BODY = 1_000_000
MANY = """\
latentgraph: 1
params:
  numbers: {type: [int]}
nodes:
  each: {type: Volatile, foreach: {value: $params.numbers}}
outputs:
  numbers: $each
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    limits = [f"--limit=body={BODY}", "--limit=messages=100000", "--limit=queue=100000"]
    server = serving.start(tmp_path_factory.mktemp("server"), "--workers=1", *limits).ready()
    yield server
    server.stop()


@pytest.fixture
def server(running: serving.Server) -> Iterator[serving.Server]:
    """The server; after each test another client is served, and the log tells of no mistake."""
    yield running
    with Raw(running.port) as fresh:
        began = time.monotonic()
        assert "ok" in fresh.reply(fresh.ask("hello"))
        assert time.monotonic() - began < 5
    assert running.process.poll() is None
    for wrong in ("Traceback", "never retrieved", "never awaited", "Unclosed", "Error"):
        assert wrong not in running.log


def connections(server: serving.Server) -> int:
    """How many websockets the server takes to be open."""
    lines = server.get("/metrics").text.splitlines()
    return int(next(line for line in lines if line.startswith("latentgraph_connections ")).split()[1])


def memory(server: serving.Server) -> int:
    """The bytes of memory that the server has."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096


def test_a_message_may_come_in_pieces_with_pings_between(server: serving.Server) -> None:
    text = b'{"id":7,"do":"jobs","limit":1}'
    with Raw(server.port) as raw:
        raw.send(text[:5], final=False)
        raw.send(b"one", PING)
        raw.send(text[5:9], CONTINUED, final=False)
        raw.send(b"", PONG)
        raw.send(text[9:], CONTINUED)
        assert raw.frame() == (PONG, b"one")
        assert raw.next()["id"] == 7
        for byte in frame('{"id":8,"do":"jobs"}'):
            raw.socket.sendall(bytes([byte]))
        assert raw.next()["id"] == 8


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(frame("{}", reserved=1), id="a reserved bit"),
        pytest.param(frame("{}", reserved=4), id="compressed without having agreed on it"),
        pytest.param(frame("{}", 3), id="an opcode that is reserved"),
        pytest.param(frame("{}", 11), id="a control opcode that is reserved"),
        pytest.param(frame(b"x" * 126, PING), id="a control frame that is too long"),
        pytest.param(frame(b"x", PING, final=False), id="a control frame in pieces"),
        pytest.param(frame("{}", CONTINUED), id="a continuation of nothing"),
        pytest.param(frame("{", final=False) + frame("}"), id="a message within another"),
        pytest.param(frame(b'{"id":1,"do":"\xff\xfe"}'), id="text that is not UTF-8"),
        pytest.param(frame(b"\xed\xa0\x80"), id="half a surrogate pair"),
        pytest.param(frame(b"{\xc3", final=False) + frame(b"", CONTINUED), id="UTF-8 that breaks off"),
        pytest.param(frame(b"\x03", CLOSE), id="half a close code"),
        pytest.param(frame(b"\x00\x05", CLOSE), id="a close code that there is not"),
        pytest.param(frame(b"\x03\xe8\xff", CLOSE), id="a reason that is not UTF-8"),
        pytest.param(frame(b"", claimed=2**40), id="a terabyte that is announced"),
        pytest.param(frame(b"", claimed=2**63 + 1), id="a length with its first bit set"),
        pytest.param(frame("x" * (BODY + 1)), id="a message that is too long"),
        pytest.param(
            frame("x" * BODY, final=False) + frame("x" * BODY, CONTINUED), id="a message that is too long in pieces"
        ),
    ],
)
def test_what_is_no_websocket_ends_the_connection(server: serving.Server, sent: bytes) -> None:
    before = connections(server)
    with Raw(server.port) as raw, contextlib.suppress(ConnectionError):  # it may be ended before all was sent
        raw.socket.sendall(sent)
        raw.closed()
    deadline = time.monotonic() + 10
    while connections(server) > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_frames_that_are_not_masked_do_no_harm(server: serving.Server) -> None:
    """A server ought to end the connection (RFC 6455, 5.1); aiohttp reads them as they are."""
    with Raw(server.port) as raw:
        raw.send('{"id":1,"do":"jobs"}', masked=False)
        assert raw.frame() is not None


def test_a_message_that_is_too_long_is_told_so(server: serving.Server) -> None:
    told = set()
    for _ in range(5):
        # What comes after the close frame may end the connection before that was read.
        with Raw(server.port) as raw, contextlib.suppress(ConnectionError):
            raw.send("x" * (BODY + 1))
            told.add(raw.closed())
    assert told == {4413}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "no json",
        "[]",
        "1",
        "null",
        '"text"',
        '{"id":1,"do":"jobs"',
        '{"id":1,"do":"jobs"}{}',
        '{"id":NaN,"do":"jobs"}',
        "{'id':1}",
        "[" * 100_000,
        '{"id":1,"do":"submit","graph":' + '{"a":' * 50_000 + "1" + "}" * 50_001,
        "9" * 100_000,
        "\x00",
    ],
    ids=lambda text: text[:20] or "nothing",
)
def test_what_is_no_object_closes_with_4400(server: serving.Server, text: str) -> None:
    with Raw(server.port) as raw:
        raw.send(text)
        assert raw.closed() == 4400


def test_binary_frames_close_with_4400(server: serving.Server) -> None:
    with Raw(server.port) as raw:
        raw.send(b'{"id":1,"do":"jobs"}', BINARY)
        assert raw.closed() == 4400


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("{}", None),
        ('{"do":"jobs"}', None),
        ('{"id":-1,"do":"jobs"}', None),
        ('{"id":1.0,"do":"jobs"}', None),
        ('{"id":true,"do":"jobs"}', None),
        ('{"id":1e400,"do":"jobs"}', None),
        ('{"id":123456789012345678901234567890,"do":"jobs"}', None),
        ('{"id":1}', 1),
        ('{"id":1,"do":7}', 1),
        ('{"id":1,"do":["jobs"]}', 1),
        ('{"id":1,"do":"nothing"}', 1),
        ('{"id":1,"do":"\\ud800"}', 1),
        ('{"id":1,"do":"jobs","more":1}', 1),
        ('{"id":1,"do":"jobs","limit":0}', 1),
        ('{"id":1,"do":"jobs","limit":"1"}', 1),
        ('{"id":1,"do":"jobs","limit":1e400}', 1),
        ('{"id":1,"do":"job","job":"j/../x"}', 1),
        ('{"id":1,"do":"job","job":"j0000000000000000000000\\u0000"}', 1),
        ('{"id":1,"do":"unsubscribe","sub":5}', 1),
        ('{"id":1,"do":"subscribe"}', 1),
        ('{"id":1,"do":"subscribe","feed":"mine","job":"j0000000000000000000000"}', 1),
        ('{"id":1,"do":"subscribe","feed":"all"}', 1),
        ('{"id":1,"do":"subscribe","feed":"mine","after":-1}', 1),
        ('{"id":1,"do":"submit"}', 1),
        ('{"id":1,"do":"submit","graph":null}', 1),
        ('{"id":1,"do":"submit","graph":{"a":1e400}}', 1),
        ('{"id":1,"do":"submit","graph":{"a":-1e400}}', 1),
        ('{"id":1,"do":"submit","graph":{"\\ud800":1}}', 1),
        ('{"id":1,"do":"submit","graph":"a: \\udfff\\n"}', 1),
        ('{"id":1,"do":"submit","graph":"number","key":"\\ud800"}', 1),
        ('{"id":1,"do":"hello","token":"\\udc00"}', 1),
        ('{"id":1,"do":"subscribe","feed":"mine","epoch":"\\udc00"}', 1),
        ('{"id":1,"do":"submit","graph":' + json.dumps(serving.NUMBER) + ',"params":{"value":1e400}}', 1),
        ('{"id":1,"do":"submit","graph":' + json.dumps(MANY) + ',"params":{"numbers":[1e400]}}', 1),
        ('{"id":1,"do":"submit","graph":{"nodes":' + "[" * 500 + "]" * 500 + "}}", 1),
        ('{"id":1,"do":"submit","graph":"' + "[" * 5000 + '\\n"}', 1),
        ('{"id":1,"do":"submit","graph":{"nodes":' + "9" * 4000 + "}}", 1),
        ('{"id":1,"do":"submit","graph":"x","params":{"\\u0000":"\\u0000"}}', 1),
        ('{"id":1,"do":"submit","graph":"a: &a [*a, *a]\\n"}', 1),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_request_that_is_wrong_gets_one_reply_and_leaves_the_connection(
    server: serving.Server, text: str, number: int | None
) -> None:
    with Raw(server.port) as raw:
        raw.send(text)
        raw.send('{"id":99,"do":"jobs","limit":1}')
        reply = raw.next()
        assert reply["id"] == number
        assert reply["error"]["code"] in ("bad-request", "graph-wrong", "not-found", "unknown-graph")
        assert raw.next()["id"] == 99


def test_of_a_key_that_comes_twice_the_last_counts(server: serving.Server) -> None:
    with Raw(server.port) as raw:
        raw.send('{"id":1,"do":"nothing","id":2,"do":"jobs"}')
        raw.send('{"id":3,"do":"jobs"}')
        assert [raw.next()["id"], raw.next()["id"]] == [2, 3]


def test_nesting_at_any_depth_gets_a_reply_or_a_close(server: serving.Server) -> None:
    for depth in (50, 100, 150, 200, 250, 300, 400, 600, 900, 980, 1000, 1500, 3000, 10_000):
        with Raw(server.port) as raw:
            raw.send('{"id":1,"do":"submit","graph":{"nodes":' + "[" * depth + "]" * depth + "}}")
            found = raw.frame()
            assert found is not None
            if found[0] == TEXT:
                assert "error" in json.loads(found[1])
            else:
                assert found[1][:2] == (4400).to_bytes(2, "big")


def test_connections_that_are_reset_are_forgotten(server: serving.Server) -> None:
    before = connections(server)
    for _ in range(50):
        raw = Raw(server.port)
        raw.ask("subscribe", feed="mine")
        raw.send(b'{"id":', final=False)
        raw.reset()
    deadline = time.monotonic() + 10
    while connections(server) > before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_headers_that_come_slowly_keep_nobody_waiting_and_end_the_connection(server: serving.Server) -> None:
    slow = [Raw(server.port, handshake=False) for _ in range(200)]
    for raw in slow:
        raw.socket.sendall(b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nX-")
    for letter in b"slow":
        for raw in slow:
            raw.socket.sendall(bytes([letter]))
        began = time.monotonic()
        assert server.get("/v1/health").status == 200
        assert time.monotonic() - began < 1
    for raw in slow:
        assert raw.frame() is None
        raw.socket.close()


def replies_of(raw: Raw, count: int) -> list[Any]:
    """So many replies; what subscriptions send is dropped."""
    replies = []
    while len(replies) < count:
        found = raw.next()
        if "id" in found:
            replies.append(found)
    return replies


def test_subscriptions_beyond_the_limit_are_refused_one_by_one(server: serving.Server) -> None:
    job = server.run(serving.NUMBER)["job"]
    server.request("POST", "/v1/queue", {"paused": True})
    try:
        waiting = server.request("POST", "/v1/jobs", {"graph": serving.NUMBER}).json["job"]
        with Raw(server.port) as raw:
            for number in range(1, 1501):
                raw.send(json.dumps({"id": number, "do": "subscribe", "job": waiting}))
            replies = replies_of(raw, 1500)
            assert Counter("ok" in reply for reply in replies) == {True: 1000, False: 500}
            assert {reply["error"]["code"] for reply in replies if "error" in reply} == {"too-many"}
            raw.send(json.dumps({"id": 5000, "do": "unsubscribe", "sub": 1}))
            assert raw.reply(5000) == {"id": 5000, "ok": {"sub": 1}}
            raw.send(json.dumps({"id": 5001, "do": "unsubscribe", "sub": 1}))
            assert raw.reply(5001)["error"]["code"] == "not-found"
            raw.send(json.dumps({"id": 2, "do": "subscribe", "job": waiting}))
            assert raw.reply(2)["error"]["code"] == "bad-request"
            raw.send(json.dumps({"id": 1, "do": "subscribe", "job": job}))
            assert raw.reply(1)["ok"]["sub"] == 1
    finally:
        server.request("POST", "/v1/queue", {"paused": False})


def test_clients_that_never_read_cost_no_memory_and_nobody_time(server: serving.Server) -> None:
    """Each of them has subscribed a hundred times to a job with 6,000 events: a hundred megabytes would be for it."""
    job = server.run(MANY, {"numbers": list(range(3000))})
    assert job["state"] == "done"
    assert job["last"] > 6000
    before = memory(server)
    deaf = [Raw(server.port, receive_buffer=4096) for _ in range(5)]
    for raw in deaf:
        for _ in range(100):
            raw.ask("subscribe", job=job["job"])
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        began = time.monotonic()
        with Raw(server.port) as other:
            assert other.reply(other.ask("subscribe", feed="mine", after=0))["ok"]["head"] > 6000
        assert time.monotonic() - began < 1
    assert memory(server) - before < 64_000_000
    with Raw(server.port) as other:
        other.ask("subscribe", job=job["job"])
        seen = [found["seq"] for found in iter(other.next, {"sub": 1, "end": True}) if "seq" in found]
    assert seen == list(range(1, job["last"] + 1))
    for raw in deaf:
        raw.reset()


def test_a_client_that_asks_and_never_reads_is_not_heard_for_long(server: serving.Server) -> None:
    before = memory(server)
    with Raw(server.port, receive_buffer=4096) as raw:
        raw.socket.settimeout(1)
        for _ in range(20_000):
            try:
                raw.socket.sendall(frame('{"id":1,"do":"jobs","limit":500}') * 100)
            except TimeoutError:
                break
        else:
            pytest.fail("the server has read it all")
        assert memory(server) - before < 64_000_000


JOB = "j0612f5b7e2a3c4d5e6f708"
VALID: list[dict[str, Any]] = [
    {"do": "hello"},
    {"do": "hello", "token": "token"},
    {"do": "submit", "graph": serving.NUMBER, "params": {"value": 3}, "follow": True, "key": "a"},
    {"do": "submit", "graph": "txt3img", "name": "a", "priority": 1, "targets": ["number"], "webhook": "http://a/"},
    {"do": "submit", "graph": {"latentgraph": 1, "nodes": {"a": {"type": "Constant"}}, "outputs": {"a": "$a"}}},
    {"do": "subscribe", "job": JOB, "after": 0, "epoch": "abc", "previews": False},
    {"do": "subscribe", "feed": "mine", "after": 2**53},
    {"do": "unsubscribe", "sub": 1},
    {"do": "jobs", "state": ["done", "queued"], "limit": 2, "before": JOB},
    {"do": "job", "job": JOB},
    {"do": "cancel", "job": JOB},
    {"do": "retry", "job": JOB},
]
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 2**31, 2**53 + 1, 2**63, 2**64, -(2**70), 10**400,
    "", "\x00", "\ud800", "a" * 300, "\u202e", "🦊", "💥" * 50, "../../etc/passwd", "%s%n", "' or 1=1 --", "${x}", "$a",
    "number", "mine", JOB, "upload:" + "0" * 64, "latentgraph: 1\n", "&a [*a]\n", "? !!python/object {}\n", "- {\n",
    [], {}, [[]], {"": {}}, [None], {"a": [{"b": None}]}, {"latentgraph": 1}, ["done"] * 50,
]  # fmt: skip


def mutated(value: Any, chance: random.Random) -> Any:
    """Something like a value: with a part of it replaced, dropped, doubled or put elsewhere."""
    if chance.random() < 0.15:
        return chance.choice(ODD)
    if isinstance(value, dict):
        found = {name: mutated(item, chance) if chance.random() < 0.4 else item for name, item in value.items()}
        if found and chance.random() < 0.1:
            del found[chance.choice(sorted(found))]
        if chance.random() < 0.1:
            found[str(chance.choice(ODD))[:50]] = chance.choice(ODD)
        return found
    if isinstance(value, list) and value:
        return [mutated(item, chance) for item in value] * chance.choice([0, 1, 1, 2])
    if isinstance(value, str) and value and chance.random() < 0.5:
        at = chance.randrange(len(value))
        return value[:at] + chance.choice(["", "\x00", "\n", ":", "{", '"', "é", "\ud83e", value]) + value[at + 1 :]
    if isinstance(value, int):
        return value + chance.choice([-1, 1, 2**40, -(2**40)])
    return value


def test_ten_thousand_odd_requests_get_exactly_one_reply_each(server: serving.Server) -> None:
    chance = random.Random(7)
    codes: Counter[str] = Counter()
    for batch in range(50):
        with Raw(server.port) as raw:
            numbers = range(batch * 1000, batch * 1000 + 200)
            for number in numbers:
                fields = mutated(chance.choice(VALID), chance)
                request = {**(fields if isinstance(fields, dict) else {"do": fields}), "id": number}
                raw.send(json.dumps(request, ensure_ascii=chance.random() < 0.5).encode("utf-8", "replace"))
            raw.send('{"id":999999,"do":"jobs","limit":1}')
            replies = []
            while (found := raw.next()).get("id") != 999999:
                if "id" in found:
                    replies.append(found)
            assert [reply["id"] for reply in replies] == list(numbers)
            codes.update(reply["error"]["code"] if "error" in reply else "ok" for reply in replies)
    assert codes.total() == 10_000
    assert codes.keys() >= {"ok", "bad-request", "not-found", "graph-wrong", "unknown-graph"}
    assert not codes.keys() & {"internal"}


def test_bytes_at_random_are_answered_or_end_the_connection(server: serving.Server) -> None:
    chance = random.Random(8)
    for _ in range(300):
        good = bytearray(b"".join(frame(json.dumps({"id": 1, **chance.choice(VALID)})) for _ in range(3)))
        for _ in range(chance.randrange(1, 8)):
            good[chance.randrange(len(good))] = chance.randrange(256)
        with Raw(server.port) as raw:
            raw.socket.sendall(bytes(good))
            raw.socket.shutdown(socket.SHUT_WR)
            raw.closed()
