"""Graphs as pictures: where boxes and links go, and what the SVG and the PNG show of them."""

import gc
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from PIL import Image, ImageChops

from latentgraph.engine import painting
from latentgraph.engine.drawing import Box, Link, to_png, to_svg
from latentgraph.engine.layout import Area, Layout, Point, Size, arrange

SVG = "{http://www.w3.org/2000/svg}"


def link(source: str, target: str, type: str = "Latent") -> Link:
    """A link written `a.out` and `b.in`."""
    return Link(*source.rsplit(".", 1), *target.rsplit(".", 1), type)


BOXES = [
    Box("model", "LoadModel", "reuse", detail=("name: builtin",)),
    Box("wanted", "CLIPEncode", "reuse", detail=("text: a red apple",)),
    Box("unwanted", "CLIPEncode", "reuse"),
    Box("guided", "CFGCombine", "depends"),
    Box("sampled", "KSampler", "run", "steps was 20, is 25", ("steps: 25", "seed: 42")),
    Box("decoded", "VAEDecode", "skip"),
]
LINKS = [
    link("model.clip", "wanted.clip", "Clip"),
    link("model.clip", "unwanted.clip", "Clip"),
    link("wanted.conditioning", "guided.positive", "Conditioning"),
    link("unwanted.conditioning", "guided.negative", "Conditioning"),
    link("guided.guidance", "sampled.guidance", "Guidance"),
    link("model.model", "sampled.model", "Model"),
    link("sampled.latent", "decoded.latent", "Latent"),
    link("model.vae", "decoded.vae", "Vae"),
]


def random_graph(count: int, seed: int, reach: float = 8) -> tuple[list[Box], list[Link]]:
    """Boxes that take data from up to three before them, mostly from near ones; 3 of 12 are a group."""
    chance = random.Random(seed)
    boxes = [Box(f"n{i}", "Node", group=f"g{i // 12}" if i % 12 > 8 else "") for i in range(count)]
    links = {
        link(f"n{max(0, i - 1 - int(chance.expovariate(1 / reach)))}.out{chance.randrange(2)}", f"n{i}.in{j}")
        for i in range(1, count)
        for j in range(chance.randint(0, 3))
    }
    return boxes, sorted(links, key=str)


