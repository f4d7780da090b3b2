"""Nobody sees what is another's, or can tell that it is there."""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
import serving
from callers import TOKENS, Talk, as_, error_of, raw, status_of, talk, token_file
from serving import NUMBER, Server

NOBODYS = "j0000000000000000000000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("owners")
    found = serving.start(folder, "--token-file", token_file(folder), "--workers=1").ready()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def anns(server: Server) -> dict[str, Any]:
    """A job of Ann's, with an upload in and a file out."""
    content = b"only ann knows"
    uploaded = server.request("POST", "/v1/uploads?name=anns-secret.txt", content, as_("ann"))
    assert uploaded.status == 201
    graph = (
        f'latentgraph: 1\nnodes:\n  read: {{type: ReadFile, inputs: {{file: "{uploaded.json["upload"]}"}}}}\n'
        "  shout: {type: Shout, inputs: {text: $read}}\noutputs: {shout: $shout}\n"
    )
    body = {"graph": graph, "key": "the-key", "name": "anns"}
    job = server.request("POST", "/v1/jobs?wait=60", body, as_("ann")).json
    assert job["state"] == "done"
    return {"job": job["job"], "content": content, "graph": graph, "upload": uploaded.json, "output": job["outputs"]}


def same(server: Server, method: str, path: str, theirs: str, nobodys: str, headers: dict[str, str]) -> bool:
    """Whether the answers for what is another's and for what is nobody's are the same."""
    one, other = (server.request(method, path.format(id), headers=headers) for id in (theirs, nobodys))
    assert one.status == 404
    assert error_of(one) == "not-found"
    kept = {name: value for name, value in one.headers.items() if name != "Date"}
    return (one.status, one.text.replace(theirs, nobodys), kept) == (
        other.status,
        other.text,
        {name: value for name, value in other.headers.items() if name != "Date"},
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/graph"), ("GET", "/events")],
        ("GET", "/outputs/anns-shout-00000000.txt"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_job_of_another_is_answered_like_one_that_is_not_there(
    server: Server, anns: dict[str, Any], method: str, path: str, accept: str
) -> None:
    headers = {**as_("bob"), "Accept": accept}
    assert same(server, method, f"/v1/jobs/{{}}{path}", anns["job"], NOBODYS, headers)


def test_its_outputs_are_not_served_to_others(server: Server, anns: dict[str, Any]) -> None:
    url = anns["output"]["shout"]["url"]
    assert server.get(url, headers=as_("ann")).content == anns["content"].upper()
    assert server.get(url, headers=as_("root")).status == 200
    assert server.get(url, headers=as_("bob")).status == 404
    assert server.get(url).status == 401


def test_on_the_websocket_it_is_not_there_either(server: Server, anns: dict[str, Any]) -> None:
    async def asked(talk: Talk) -> None:
        for do in ("job", "cancel", "retry", "subscribe"):
            theirs, nobodys = await talk.ask(do, job=anns["job"]), await talk.ask(do, job=NOBODYS)
            assert theirs["error"]["code"] == "not-found"
            assert theirs["error"]["message"].replace(anns["job"], NOBODYS) == nobodys["error"]["message"]

    talk(server, asked, as_("bob"))


def test_lists_and_feeds_have_ones_own_only_and_an_admin_sees_all(server: Server, anns: dict[str, Any]) -> None:
    def jobs(name: str) -> list[str]:
        return [job["job"] for job in server.get("/v1/jobs", headers=as_(name)).json["jobs"]]

    assert anns["job"] in jobs("ann")
    assert anns["job"] in jobs("root")
    assert anns["job"] not in jobs("bob")

    async def fed(talk: Talk) -> list[str]:
        await talk.socket.send_json({"id": 1, "do": "subscribe", "feed": "mine", "after": 0})
        found = []
        while "caught_up" not in (frame := await talk.socket.receive_json(timeout=20)):
            found.append(frame.get("job"))
        return found

    assert anns["job"] in talk(server, fed, as_("ann"))
    assert anns["job"] not in talk(server, fed, as_("bob"))
    feed = raw(
        server, f"GET /v1/events HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {TOKENS['bob'][1]}\r\n\r\n".encode()
    )
    assert status_of(feed) == 200
    assert anns["job"].encode() not in feed


def test_the_queue_names_jobs_to_their_owner_only(server: Server) -> None:
    slow = "latentgraph: 1\nnodes: {slow: {type: Stubborn, inputs: {seconds: 60}}}\noutputs: {slow: $slow}\n"
    job = server.request("POST", "/v1/jobs", {"graph": slow}, as_("ann")).json["job"]
    try:
        while (found := server.get("/v1/queue", headers=as_("ann")).json)["running"] == 0:
            pass
        assert found["workers"][0]["job"] == job
        assert server.get("/v1/queue", headers=as_("root")).json["workers"][0]["job"] == job
        assert job not in server.get("/v1/queue", headers=as_("bob")).text
        assert job not in server.get("/v1/ready").text
        assert job not in server.get("/metrics", headers=as_("bob")).text
    finally:
        for worker in server.workers():
            os.kill(worker, 9)
        server.request("POST", f"/v1/jobs/{job}/cancel", headers=as_("ann"))


def test_the_key_of_another_stands_for_nothing(server: Server, anns: dict[str, Any]) -> None:
    found = server.request("POST", "/v1/jobs", {"graph": NUMBER, "key": "the-key"}, as_("bob"))
    assert found.status == 202
    assert found.json["job"] != anns["job"]


def test_an_upload_of_another_is_not_there(server: Server, anns: dict[str, Any]) -> None:
    digest = anns["upload"]["digest"]
    assert same(server, "GET", "/v1/uploads/{}", digest, "0" * 64, as_("bob"))
    assert server.get(f"/v1/uploads/{digest}", headers=as_("ann")).content == anns["content"]
    assert server.get(f"/v1/uploads/{digest}", headers=as_("root")).content == anns["content"]


def test_no_graph_of_another_reads_it(server: Server, anns: dict[str, Any]) -> None:
    given = "latentgraph: 1\nparams: {f: {type: File}}\nnodes: {r: {type: ReadFile, inputs: {file: $params.f}}}\n"
    given += "outputs: {r: $r}\n"
    nobodys = "upload:" + "0" * 64

    def asked(path: str, graph: str, upload: str) -> str:
        text = graph.replace(anns["upload"]["upload"], upload)
        body = {"graph": text, "params": {"f": upload} if "params" in text else {}}
        answer = server.request("POST", path, body, as_("bob"))
        assert answer.status == (200 if path == "/v1/check" else 422)
        assert "there is no upload" in answer.text
        return answer.text.replace(upload[7:15], "")

    for path in ("/v1/jobs", "/v1/check"):
        for graph in (anns["graph"], given):
            assert asked(path, graph, anns["upload"]["upload"]) == asked(path, graph, nobodys)
    retried = server.request("POST", f"/v1/jobs/{anns['job']}/retry", headers=as_("root"))
    assert retried.status == 202  # an admin may, with what its owner may read


def test_uploading_the_same_tells_nothing_of_another(server: Server, anns: dict[str, Any]) -> None:
    assert hashlib.sha256(anns["content"]).hexdigest() == anns["upload"]["digest"]
    mine = server.request("POST", "/v1/uploads?name=mine.txt", anns["content"], as_("bob"))
    assert mine.status == 201
    assert mine.json["name"] == "mine.txt"
    shown = server.get(mine.json["url"], headers=as_("bob"))
    assert "anns-secret" not in str(shown.headers)
    again = server.request("POST", "/v1/uploads?name=mine.txt", anns["content"], as_("bob"))
    assert again.status == 200
