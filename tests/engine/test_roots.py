"""What a process that runs graphs of others reads: nothing outside of the folders that it was given."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from latentgraph.engine import load, roots
from latentgraph.engine.diagnostics import GraphWrong
from latentgraph.engine.ports import File, Folder
from latentgraph.engine.reading import Given, Written, checked
from latentgraph.engine.registry import Registry, load_registry
from latentgraph.engine.roots import NOWHERE, NotAllowed, confine, place, uploads_in
from latentgraph.engine.values import Refused, admitted
from latentgraph.engine.workers import Workers

BUILTIN = Path(load.__globals__["__file__"]).parents[1] / "nodes" / "builtin"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may be read, beside one that may not; the process is confined to it until the test is over."""
    monkeypatch.setattr(roots, "_roots", None)
    monkeypatch.chdir(tmp_path)
    inside, outside = tmp_path / "files", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "secret.txt").write_text(f"in {folder.name}")
    confine([inside])
    return inside


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Ends what hangs: reading a pipe that nobody writes to."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"took longer than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refusal(written: str, kind: type = File, folder: Path = NOWHERE) -> str:
    with pytest.raises(Refused) as caught:
        admitted(written, kind, folder)
    assert caught.value.code == "missing-file"
    return str(caught.value).replace(written, "WRITTEN") if written else str(caught.value)


def wrong(text: str, folder: Path = NOWHERE, registry: Registry | None = None) -> str:
    """The first error in a graph."""
    found = checked(Written(text.encode(), "graph", "graph.yaml", folder), registry or load_registry(), Given())
    assert found.graph is None, "nothing is wrong with it"
    return next(problem.message for problem in found.problems if problem.severity == "error")


NOT_ALLOWED = "`WRITTEN` is not in a folder that graphs may read here"


# what may be read


def test_relative_paths_are_looked_for_in_the_folders_that_may_be_read(files: Path) -> None:
    found = admitted("secret.txt", File, NOWHERE)
    assert found.read() == b"in files"


def test_absolute_paths_in_them_are_read(files: Path) -> None:
    assert place(str(files / "secret.txt"), NOWHERE) == files.resolve() / "secret.txt"


def test_a_folder_that_was_given_by_a_link_is_read_by_that_link(tmp_path: Path, files: Path) -> None:
    (tmp_path / "link").symlink_to(files)
    confine([tmp_path / "link"])
    assert admitted(str(tmp_path / "link" / "secret.txt"), File, NOWHERE).read() == b"in files"
    assert admitted("secret.txt", File, NOWHERE).read() == b"in files"


def test_links_inside_them_to_inside_them_are_followed(files: Path) -> None:
    (files / "again.txt").symlink_to(files / "secret.txt")
    assert admitted("again.txt", File, NOWHERE).read() == b"in files"


def test_a_missing_file_inside_them_is_said_to_be_missing_with_the_nearest_name(files: Path) -> None:
    assert refusal("secrets.txt") == "there is no file `WRITTEN` (there is `secret.txt`)"


# what may not


OUTSIDE = [
    "../outside/secret.txt",
    "./.././outside/secret.txt",
    "sub/../../outside/secret.txt",
    "/etc/passwd",
    "/etc/../etc/passwd",
    "/proc/self/environ",
    "/proc/self/cwd/outside/secret.txt",
    "/proc/self/root/etc/passwd",
    "/dev/zero",
    "/dev/stdin",
    "~/.bashrc",
    "~root/.bashrc",
    "~",
    "file:///etc/passwd",
    "..%2foutside%2fsecret.txt",
    "%2e%2e/outside/secret.txt",
    "..\\outside\\secret.txt",
    "//etc/passwd",
    "////etc/passwd",
    "secret.txt\0.png",
    "/etc/passwd\0",
    "upload:../outside/secret.txt",
    "upload:",
    "upload:" + "0" * 64,
    "upload:" + "A" * 64,
    "upload:" + "0" * 64 + "/../../outside/secret.txt",
    "upload:" + "0" * 64 + "\n",
    "a" * 5000,
    "a/" * 3000 + "a",
    "a/" * 2_000_000,
    "../" * 2_000_000,
    "/" * 5000 + "etc/passwd",
    "/" + "a" * 300 + "/b",
]


