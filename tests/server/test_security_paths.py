"""No answer has a path of the server in it, and no request reads a file that it should not."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile_nodes
import pytest
import serving
from callers import Talk, error_of, raw, talk
from serving import NUMBER, Answer, Server

from latentgraph.server.checks import paths

HOSTILE = Path(__file__).with_name("hostile_nodes.py")
BUILTIN = Path(paths.__file__).parents[2] / "nodes" / "builtin"

# a server that has a lot to tell


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What graphs may read, with links that lead out, pipes, graphs and models that are wrong."""
    folder = tmp_path_factory.mktemp("of the operator") / "the files"
    folder.mkdir()
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("the secret")
    (outside / "secret.yaml").write_text("latentgraph: 1\nparams: {secret: {type: int}}\nnodes: {}\noutputs: {}\n")
    (folder / "fine.txt").write_text("fine")
    (folder / "link.txt").symlink_to(outside / "secret.txt")
    (folder / "folder").symlink_to(outside)
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    (folder / "wrong.yaml").write_text("latentgraph: 1\nnodes: {a: {type: Nothing}}\noutputs: {a: $b}\n")
    (folder / "outer.yaml").write_text("latentgraph: 1\nnodes: {a: {type: ./wrong.yaml}}\noutputs: {a: $a.a}\n")
    shutil.copytree(BUILTIN, folder / "broken")
    (folder / "broken" / "vae" / "config.json").write_text("[")
    return folder


