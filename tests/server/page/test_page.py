"""The page in a browser: writing, running and following graphs, as somebody in front of it does."""

import json
import re
import zlib
from pathlib import Path

import pytest
import serving
from browsing import SLOW, Open, box, checked, drop, ended, give, job_of, picture_is_shown, png, run, state, write
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[3] / "server/page/node_modules/axe-core/axe.min.js"
DOG = Path(__file__).parents[3] / "graphs/examples/dog.png"


def test_an_error_is_shown_where_it_is_and_goes_when_it_is_mended(page: Page) -> None:
    write(page, SLOW.replace("$early", "$earlier"))
    expect(page.locator(".cm-lintRange-error")).to_have_text("$earlier")
    expect(page.locator(".problem")).to_contain_text("no node is called `earlier`")
    expect(page.locator("#run-button")).to_be_disabled()
    page.locator("button.problem").click()
    page.keyboard.insert_text("$early")
    expect(page.locator(".problems-summary")).to_have_text("No problems")
    expect(page.locator(".cm-lintRange-error")).to_have_count(0)
    expect(box(page, "late")).to_be_visible()


def test_node_types_inputs_outputs_params_and_choices_are_completed(page: Page) -> None:
    write(page, SLOW.partition("outputs")[0])
    offered = page.locator(".cm-tooltip-autocomplete .cm-completionLabel")
    for typed, label in (
        ("  sum: {type: Add", "Add"),
        (", inputs: {", None),
        ("a", "a"),
        ("$ear", "early"),
        (".val", "value"),
        (", b", "b"),
        ("$params.v", "value"),
        ("}}\n  drawn: {type: KSampler, inputs: {schedu", "scheduler"),
        ("kar", "karras"),
    ):
        page.keyboard.insert_text(typed[:-1]) if label else page.keyboard.insert_text(typed)
        if label:
            page.keyboard.type(typed[-1])
            expect(offered.first).to_have_text(label)
            page.wait_for_timeout(100)  # what has just appeared is not taken by keys that were meant for the text
            page.keyboard.press("Tab")
    written = page.locator("#editor .cm-content").inner_text()
    assert "sum: {type: Add, inputs: {a: $early.value, b: $params.value}}" in written
    assert "scheduler: karras" in written


def test_a_run_is_followed_node_by_node_and_a_second_one_is_reused(page: Page, server: serving.Server) -> None:
    give(page, "steps", 3)
    run(page)
    expect(box(page, "sampled")).to_have_class(state("running"))
    expect(box(page, "decoded")).to_have_class(state("waiting"))
    ended(page, "7 computed")
    picture_is_shown(page, "#run .picture")
    expect(box(page, "sampled")).to_have_class(state("computed"))
    expect(box(page, "sampled").locator("image")).to_have_attribute("href", re.compile("^blob:"))
    first = job_of(page)
    run(page)
    ended(page, "7 reused")
    expect(box(page, "sampled")).to_have_class(state("reused"))
    picture_is_shown(page, "#run .picture")
    assert job_of(page) != first
    assert server.get(f"/v1/jobs/{first}").json["params"] == {"steps": 3}


def test_uses_of_one_node_are_counted_on_its_box_in_the_frame_of_its_group(
    page: Page, server: serving.Server, tmp_path: Path
) -> None:
    for name, text in (("slow", SLOW.replace("40", "8")), ("many", MANY)):
        page.request.put(f"{server.url}/v1/graphs/{name}", data=text, headers={"Content-Type": "application/yaml"})
    page.reload()
    page.get_by_role("button", name="many Some numbers.").click()
    expect(page.locator(".frame text")).to_have_text("each")
    run(page)
    expect(box(page, "each/late").locator(".box-time")).to_have_text(re.compile("[12] of 3"))
    ended(page, "Done")
    expect(box(page, "each/late").locator(".box-time")).to_have_text("3×")
    expect(page.locator("#run .value")).to_have_text(re.compile(r"\[\s*1,\s*2,\s*3\s*\]"))


