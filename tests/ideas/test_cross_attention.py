"""Cross-attention: each word is looked at where the picture shows it, and looking on changes nothing."""

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from fixtures import Ran

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.attention_maps import Watcher, size_of_map
from latentgraph.nodes.diffusion.weights import load_unet
from latentgraph.nodes.guidance import CFGCombine
from latentgraph.nodes.latents import EmptyLatent
from latentgraph.nodes.masks import MaskFromEdges, MeasureMask, ShadeImage
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.ports import Image, Mask
from latentgraph.nodes.sampling import KSampler
from latentgraph.nodes.tracing import TraceAttention, TracedAttention

DOG = "a dog face with glasses on a blue background"
PAIR = "a rocket and a star on a black background"


@pytest.fixture(scope="module")
def builtin() -> Loaded:
    return LoadModel(name="builtin").run(Context())


def inputs(builtin: Loaded, text: str | tuple[str, ...] = DOG, unwanted: str = "", **more: Any) -> dict[str, Any]:
    positive = CLIPEncode(clip=builtin.clip, text=text).run(Context())
    negative = CLIPEncode(clip=builtin.clip, text=unwanted).run(Context())
    guided = CFGCombine(positive=positive, negative=negative, scale=5.0).run(Context())
    canvas = EmptyLatent(model=builtin.model).run(Context())
    return {"model": builtin.model, "guidance": guided, "latent": canvas, "steps": 3, "seed": 3} | more


def traced(builtin: Loaded, text: str = DOG, unwanted: str = "", **more: Any) -> TracedAttention:
    return TraceAttention(**inputs(builtin, text, unwanted, **more), clip=builtin.clip, text=text).run(Context())


def assert_shares(given: TracedAttention, pictures: int = 1) -> None:
    """At each place the words' shares of the attention are all of it."""
    maps = given.maps.pixels.view(pictures, len(given.words), *given.maps.pixels.shape[2:])
    torch.testing.assert_close(maps.sum(1), torch.ones_like(maps[:, 0]), atol=1e-6, rtol=0)
    assert maps.min() >= 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_things_words_are_looked_at_inside_of_it_and_what_ends_the_text_in_the_background(ran: Ran, seed: int):
    dog, face, glasses, end = ran("cross-attention", seed=seed)["ratios"]
    assert min(dog, face, glasses) > 3
    assert end < 0.6


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_things_side_by_side_are_looked_at_at_their_sides(ran: Ran, seed: int):
    given = ran("cross-attention", prompt=PAIR, words=("rocket", "star", "(end)"), seed=seed)
    rocket, star, _ = given["centres"]
    assert rocket < 0.46
    assert star > 0.56
    assert min(given["ratios"][:2]) > 2


def test_at_each_place_the_attention_sums_to_one_over_the_tokens(builtin: Loaded):
    given = traced(builtin)
    assert given.words == ("(start)", *dict.fromkeys(DOG.split()), "(end)")
    assert_shares(given)
    assert sum(given.attention.column("attention").values) == pytest.approx(1, abs=1e-6)


def test_each_picture_of_a_batch_has_maps_of_its_own(builtin: Loaded):
    both = traced(builtin, seed=(3, 4))
    assert_shares(both, pictures=2)
    one = traced(builtin, seed=4)
    torch.testing.assert_close(both.maps.pixels[len(one.words) :], one.maps.pixels, atol=1e-4, rtol=0)


def test_a_text_beside_a_longer_one_has_the_same_maps(builtin: Loaded):
    """Where the negative has two chunks, the tokens of the text are there twice."""
    long = traced(builtin, unwanted=" ".join(["a cat face"] * 12), steps=1)
    assert_shares(long)
    short = traced(builtin, steps=1)
    torch.testing.assert_close(long.maps.pixels, short.maps.pixels, atol=1e-4, rtol=0)


def test_looking_on_changes_not_one_bit(builtin: Loaded):
    plain = KSampler(**inputs(builtin)).run(Context())
    assert torch.equal(traced(builtin).latent.samples, plain.samples)
    assert torch.equal(KSampler(**inputs(builtin)).run(Context()).samples, plain.samples)


