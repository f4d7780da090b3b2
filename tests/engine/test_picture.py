"""How a picture was made, read from its file: honest ones, damaged ones, and those that mean harm."""

import contextlib
import io
import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latentgraph.engine.picture import SIGNATURE, TEXT_BYTES, Making, NoMaking, is_picture, read_making


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


HEADER = chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]))
PIXELS = chunk(b"IDAT", zlib.compress(bytes(4)))
END = chunk(b"IEND")


def plain(name: str, text: str) -> bytes:
    return chunk(b"tEXt", name.encode() + b"\0" + text.encode("latin-1"))


def packed(name: str, content: bytes) -> bytes:
    return chunk(b"zTXt", name.encode() + b"\0\0" + content)


def international(name: str, text: bytes, is_packed: bool = False) -> bytes:
    return chunk(b"iTXt", name.encode() + b"\0" + bytes([is_packed, 0]) + b"\0\0" + text)


GRAPH = plain("latentgraph.graph", "latentgraph: 1\n")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return tmp_path / "picture.png"


def write(path: Path, *chunks: bytes) -> Path:
    path.write_bytes(SIGNATURE + b"".join((HEADER, *chunks, PIXELS, END)))
    return path


def test_all_kinds_of_text_are_read(picture: Path) -> None:
    write(
        picture,
        plain("Comment", "of no interest"),
        international("latentgraph.graph", "text: 한 마리 개".encode()),
        packed("latentgraph.params", zlib.compress(b'{"seed": 7}')),
        plain("latentgraph.name", "txt2img"),
        international("latentgraph.models", zlib.compress(b'{"unet": "ab"}'), is_packed=True),
    )
    assert read_making(picture) == Making("text: 한 마리 개", "txt2img", {"seed": 7}, {"unet": "ab"})


