"""Masks: read from files, made from pictures, grown, feathered, combined; and what does not go together."""

import io
from pathlib import Path

import numpy
import PIL.Image
import pytest
import torch
from scipy import ndimage

from latentgraph.engine.context import Context
from latentgraph.engine.execute import execute
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import File
from latentgraph.engine.registry import Registry
from latentgraph.engine.session import load_text
from latentgraph.nodes.facts import ImageFacts
from latentgraph.nodes.masks import (
    CombineMasks,
    CropMask,
    FeatherMask,
    FlipMask,
    GrowMask,
    InvertMask,
    LoadMask,
    MaskFromAlpha,
    MaskFromBrightness,
    MaskFromColour,
    MaskToImage,
    RectangleMask,
    ResizeMask,
    ThresholdMask,
)
from latentgraph.nodes.ports import Image, Mask


def file(values: "numpy.ndarray") -> File:
    stream = io.BytesIO()
    PIL.Image.fromarray(values).save(stream, "PNG")
    return File("mask.png", content=stream.getvalue())


def bytes_of(height: int, width: int, channels: int) -> "numpy.ndarray":
    return numpy.random.default_rng(3).integers(0, 256, (height, width, channels), dtype=numpy.uint8)


def rectangle(height: int = 20, width: int = 30) -> Mask:
    return RectangleMask(width=width, height=height, left=8, top=5, right=18, bottom=12).run(Context())


def random_mask(height: int = 24, width: int = 31, count: int = 1) -> Mask:
    return Mask(torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(2)))


# from files and pictures


@pytest.mark.parametrize(("channel", "index"), [("red", 0), ("green", 1), ("blue", 2), ("alpha", 3)])
def test_a_channel_is_a_mask(context: Context, channel: str, index: int) -> None:
    values = bytes_of(6, 9, 4)
    mask = LoadMask(mask=file(values), channel=channel).run(context)
    assert mask.pixels.shape == (1, 1, 6, 9)
    assert torch.equal(mask.pixels[0, 0], torch.from_numpy(values[..., index].astype("float32") / 255))


def test_gray_is_the_luma_of_bt601_and_keeps_gray_to_the_last_bit(context: Context) -> None:
    values = bytes_of(6, 9, 3)
    found = LoadMask(mask=file(values)).run(context).pixels[0, 0].numpy()
    assert numpy.abs(found - values @ numpy.array([0.299, 0.587, 0.114]) / 255).max() < 1e-6
    gray = numpy.arange(256, dtype=numpy.uint8)[None]
    found = LoadMask(mask=file(gray)).run(context).pixels[0, 0]
    assert torch.equal(found, torch.arange(256.0)[None] / 255)


def test_sixteen_bits_and_palettes_are_read_and_masks_are_inverted(context: Context) -> None:
    deep = file(numpy.array([[0, 1, 32768, 65535]], dtype=numpy.uint16))
    assert torch.equal(LoadMask(mask=deep).run(context).pixels.flatten(), torch.tensor([0, 1, 32768, 65535]) / 65535)
    assert torch.equal(LoadMask(mask=deep, invert=True).run(context).pixels.flatten()[[0, 3]], torch.tensor([1.0, 0.0]))
    stream = io.BytesIO()
    PIL.Image.new("RGB", (4, 4), "white").quantize(2).save(stream, "PNG")
    assert LoadMask(mask=File("a.png", content=stream.getvalue())).run(context).pixels.min() == 1


def test_the_alpha_of_a_picture_without_any_is_refused(context: Context) -> None:
    with pytest.raises(ValueError, match=r"mask\.png has no opacity: take another channel than alpha"):
        LoadMask(mask=file(bytes_of(4, 4, 3)), channel="alpha").run(context)


def test_a_param_of_type_mask_is_given_as_a_path(tmp_path: Path) -> None:
    (tmp_path / "where.png").write_bytes(file(bytes_of(6, 9, 1)[..., 0]).read())
    text = """
latentgraph: 1
params: {mask: {type: Mask}}
nodes: {other: {type: InvertMask, inputs: {mask: $params.mask}}}
outputs: {mask: $other}
"""
    graph = load_text(text, "test", "test.yaml", tmp_path, Registry([LoadMask, InvertMask]))
    done = execute(graph.check(mask=str(tmp_path / "where.png")))
    assert done.status == "done", done.failures
    expected = 1 - LoadMask(mask=File.at(tmp_path / "where.png")).run(Context()).pixels
    assert torch.equal(done.outputs["mask"].pixels, expected)


def test_masks_come_from_opacity_colour_and_brightness(context: Context) -> None:
    pixels = torch.zeros(1, 4, 2, 3)
    pixels[:, 1] = 1
    pixels[:, 3] = torch.tensor([[0, 0.25, 1], [1, 1, 1]])
    pixels[:, :3, 1, 2] = 0.5
    image = Image(pixels)
    assert torch.equal(MaskFromAlpha(image=image).run(context).pixels, pixels[:, 3:])
    assert torch.equal(MaskFromAlpha(image=image, invert=True).run(context).pixels, 1 - pixels[:, 3:])
    assert MaskFromAlpha(image=Image(pixels[:, :3])).run(context).pixels.min() == 1
    green = MaskFromColour(image=image, colour="#00ff00", tolerance=0.4).run(context).pixels
    assert green.flatten().tolist() == [1, 1, 1, 1, 1, 0]
    assert MaskFromColour(image=image, colour="#00FF00", tolerance=0.5).run(context).pixels.min() == 1
    brightness = MaskFromBrightness(image=image).run(context)
    assert torch.allclose(brightness.pixels.flatten(), torch.tensor([0.587] * 5 + [0.5]))
    assert ThresholdMask(mask=brightness, threshold=0.55).run(context).pixels.flatten().tolist() == [1] * 5 + [0]
    assert torch.equal(MaskToImage(mask=brightness).run(context).pixels, brightness.pixels.expand(1, 3, 2, 3))