@pytest.mark.parametrize("written", OUTSIDE)
@pytest.mark.parametrize("kind", [File, Folder])
def test_no_trick_reads_a_file_outside_of_them(files: Path, written: str, kind: type) -> None:
    with at_most(5):
        refusal(written, kind)
    with at_most(5):
        refusal(written, kind, files)


def test_the_absolute_path_of_a_neighbour_whose_name_begins_alike_is_refused(tmp_path: Path, files: Path) -> None:
    (tmp_path / "files-of-others").mkdir()
    (tmp_path / "files-of-others" / "x").write_text("x")
    assert refusal(f"{files}-of-others/x") == NOT_ALLOWED


def test_nothing_tells_whether_there_is_anything_outside(tmp_path: Path, files: Path) -> None:
    (tmp_path / "outside" / "link").symlink_to(files)
    there = ["/etc/passwd", "/etc", "/", str(tmp_path / "outside" / "secret.txt"), "../outside/secret.txt", "/dev/null"]
    missing = ["/etc/nothing", "/nothing", str(tmp_path / "outside" / "nothing"), "../outside/nothing", "../nothing/x"]
    # Through a link outside that leads back in: that it works would tell that the link is there.
    there += [str(tmp_path / "outside" / "link" / "secret.txt"), "../outside/link/secret.txt"]
    assert {refusal(path) for path in there + missing} == {NOT_ALLOWED}
    assert {refusal(path, Folder) for path in there + missing} == {NOT_ALLOWED}