def test_a_picture_by_pillow(picture: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("latentgraph.graph", "text: ✓ and é")
    texts.add_text("latentgraph.params", json.dumps({"prompt": "é"}), zip=True)
    Image.new("RGB", (3, 3)).save(picture, pnginfo=texts)
    assert read_making(picture) == Making("text: ✓ and é", "picture", {"prompt": "é"}, {})


def test_texts_behind_the_pixels_count_too(picture: Path) -> None:
    picture.write_bytes(SIGNATURE + HEADER + PIXELS + GRAPH + END)
    assert read_making(picture).graph == "latentgraph: 1\n"


def test_what_is_taken_for_a_picture(picture: Path, tmp_path: Path) -> None:
    write(picture)
    (tmp_path / "graph.yaml").write_text("latentgraph: 1\n")
    (tmp_path / "wrong.png").write_text("latentgraph: 1\n")
    assert is_picture(picture)
    assert is_picture(tmp_path / "wrong.png")
    for format, suffix in (("JPEG", "data"), ("WEBP", "data"), ("GIF", "JPG"), ("GIF", "jpeg"), ("GIF", "webp")):
        Image.new("RGB", (3, 3)).save(tmp_path / f"some.{suffix}", format)
        assert is_picture(tmp_path / f"some.{suffix}")
    Image.new("RGB", (3, 3)).save(tmp_path / "some.gif")
    assert not is_picture(tmp_path / "some.gif")
    assert not is_picture(tmp_path / "graph.yaml")
    assert not is_picture(tmp_path / "nowhere.png")


def test_a_picture_without_a_graph(picture: Path) -> None:
    with pytest.raises(NoMaking, match="does not say how it was made: latentgraph did not draw it"):
        read_making(write(picture, plain("Comment", "hello")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it does not begin like one"),
        (b"GIF89a", "it does not begin like one"),
        (SIGNATURE, "it ends too early"),
        (SIGNATURE + HEADER + GRAPH, "it ends too early"),
        (SIGNATURE + HEADER + GRAPH[:-6], "a part of it claims 33 bytes, more than there are"),
        (SIGNATURE + b"\xff\xff\xff\xfftEXt", "a part of it claims 4,294,967,295 bytes, more than there are"),
        (SIGNATURE + HEADER + GRAPH.replace(b"1", b"2") + END, "a text in it does not match its checksum"),
        (SIGNATURE + chunk(b"tEXt", bytes(TEXT_BYTES + 1)) + END, "a text in it has 8,388,609 bytes"),
        (SIGNATURE + packed("latentgraph.graph", b"nonsense") + END, "a text in it cannot be unpacked"),
        (SIGNATURE + packed("latentgraph.graph", zlib.compress(bytes(10**8))) + END, "the texts in it have more than"),
        (SIGNATURE + international("latentgraph.graph", b"\xff") + END, "a text in it is not UTF-8"),
        (SIGNATURE + chunk(b"iTXt", b"latentgraph.graph\0\0") + END, "a text in it is cut off"),
        (SIGNATURE + chunk(b"juNK") * 100_001, "it has more than 100,000 parts"),
    ],
    ids=range(13),
)
def test_damaged_and_hostile_files_are_refused(content: bytes, message: str, picture: Path) -> None:
    picture.write_bytes(content)
    with pytest.raises(NoMaking) as wrong:
        read_making(picture)
    assert message in str(wrong.value)
    assert str(wrong.value).startswith(f"{picture} cannot be read as a PNG, JPEG or WebP picture: ")


def test_many_texts_that_unpack_to_much_are_refused_together(picture: Path) -> None:
    half = packed("latentgraph.graph", zlib.compress(bytes(TEXT_BYTES * 2 // 3)))
    with pytest.raises(NoMaking, match="the texts in it have more than"):
        read_making(write(picture, half, half))


@pytest.mark.parametrize("params", ["[1]", "{", "7", "[" * 100_000])
def test_params_that_are_no_object_are_refused(params: str, picture: Path) -> None:
    with pytest.raises(NoMaking, match=r"its text latentgraph\.params is not a JSON object"):
        read_making(write(picture, GRAPH, plain("latentgraph.params", params)))


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a\nb", "", ".hidden"])
def test_a_name_that_would_leave_the_output_folder_is_refused(name: str, picture: Path) -> None:
    with pytest.raises(NoMaking, match="which is no name of a graph"):
        read_making(write(picture, GRAPH, plain("latentgraph.name", name)))


def test_a_text_that_uses_up_what_is_read_leaves_nothing_for_a_bomb(picture: Path) -> None:
    bomb = zlib.compress(b"a" * 50 * TEXT_BYTES, 9)
    write(picture, packed("latentgraph.first", zlib.compress(b"a" * TEXT_BYTES)), packed("latentgraph.graph", bomb))
    with pytest.raises(NoMaking, match="bytes"):
        read_making(picture)


def test_plain_texts_count_together_too(picture: Path) -> None:
    half = "a" * (TEXT_BYTES * 3 // 5)
    write(picture, plain("latentgraph.first", half), plain("latentgraph.second", half), GRAPH)
    with pytest.raises(NoMaking, match="bytes"):
        read_making(picture)


# JPEG and WebP: a comment in EXIF data


TEXTS = {"latentgraph.graph": "text: ✓", "latentgraph.name": "drawn", "latentgraph.params": '{"seed": 7}'}


def comment(texts: object) -> bytes:
    return b"ASCII\0\0\0" + json.dumps(texts).encode("ascii")


def with_comment(format: str, said: bytes, order: str = ">", **options: Any) -> bytes:
    """A picture by Pillow, whose EXIF data has other entries, too."""
    exif = Image.Exif()
    exif.endian = order
    exif[0x0131] = "a program"
    exif.get_ifd(0x8769).update({0x9003: "2020:01:01 00:00:00", 0x9286: said})
    stream = io.BytesIO()
    Image.effect_noise((40, 30), 90).convert("RGB").save(stream, format, exif=exif, **options)
    return stream.getvalue()


@pytest.mark.parametrize("order", [">", "<"], ids=["big", "little"])
@pytest.mark.parametrize(
    ("format", "options"),
    [("JPEG", {}), ("JPEG", {"comment": b"another"}), ("WEBP", {}), ("WEBP", {"lossless": True})],
    ids=["JPEG", "JPEG with a comment", "WebP", "lossless WebP"],
)
def test_jpeg_and_webp_say_it_in_the_comment_of_their_exif_data(
    picture: Path, format: str, options: dict[str, Any], order: str
) -> None:
    picture.write_bytes(with_comment(format, comment(TEXTS), order, **options))
    assert read_making(picture) == Making("text: ✓", "drawn", {"seed": 7}, {})


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
@pytest.mark.parametrize(
    "said",
    [
        None,
        b"ASCII\0\0\0a nice picture",
        b"UNICODE\0" + "schön".encode("utf-16-be"),
        b"ASCII\0\0\0[1]",
        b"ASCII\0\0\0" + b"[" * 20_000,
        comment({"graph": "not ours"}),
        comment({"latentgraph.graph": 7}),
        b"",
    ],
    ids=range(8),
)
def test_a_jpeg_or_webp_that_says_something_else_does_not_say_how_it_was_made(
    picture: Path, format: str, said: bytes | None
) -> None:
    if said is None:
        Image.new("RGB", (9, 9)).save(picture, format)
    else:
        picture.write_bytes(with_comment(format, said))
    with pytest.raises(NoMaking, match="does not say how it was made"):
        read_making(picture)


JPEG, WEBP = b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"


@pytest.mark.parametrize(
    "content",
    [
        JPEG,
        JPEG + b"\xe1\xff\xffExif\0\0",
        JPEG + b"\xe0\0\0" + bytes(9),
        JPEG + b"\xe0\0\x02" + JPEG * 100_001,
        WEBP,
        WEBP + b"EXIF\xff\xff\xff\xff",
        WEBP + b"juNK\0\0\0\0" * 100_001,
    ],
    ids=range(7),
)
def test_damaged_and_hostile_jpegs_and_webps_are_refused(content: bytes, picture: Path) -> None:
    picture.write_bytes(content)
    with pytest.raises(NoMaking, match="cannot be read as a PNG, JPEG or WebP picture: its parts do not fit together"):
        read_making(picture)


def test_a_comment_that_is_too_long_is_refused(picture: Path) -> None:
    picture.write_bytes(with_comment("WEBP", comment({"latentgraph.graph": "x" * TEXT_BYTES})))
    with pytest.raises(NoMaking, match="at most 8,388,608 are read"):
        read_making(picture)


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_wherever_a_file_is_cut_or_changed_it_is_read_or_refused(format: str, picture: Path) -> None:
    whole, chance = with_comment(format, comment(TEXTS)), random.Random(1)
    for length in range(0, len(whole), 9):
        changed = bytearray(whole)
        for _ in range(3):
            changed[chance.randrange(min(len(whole), 700))] = chance.randrange(256)
        for content in (whole[:length], bytes(changed)):
            picture.write_bytes(content)
            with contextlib.suppress(NoMaking):
                read_making(picture)
