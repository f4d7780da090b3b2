"""Latents at other sizes, cut, turned, laid on each other, mixed and put together."""

from typing import Any

import pytest
import torch

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.facts import LatentFacts
from latentgraph.nodes.latent_editing import (
    CropLatent,
    FlipLatent,
    LatentBatch,
    LatentBlend,
    LatentComposite,
    LatentFromBatch,
    ResizeLatent,
    UpscaleLatent,
)
from latentgraph.nodes.ports import Inpaint, Latent, Mask, Unfinished
from latentgraph.nodes.references import Space

SPACE = Space(4, 8, 0.18215)


def noise(count: int = 1, channels: int = 4, height: int = 6, width: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(seed))


def latent(count: int = 1, seed: int = 1, **more: Any) -> Latent:
    states = tuple(bytes([seed, index]) for index in range(count))
    return Latent(noise(count, seed=seed), SPACE, **{"generators": states} | more)


def inpaint(count: int = 1) -> Inpaint:
    return Inpaint((noise(count, 1, seed=5) > 0).float(), noise(count, seed=6), noise(count, seed=7))


def unfinished(sigma: float = 3.0) -> Unfinished:
    known = {"step": 2, "sigma": sigma, "scale": 1.0, "solver": "ab", "state": {"old": 1}}
    return Unfinished(**{name: value for name, value in known.items() if name in Unfinished.__dataclass_fields__})


# sizes


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "area"])
def test_an_even_latent_stays_even_at_other_sizes(context: Context, method: str) -> None:
    even = Latent(torch.full((2, 4, 6, 8), 0.75), SPACE)
    for width, height in ((128, 96), (32, 24), (80, 40)):
        made = ResizeLatent(latent=even, width=width, height=height, method=method).run(context)
        assert made.pixels == (height, width)
        assert (made.samples - 0.75).abs().max() < 1e-6


def test_the_nearest_at_twice_the_size_repeats_each_pixel(context: Context) -> None:
    given = latent(inpaint=inpaint())
    made = UpscaleLatent(latent=given, factor=2.0, method="nearest").run(context)

    def twice(values: torch.Tensor) -> torch.Tensor:
        return values.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    assert torch.equal(made.samples, twice(given.samples))
    assert torch.equal(made.inpaint.mask, twice(given.inpaint.mask))
    assert torch.equal(made.inpaint.original, twice(given.inpaint.original))
    assert made.generators == given.generators
    smooth = UpscaleLatent(latent=given, factor=1.5).run(context)
    assert smooth.samples.shape == (1, 4, 9, 12)
    assert set(smooth.inpaint.mask.unique().tolist()) == {0.0, 1.0}


def test_noise_that_is_left_cannot_be_interpolated(context: Context) -> None:
    with pytest.raises(ValueError, match="noise is left in this latent, at sigma 3"):
        UpscaleLatent(latent=latent(unfinished=unfinished())).run(context)


def test_sizes_that_the_factor_does_not_divide_are_refused(context: Context) -> None:
    with pytest.raises(Wrong, match="width is 60, which the model's factor 8 does not divide"):
        ResizeLatent(latent=latent(), width=60, height=48).run(context)
    with pytest.raises(Wrong, match="left is 4"):
        CropLatent(latent=latent(), left=4, width=16, height=16).run(context)
    with pytest.raises(Wrong, match="reach to 72, the picture to 64"):
        CropLatent(latent=latent(), left=56, width=16, height=16).run(context)
    with pytest.raises(Wrong, match="top is -4"):
        LatentComposite(latent=latent(), over=latent(seed=2), top=-4).run(context)


# cut, turned, laid on each other, mixed


def test_what_is_to_be_kept_is_cut_and_turned_with_the_latent(context: Context) -> None:
    given = latent(inpaint=inpaint(), unfinished=unfinished())
    cut = CropLatent(latent=given, left=16, top=8, width=32, height=16).run(context)
    turned = FlipLatent(latent=given).run(context)
    for name in ("mask", "original", "masked"):
        before = getattr(given.inpaint, name)
        assert torch.equal(getattr(cut.inpaint, name), before[:, :, 1:3, 2:6])
        assert torch.equal(getattr(turned.inpaint, name), before.flip(3))
    assert torch.equal(cut.samples, given.samples[:, :, 1:3, 2:6])
    assert (cut.unfinished.sigma, cut.unfinished.solver, cut.unfinished.state) == (3.0, "", {})