class Listened:
    """A server of which everything that it answers is kept."""

    def __init__(self, server: Server) -> None:
        self.server, self.answers = server, list[str]()

    def request(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        found = self.server.request(method, path, body, **more)
        self.answers += [found.content.decode("utf-8", "replace"), str(found.headers)]
        return found

    def check(self, graph: Any, **params: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.request("POST", "/v1/check", {"graph": graph, "params": params}).json
        return found

    def run(self, graph: Any, **params: Any) -> dict[str, Any]:
        job: dict[str, Any] = self.request("POST", "/v1/jobs?wait=60", {"graph": graph, "params": params}).json
        for path in ("", "/events", "/graph") if "job" in job else ():
            self.request("GET", f"/v1/jobs/{job['job']}{path}")
        return job


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[Listened]:
    folder = tmp_path_factory.mktemp("of the server") / "its folder"
    found = serving.start(folder, "--files", files, "--nodes", HOSTILE).ready()
    yield Listened(found)
    found.stop()


def one(node: str) -> str:
    return f"latentgraph: 1\nnodes: {{a: {node}}}\noutputs: {{a: $a}}\n"


OUTSIDE = [
    *(
        "/etc/passwd",
        "/etc/nothing",
        "../outside/secret.txt",
        "../outside/nothing",
        "link.txt",
        "folder/secret.txt",
        "loop",
    ),
    *(
        "/proc/self/environ",
        "/proc/self/cwd",
        "/dev/zero",
        "/dev/stdin",
        "~/.bashrc",
        "~root/.profile",
        "file:///etc/passwd",
    ),
    *("..%2foutside%2fsecret.txt", "a" * 5000, "a/" * 3000, "upload:../../jobs.sqlite", "upload:" + "0" * 64),
    *(
        "../data/jobs.sqlite",
        "upload:" + "0" * 64 + "/../../../jobs.sqlite",
        "/" * 3000 + "etc/passwd",
        "FINE.TXT/../x",
    ),
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_input_reads_a_file_outside(server: Listened, path: str) -> None:
    shown = json.dumps(path)
    params = "latentgraph: 1\nparams: {{f: {{type: {}}}}}\nnodes: {{}}\noutputs: {{}}\n"
    default = f"latentgraph: 1\nparams: {{f: {{type: File, default: {shown}}}}}\nnodes: {{}}\noutputs: {{}}\n"
    for found in [
        server.check(one(f"{{type: ReadFile, inputs: {{file: {shown}}}}}")),
        server.check(one(f"{{type: LoadImage, inputs: {{image: {shown}}}}}")),
        server.check(one(f"{{type: EmojiScenes, inputs: {{artwork: {shown}}}}}")),
        *(server.check(params.format(kind), f=path) for kind in ("File", "Folder", "Image")),
        server.check(params.format("[File]"), f=[path]),
        server.check(default),
    ]:
        assert not found["ok"]
        codes = {problem["code"] for problem in found["diagnostics"] if problem["severity"] == "error"}
        assert "missing-file" in codes
        assert not {"fine.txt", "secret.txt"} & set(str(found["diagnostics"]).replace(path, "").split("`"))
    for graph in (one(f"{{type: ReadFile, inputs: {{file: {shown}}}}}"), default):
        assert server.request("POST", "/v1/jobs", {"graph": graph}).status == 422


def test_what_is_outside_is_answered_the_same_whether_it_is_there_or_not(server: Listened) -> None:
    for node in ("{{type: ReadFile, inputs: {{file: {}}}}}", "{{type: LoadModel, inputs: {{name: {}}}}}"):
        said = {
            json.dumps(server.check(one(node.format(f"/etc/{name}")))["diagnostics"]).replace(name, "NAME")
            for name in ("passwd", "nosuch", "absent")
        }
        assert len(said) == 1


@pytest.mark.parametrize(
    "path", ["/etc/x.yaml", "./../outside/secret.yaml", "../outside/secret.yaml", "./folder/secret.yaml"]
)
def test_no_graph_file_outside_is_used_as_a_node_type(server: Listened, path: str) -> None:
    found = server.check(one(f"{{type: {path}, inputs: {{nothing: 1}}}}"))
    assert {problem["code"] for problem in found["diagnostics"]} >= {"missing-file"}
    assert "secret" not in str(found["diagnostics"]).replace(path, "").replace("secret.yaml", "")


def test_a_pipe_keeps_nobody_waiting(server: Listened) -> None:
    for node in ("{type: ReadFile, inputs: {file: pipe}}", "{type: LoadModel, inputs: {name: pipe}}"):
        assert not server.check(one(node))["ok"]
    assert server.check(one("{type: ReadFile, inputs: {file: fine.txt}}"))["ok"]


def test_graphs_read_what_they_may(server: Listened) -> None:
    assert server.run(one("{type: ReadFile, inputs: {file: fine.txt}}"))["outputs"] == {"a": "fine"}


# names in URLs


@pytest.mark.parametrize(
    "name",
    [
        *(
            "..",
            "../x",
            "../../x",
            "a/../../x",
            "/etc/x",
            "//x",
            ".hidden",
            "a/.b",
            "a//b",
            "a/",
            "x.yaml",
            "a\\b",
            "a\0b",
        ),
        *(
            "%2e%2e/x",
            "..%2fx",
            "%2fetc%2fx",
            "a%00",
            "linked/x",
            "a" * 65,
            "a/b/c/d/e",
            "con/ü",
            " ",
            "a b",
            "a\n",
            "~x",
        ),
    ],
)
def test_a_graph_is_kept_in_the_folder_of_graphs_under_a_plain_name_or_not_at_all(server: Listened, name: str) -> None:
    graphs = server.server.folder / "data" / "graphs"
    outside = server.server.folder / "linked elsewhere"
    outside.mkdir(exist_ok=True)
    if not (graphs / "linked").exists():
        (graphs / "linked").symlink_to(outside)
    before = {str(path) for path in server.server.folder.rglob("*.yaml*")}
    for quoted in {
        name.replace("\0", "%00").replace("\n", "%0a").replace(" ", "%20").replace("ü", "%c3%bc").replace("\\", "%5c")
    }:
        for method in ("PUT", "GET", "DELETE"):
            more = {"headers": {"Content-Type": "application/yaml"}} if method == "PUT" else {}
            found = server.request(method, f"/v1/graphs/{quoted}", NUMBER.encode() if more else None, **more)
            assert 400 <= found.status < 500, (method, found.text)
    assert {str(path) for path in server.server.folder.rglob("*.yaml*")} == before


def test_links_in_the_folder_of_graphs_that_lead_out_are_no_graphs(server: Listened, files: Path) -> None:
    graphs = server.server.folder / "data" / "graphs"
    (graphs / "leak.yaml").symlink_to(files.parent / "outside" / "secret.yaml")
    (graphs / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(graphs / "pipe.yaml")
    try:
        assert server.request("GET", "/v1/graphs/leak").status == 404
        assert server.request("POST", "/v1/jobs", {"graph": "leak"}).status == 400
        listed = server.request("GET", "/v1/graphs")
        assert "secret" not in listed.text
        assert not {"leak", "loop", "pipe"} & {graph["name"] for graph in listed.json["graphs"]}
    finally:
        for name in ("leak", "loop", "pipe"):
            (graphs / f"{name}.yaml").unlink()


def test_a_graph_that_was_kept_reads_no_more_than_others(server: Listened) -> None:
    headers = {"Content-Type": "application/yaml"}
    for path in ("../jobs.sqlite", "../../data/webhook-secret", "../../../outside/secret.txt", "/etc/passwd"):
        text = one(f"{{type: ReadFile, inputs: {{file: {path}}}}}")
        assert server.request("PUT", "/v1/graphs/kept", text.encode(), headers=headers).status in (200, 201)
        assert server.request("POST", "/v1/jobs", {"graph": "kept"}).status == 422
        assert not server.check("kept")["ok"]
    inner = one("{type: ReadFile, inputs: {file: ../../jobs.sqlite}}")
    server.request("PUT", "/v1/graphs/deep/inner", inner.encode(), headers=headers)
    server.request("PUT", "/v1/graphs/kept", one("{type: ./deep/inner.yaml}").encode(), headers=headers)
    found = server.request("POST", "/v1/jobs", {"graph": "kept"})
    assert found.status == 422
    assert "is not in a folder that graphs may read here" in found.text


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/../../../etc/passwd",
            "/..%2f..%2f..%2fetc%2fpasswd",
            "/%2e%2e/%2e%2e/jobs.sqlite",
            "//etc/passwd",
            "/x%00.png",
        ),
        *(
            "/..\\..\\jobs.sqlite",
            "/%252e%252e/jobs.sqlite",
            "/",
            "/.",
            "/..",
            "/" + "a" * 5000,
            "/%ff",
            "/%2fetc%2fpasswd",
        ),
    ],
)
@pytest.mark.parametrize("before", ["/v1/jobs/JOB/outputs", "/page", "/v1/uploads", "/v1/jobs", "/v1/node-types"])
def test_no_path_of_a_url_leads_to_a_file(server: Listened, before: str, path: str) -> None:
    job = server.run(NUMBER)["job"]
    request = f"GET {before.replace('JOB', job)}{path} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"
    answer = raw(server.server, request.encode())
    server.answers.append(answer.decode("utf-8", "replace"))
    assert answer.split()[1] in (b"400", b"403", b"404"), answer[:200]
    for content in (b"root:", b"SQLite format"):
        assert content not in answer


# everything that was answered


def test_no_answer_has_a_path_of_the_server_in_it(server: Listened, files: Path) -> None:
    for how in ("log", "progress", "ValueError", "OSError", "KeyError", "deep", "scratch", "link"):
        job = server.run(one(f"{{type: Tells, inputs: {{how: {how}}}}}"))
        assert job["state"] == ("done" if how in ("log", "progress") else "failed")
    for name in (
        "broken",
        "nothing",
        str(files / "broken"),
        str(files),
        str(files / "link.txt"),
        "folder",
        "fine.txt",
    ):
        assert not server.check(one(f"{{type: LoadModel, inputs: {{name: {json.dumps(name)}}}}}"))["ok"]
    for name in ("./outer.yaml", "./wrong.yaml", f"{files}/outer.yaml", "./nothing.yaml"):
        found = server.check(one(f"{{type: {json.dumps(name)}}}"))
        assert not found["ok"]
        assert "nothing" in name or "…/wrong.yaml" in {problem["file"] for problem in found["diagnostics"]}
    server.check("txt2img")
    server.check("txt2img", model=str(files / "broken"))
    server.run(one("{type: Shout, inputs: {text: loud}}"))
    for path in (
        "/v1/store",
        "/metrics",
        "/v1/openapi.json",
        "/v1/asyncapi.json",
        "/v1/node-types",
        "/v1/graphs",
        "/v1/ready",
    ):
        assert server.request("GET", path).status == 200
    for path in ("/v1/schema", "/v1/server", "/v1/queue", "/v1/jobs", "/", "/docs", "/page/page.js", "/nothing"):
        server.request("GET", path)
    server.request("POST", "/v1/uploads?name=x.png", b"\x89PNG\r\n\x1a\n")
    server.request("POST", "/v1/uploads?name=../x", b"x")
    server.request("POST", "/v1/uploads?name=" + "%c3%bc" * 150, b"x")

    async def follow(talk: Talk) -> None:
        for how in ("progress", "deep"):
            graph = one(f"{{type: Tells, inputs: {{how: {how}}}}}")
            server.answers.append(str(await talk.ask("submit", graph=graph, follow=True)))
            while '"end"' not in (text := await talk.socket.receive_str(timeout=20)):
                server.answers.append(text)
        server.answers.append(str(await talk.ask("submit", graph=one("{type: LoadModel, inputs: {name: broken}}"))))
        server.answers.append(str(await talk.ask("jobs")))

    talk(server.server, follow)
    own = [
        str(server.server.folder),
        str(files),
        str(files.parent),
        *hostile_nodes.PLACES,
        sys.base_prefix,
        os.getcwd(),
    ]
    for folder in {
        *own,
        str(Path(tempfile.gettempdir()).resolve()),
        "site-packages",
        str(Path(paths.__file__).parents[2]),
    }:
        telling = [answer for answer in server.answers if f"{folder}/" in answer or f'{folder}"' in answer]
        # What a client has sent itself is sent back as it was.
        telling = [answer for answer in telling if folder in answer.replace(f"{files}", "")]
        assert not telling, (folder, telling[0][:2000])


def test_whatever_is_wrong_is_an_error_of_the_one_form(server: Listened) -> None:
    assert error_of(server.request("GET", "/v1/jobs/nothing")) == "not-found"
    assert "Traceback (most recent call last)" not in "".join(server.answers)
