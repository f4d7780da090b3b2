"""Pictures cut, enlarged, laid on each other, blurred and turned; and what does not go together."""

import pytest
import torch

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.editing import (
    BlurImage,
    CompositeImage,
    CropImage,
    CropToMask,
    FlattenImage,
    FlipImage,
    PadImage,
    RotateImage,
    SetOpacity,
)
from latentgraph.nodes.facts import ImageFacts
from latentgraph.nodes.images import ImageBatch, ImageFromBatch, ResizeImage, ScaleImage
from latentgraph.nodes.masks import RectangleMask
from latentgraph.nodes.ports import Image, Mask


def picture(channels: int = 3, height: int = 20, width: int = 30, count: int = 1, seed: int = 1) -> Image:
    return Image(torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed)))


def mask(height: int = 20, width: int = 30, count: int = 1) -> Mask:
    return Mask(torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(5)).mul(1.4).clamp(0, 1))


# sizes


def test_what_fits_inside_keeps_its_proportions_and_loses_nothing(context: Context) -> None:
    frame = torch.zeros(1, 3, 40, 80)
    frame[:, :, 10:30, 20:60] = 1
    inside = ResizeImage(image=Image(frame), width=40, height=40, fit="contain").run(context).pixels
    assert inside.shape == (1, 3, 20, 40)
    assert abs(inside.mean() - frame.mean()) < 1e-3
    stretched = ResizeImage(image=Image(frame), width=40, height=40, fit="stretch").run(context).pixels
    assert stretched.shape == (1, 3, 40, 40)
    assert abs(stretched.mean() - frame.mean()) < 1e-3


@pytest.mark.parametrize("method", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
def test_all_methods_keep_an_even_picture(context: Context, method: str) -> None:
    even = Image(torch.full((1, 3, 12, 16), 0.25))
    made = ScaleImage(image=even, factor=2.5, method=method, multiple=8).run(context).pixels
    assert made.shape == (1, 3, 32, 40)
    assert (made - 0.25).abs().max() < 1e-6


def test_what_transparent_pixels_hide_does_not_show(context: Context) -> None:
    pixels = torch.zeros(1, 4, 16, 16)
    pixels[:, 1] = 1  # green that is transparent, beside red that is not
    pixels[:, :2, :, 8:] = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    pixels[:, 3, :, 8:] = 1
    made = ResizeImage(image=Image(pixels), width=7, height=7).run(context).pixels
    seen = made[:, 3] > 0.01
    assert made[:, 1][seen].max() < 1e-4
    assert made[:, 0][seen].min() > 1 - 1e-4


def test_pictures_become_a_batch_and_are_taken_out_of_it(context: Context) -> None:
    one, two, clear = picture(seed=1), picture(seed=2, count=2), picture(channels=4, seed=3)
    batch = ImageBatch(images=(one, two)).run(context)
    assert torch.equal(batch.pixels, torch.cat([one.pixels, two.pixels]))
    assert torch.equal(ImageFromBatch(image=batch, index=1, count=2).run(context).pixels, two.pixels)
    mixed = ImageBatch(images=(one, clear)).run(context).pixels
    assert torch.equal(mixed, torch.cat([torch.cat([one.pixels, torch.ones(1, 1, 20, 30)], dim=1), clear.pixels]))
    with pytest.raises(ValueError, match="have one size, these are 30 by 20, 30 by 21"):
        ImageBatch(images=(one, picture(height=21))).run(context)
    with pytest.raises(Wrong, match="index is 3"):
        ImageFromBatch(image=batch, index=3).run(context)


# cut and enlarged


def test_a_rectangle_is_cut_out(context: Context) -> None:
    image = picture()
    cut = CropImage(image=image, left=4, top=2, width=26, height=18).run(context)
    assert torch.equal(cut.pixels, image.pixels[:, :, 2:20, 4:30])
    with pytest.raises(Wrong, match="left 5 and width 26 reach to 31, the picture to 30"):
        CropImage(image=image, left=5, top=2, width=26, height=18).run(context)


@pytest.mark.parametrize("fill", ["edge", "mirror", "colour"])
@pytest.mark.parametrize("channels", [3, 4])
def test_padding_keeps_the_picture_and_marks_what_is_new(context: Context, fill: str, channels: int) -> None:
    image = picture(channels)
    made = PadImage(image=image, left=40, bottom=6, fill=fill, colour="#ff0000").run(context)
    assert made.image.pixels.shape == (1, channels, 26, 70)
    assert torch.equal(made.image.pixels[:, :, :20, 40:], image.pixels)
    assert made.mask.pixels.shape == (1, 1, 26, 70)
    assert made.mask.pixels[:, :, :20, 40:].max() == 0
    assert made.mask.pixels.sum() == 26 * 70 - 20 * 30
    corner = made.image.pixels[0, :, 25, 39]
    expected = {
        "edge": image.pixels[0, :, 19, 0],
        "mirror": image.pixels[0, :, 14, 0],
        "colour": torch.tensor([1.0, 0.0, 0.0, 1.0])[:channels],
    }
    assert torch.equal(corner, expected[fill])


def test_the_mask_of_what_is_new_reaches_into_the_picture_on_padded_sides_only(context: Context) -> None:
    made = PadImage(image=picture(), left=8, overlap=3).run(context).mask.pixels
    assert made[:, :, :, :11].min() == 1
    assert made[:, :, :, 11:].max() == 0
    assert PadImage(image=picture(), left=8, right=8, overlap=100).run(context).mask.pixels.min() == 1


def test_the_part_around_a_mask_is_cut_out_and_laid_back(context: Context) -> None:
    image = picture(height=100, width=120)
    where = RectangleMask(width=120, height=100, left=90, top=30, right=119, bottom=41).run(context)
    part = CropToMask(image=image, mask=where, margin=5, multiple=8).run(context)
    assert part.image.pixels.shape == (1, 3, 24, 40)
    assert part.mask.pixels.sum() == where.pixels.sum()
    assert torch.equal(part.image.pixels, image.pixels[:, :, part.top : part.top + 24, part.left : part.left + 40])
    changed = Image(1 - part.image.pixels)
    back = CompositeImage(image=image, over=changed, mask=part.mask, left=part.left, top=part.top).run(context).pixels
    assert torch.equal(back, torch.where(where.pixels > 0, 1 - image.pixels, image.pixels))


@pytest.mark.parametrize("multiple", [1, 8, 64])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (3, 7), (40, 41), (90, 100), (0, 100)])
def test_the_part_around_a_mask_holds_it_and_lies_in_the_picture(
    context: Context, start: int, end: int, multiple: int
) -> None:
    where = torch.zeros(1, 1, 100, 100)
    where[:, :, start:end, start:end] = 1
    part = CropToMask(image=picture(height=100, width=100), mask=Mask(where), margin=3, multiple=multiple).run(context)
    height, width = part.mask.pixels.shape[2:]
    assert part.mask.pixels.sum() == where.sum()
    assert height % multiple == 0 or height == 100
    assert part.top + height <= 100
    assert part.left + width <= 100


