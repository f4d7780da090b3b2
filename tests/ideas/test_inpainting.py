"""Inpainting: what is masked changes as much as the strength says, and what is around it stays."""

from itertools import pairwise

import pytest
import torch

from latentgraph.engine import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.images import CompareImages
from latentgraph.nodes.ports import Image, Mask


def test_strength_0_gives_the_picture_through_the_autoencoder_to_the_bit(ran):
    outputs = ran("inpainting")
    assert torch.equal(outputs["pictures"][0].pixels, outputs["unchanged"].pixels)


def test_inside_of_the_mask_the_distance_grows_with_each_strength(ran):
    inside = ran("inpainting")["inside"]
    assert len(inside) == 6
    assert all(after > before + 0.01 for before, after in pairwise(inside))


def test_outside_of_the_mask_the_picture_changes_little_at_any_strength(ran):
    outputs = ran("inpainting")
    assert max(outputs["outside"]) < 0.1
    assert outputs["outside"][-1] < outputs["inside"][-1] / 3


def test_pictures_are_compared_where_a_mask_says():
    black, white = Image(torch.zeros(1, 3, 4, 4)), Image(torch.ones(1, 3, 4, 4))
    rows = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 1, 4, 1).expand(1, 1, 4, 4)
    quarter, upper = Image(rows.expand(1, 3, 4, 4).contiguous()), Mask(rows.contiguous())
    assert _compared(quarter, black) == (0.5,)
    assert _compared(quarter, white, upper) == (0.0,)
    assert _compared(quarter, black, upper) == (1.0,)


@pytest.mark.parametrize(
    ("pictures", "mask", "message"),
    [
        (torch.zeros(1, 3, 4, 8), None, "the reference is 4 by 4, the pictures 8 by 4"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4), "it is 0 everywhere"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 8), "the mask is 8 by 4"),
        (torch.zeros(3, 3, 4, 4), torch.ones(2, 1, 4, 4), "there are 2 for 3 pictures"),
        (torch.zeros(1, 3, 4, 4), torch.ones(2, 1, 4, 4), "there are 2 for 1 pictures"),
    ],
)
def test_what_cannot_be_compared_is_said(pictures, mask, message):
    with pytest.raises(Wrong, match=message):
        _compared(Image(pictures), Image(torch.zeros(1, 3, 4, 4)), mask if mask is None else Mask(mask))


def _compared(images: Image, reference: Image, mask: Mask | None = None) -> tuple[float, ...]:
    node = CompareImages(images=images, reference=reference, mask=mask)
    return node.run(Context()).differences