# changed


@pytest.mark.parametrize("by", [0, 1, 2, 5, 40])
@pytest.mark.parametrize("corners", ["round", "square"])
def test_masks_grow_and_shrink_by_gray_morphology(context: Context, by: int, corners: str) -> None:
    mask = random_mask()
    offsets = torch.arange(-by, by + 1)
    disc = offsets[:, None] ** 2 + offsets**2 <= by * by
    footprint = (disc if corners == "round" else torch.ones_like(disc)).numpy()
    values = mask.pixels[0, 0].numpy()
    larger = ndimage.grey_dilation(values, footprint=footprint, mode="constant", cval=-1)
    smaller = ndimage.grey_erosion(values, footprint=footprint, mode="constant", cval=2)
    grown = GrowMask(mask=mask, pixels=by, corners=corners).run(context).pixels[0, 0].numpy()
    shrunk = GrowMask(mask=mask, pixels=-by, corners=corners).run(context).pixels[0, 0].numpy()
    assert numpy.array_equal(grown, larger)
    assert numpy.abs(shrunk - smaller).max() < 1e-7


def test_feathering_softens_edges_and_nothing_else(context: Context) -> None:
    half = Mask((torch.arange(100) >= 50).float().expand(1, 1, 40, 100))
    row = FeatherMask(mask=half, pixels=10.0).run(context).pixels[0, 0, 20]
    edge = 0.5 * (1 + torch.erf((torch.arange(100) - 49.5) / (5 * 2**0.5)))
    assert (row - edge).abs().max() < 0.01
    assert row[0] == 0
    assert row[-1] > 1 - 1e-6
    assert FeatherMask(mask=Mask(torch.ones(1, 1, 9, 9)), pixels=30.0).run(context).pixels.min() > 1 - 1e-6


def test_masks_are_combined(context: Context) -> None:
    first, second = rectangle(), InvertMask(mask=GrowMask(mask=rectangle(), pixels=-2).run(context)).run(context)
    a, b = first.pixels, second.pixels

    def combined(how: str) -> torch.Tensor:
        return CombineMasks(mask=first, other=second, how=how).run(context).pixels

    assert torch.equal(combined("union"), (a + b).clamp(max=1))
    assert torch.equal(combined("intersection"), a * b)
    assert torch.equal(combined("difference"), a * (1 - b))
    with pytest.raises(ValueError, match="the other is 31 by 24, the mask 30 by 20"):
        CombineMasks(mask=first, other=random_mask()).run(context)


def test_rectangles_are_where_they_should_be(context: Context) -> None:
    mask = rectangle()
    assert mask.pixels.sum() == 10 * 7
    assert mask.pixels[0, 0, 5:12, 8:18].min() == 1
    for wrong in ({"right": 8}, {"bottom": 21}):
        with pytest.raises(Wrong):
            RectangleMask(**({"width": 30, "height": 20, "left": 8, "top": 5, "right": 18, "bottom": 12} | wrong)).run(
                context
            )
        with pytest.raises(Wrong):
            RectangleMask.describe(
                {"width": 30, "height": 20, "left": 8, "top": 5, "right": 18, "bottom": 12} | wrong,
            )


def test_masks_are_cut_and_turned_as_pictures_are(context: Context) -> None:
    mask = random_mask()
    assert torch.equal(FlipMask(mask=mask).run(context).pixels, mask.pixels.flip(3))
    assert torch.equal(
        CropMask(mask=mask, left=3, top=4, width=5, height=6).run(context).pixels, mask.pixels[:, :, 4:10, 3:8]
    )
    assert ResizeMask(mask=mask, width=62, height=10).run(context).pixels.shape == (1, 1, 10, 62)


# what is known before a run


def test_the_size_of_a_mask_is_known_before_it_is_read(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(file(bytes_of(6, 9, 1)[..., 0]).read())
    facts = LoadMask.describe({"mask": File.at(path), "channel": "gray"})
    assert facts == {"mask": ImageFacts((6, 9), 1)}
    known = facts | {"pixels": 3}
    for kind in (InvertMask, GrowMask, FeatherMask, ThresholdMask, FlipMask):
        assert kind.describe(known) == facts
    assert MaskToImage.describe(known) == {"image": facts["mask"]}
    with pytest.raises(Wrong, match="the other is"):
        CombineMasks.describe({"mask": facts["mask"], "other": ImageFacts((9, 6), 1)})
    with pytest.raises(Wrong, match="left 5 and width 5 reach to 10, the picture to 9"):
        CropMask.describe(facts | {"left": 5, "top": 0, "width": 5, "height": 5})
