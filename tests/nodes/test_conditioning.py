"""Conditionings that are made of others, and where, when and how strongly they hold."""

import pytest
import torch

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.conditioning import (
    AverageConditioning,
    ClipSkip,
    CombineConditioning,
    ConcatConditioning,
    SetArea,
    SetRegion,
    SetTimestepRange,
    SizeConditioning,
    ZeroConditioning,
)
from latentgraph.nodes.facts import TextFacts
from latentgraph.nodes.guides import Cond, Conditioning, Size
from latentgraph.nodes.models import Loaded
from latentgraph.nodes.ports import Mask

CHANGES = (SizeConditioning, SetArea, SetRegion, SetTimestepRange, ZeroConditioning)


def text(value: float, tokens: int = 3, count: int = 1, pooled: bool = True) -> Conditioning:
    """A conditioning whose numbers all are one value, and -value in what is pooled."""
    return Conditioning(
        (Cond(torch.full((count, tokens, 4), value), torch.full((count, 2), -value) if pooled else None),)
    )


def only(conditioning: Conditioning) -> Cond:
    (cond,) = conditioning.conds
    return cond


# several as one


def test_combined_conditionings_keep_what_each_says(context: Context) -> None:
    red, dog, sky = text(1), text(2), text(3)
    both = CombineConditioning(conditionings=(red, dog)).run(context)
    assert CombineConditioning(conditionings=(both, sky)).run(context).conds == (*red.conds, *dog.conds, *sky.conds)


def test_joined_tokens_follow_each_other_and_the_first_says_the_rest(context: Context) -> None:
    cond = only(ConcatConditioning(conditionings=(text(1, 3), text(2, 5, count=2), text(3, 1))).run(context))
    assert cond.tokens.shape == (2, 9, 4)
    assert cond.tokens[1, :, 0].tolist() == [1] * 3 + [2] * 5 + [3]
    assert cond.pooled is not None
    assert cond.pooled.tolist() == [[-1, -1]]


@pytest.mark.parametrize(("amount", "expected"), [(0, 1), (0.25, 2), (1, 5), (1.5, 7)])
def test_an_average_is_as_far_from_the_first_to_the_second_as_said(
    amount: float, expected: float, context: Context
) -> None:
    cond = only(AverageConditioning(first=text(1), second=text(5, count=2), amount=float(amount)).run(context))
    assert torch.equal(cond.tokens, torch.full((2, 3, 4), float(expected)))
    assert cond.pooled is not None
    assert torch.equal(cond.pooled, torch.full((2, 2), -float(expected)))


def test_an_average_at_its_ends_is_the_one_or_the_other_to_the_bit(context: Context) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (Conditioning((Cond(torch.randn(1, 7, 5, generator=generator)),)) for _ in range(2))
    for amount, wanted in ((0.0, a), (1.0, b)):
        found = AverageConditioning(first=a, second=b, amount=amount).run(context)
        assert torch.equal(only(found).tokens, only(wanted).tokens)


def test_the_shorter_text_of_an_average_is_repeated_where_that_makes_both_equally_long(context: Context) -> None:
    cond = only(AverageConditioning(first=text(1, 3), second=text(3, 6)).run(context))
    assert torch.equal(cond.tokens, torch.full((1, 6, 4), 2.0))
    with pytest.raises(ValueError, match="5 and 7 tokens"):
        AverageConditioning(first=text(1, 5), second=text(3, 7)).run(context)


def test_what_does_not_go_together_is_refused(context: Context) -> None:
    wide = Conditioning((Cond(torch.zeros(1, 3, 8)),))
    two = CombineConditioning(conditionings=(text(1), text(2))).run(context)
    for second, message in (
        (wide, "4 and 8 wide"),
        (two, "has 2 conditions"),
        (text(1, count=3), "do not go together"),
    ):
        with pytest.raises(ValueError, match=message):
            ConcatConditioning(conditionings=(text(1, count=2), second)).run(context)
        with pytest.raises(ValueError, match=message):
            AverageConditioning(first=text(1, count=2), second=second).run(context)
    for node in (CombineConditioning, ConcatConditioning):
        with pytest.raises(ValueError, match="list of conditionings is empty"):
            node(conditionings=()).run(context)