MANY = """\
latentgraph: 1
description: Some numbers.
nodes:
  each: {type: ./slow.yaml, foreach: {value: [1, 2, 3]}}
outputs:
  numbers: $each
"""


def test_a_run_is_cancelled_and_what_failed_says_why(page: Page) -> None:
    write(page, SLOW)
    give(page, "value", 20)
    run(page)
    expect(box(page, "late")).to_have_class(state("running"))
    page.locator("#cancel-button").click()
    ended(page, "Cancelled")
    write(page, SLOW.replace("Slow", "Fails").replace("value: $early, steps: 40, seconds: 0.1", 'message: "no luck"'))
    run(page)
    ended(page, "no luck")
    expect(box(page, "late")).to_have_class(state("failed"))


def test_a_page_that_is_loaded_again_during_a_run_goes_on_with_it(page: Page) -> None:
    write(page, SLOW)
    give(page, "value", 30)
    run(page)
    expect(box(page, "late")).to_have_class(state("running"))
    page.reload()
    expect(page.locator("#param-value")).to_have_value("30")
    expect(box(page, "early")).to_have_class(state("computed"))
    expect(box(page, "late")).to_have_class(state("running"))
    ended(page, "Done")
    expect(page.locator("#run .value")).to_have_text("30")


def test_what_was_written_is_still_there_after_loading_again(page: Page) -> None:
    write(page, SLOW.replace("early", "before"))
    give(page, "value", 32)
    checked(page)
    page.reload()
    expect(box(page, "before")).to_be_visible()
    expect(page.locator("#param-value")).to_have_value("32")


def test_another_browser_follows_a_job_by_its_address(open_page: Open, server: serving.Server) -> None:
    job = server.run(SLOW.replace("40", "1"), {"value": 31}, name="slow")["job"]
    other = open_page(server, f"/#job={job}")
    ended(other, "Done")
    expect(other.locator("#param-value")).to_have_value("31")
    expect(other.locator("#editor .cm-content")).to_contain_text("type: Slow")


def test_a_dropped_picture_brings_back_the_graph_and_params_that_drew_it(page: Page, server: serving.Server) -> None:
    job = server.run("txt2img", {"steps": 1, "prompt": "a lion face"})
    picture = server.get(job["outputs"]["image"]["url"]).content
    write(page, SLOW)
    drop(page, "found.png", "image/png", picture)
    expect(page.locator("#param-prompt")).to_have_value("a lion face")
    expect(page.locator("#param-steps")).to_have_value("1")
    expect(page.locator(".graph-title")).to_have_text("txt2img")
    run(page)
    ended(page, "7 reused")


@pytest.mark.parametrize(
    "texts",
    [
        {
            "graph": (b"tEXt", b"latentgraph.graph\0" + SLOW.encode()),
            "params": (b"zTXt", b"latentgraph.params\0\0" + zlib.compress(b'{"value": 77}')),
        },
        {
            "graph": (b"iTXt", b"latentgraph.graph\0\1\0en\0Graph\0" + zlib.compress(SLOW.encode())),
            "params": (b"iTXt", b'latentgraph.params\0\0\0\0\0{"value": 77}'),
        },
    ],
    ids=["latin", "international"],
)
def test_a_graph_is_found_in_every_kind_of_text_chunk(page: Page, texts: dict) -> None:
    drop(page, "any.png", "image/png", png(**texts))
    expect(page.locator("#param-value")).to_have_value("77")


def test_a_dropped_picture_without_a_graph_can_be_used_as_a_param(page: Page, server: serving.Server) -> None:
    page.get_by_role("button", name="img2img").click()
    expect(page.locator(".graph-title")).to_have_text("img2img")
    page.locator("#param-strength").wait_for()
    drop(page, "dog.png", "image/png", DOG.read_bytes())
    expect(page.locator(".toast")).to_contain_text("does not tell the graph that drew it")
    page.get_by_role("button", name="Use it as image").click()
    expect(page.locator(".file-name")).to_contain_text("dog.png")
    picture_is_shown(page, ".file-thumb")