def test_latents_are_laid_on_each_other(context: Context) -> None:
    below, over = latent(), latent(seed=2)
    made = LatentComposite(latent=below, over=over, left=16, top=-8).run(context)
    assert torch.equal(made.samples[:, :, :5, 2:], over.samples[:, :, 1:, :6])
    assert torch.equal(made.samples[:, :, 5:], below.samples[:, :, 5:])
    assert torch.equal(made.samples[..., :2], below.samples[..., :2])
    pixels = torch.zeros(1, 1, 48, 64)
    pixels[:, :, :, 32:] = 1
    pixels[:, :, :8, :4] = 1  # half of one latent pixel
    made = LatentComposite(latent=below, over=over, mask=Mask(pixels)).run(context)
    assert torch.equal(made.samples[..., 4:], over.samples[..., 4:])
    assert torch.equal(made.samples[:, :, 1:, :4], below.samples[:, :, 1:, :4])
    assert torch.equal(made.samples[:, :, 0, 0], (below.samples[:, :, 0, 0] + over.samples[:, :, 0, 0]) / 2)
    with pytest.raises(Wrong, match="the mask is 8 by 8, the picture of `over` 64 by 48"):
        LatentComposite(latent=below, over=over, mask=Mask(torch.ones(1, 1, 8, 8))).run(context)
    with pytest.raises(ValueError, match="wholly outside"):
        LatentComposite(latent=below, over=over, left=64).run(context)


def test_latents_are_mixed_on_a_line_or_on_an_arc(context: Context) -> None:
    first, second = latent(), latent(seed=2)

    def mixed(weight: float, how: str) -> torch.Tensor:
        return LatentBlend(latent=first, other=second, weight=weight, how=how).run(context).samples

    assert torch.equal(mixed(0.25, "linear"), first.samples * 0.75 + second.samples * 0.25)
    for how in ("linear", "spherical"):
        assert (mixed(0.0, how) - first.samples).abs().max() < 1e-6
        assert (mixed(1.0, how) - second.samples).abs().max() < 1e-6
    one = latent().samples / first.samples.norm()
    other = second.samples - (second.samples * one).sum() * one
    across = Latent(other / other.norm(), SPACE)
    along = Latent(one, SPACE)
    middle = LatentBlend(latent=along, other=across, how="spherical").run(context).samples
    assert abs(middle.norm() - 1) < 1e-5
    assert (middle - (along.samples + across.samples) / 2**0.5).abs().max() < 1e-6
    same = LatentBlend(latent=along, other=along, how="spherical").run(context).samples
    assert (same - along.samples).abs().max() < 1e-6
    assert torch.isfinite(
        LatentBlend(latent=Latent(torch.zeros(1, 4, 6, 8), SPACE), other=along, how="spherical").run(context).samples
    ).all()


def test_latents_that_do_not_go_together_are_refused(context: Context) -> None:
    for kind, name in ((LatentBlend, "other"), (LatentComposite, "over")):
        with pytest.raises(ValueError, match="encode both with one VAE"):
            kind(latent=latent(), **{name: Latent(noise(), Space(4, 8, 0.13025))}).run(context)
        with pytest.raises(ValueError, match="at sigma 0 and 3"):
            kind(latent=latent(), **{name: latent(unfinished=unfinished())}).run(context)
    with pytest.raises(ValueError, match="resize one of them first"):
        LatentBlend(latent=latent(), other=Latent(noise(height=7), SPACE)).run(context)


# several as one


def test_latents_become_a_batch_and_are_taken_out_of_it(context: Context) -> None:
    one, two = latent(inpaint=inpaint()), latent(2, seed=2, inpaint=inpaint(1))
    batch = LatentBatch(latents=(one, two)).run(context)
    assert torch.equal(batch.samples, torch.cat([one.samples, two.samples]))
    assert batch.generators == one.generators + two.generators
    assert batch.inpaint.mask.shape == (3, 1, 6, 8)
    last = LatentFromBatch(latent=batch, index=2).run(context)
    assert torch.equal(last.samples, two.samples[1:])
    assert last.generators == two.generators[1:]
    assert torch.equal(last.inpaint.masked, two.inpaint.masked)
    assert LatentBatch(latents=(one, latent(generators=None))).run(context).generators is None
    assert LatentBatch(latents=(one, latent())).run(context).inpaint is None
    for wrong, message in (
        ((one, latent(empty=True)), "some of the latents are empty canvases"),
        ((one, Latent(noise(height=7), SPACE)), "have one size"),
        ((one, latent(unfinished=unfinished(0.0))), "let a KSampler finish it first"),
        ((), "there are no latents"),
    ):
        with pytest.raises(ValueError, match=message):
            LatentBatch(latents=wrong).run(context)
    with pytest.raises(Wrong, match="index is 3"):
        LatentFromBatch(latent=batch, index=3).run(context)


def test_sizes_are_known_before_the_run() -> None:
    facts = {"latent": LatentFacts(SPACE, (48, 64), 2, empty=False, generators=True)}

    def pixels(found: Any) -> Any:
        return found["latent"].pixels

    assert pixels(UpscaleLatent.describe(facts | {"factor": 1.5})) == (72, 96)
    assert pixels(ResizeLatent.describe(facts | {"width": 80, "height": 40})) == (40, 80)
    assert pixels(CropLatent.describe(facts | {"left": 8, "top": 0, "width": 16, "height": 24})) == (24, 16)
    assert LatentFromBatch.describe(facts | {"index": 1, "count": 1})["latent"].count == 1
    with pytest.raises(Wrong, match="width is 81"):
        ResizeLatent.describe(facts | {"width": 81, "height": 40})