def test_a_mask_that_covers_nothing_or_is_of_another_size_is_refused(context: Context) -> None:
    with pytest.raises(ValueError, match="the mask is 0 everywhere"):
        CropToMask(image=picture(), mask=Mask(torch.zeros(1, 1, 20, 30))).run(context)
    with pytest.raises(Wrong, match="the mask is 30 by 21, the picture 30 by 20"):
        CropToMask(image=picture(), mask=mask(height=21)).run(context)
    for kind in (CropToMask, BlurImage, SetOpacity):
        with pytest.raises(Wrong, match="the mask is 8 by 4, the picture 4 by 4"):
            kind.describe({"image": ImageFacts((4, 4), 1), "mask": ImageFacts((4, 8), 1)})


# laid on each other


def test_a_mask_says_where_a_picture_is_covered(context: Context) -> None:
    below, over, where = picture(seed=1), picture(seed=2), mask()
    made = CompositeImage(image=below, over=over, mask=where).run(context).pixels
    expected = below.pixels + where.pixels * (over.pixels - below.pixels)
    assert (made - expected).abs().max() < 1e-6
    for value, which in ((0, below), (1, over)):
        there = (where.pixels == value).expand(1, 3, -1, -1)
        assert there.any() or value == 0
        assert torch.equal(made[there], which.pixels[there])


@pytest.mark.parametrize(("left", "top"), [(0, 0), (-10, 5), (25, 18), (3, -19)])
def test_what_sticks_out_is_cut_off(context: Context, left: int, top: int) -> None:
    below, over = picture(seed=1), picture(seed=2)
    made = CompositeImage(image=below, over=over, left=left, top=top).run(context).pixels
    for row, column in ((0, 0), (19, 29), (10, 15), (0, 29), (19, 0)):
        y, x = row - top, column - left
        inside = 0 <= y < 20 and 0 <= x < 30
        expected = over.pixels[0, :, y, x] if inside else below.pixels[0, :, row, column]
        assert torch.equal(made[0, :, row, column], expected)


