"""Picture files: reading, writing, and what is no picture."""

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest
from latentgraph.engine.execute import execute
from latentgraph.engine.outputs import about
from latentgraph.engine.picture import read_making
from latentgraph.engine.ports import File, Written
from latentgraph.engine.registry import Registry
from latentgraph.engine.session import load_text
from latentgraph.engine.store import open_store
from latentgraph.nodes.grids import ImageGrid
from latentgraph.nodes.images import LoadImage, ResizeImage, SaveImage
from latentgraph.nodes.ports import Image, Latent, PictureFile
from latentgraph.nodes.references import Space

ABOUT = {
    "graph": "latentgraph: 1\nnodes: {a: {type: LoadModel}}  # ein Wörtchen, 猫\n",
    "params": {"seed": 7, "prompt": 'a "dog" face – 猫'},
    "models": {"model": "ab" * 32},
}


def random_image(channels: int = 3, count: int = 1, height: int = 12, width: int = 20) -> Image:
    """Pictures whose values a byte can hold."""
    bytes_ = torch.randint(0, 256, (count, channels, height, width), generator=torch.Generator().manual_seed(1))
    return Image(bytes_ / 255)


def png(**options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("RGB", (20, 12), "red").save(stream, "PNG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("channels", [3, 4])
def test_png_and_back_is_the_same_picture(context: Context, channels: int) -> None:
    image = random_image(channels)
    file = SaveImage(image=image).run(context)
    assert file.name == "image.png"
    back = LoadImage(image=file).run(context)
    assert torch.equal(back.pixels, image.pixels)
    assert back.pixels.is_contiguous()
    assert digest(back) == digest(image)


@pytest.mark.parametrize(("format", "suffix"), [("jpeg", ".jpg"), ("webp", ".webp")])
def test_lossy_formats_come_back_nearly_the_same(context: Context, format: str, suffix: str) -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    large, small = (SaveImage(image=Image(ramp), format=format, quality=q).run(context) for q in (95, 10))
    assert large.name.endswith(suffix)
    assert len(large.read()) > len(small.read())
    assert (LoadImage(image=large).run(context).pixels - ramp).abs().max() < 0.03


def test_equal_pictures_give_equal_bytes(context: Context) -> None:
    for format in ("png", "jpeg", "webp"):
        files = [SaveImage(image=random_image(), format=format).run(context) for _ in range(2)]
        assert files[0].read() == files[1].read()


def test_jpeg_lays_transparent_pictures_on_white(context: Context) -> None:
    file = SaveImage(image=Image(torch.zeros(1, 4, 8, 8)), format="jpeg").run(context)
    assert LoadImage(image=file).run(context).pixels.min() > 0.98


def test_which_picture_of_a_batch_must_be_said(context: Context) -> None:
    batch = random_image(count=3)
    with pytest.raises(ValueError, match="the image holds 3 pictures"):
        SaveImage(image=batch).run(context)
    with pytest.raises(ValueError, match="index is 3, the last of 3 pictures is 2"):
        SaveImage(image=batch, index=3).run(context)
    assert torch.equal(
        LoadImage(image=SaveImage(image=batch, index=2).run(context)).run(context).pixels, batch.pixels[2:]
    )


# what is read


def test_exif_orientation_is_honoured(context: Context) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    assert LoadImage(image=File("a.png", content=png(exif=exif))).run(context).pixels.shape == (1, 3, 20, 12)


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 3), ("L", 3), ("LA", 4), ("P", 3), ("RGBA", 4), ("CMYK", 3), ("I;16", 3)]
)
def test_all_kinds_of_pixels_are_read(context: Context, mode: str, channels: int) -> None:
    stream = io.BytesIO()
    PIL.Image.new(mode, (20, 12)).save(stream, "TIFF" if mode == "CMYK" else "PNG")
    image = LoadImage(image=File("a", content=stream.getvalue())).run(context)
    assert image.pixels.shape == (1, channels, 12, 20)
    assert image.pixels.dtype == torch.float32


def test_sixteen_bits_are_not_clipped_to_eight(context: Context) -> None:
    stream = io.BytesIO()
    PIL.Image.new("I;16", (4, 4), 32768).save(stream, "PNG")
    pixels = LoadImage(image=File("a.png", content=stream.getvalue())).run(context).pixels
    assert torch.allclose(pixels, torch.tensor(32768 / 65535))


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(8193, 8193), (12_000, 9_000), (20_000, 10_000), (60_000, 60_000)])
def test_a_huge_claimed_size_is_refused(context: Context, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"bomb\.png claims .* pixels; at most 67,108,864 are read"):
        LoadImage.describe({"image": File("bomb.png", content=claiming(*size))})
    with pytest.raises(ValueError, match=r"bomb\.png claims"):
        LoadImage(image=File("bomb.png", content=claiming(*size))).run(context)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:40],
        lambda content: content[:60] + b"\xff" * 20 + content[80:],
    ],
)
def test_a_broken_picture_is_refused_by_name(context: Context, spoil: Callable[[bytes], bytes]) -> None:
    whole = SaveImage(image=random_image(height=64, width=64)).run(context).read()
    with pytest.raises(ValueError, match=r"cat\.png"):
        LoadImage(image=File("cat.png", content=spoil(whole))).run(context)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>"])