def laid_out(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    """Boxes that all have the same size."""
    ports = {box.name: (set[str](), set[str]()) for box in boxes}
    for one in links:
        ports[one.target][0].add(one.input)
        ports[one.source][1].add(one.output)
    sizes = {
        name: Size(120, 60, *(tuple(60 * (i + 1) / (len(side) + 1) for i in range(len(side))) for side in sides))
        for name, sides in ports.items()
    }
    return arrange(sizes, links, {box.name: box.group for box in boxes if box.group})


def along(points: Sequence[Point], steps: int = 16) -> Iterator[Point]:
    """Points of a link as it is drawn."""
    for a, b in pairwise(points):
        for t in (i / steps for i in range(steps + 1)):
            x = 1.5 * t * (1 - t) + t**3
            yield Point(a.x + (b.x - a.x) * x, a.y + (b.y - a.y) * t * t * (3 - 2 * t))


def overlap(a: Area, b: Area) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def inside(point: Point, area: Area) -> bool:
    return area.x + 1 < point.x < area.x + area.width - 1 and area.y + 1 < point.y < area.y + area.height - 1


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def titles(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}title")]


def picture(png: bytes) -> Image.Image:
    return Image.open(BytesIO(png)).convert("RGB")


GRAPHS = [(BOXES, LINKS), *(random_graph(count, seed) for count, seed in [(12, 1), (40, 2), (40, 3), (90, 4)])]


@pytest.mark.parametrize(("boxes", "links"), GRAPHS)
def test_data_flows_from_left_to_right(boxes: list[Box], links: list[Link]) -> None:
    layout = laid_out(boxes, links)
    for one, points in zip(links, layout.links, strict=True):
        assert points[0] == layout.outputs[one.source, one.output]
        assert points[-1] == layout.inputs[one.target, one.input]
        assert all(a.x <= b.x for a, b in pairwise(points))
        source, target = layout.boxes[one.source], layout.boxes[one.target]
        assert points[0].x == source.x + source.width < target.x == points[-1].x


@pytest.mark.parametrize(("boxes", "links"), GRAPHS)
def test_boxes_and_frames_do_not_overlap(boxes: list[Box], links: list[Link]) -> None:
    layout = laid_out(boxes, links)
    assert not any(overlap(a, b) for a, b in combinations(layout.boxes.values(), 2))
    assert not any(overlap(a, b) for a, b in combinations(layout.frames.values(), 2))
    everything = Area(0, 0, layout.width, layout.height)
    for box in boxes:
        area = layout.boxes[box.name]
        for group, frame in layout.frames.items():
            assert overlap(area, frame) == (box.group == group)
        around, margin = (layout.frames[box.group], 10) if box.group else (everything, 0)
        assert around.x + margin <= area.x
        assert around.y + margin <= area.y
        assert area.x + area.width <= around.x + around.width - margin
        assert area.y + area.height <= around.y + around.height - margin


@pytest.mark.parametrize(("boxes", "links"), GRAPHS)
def test_no_link_runs_through_a_box_or_a_frame_of_others(boxes: list[Box], links: list[Link]) -> None:
    layout = laid_out(boxes, links)
    home = {box.name: box.group for box in boxes}
    for one, points in zip(links, layout.links, strict=True):
        passed = list(along(points))
        assert not [name for name, area in layout.boxes.items() if any(inside(point, area) for point in passed)]
        others = [area for group, area in layout.frames.items() if group not in (home[one.source], home[one.target])]
        assert not any(inside(point, area) for point in passed for area in others)


def test_a_box_without_data_from_others_is_next_to_what_takes_its_data() -> None:
    boxes = [Box(name, "Node") for name in ("a", "b", "c", "late")]
    links = [link("a.x", "b.x"), link("b.x", "c.x"), link("late.x", "c.y")]
    places = laid_out(boxes, links).boxes
    assert places["late"].x == places["b"].x


def test_lines_cross_only_where_they_must() -> None:
    # In the order given the two lines in the middle cross, and to swap two neighbours changes nothing.
    boxes = [Box(name, "Node") for name in ("start", "a1", "left", "a2", "b2", "right", "b1", "end")]
    around = ["start.x a1.x", "start.x left.x", "start.x a2.x", "b1.x end.x", "right.x end.x", "b2.x end.x"]
    layout = laid_out(boxes, [link(*ends.split()) for ends in [*around, "a1.x b1.x", "a2.x b2.x"]])
    for points in layout.links[-2:]:
        assert points[0].y == points[-1].y


def test_ports_are_in_the_order_of_what_they_are_linked_to() -> None:
    boxes = [Box(name, "Node") for name in ("top", "bottom", "end")]
    links = [link("bottom.x", "end.first"), link("top.x", "end.second")]
    layout = laid_out(boxes, links)
    upper, lower = sorted(("top", "bottom"), key=lambda name: layout.boxes[name].y)
    ends = {one.source: layout.inputs["end", one.input].y for one in links}
    assert ends[upper] < ends[lower]


def test_a_chain_is_a_straight_line() -> None:
    boxes = [Box(f"n{i}", "Node") for i in range(9)]
    layout = laid_out(boxes, [link(f"n{i}.x", f"n{i + 1}.x") for i in range(8)])
    assert {point.y for points in layout.links for point in points} == {30}


def test_links_of_one_output_are_one_line_until_they_branch() -> None:
    boxes = [Box(f"n{i}", "Node") for i in range(6)]
    chain = [link(f"n{i}.x", f"n{i + 1}.x") for i in range(5)]
    layout = laid_out(boxes, [*chain, link("n0.far", "n4.far"), link("n0.far", "n5.far")])
    first, second = layout.links[5:]
    assert first[1:-2] == second[1 : len(first) - 2]
    assert layout.boxes["n3"].x < first[-2].x


def test_many_links_into_one_input_meet_before_they_reach_it() -> None:
    boxes = [Box(f"n{i}", "Node") for i in range(8)]
    chain = [link(f"n{i}.x", f"n{i + 1}.x") for i in range(7)]
    layout = laid_out(boxes, [*chain, *(link(f"n{i}.list", "n7.all") for i in range(4))])
    last_but_one = {points[-2] for points in layout.links[7:]}
    assert len(last_but_one) == 1


def test_boxes_that_nothing_connects_are_apart_and_below() -> None:
    boxes = [*BOXES, Box("alone", "Node")]
    places = laid_out(boxes, LINKS).boxes
    bottom = max(area.y + area.height for name, area in places.items() if name != "alone")
    assert bottom < places["alone"].y < bottom + 100


def test_a_wide_graph_is_not_one_endless_column() -> None:
    boxes = [Box("start", "Node"), *(Box(f"n{i}", "Node") for i in range(400)), Box("end", "Node")]
    links = [link("start.x", f"n{i}.x") for i in range(400)] + [link(f"n{i}.x", "end.all") for i in range(400)]
    layout = laid_out(boxes, links)
    assert layout.height < 400 * (60 + 22) / 4


@pytest.mark.parametrize(
    ("boxes", "links"),
    [
        ([Box("a", "Node"), Box("b", "Node")], [link("a.x", "b.x"), link("b.x", "a.x")]),
        ([Box("a", "Node")], [link("a.x", "a.x")]),
        (
            [Box("g/a", "Node", group="g"), Box("b", "Node"), Box("g/c", "Node", group="g")],
            [link("g/a.x", "b.x"), link("b.x", "g/c.x")],
        ),
    ],
)
def test_a_cycle_is_refused(boxes: list[Box], links: list[Link]) -> None:
    with pytest.raises(ValueError, match="the links form a cycle"):
        to_svg("cycle", boxes, links)


def test_the_time_it_takes_grows_with_the_graph_not_with_its_square() -> None:
    def seconds(count: int) -> float:
        boxes, links = random_graph(count, seed=5)
        start = time.process_time()
        to_svg("large", boxes, links)
        return time.process_time() - start

    def least(count: int) -> float:
        return min(seconds(count) for _ in range(5))

    seconds(20)  # the font is read
    gc.freeze()  # what other tests have left behind is not gone through again and again
    try:
        assert least(400) < 9 * least(100)
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("boxes", [[], [Box("a", "Node")], [Box("a", "Node", group="g"), Box("b", "Node")]])
def test_a_graph_without_links_is_drawn(boxes: list[Box]) -> None:
    assert ElementTree.fromstring(to_svg("few", boxes, [])).tag == f"{SVG}svg"
    assert min(picture(to_png("few", boxes, [])).size) > 100


def test_the_svg_needs_nothing_from_elsewhere() -> None:
    svg = to_svg("txt2img", BOXES, LINKS)
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    assert "href" not in svg
    assert set(re.findall(r"url\(\"?([a-z]+:)", svg)) == {"data:"}
    assert "@import" not in svg


def test_the_svg_has_colours_for_light_and_for_dark_pages() -> None:
    style = ElementTree.fromstring(to_svg("txt2img", BOXES, LINKS)).findtext(f"{SVG}style") or ""
    light, dark = style.split("@media(prefers-color-scheme:dark)")

    def lightness(colour: str, rules: str) -> int:
        found = re.search(rf"\.f-{colour}{{fill:#(..)(..)(..)}}", rules)
        assert found
        return sum(int(part, 16) for part in found.groups())

    assert lightness("text", light) < 200 < 600 < lightness("page", light)
    assert lightness("page", dark) < 200 < 600 < lightness("text", dark)


HOSTILE = [
    "</title><script>alert(1)</script><b attribute=\"x\" and='y'>&amp;]]>",
    "zero \x00 bell \x07 escape \x1b[2J newline \n tab \t",
    "backwards \u202e txet \ufffe \ud800",
    "{}%s$(params.x) 日本語 é 🍎",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_files_is_shown_not_obeyed(text: str) -> None:
    boxes = [Box(text, text, "run", text, (text,), group=text), Box("b", "Node")]
    links = [Link(text, text, "b", text, text)]
    svg = to_svg(text, boxes, links)
    root = ElementTree.fromstring(svg.encode())
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "style", "rect", "g", "text", "path", "circle", "polygon")
    }
    assert "\u202e" not in svg
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", svg)
    assert picture(to_png(text, boxes, links)).size[0] > 100