def test_a_dropped_graph_file_is_opened(page: Page) -> None:
    drop(page, "mine.yaml", "application/yaml", SLOW.encode())
    expect(page.locator(".graph-title")).to_have_text("mine")
    expect(box(page, "late")).to_be_visible()


def test_a_picture_is_uploaded_for_a_param(page: Page, server: serving.Server) -> None:
    page.get_by_role("button", name="img2img").click()
    page.locator("#param-image").set_input_files(DOG)
    expect(page.locator(".file-name")).to_contain_text("dog.png")
    give(page, "steps", 2)
    run(page)
    ended(page, "Done")
    picture_is_shown(page, "#run .picture")
    assert re.fullmatch("upload:[0-9a-f]{64}", server.get(f"/v1/jobs/{job_of(page)}").json["params"]["image"])


def test_a_value_that_a_param_does_not_take_is_refused_beside_its_field(page: Page) -> None:
    give(page, "steps", 0)
    expect(page.locator("#param-steps-wrong")).to_have_text("`steps` is 0, the least is 1")
    expect(page.locator("#run-button")).to_be_disabled()
    page.get_by_role("button", name="Back to the graph's steps").click()
    expect(page.locator("#param-steps")).to_have_value("25")
    expect(page.locator("#run-button")).to_be_enabled()


def test_a_graph_is_saved_under_a_name_opened_and_deleted(page: Page, server: serving.Server) -> None:
    write(page, SLOW)
    checked(page)
    page.get_by_role("button", name="Save as…").click()
    page.get_by_label("Name").fill("kept")
    page.keyboard.press("Enter")
    expect(page.locator(".graph-title")).to_have_text("kept")
    assert server.get("/v1/graphs/kept").json["text"] == SLOW
    page.get_by_role("button", name="txt2img Draw what a prompt says.", exact=True).click()
    page.locator("#param-prompt").wait_for()
    page.get_by_label("Search graphs").fill("kept")
    page.get_by_role("button", name="kept", exact=True).click()
    expect(page.locator("#param-value")).to_be_visible()
    page.get_by_role("button", name="Delete kept").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("button", name="kept", exact=True)).to_have_count(0)
    assert server.get("/v1/graphs/kept").status == 404


def test_the_gallery_leads_back_to_the_graph_and_params_of_a_picture(page: Page, server: serving.Server) -> None:
    server.run("txt2img", {"steps": 1, "prompt": "a snowman"})
    write(page, SLOW)
    page.get_by_role("button", name="Gallery", exact=True).click()
    page.get_by_role("button", name="a snowman").first.click()
    picture_is_shown(page, ".lightbox")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.endswith(".png")
    page.get_by_role("button", name="Open in editor").click()
    expect(page.locator("#param-prompt")).to_have_value("a snowman")
    ended(page, "Done")


def test_jobs_of_other_clients_appear_and_are_run_again_and_deleted(page: Page, server: serving.Server) -> None:
    page.get_by_role("button", name="Jobs").click()
    server.run(SLOW.replace("40", "1"), {"value": 41}, name="elsewhere")
    job = page.locator(".job", has_text="elsewhere")
    expect(job).to_contain_text("done")
    job.hover()
    job.get_by_role("button", name="Run again").click()
    ended(page, "2 reused")
    expect(job).to_have_count(2)
    job.first.hover()
    job.first.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(job).to_have_count(1)
    page.reload()
    expect(job).to_have_count(1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1000)
    assert len(asked) < 20, "the page goes on asking, though nothing happens"


def test_the_queue_is_paused_and_goes_on(page: Page, server: serving.Server) -> None:
    page.get_by_role("button", name="Jobs").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".queue")).to_contain_text("paused")
    write(page, SLOW.replace("40", "1"))
    run(page)
    ended(page, "Waiting in the queue")
    page.get_by_role("button", name="Resume").click()
    ended(page, "Done")