def test_opacity_below_and_above_counts(context: Context) -> None:
    below, over = picture(channels=4, seed=1), picture(channels=4, seed=2)
    made = CompositeImage(image=below, over=over, opacity=0.5).run(context).pixels
    upper, lower = 0.5 * over.pixels[:, 3:], below.pixels[:, 3:]
    whole = upper + lower * (1 - upper)
    colour = (over.pixels[:, :3] * upper + below.pixels[:, :3] * lower * (1 - upper)) / whole
    assert (made - torch.cat([colour, whole], dim=1)).abs().max() < 1e-6
    clear = Image(torch.zeros(1, 4, 20, 30))
    assert torch.equal(CompositeImage(image=below, over=clear).run(context).pixels, below.pixels)
    assert torch.isfinite(CompositeImage(image=clear, over=clear).run(context).pixels).all()


def test_one_picture_serves_a_batch_and_other_counts_are_refused(context: Context) -> None:
    made = CompositeImage(image=picture(), over=picture(count=3, seed=2), mask=mask()).run(context)
    assert len(made.pixels) == 3
    with pytest.raises(ValueError, match="do not go together"):
        CompositeImage(image=picture(count=2), over=picture(count=3)).run(context)
    with pytest.raises(Wrong, match="the mask is 30 by 21, the picture `over` 30 by 20"):
        CompositeImage(image=picture(), over=picture(), mask=mask(height=21)).run(context)
    with pytest.raises(ValueError, match="wholly outside of the picture of 30 by 20"):
        CompositeImage(image=picture(), over=picture(), left=30).run(context)


# blurred and turned


def test_blurring_is_a_gaussian_and_keeps_what_a_mask_says(context: Context) -> None:
    dot = torch.zeros(1, 3, 41, 41)
    dot[:, :, 20, 20] = 1
    made = BlurImage(image=Image(dot), sigma=3.0).run(context).pixels
    across = torch.exp(-((torch.arange(41) - 20.0) ** 2) / 18)
    across /= across.sum()
    assert (made[0, 0] - across[:, None] * across).abs().max() < 1e-5
    image, where = picture(), RectangleMask(width=30, height=20, left=0, top=0, right=15, bottom=20).run(context)
    half = BlurImage(image=image, sigma=2.0, mask=where).run(context).pixels
    assert torch.equal(half[..., 15:], image.pixels[..., 15:])
    whole = BlurImage(image=image, sigma=2.0).run(context).pixels
    assert (half[..., :15] - whole[..., :15]).abs().max() < 1e-6


def test_pictures_are_turned(context: Context) -> None:
    image = picture()
    assert torch.equal(FlipImage(image=image).run(context).pixels, image.pixels.flip(3))
    assert torch.equal(FlipImage(image=image, direction="vertical").run(context).pixels, image.pixels.flip(2))
    turned = RotateImage(image=image, quarters=1).run(context).pixels
    assert turned.shape == (1, 3, 30, 20)
    assert torch.equal(turned[..., 0, -1], image.pixels[..., 0, 0])  # clockwise: left above goes to right above
    assert torch.equal(RotateImage(image=Image(turned), quarters=-1).run(context).pixels, image.pixels)


def test_opacity_is_given_and_taken_away(context: Context) -> None:
    image, where = picture(), mask()
    clear = SetOpacity(image=image, mask=where).run(context)
    assert torch.equal(clear.pixels, torch.cat([image.pixels, where.pixels], dim=1))
    red = FlattenImage(image=clear, colour="#ff0000").run(context).pixels
    expected = image.pixels * where.pixels + torch.tensor([1.0, 0, 0]).reshape(3, 1, 1) * (1 - where.pixels)
    assert (red - expected).abs().max() < 1e-6
    assert torch.equal(FlattenImage(image=image).run(context).pixels, image.pixels)


def test_sizes_are_known_before_the_run(context: Context) -> None:
    image = {"image": ImageFacts((20, 30), 2)}
    assert PadImage.describe(image | {"left": 1, "top": 2, "right": 3, "bottom": 4}) == {
        "image": ImageFacts((26, 34), 2),
        "mask": ImageFacts((26, 34), 1),
    }
    assert RotateImage.describe(image | {"quarters": 3}) == {"image": ImageFacts((30, 20), 2)}
    assert ScaleImage.describe(image | {"factor": 1.5, "multiple": 8}) == {"image": ImageFacts((32, 48), 2)}
    assert ResizeImage.describe(image | {"width": 15, "height": 15, "fit": "contain"}) == {
        "image": ImageFacts((10, 15), 2)
    }
    with pytest.raises(Wrong, match="at most 67,108,864 are possible"):
        ScaleImage.describe({"image": ImageFacts((8000, 8000), 1), "factor": 2.0, "multiple": 1})
    with pytest.raises(Wrong, match="left 5 and width 26 reach to 31"):
        CropImage.describe(image | {"left": 5, "top": 0, "width": 26, "height": 5})