def test_each_box_says_in_full_what_is_shown_shortened() -> None:
    prompt = "text: " + "a red apple on a blue background, " * 40
    details = tuple(f"input_{i}: {i}" for i in range(20))
    svg = to_svg("long", [Box("a" * 300, "B" * 300, "run", "because " * 90, (prompt, *details))], [])
    (about,) = [title for title in titles(svg) if title.startswith("aaa")]
    assert about.splitlines() == [f"{'a' * 300}: {'B' * 300}", "run", "because " * 90, prompt, *details]
    shown = texts(svg)
    assert max(map(len, shown)) < 100
    assert [text[-1] for text in shown if text[0] in "aB"] == ["…", "…"]
    assert "… 16 more" in shown


def test_a_box_in_a_frame_is_named_as_the_frame_does_not_say_already() -> None:
    boxes = [Box(f"drawn/{i}/sampled", "KSampler", group="drawn") for i in range(2)]
    shown = texts(to_svg("foreach", boxes, []))
    assert {"drawn", "0/sampled", "1/sampled"} <= set(shown)
    assert "drawn/0/sampled" not in shown


def test_states_are_said_in_words_and_counted_in_the_legend() -> None:
    shown = texts(to_svg("txt2img", BOXES, LINKS))
    assert [shown.count(state) for state in ("run", "reuse", "depends", "skip")] == [1, 3, 1, 1]
    assert {"1 run", "3 reuse", "1 depends", "1 skip"} <= set(shown)
    assert "steps was 20, is 25" in shown