def test_what_is_no_picture_is_refused_by_name(context: Context, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"notes\.txt is no picture that can be read"):
        LoadImage(image=File.at(path)).run(context)


def test_resizing_covers_and_crops(context: Context) -> None:
    halves = torch.cat([torch.zeros(1, 3, 40, 20), torch.ones(1, 3, 40, 20)], dim=3)
    resized = ResizeImage(image=Image(halves), width=16, height=8).run(context).pixels
    assert resized.shape == (1, 3, 8, 16)
    assert resized[..., :6].max() < 0.05
    assert resized[..., -6:].min() > 0.95


# what is written


def chunks(content: bytes) -> dict[str, str]:
    with PIL.Image.open(io.BytesIO(content)) as picture:
        picture.load()
        return dict(picture.text)  # type: ignore[attr-defined]


def described(image: Image, about: Mapping[str, Any] = ABOUT) -> list[Written]:
    return [Image.described(file, about) for file in image.written()]


def test_a_picture_carries_its_making() -> None:
    (written,) = described(random_image())
    assert written.suffix == ".png"
    texts = chunks(written.content)
    assert texts["latentgraph.graph"] == ABOUT["graph"]
    assert json.loads(texts["latentgraph.params"]) == ABOUT["params"]
    assert json.loads(texts["latentgraph.models"]) == ABOUT["models"]


def test_the_making_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    (written,) = described(random_image())
    path.write_bytes(written.content)
    making = read_making(path)
    assert (making.graph, making.params, making.models) == (ABOUT["graph"], ABOUT["params"], ABOUT["models"])


def test_texts_are_put_where_pillow_puts_them() -> None:
    image = random_image(channels=4)
    (plain,) = image.written()
    info, stream = PngInfo(), io.BytesIO()
    info.add_itxt("latentgraph.graph", ABOUT["graph"], zip=True)
    PIL.Image.open(io.BytesIO(plain.content)).save(stream, "PNG", pnginfo=info)
    assert Image.described(plain, {"graph": ABOUT["graph"]}).content == stream.getvalue()


def test_saying_how_a_picture_was_made_needs_no_heavy_imports(tmp_path: Path) -> None:
    (plain,) = random_image().written()
    (tmp_path / "plain.png").write_bytes(plain.content)
    code = (
        "import sys; from pathlib import Path\n"
        "from latentgraph.engine.ports import Written\n"
        "from latentgraph.nodes.ports import Image\n"
        f"file = Written('.png', Path({str(tmp_path / 'plain.png')!r}).read_bytes())\n"
        f"sys.stdout.buffer.write(Image.described(file, {ABOUT!r}).content)\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == Image.described(plain, ABOUT).content


def test_nothing_about_the_making_is_written_where_none_is_wanted() -> None:
    (written,) = random_image().written()
    assert chunks(written.content) == {}
    assert b"Software" not in written.content


def test_what_is_no_png_file_is_left_as_it_is() -> None:
    file = Written(".jpg", b"\xff\xd8")
    assert Image.described(file, ABOUT) == file


def test_written_bytes_depend_on_nothing_else() -> None:
    turned = {key: dict(reversed(value.items())) if isinstance(value, dict) else value for key, value in ABOUT.items()}
    first, second = (described(random_image(), about) for about in (ABOUT, turned))
    assert first == second
    assert b"tIME" not in first[0].content


def test_a_batch_is_written_as_several_files() -> None:
    files = described(random_image(count=3))
    assert [file.suffix for file in files] == ["-0.png", "-1.png", "-2.png"]
    assert len({file.content for file in files}) == 3


def test_a_latent_is_written_as_safetensors() -> None:
    latent = Latent(torch.rand(2, 4, 3, 5), Space(4, 8, 0.18215))
    (written,) = latent.written()
    assert written.suffix == ".safetensors"
    assert torch.equal(load(written.content)["samples"], latent.samples)


def test_text_chunks_of_pillow_do_not_reach_the_value(context: Context) -> None:
    info = PngInfo()
    info.add_text("comment", "made elsewhere")
    with_text, without = (
        LoadImage(image=File("a.png", content=png(**o))).run(context) for o in ({"pnginfo": info}, {})
    )
    assert digest(with_text) == digest(without)


def test_shapes_that_are_no_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="should have 4 dimensions"):
        Image(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="no pictures"):
        Image(torch.zeros(1, 8, 8, 3))


# metadata of JPEG and WebP