def test_a_token_is_asked_for_and_stays_out_of_the_address(open_page: Open, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("ann read,submit a-token-of-many-letters\n")
    tokens.chmod(0o600)
    server = serving.start(tmp_path, "--workers", 1, "--token-file", tokens)
    try:
        page = open_page(server, expected="401")
        page.locator("#token").fill("not-the-right-token")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("did not take that token")
        page.locator("#token").fill("a-token-of-many-letters")
        page.keyboard.press("Enter")
        page.wait_for_selector(".box")
        write(page, SLOW.replace("40", "1"))
        run(page)
        ended(page, "Done")
        page.reload()
        ended(page, "Done")
        assert "token" not in page.url
        page.get_by_role("button", name="Jobs").click()
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)
        page.close()
    finally:
        server.stop()


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, server: serving.Server, width: int, scheme: str) -> None:
    if not AXE.exists():
        pytest.fail("axe-core is not installed: run `npm ci` in server/page")
    server.run("txt2img", {"steps": 1})
    page = open_page(
        server, viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce"
    )
    page.wait_for_selector(".box", state="attached")
    page.add_script_tag(path=AXE)
    found = {}

    def look(view: str) -> None:
        result = page.evaluate("axe.run()")
        serious = [each for each in result["violations"] if each["impact"] in ("serious", "critical")]
        if serious:
            found[view] = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in serious]

    if width > 900:
        run(page)
        ended(page, "Done")
        look("done")
        page.get_by_role("button", name="Jobs").click()
        write(page, SLOW.replace("$early", "$earlier"))
        page.locator("button.problem").wait_for()
        look("wrong")
        page.get_by_role("button", name="Gallery", exact=True).click()
    else:
        for panel in ("Graphs", "Text", "Drawing", "Run", "Jobs", "Gallery"):
            page.locator(".tabs").get_by_role("button", name=panel).click()
            look(panel)
    page.locator(".piece").first.click()
    look("picture")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    look("shortcuts")
    assert not found, json.dumps(found, indent=1)


def test_a_graph_is_found_run_and_looked_at_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("txt2img")
    page.keyboard.press("Tab")
    expect(page.locator('.graph[data-name="txt2img"]')).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("#param-prompt").wait_for()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.cm-content')"):
            break
    page.keyboard.press("Control+Home")
    page.keyboard.insert_text("# by keyboard\n")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.locator("#editor .cm-content")).not_to_be_focused()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "param-steps":
            break
    page.keyboard.press("Control+A")
    page.keyboard.type("1")
    checked(page)
    expect(page.locator("#run-button")).to_be_enabled()
    page.keyboard.press("Control+Enter")
    ended(page, "Done")
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.matches('.box')"):
            break
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tip")).to_contain_text("CLIPEncode")
    page.keyboard.press("Enter")
    expect(page.locator("#editor .cm-content")).to_be_focused()


def test_the_page_goes_on_when_the_server_is_killed_and_comes_back(open_page: Open, tmp_path: Path) -> None:
    server = serving.start(tmp_path, "--workers", 1).ready()
    try:
        page = open_page(server, expected="ERR_CONNECTION")
        page.wait_for_selector(".box")
        write(page, SLOW)
        run(page)
        expect(box(page, "late")).to_have_class(state("running"))
        server.kill()
        expect(page.locator("#connection")).to_contain_text("Not connected")
        server.start()
        ended(page, "Done")
        expect(page.locator("#connection")).to_have_text("Live")
        expect(box(page, "early")).to_have_class(state("reused"))
        expect(page.locator("#run .value")).to_have_text("1")
        names = [event["event"] for event in server.get(f"/v1/jobs/{job_of(page)}/events").json["events"]]
        assert names.count("run_started") == 2
        assert json.dumps(names).count("run_finished") == 1
    finally:
        server.stop()