def test_nothing_outside_is_even_looked_at(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(roots, "_followed", lambda path: seen.append(str(path)))
    for written in ("/etc/passwd", "../outside/secret.txt", "/proc/self/cwd/files/secret.txt", "~/x", str(files / "a")):
        refusal(written)
    assert set(seen) == {str(files / "a"), str(files / "~" / "x")}


@pytest.mark.parametrize("target", ["../outside/secret.txt", "/etc/passwd", "/nothing", "loop", "/proc/self/environ"])
def test_a_link_that_leads_out_is_refused_whether_or_not_it_leads_to_something(files: Path, target: str) -> None:
    (files / "loop").symlink_to("loop")
    (files / "link").symlink_to(target)
    assert refusal("link") == NOT_ALLOWED


def test_a_folder_behind_a_link_that_leads_out_is_refused(tmp_path: Path, files: Path) -> None:
    (files / "out").symlink_to(tmp_path / "outside")
    assert refusal("out", Folder) == NOT_ALLOWED
    assert refusal("out/secret.txt") == NOT_ALLOWED
    assert refusal("out/../outside/secret.txt") != "there is no file"  # `..` goes back in the text, not over the link


def test_links_that_lead_out_are_no_files_of_a_folder(tmp_path: Path, files: Path) -> None:
    (files / "deep").mkdir()
    (files / "deep" / "ours.txt").write_text("ours")
    (files / "deep" / "link.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (files / "deep" / "out").symlink_to(tmp_path / "outside")
    (files / "deep" / "loop").symlink_to("loop")
    found = admitted("deep", Folder, NOWHERE)
    assert [file.name for file in found.files] == ["ours.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_inside_them_keeps_nobody_waiting(files: Path) -> None:
    os.mkfifo(files / "pipe")
    os.mkfifo(files / "pipe.yaml")
    os.mkfifo(files / "model_index.json")
    with at_most(10):
        assert refusal("pipe") == "`WRITTEN` is neither a file nor a folder, a file is wanted"
        assert [file.name for file in admitted(".", Folder, NOWHERE).files] == ["secret.txt"]
        graph = f"latentgraph: 1\nnodes: {{a: {{type: {files}/pipe.yaml}}}}\noutputs: {{a: $a}}\n"
        assert "neither a file nor a folder" in wrong(graph)
        assert "no model_index.json" in wrong(model_graph(str(files)))


def test_the_neighbours_of_a_folder_that_may_be_read_are_not_named(tmp_path: Path, files: Path) -> None:
    shutil.rmtree(files)
    (tmp_path / "filed").mkdir()
    assert refusal(str(files), Folder) == "there is no folder `WRITTEN`"


# what is closed


def test_what_is_closed_is_not_read_in_a_folder_that_may_be_and_what_is_opened_in_it_is(files: Path) -> None:
    for folder in ("data", "data/graphs"):
        (files / folder).mkdir()
        (files / folder / "x.yaml").write_text("x")
    (files / "link").symlink_to(files / "data" / "x.yaml")
    confine([files, files / "data" / "graphs"], closed=[files / "data", files / "tokens"])
    (files / "tokens").write_text("token")
    for written in (files / "data" / "x.yaml", files / "data" / "nothing", files / "link", files / "tokens"):
        assert refusal(str(written)) == NOT_ALLOWED
    for written in ("data/x.yaml", "data/nothing", "link", "tokens"):  # they might be in the other folder
        assert refusal(written) == "there is no file `WRITTEN`"
    assert admitted("data/graphs/x.yaml", File, NOWHERE).read() == b"x"
    listed = {file.name for file in admitted(str(files), Folder, NOWHERE).files}
    assert listed == {"secret.txt", "data/graphs/x.yaml"}


# uploads


def test_uploads_are_read_where_they_were_said_to_be_and_only_there(tmp_path: Path, files: Path) -> None:
    digest = "ab" * 32
    (tmp_path / "mine" / digest).mkdir(parents=True)
    (tmp_path / "mine" / digest / "photo.png").write_text("photo")
    assert refusal(f"upload:{digest}") == "there is no upload abababab…"
    with uploads_in([tmp_path / "yours"]):
        assert refusal(f"upload:{digest}") == "there is no upload abababab…"
    with uploads_in([tmp_path / "yours", tmp_path / "mine"]):
        assert admitted(f"upload:{digest}", File, NOWHERE).name == "photo.png"
        assert "is a file" in refusal(f"upload:{digest}", Folder)
        refusal(f"upload:{digest}/photo.png")


def test_threads_that_compute_read_the_uploads_of_who_started_them(tmp_path: Path, files: Path) -> None:
    import queue

    digest, found = "cd" * 32, queue.SimpleQueue[str]()
    (tmp_path / "mine" / digest).mkdir(parents=True)
    (tmp_path / "mine" / digest / "x").touch()

    def look() -> None:
        try:
            found.put(place(f"upload:{digest}").name)
        except NotAllowed:
            found.put("nothing")

    workers = Workers()
    with uploads_in([tmp_path / "mine"]):
        workers.start(look)
        assert found.get(timeout=10) == "x"
    workers.start(look)
    assert found.get(timeout=10) == "nothing"
    workers.close()


# where graphs name files


def model_graph(name: str) -> str:
    return (
        f"latentgraph: 1\nnodes:\n  model: {{type: LoadModel, inputs: {{name: {name!r}}}}}\n"
        "  canvas: {type: EmptyLatent, inputs: {model: $model.model, width: 64, height: 64}}\n"
        "  picture: {type: VAEDecode, inputs: {vae: $model.vae, latent: $canvas}}\noutputs: {picture: $picture}\n"
    )


@pytest.mark.parametrize("name", ["/etc", "~/models", "~root", "../outside", "/", "", "/proc/self/cwd", "."])
def test_a_model_by_its_folder_is_looked_for_in_them_only(tmp_path: Path, files: Path, name: str) -> None:
    (tmp_path / "outside" / "model_index.json").write_text('{"_class_name": "Telltale"}')
    said = wrong(model_graph(name))
    assert "Telltale" not in said
    assert {
        "": "it is empty: give the name or the path of a checkpoint",
        ".": "no model_index.json",
        "~/models": "there is no file or folder ~/models",  # nobody's home, but a name
        "~root": "there is no file or folder ~root",
    }.get(name, "is not in a folder that graphs may read here") in said


def test_a_model_inside_them_is_found(files: Path) -> None:
    shutil.copytree(BUILTIN, files / "tiny")
    written = Written(model_graph("tiny").encode(), "graph", "graph.yaml", NOWHERE)
    assert checked(written, load_registry(), Given()).graph is not None


@pytest.mark.parametrize(
    "part",
    ["model_index.json", "unet/config.json", "vae/diffusion_pytorch_model.safetensors", "scheduler", "tokenizer"],
)
def test_no_part_of_a_model_is_read_over_a_link_that_leads_out(tmp_path: Path, files: Path, part: str) -> None:
    shutil.copytree(BUILTIN, files / "tiny")
    shutil.copytree(BUILTIN, tmp_path / "outside" / "tiny")
    at = files / "tiny" / part
    shutil.rmtree(at) if at.is_dir() else at.unlink()
    at.symlink_to(tmp_path / "outside" / "tiny" / part)
    said = wrong(model_graph("tiny"))
    assert "has no" in said or "is incomplete" in said


PARAM = "latentgraph: 1\nparams: {{file: {{type: {kind}, default: {default!r}}}}}\nnodes: {{}}\noutputs: {{}}\n"


@pytest.mark.parametrize("kind", ["File", "Folder", "Image", "[File]"])
def test_a_default_of_a_param_is_looked_for_in_them_only(files: Path, kind: str) -> None:
    default: object = ["/etc/passwd"] if kind == "[File]" else "/etc/passwd"
    said = wrong(PARAM.format(kind=kind, default=default))
    assert "is not in a folder that graphs may read here" in said


@pytest.mark.parametrize("kind", ["File", "Image"])
def test_a_param_that_is_given_is_looked_for_in_them_only(files: Path, kind: str) -> None:
    text = f"latentgraph: 1\nparams: {{file: {{type: {kind}}}}}\nnodes: {{}}\noutputs: {{}}\n"
    written = Written(text.encode(), "graph", "graph.yaml", NOWHERE)
    for path in ("/etc/passwd", "/etc/nothing", "../outside/secret.txt"):
        found = checked(written, load_registry(), Given(plain={"file": path}, folder=NOWHERE))
        assert found.graph is None
        assert "is not in a folder that graphs may read here" in found.problems[0].message


@pytest.mark.parametrize("written", ["./../outside/g.yaml", "../outside/g.yaml", "/etc/g.yaml", "./link.yaml"])
def test_a_graph_file_as_a_node_type_is_looked_for_in_them_only(tmp_path: Path, files: Path, written: str) -> None:
    inner = 'latentgraph: 1\nparams: {telltale: {type: str, default: ""}}\nnodes: {}\noutputs: {}\n'
    (tmp_path / "outside" / "g.yaml").write_text(inner)
    (files / "link.yaml").symlink_to(tmp_path / "outside" / "g.yaml")
    text = f"latentgraph: 1\nnodes: {{a: {{type: {written}, inputs: {{nothing: 1}}}}}}\noutputs: {{}}\n"
    for folder in (NOWHERE, files):
        assert "is not in a folder that graphs may read here" in wrong(text, folder)


def test_no_path_of_a_file_is_put_together_by_an_expression(files: Path) -> None:
    text = (
        "latentgraph: 1\nparams: {folder: {type: str, default: /etc}}\n"
        "nodes: {picture: {type: LoadImage, inputs: {image: $(params.folder + '/passwd')}}}\noutputs: {p: $picture}\n"
    )
    assert "takes File, the expression gives str" in wrong(text)


def test_a_graph_that_is_loaded_by_a_program_is_held_to_the_same(files: Path, tmp_path: Path) -> None:
    graph = tmp_path / "graph.yaml"
    graph.write_text(
        "latentgraph: 1\nnodes: {picture: {type: LoadImage, inputs: {image: /etc/passwd}}}\noutputs: {p: $picture}\n"
    )
    with pytest.raises(GraphWrong, match="is not in a folder that graphs may read here"):
        load(graph).run()


def test_a_process_that_was_not_confined_reads_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "_roots", None)
    (tmp_path / "x").write_text("x")
    assert admitted(str(tmp_path / "x"), File, NOWHERE).read() == b"x"