class Keeping(AttnProcessor):
    """diffusers' own computation of an attention with its probabilities written out, which are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[torch.Tensor] = []

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
        plain = attn.get_attention_scores

        def scores(*parts: Any) -> torch.Tensor:
            self.kept.append(plain(*parts))
            return self.kept[-1]

        attn.get_attention_scores = scores
        try:
            return super().__call__(attn, hidden_states, *given, **named)
        finally:
            del attn.get_attention_scores


def test_a_map_is_the_softmax_that_diffusers_attention_processor_computes(builtin: Loaded):
    layer = "up_blocks.1.attentions.1"
    (attention,) = (
        module
        for name, module in load_unet(builtin.model).named_modules()
        if name.startswith(layer) and getattr(module, "is_cross_attention", False)
    )
    own, keeping = attention.processor, Keeping()
    attention.set_processor(keeping)
    try:
        drawn = KSampler(**inputs(builtin)).run(Context())
    finally:
        attention.set_processor(own)
    given = traced(builtin, layers=(layer,), words=("glasses",))
    torch.testing.assert_close(given.latent.samples, drawn.samples, atol=1e-4, rtol=1e-4)
    # Rows are the heads of what is not wanted, then of what is; `glasses` is the word after start and 4 others.
    shares = [kept.chunk(2)[1].mean(0)[:, 5].view(1, 1, 8, 8) for kept in keeping.kept]
    wanted = torch.nn.functional.interpolate(torch.cat(shares).mean(0, keepdim=True), (64, 64), mode="bilinear")
    assert len(keeping.kept) == 3
    torch.testing.assert_close(given.maps.pixels, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"words": ("cat",)}, "`cat` is no word of the text"),
        ({"layers": ("up_blocks.9",)}, "no cross-attention in 'up_blocks.9'"),
        ({"text": "a cat"}, "the guidance does not have this text"),
    ],
)
def test_what_cannot_be_traced_is_said(builtin: Loaded, changes: dict[str, Any], said: str):
    with pytest.raises(Wrong, match=said):
        TraceAttention(**{**inputs(builtin, steps=1), "clip": builtin.clip, "text": DOG, **changes}).run(Context())


def square(side: int = 8) -> torch.Tensor:
    pixels = torch.zeros(1, 1, side, side)
    pixels[:, :, 2:6, 4:8] = 1
    return pixels


def test_a_mask_from_edges_is_what_differs_from_them():
    picture = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1) * (1 - square()) + square()
    assert torch.equal(MaskFromEdges(image=Image(picture)).run(Context()).pixels, square())


def test_a_picture_is_bright_where_the_mask_is_highest():
    lit = ShadeImage(image=Image(torch.ones(1, 3, 8, 8)), mask=Mask(square() * 0.3), dark=0.2).run(Context())
    torch.testing.assert_close(lit.pixels, (0.2 + 0.8 * square()).expand(-1, 3, -1, -1))


def test_a_mask_is_measured_inside_and_outside_of_a_region():
    mask = 0.1 + 0.5 * square()
    given = MeasureMask(mask=Mask(mask), region=Mask(square())).run(Context())
    assert given.ratios == pytest.approx((6.0,), rel=1e-5)
    assert given.centres == pytest.approx(((4 * 0.1 * 8 * 8 + 6 * 0.5 * 16) / (0.1 * 64 + 0.5 * 16) / 8,), rel=1e-5)
    with pytest.raises(Wrong, match="covers all"):
        MeasureMask(mask=Mask(mask), region=Mask(torch.ones(1, 1, 8, 8))).run(Context())
    with pytest.raises(Wrong, match="1 masks and 2 names"):
        MeasureMask(mask=Mask(mask), region=Mask(square()), names=("a", "b")).run(Context())


@pytest.mark.parametrize(("width", "height"), [(132, 192), (36, 100), (4, 64)])
def test_maps_are_of_the_picture_whatever_its_sides(builtin: Loaded, width: int, height: int):
    """Halved sides are rounded up, each by itself."""
    canvas = EmptyLatent(model=builtin.model, width=width, height=height).run(Context())
    given = traced(builtin, latent=canvas, steps=1)
    assert given.maps.pixels.shape[2:] == (height, width)
    assert_shares(given)


def test_the_sides_of_a_map_follow_from_those_of_the_latent():
    assert size_of_map(12 * 9, (48, 33)) == (12, 9)
    assert size_of_map(1, (5, 3)) == (1, 1)
    assert size_of_map(15, (5, 3)) == (5, 3)
    with pytest.raises(Wrong, match="a layer looks at 7 places, which halving 3 by 5 does not give"):
        size_of_map(7, (5, 3))


def test_words_are_summed_and_interpolated_as_each_layer_would_be():
    watcher = Watcher(torch.zeros(1, 3, 4), 1, (8, 6))
    generator, large = torch.Generator().manual_seed(0), torch.zeros(1, 3, 32, 24)
    for size in ((8, 6), (4, 3)):
        maps = torch.rand(1, 3, *size, generator=generator)
        watcher.sums[size] = maps.double()
        watcher.seen += 1
        large += torch.nn.functional.interpolate(maps, (32, 24), mode="bilinear") / 2
    wanted = torch.stack([large[:, 0] + large[:, 2], large[:, 1]], dim=1)
    torch.testing.assert_close(watcher.maps([[0, 2], [1]], (32, 24)), wanted, atol=1e-6, rtol=0)


def test_a_column_of_a_mask_has_a_name_of_its_own():
    for what in ("ratio", "mean inside"):
        with pytest.raises(Wrong, match=f"`{what}` is the name of another column") as refused:
            MeasureMask(mask=Mask(square()), region=Mask(square()), what=what).run(Context())
        assert refused.value.input == "what"


def test_what_differs_from_the_edges_by_just_the_tolerance_is_like_them():
    picture = torch.full((1, 3, 8, 8), 1 / 255)
    picture[:, :, 4, 4] = 4 / 255
    assert not MaskFromEdges(image=Image(picture), tolerance=3 / 255).run(Context()).pixels.any()