def test_a_graph_that_is_not_planned_has_no_states() -> None:
    shown = texts(to_svg("txt2img", [Box(box.name, box.title) for box in BOXES], LINKS))
    assert not {"run", "reuse", "depends", "skip"} & {word for text in shown for word in text.split()}


def test_the_legend_names_each_port_type_that_occurs_once() -> None:
    links = [link("model.a", "sampled.a", "Model"), link("model.b", "sampled.b", "[Image]")]
    shown = texts(to_svg("types", BOXES, [*links, link("model.c", "sampled.c", "Image")]))
    assert [shown.count(name) for name in ("Model", "Image", "[Image]", "Vae")] == [1, 1, 0, 0]


def test_inputs_are_labelled_where_the_type_does_not_say_which_they_are() -> None:
    shown = texts(to_svg("txt2img", BOXES, LINKS))
    assert {"positive", "negative"} <= set(shown)
    assert not {"clip", "guidance", "latent", "vae"} & set(shown)


def test_outputs_are_labelled_where_several_have_one_type() -> None:
    boxes = [Box("split", "Split"), Box("end", "End")]
    two = [link("split.kept", "end.image", "Image"), link("split.dropped", "end.images", "Image")]
    assert {"kept", "dropped"} <= set(texts(to_svg("split", boxes, two)))
    assert "kept" not in texts(to_svg("split", boxes, two[:1]))


def colour_of(svg: str, about: str) -> str:
    """The class of the link that is described so."""
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if about in (group.findtext(f"{SVG}title") or "").splitlines():
            return next(path.attrib["class"] for path in group.iter(f"{SVG}path") if "page" not in path.attrib["class"])
    raise AssertionError(about)


