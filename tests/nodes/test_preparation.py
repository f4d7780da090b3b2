"""Pictures made ready for ControlNets: edges as OpenCV finds them, soft edges, gray, negatives."""

import numpy
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage

from latentgraph.engine.context import Context
from latentgraph.nodes.facts import ImageFacts
from latentgraph.nodes.ports import Image
from latentgraph.nodes.preparation import CannyEdges, ImageToGray, InvertImage, SobelEdges


def smooth(height: int = 40, width: int = 50, sigma: float = 2.0, seed: int = 0) -> Image:
    """Blobs of colour, in levels that 8 bits hold."""
    noise = numpy.random.default_rng(seed).normal(size=(3, height, width))
    values = ndimage.gaussian_filter(noise, (0, sigma, sigma))
    values = (values - values.min()) / (values.max() - values.min())
    return Image(torch.from_numpy((values * 255).round() / 255)[None])


def canny_by_hand(image: Image, low: int, high: int) -> torch.Tensor:
    """Pixel by pixel, with the angle of the gradient as a number."""
    levels = (image.pixels[0] * 255).round().long()
    height, width = levels.shape[1:]
    strength = torch.zeros(height + 2, width + 2, dtype=torch.long)
    gradient = {}
    for y in range(height):
        for x in range(width):

            def at(channel: int, row: int, column: int, y: int = y, x: int = x) -> int:
                inside = min(max(y + row, 0), height - 1), min(max(x + column, 0), width - 1)
                return int(levels[channel][inside])

            found = []
            for channel in range(3):
                across = sum(w * (at(channel, r, 1) - at(channel, r, -1)) for r, w in ((-1, 1), (0, 2), (1, 1)))
                down = sum(w * (at(channel, 1, c) - at(channel, -1, c)) for c, w in ((-1, 1), (0, 2), (1, 1)))
                found.append((abs(across) + abs(down), across, down))
            best = max(found, key=lambda each: each[0])
            strength[y + 1, x + 1], gradient[y, x] = best[0], best[1:]
    kept = torch.zeros(height, width, dtype=torch.long)
    for (y, x), (across, down) in gradient.items():
        here = strength[y + 1, x + 1]
        angle = numpy.degrees(numpy.arctan2(abs(down), abs(across)))
        if angle < 22.5:
            largest = here > strength[y + 1, x] and here >= strength[y + 1, x + 2]
        elif angle > 67.5:
            largest = here > strength[y, x + 1] and here >= strength[y + 2, x + 1]
        else:
            side = -1 if (across < 0) != (down < 0) else 1
            largest = here > strength[y, x + 1 - side] and here > strength[y + 2, x + 1 + side]
        if largest and here > low:
            kept[y, x] = 2 if here > high else 1
    waiting = [tuple(place) for place in (kept == 2).nonzero().tolist()]
    edges = torch.zeros(height, width)
    while waiting:
        y, x = waiting.pop()
        if 0 <= y < height and 0 <= x < width and kept[y, x] and not edges[y, x]:
            edges[y, x] = 1
            waiting += [(y + r, x + c) for r in (-1, 0, 1) for c in (-1, 0, 1)]
    return edges


@pytest.mark.parametrize(("low", "high", "sigma"), [(100, 200, 2.0), (60, 400, 1.0), (0, 0, 1.5)])
def test_edges_are_canny_s_pixel_by_pixel(context: Context, low: int, high: int, sigma: float) -> None:
    image = smooth(sigma=sigma)
    found = CannyEdges(image=image, low=low, high=high).run(context).pixels
    assert found.shape == (1, 3, 40, 50)
    expected = canny_by_hand(image, low, high)
    assert 50 < expected.sum() < 1500
    assert torch.equal(found[0, 1], expected)
    assert torch.equal(found[:, :1].expand(-1, 3, -1, -1), found)


def test_a_step_is_an_edge_one_pixel_wide(context: Context) -> None:
    step = torch.zeros(1, 3, 16, 16)
    step[..., 8:] = 1
    columns = CannyEdges(image=Image(step)).run(context).pixels[0, 0].sum(dim=0)
    assert columns.tolist() == [0] * 7 + [16] + [0] * 8


def test_weak_edges_count_where_they_are_connected_with_strong_ones(context: Context) -> None:
    pixels = torch.zeros(1, 3, 20, 40)
    pixels[..., :10, 10:20] = 1  # strong, and weak below
    pixels[..., 10:, 10:20] = 0.15
    pixels[..., :, 30:] = 0.15  # weak and alone
    edges = CannyEdges(image=Image(pixels), low=100, high=400).run(context).pixels[0, 0]
    assert edges[15, 8:22].sum() == 2
    assert edges[:, 25:].sum() == 0
    assert CannyEdges(image=Image(pixels), low=100, high=100).run(context).pixels[0, 0, :, 25:].sum() == 20


def test_each_picture_of_a_batch_is_on_its_own(context: Context) -> None:
    one, two = smooth(seed=1), smooth(seed=2)
    both = Image(torch.cat([one.pixels, two.pixels]))
    for kind in (CannyEdges, SobelEdges):
        singles = torch.cat([kind(image=image).run(context).pixels for image in (one, two)])
        assert torch.equal(kind(image=both).run(context).pixels, singles)


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="high is 50, below low, which is 100"):
        CannyEdges(image=smooth(), low=100, high=50)


def test_soft_edges_are_as_strong_as_brightness_changes(context: Context) -> None:
    ramps = torch.cat([torch.zeros(8), torch.arange(1, 9) / 32, torch.full((8,), 0.25), torch.arange(1, 9) / 16 + 0.25])
    image = Image(ramps.expand(1, 3, 12, 32))
    edges = SobelEdges(image=image, sigma=0.0).run(context).pixels[0, 0]
    assert edges.max() == 1
    assert torch.allclose(edges[:, 10:14], torch.tensor(0.5), atol=1e-5)
    assert edges[:, 2:6].max() == 0
    flat = Image(torch.full((1, 3, 8, 8), 0.3))
    assert SobelEdges(image=flat).run(context).pixels.max() < 1e-3


def test_gray_and_negative_leave_opacity_alone(context: Context) -> None:
    pixels = torch.rand(2, 4, 6, 7, generator=torch.Generator().manual_seed(1))
    gray = ImageToGray(image=Image(pixels)).run(context).pixels
    luma = (pixels[:, :3] * torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)).sum(dim=1, keepdim=True)
    assert (gray[:, :3] - luma).abs().max() < 1e-6
    negative = InvertImage(image=Image(pixels)).run(context).pixels
    assert torch.equal(negative[:, :3], 1 - pixels[:, :3])
    assert torch.equal(gray[:, 3:], pixels[:, 3:])
    assert torch.equal(negative[:, 3:], pixels[:, 3:])
    facts = {"image": ImageFacts((6, 7), 2)}
    assert CannyEdges.describe(facts) == facts