def comment(content: bytes) -> dict[str, str]:
    """What the EXIF data of a file has to say about it, as Pillow reads it."""
    with PIL.Image.open(io.BytesIO(content)) as picture:
        said = picture.getexif().get_ifd(0x8769)[0x9286]
    assert said.startswith(b"ASCII\0\0\0")
    return dict(json.loads(said[8:]))


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(12, 20), (13, 1), (257, 300)])
def test_a_saved_picture_says_how_it_was_made_and_is_the_same(
    context: Context, format: str, channels: int, size: tuple[int, int]
) -> None:
    image = random_image(channels, height=size[0], width=size[1])
    file = SaveImage(image=image, format=format).run(context)
    (plain,) = file.written()
    told = type(file).described(plain, ABOUT)
    texts = chunks(told.content) if format == "png" else comment(told.content)
    assert texts["latentgraph.graph"] == ABOUT["graph"]
    assert json.loads(texts["latentgraph.params"]) == ABOUT["params"]
    before, after = (
        LoadImage(image=File("a", content=one)).run(context).pixels for one in (plain.content, told.content)
    )
    assert torch.equal(before, after)
    assert type(file).described(plain, ABOUT) == told


def test_a_lossless_webp_keeps_its_size_and_opacity(context: Context) -> None:
    for mode in ("RGB", "RGBA"):
        stream = io.BytesIO()
        PIL.Image.new(mode, (21, 10), (255, 0, 0, 128)[: len(mode)]).save(stream, "WEBP", lossless=True)
        told = PictureFile.described(Written(".webp", stream.getvalue()), ABOUT).content
        with PIL.Image.open(io.BytesIO(told)) as picture:
            assert (picture.size, picture.mode) == ((21, 10), mode)
        assert comment(told)["latentgraph.graph"] == ABOUT["graph"]


def test_more_than_a_jpeg_can_hold_is_left_out_whole(context: Context) -> None:
    (plain,) = SaveImage(image=random_image(), format="jpeg").run(context).written()
    fits, too_long = ({"graph": "x" * length} for length in (65_000, 66_000))
    assert comment(PictureFile.described(plain, fits).content)["latentgraph.graph"] == fits["graph"]
    assert PictureFile.described(plain, too_long) == plain


def test_files_that_no_node_made_stay_as_they_are() -> None:
    (plain,) = random_image().written()
    assert File.described(plain, ABOUT) == plain


def test_a_run_writes_saved_pictures_with_their_making_also_from_the_store(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png())
    text = """
latentgraph: 1
params: {picture: {type: Image}}
nodes: {saved: {type: SaveImage, inputs: {image: $params.picture, format: jpeg}}}
outputs: {file: $saved}
"""
    for _ in range(2):
        graph = load_text(text, "test", "test.yaml", tmp_path, Registry([LoadImage, SaveImage]))
        checked = graph.check(picture=str(tmp_path / "in.png"))
        done = execute(checked, store=open_store(tmp_path / "store"))
        assert isinstance(done.outputs["file"], PictureFile), done.failures
        (written,) = done.outputs["file"].written()
        assert comment(PictureFile.described(written, about(checked, {})).content)["latentgraph.graph"] == text


# grids


def test_a_grid_has_labels_above_its_columns_and_beside_its_rows(context: Context) -> None:
    black = Image(torch.zeros(6, 3, 8, 8))
    plain = ImageGrid(images=black, columns=3, cell=40).run(context).pixels[0, 0]
    words = {"column_labels": ("a", "bb", "ccc"), "row_labels": ("first row", "second")}
    grid = ImageGrid(images=black, cell=40, **words).run(context).pixels[0, 0]
    high, wide = (after - before for after, before in zip(grid.shape, plain.shape, strict=True))
    assert high > 0
    assert wide > 0
    assert torch.equal(grid[high:, wide:], plain)  # the pictures are where they were, moved by the labels
    assert (grid[:high, wide:] < 0.5).any()
    assert (grid[high:, :wide] < 0.5).any()
    assert (grid[:high, :wide] > 0.99).all()
    other = ImageGrid(images=black, cell=40, **words | {"row_labels": ("first row", "other")}).run(context).pixels[0, 0]
    half = high + (len(grid) - high) // 2
    assert torch.equal(grid[:half, :wide], other[:half, :wide])
    assert not torch.equal(grid[half:, :wide], other[half:, :wide])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            {"column_labels": ("a", "b", "c"), "row_labels": ("x",)},
            "there are 2 rows of 3 pictures, but 1 values in row",
        ),
        ({"column_labels": tuple("abcdefg")}, "there are 6 pictures, but 7 values in column_labels"),
        ({"labels": ("a",)}, "there are 6 pictures, but 1 values in labels"),
    ],
)
def test_labels_that_are_too_few_or_too_many_are_refused(context: Context, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageGrid(images=random_image(count=6), **labels).run(context)