def test_several_are_checked_before_anything_runs() -> None:
    one, two, three, wide = TextFacts(4, 1), TextFacts(4, 2), TextFacts(4, 3), TextFacts(8, 1)
    for node in (CombineConditioning, ConcatConditioning):
        assert node.describe({"conditionings": (one, two)}) == {"conditioning": two}
        assert node.describe({"conditionings": (one, TextFacts(4, None))}) == {"conditioning": TextFacts(4, None)}
        assert node.describe({}) == {}
        for given in ((one, wide), (two, three), ()):
            with pytest.raises(Wrong) as wrong:
                node.describe({"conditionings": given})
            assert wrong.value.input == "conditionings"
    assert AverageConditioning.describe({"first": two, "second": one}) == {"conditioning": two}
    with pytest.raises(Wrong, match="4 and 8 wide"):
        AverageConditioning.describe({"first": two, "second": wide})


# where, when and how strongly


def test_an_area_is_a_rectangle_of_fractions_with_the_part_that_is_inside_at_its_edges(context: Context) -> None:
    cond = only(SetArea(conditioning=text(1), left=0.5, top=0.25, width=0.5, height=0.25, weight=2.0).run(context))
    assert cond.region is not None
    small = torch.nn.functional.interpolate(cond.region, (4, 4), mode="area")[0, 0]
    assert small.tolist() == [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert cond.weight == 2
    third = only(SetArea(conditioning=text(1), left=1 / 3, width=1 / 3).run(context)).region
    assert third is not None
    assert third.mean().item() == pytest.approx(1 / 3, abs=1e-6)


def test_an_area_that_is_not_in_the_picture_is_refused(context: Context) -> None:
    with pytest.raises(Wrong, match=r"begins at 0.6 and its width is 0.5"):
        SetArea(conditioning=text(1), left=0.6, width=0.5).run(context)
    with pytest.raises(Wrong, match="height"):
        SetArea.describe({"left": 0.0, "width": 1.0, "top": 0.5, "height": 0.75})
    SetArea(conditioning=text(1), left=0.1, width=0.9, top=0.7, height=0.3).run(context)


def test_a_mask_says_where_a_condition_holds(context: Context) -> None:
    mask = Mask(torch.rand(1, 1, 5, 7, generator=torch.Generator().manual_seed(0)))
    cond = only(SetRegion(conditioning=text(1), mask=mask, weight=0.5).run(context))
    assert cond.region is not None
    assert torch.equal(cond.region, mask.pixels)
    assert cond.weight == 0.5


def test_a_range_of_the_steps_has_a_beginning_before_its_end(context: Context) -> None:
    cond = only(SetTimestepRange(conditioning=text(1), start=0.2, end=0.7).run(context))
    assert (cond.start, cond.end) == (0.2, 0.7)
    with pytest.raises(Wrong, match="nothing is between them"):
        SetTimestepRange(conditioning=text(1), start=0.5, end=0.5).run(context)
    with pytest.raises(Wrong, match="nothing is between them"):
        SetTimestepRange.describe({"start": 0.8, "end": 0.2})


def test_sizes_reach_every_condition(context: Context) -> None:
    two = CombineConditioning(conditionings=(text(1), text(2))).run(context)
    sized = SizeConditioning(conditioning=two, width=640, height=480, left=3, top=4, target_width=32).run(context)
    assert [cond.size for cond in sized.conds] == [Size(480, 640, 4, 3, None, 32)] * 2
    scored = SizeConditioning(conditioning=two, width=64, height=64, aesthetic_score=7.5).run(context)
    assert scored.conds[1].size == Size(64, 64, aesthetic_score=7.5)


def test_zeros_are_as_large_as_what_they_stand_for(context: Context) -> None:
    cond = only(ZeroConditioning(conditioning=text(1, 5, count=2)).run(context))
    assert torch.equal(cond.tokens, torch.zeros(2, 5, 4))
    assert cond.pooled is not None
    assert torch.equal(cond.pooled, torch.zeros(2, 2))
    assert only(ZeroConditioning(conditioning=text(1, pooled=False)).run(context)).pooled is None


def test_changes_say_the_same_of_a_conditioning_as_before() -> None:
    for node in CHANGES:
        assert node.describe({"conditioning": TextFacts(4, 2)}) == {"conditioning": TextFacts(4, 2)}
        assert node.describe({}) == {}


# the text encoder


def test_layers_are_left_out_of_a_text_encoder_but_not_all(loaded: Loaded, context: Context) -> None:
    assert ClipSkip(clip=loaded.clip, skip=1).run(context).skip == 1
    assert ClipSkip.describe({"clip": loaded.clip, "skip": 1})["clip"].skip == 1
    with pytest.raises(Wrong, match="2 layers"):
        ClipSkip.describe({"clip": loaded.clip, "skip": 2})