def test_a_port_type_has_one_colour_in_all_pictures_and_so_has_a_list_of_it() -> None:
    pair = [Box("a", "Node"), Box("b", "Node")]
    alone = to_svg("one", pair, [link("a.latent", "b.latent")])
    listed = to_svg("list", pair, [link("a.x", "b.x", "Model"), link("a.latents", "b.latents", "[Latent]")])
    among = to_svg("txt2img", BOXES, LINKS)
    assert colour_of(alone, "a.latent → b.latent: Latent") == colour_of(
        among, "sampled.latent → decoded.latent: Latent"
    )
    assert colour_of(alone, "a.latent → b.latent: Latent") == colour_of(listed, "a.latents → b.latents: [Latent]")


def test_port_types_of_one_picture_have_different_colours() -> None:
    types = [f"Type{i}" for i in range(13)]
    svg = to_svg("types", BOXES, [link(f"model.{name}", f"sampled.{name}", name) for name in types])
    assert len({colour_of(svg, f"model.{name} → sampled.{name}: {name}") for name in types}) == 13


def test_the_png_is_the_svg_so_many_times_as_large() -> None:
    svg = ElementTree.fromstring(to_svg("txt2img", BOXES, LINKS))
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    for scale in (0.5, 1, 2):
        assert picture(to_png("txt2img", BOXES, LINKS, scale)).size == pytest.approx(
            (width * scale, height * scale), abs=1
        )


def test_the_png_shows_what_the_svg_shows() -> None:
    svg = ElementTree.fromstring(to_svg("txt2img", BOXES, LINKS))
    fills = dict(re.findall(r"\.(f-[a-z0-9-]+){fill:(#\w{6})}", (svg.findtext(f"{SVG}style") or "").split("@media")[0]))
    png = picture(to_png("txt2img", BOXES, LINKS, scale=2))

    def shown(x: float, y: float) -> str:
        return "#{:02x}{:02x}{:02x}".format(*png.getpixel((round(2 * x), round(2 * y))))  # type: ignore[misc]

    dots = [circle for circle in svg.iter(f"{SVG}circle") if "type" in circle.attrib["class"]]
    assert len(dots) > len(LINKS)
    for dot in dots:
        assert shown(float(dot.attrib["cx"]), float(dot.attrib["cy"])) == fills[dot.attrib["class"].split()[0]]
    cards = [rect for rect in svg.iter(f"{SVG}rect") if rect.attrib.get("rx") == "8"]
    assert len(cards) == len(BOXES)
    for card in cards:
        corner = float(card.attrib["x"]) + 5, float(card.attrib["y"]) + 5
        assert shown(*corner) == fills[card.attrib["class"].split()[0]]


def test_a_huge_picture_is_painted_with_fewer_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painting, "PIXELS", 50_000)
    width, height = picture(to_png("txt2img", BOXES, LINKS, scale=4)).size
    assert 40_000 < width * height < 55_000


def test_no_seam_shows_where_strips_of_a_picture_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = picture(to_png("txt2img", BOXES, LINKS, scale=1))
    monkeypatch.setattr(painting, "AT_ONCE", 500_000)
    in_strips = picture(to_png("txt2img", BOXES, LINKS, scale=1))
    assert max(most for _, most in ImageChops.difference(whole, in_strips).getextrema()) < 48


PROGRAM = """
import sys
from latentgraph.engine.drawing import Box, Link, to_png, to_svg
assert not {"PIL", "numpy", "networkx"} & set(sys.modules)
boxes = [Box(name, "Node", "run", group="g" if name in "bc" else "") for name in "abcdef"]
links = [Link(a, f"out{a}{b}", b, f"in{a}{b}", f"T{b}") for a in "abcdef" for b in "abcdef" if a < b and a + b != "bd"]
links = [one for one in links if one.source not in "bc" or one.target in "bc" or one.target == "f"]
sys.stdout.buffer.write(to_svg("same", boxes, links).encode() + to_png("same", boxes, links, 1))
assert not {"numpy", "networkx"} & set(sys.modules)
"""


def test_the_same_graph_gives_the_same_bytes_and_no_heavy_library_is_needed() -> None:
    drawn = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(drawn) == 1
    assert len(drawn.pop()) > 10_000
