"""The reverse process: the noise goes, and the guess of the final picture gets better. Watching it changes nothing."""

from typing import Any

import pytest
import torch
from fixtures import Ran

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.guides import CFG
from latentgraph.nodes.latents import EmptyLatent
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.plots.data import table
from latentgraph.nodes.plots.nodes import TableValue
from latentgraph.nodes.ports import Latent
from latentgraph.nodes.sampling import KSampler
from latentgraph.nodes.tracing import TracedSampling, TraceSampling

SEEDS = (7, 8, 9)


@pytest.fixture(scope="module")
def builtin() -> Loaded:
    return LoadModel(name="builtin").run(Context())


def inputs(builtin: Loaded, **more: Any) -> dict[str, Any]:
    wanted = CLIPEncode(clip=builtin.clip, text="").run(Context())
    canvas = EmptyLatent(model=builtin.model).run(Context())
    return {"model": builtin.model, "guidance": wanted, "latent": canvas, "steps": 12, "seed": 3} | more


def traced(builtin: Loaded, **more: Any) -> TracedSampling:
    return TraceSampling(**inputs(builtin, **more)).run(Context())


@pytest.fixture(scope="module")
def drawn(builtin: Loaded) -> TracedSampling:
    """Three pictures, in the number of steps that the graph takes, with all steps."""
    canvas = EmptyLatent(model=builtin.model, batch_size=3).run(Context())
    return traced(builtin, latent=canvas, seed=SEEDS, steps=25, count=25)


def rms(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """How far latents [N, …] are from others, each."""
    return (one - other).square().flatten(1).mean(1).sqrt()


def test_the_guess_gets_better_from_the_noise_to_the_end(ran: Ran) -> None:
    outputs = ran("reverse-process")
    assert outputs["last_guess"] < 0.01
    assert 0.3 < outputs["first_guess"] < outputs["noise"]


def test_the_guess_gets_better_at_every_step(drawn: TracedSampling) -> None:
    for picture, final in zip(drawn.predicted.samples.unflatten(0, (3, 25)), drawn.latent.samples, strict=True):
        distances = rms(picture, final)
        assert (distances.diff() < 0).all()
        assert distances[12] < 0.5 * distances[0]


def test_the_noisy_picture_comes_nearer_at_every_step(drawn: TracedSampling) -> None:
    for picture, final in zip(drawn.noisy.samples.unflatten(0, (3, 25)), drawn.latent.samples, strict=True):
        assert (rms(picture, final).diff() < 0).all()


def test_the_first_guess_is_an_average_of_what_may_come_out(drawn: TracedSampling) -> None:
    first, final = drawn.predicted.samples[::25], drawn.latent.samples
    assert (first.flatten(1).std(1) < 0.85 * final.flatten(1).std(1)).all()  # an average has less in it than a picture
    assert rms(first, first.roll(1, 0)).mean() < 0.75 * rms(final, final.roll(1, 0)).mean()


@pytest.mark.parametrize(
    "sampler", ["euler", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_sde", "ddim", "diffusers:HeunDiscreteScheduler"]
)
def test_what_is_watched_is_drawn_to_the_same_bits(builtin: Loaded, sampler: str) -> None:
    plain = KSampler(**inputs(builtin, sampler=sampler)).run(Context())
    watched = traced(builtin, sampler=sampler).latent
    assert (watched.samples - plain.samples).abs().max() == 0.0
    assert watched.generators == plain.generators


def test_guidance_and_several_pictures_are_watched_too(builtin: Loaded) -> None:
    dog, nothing = (CLIPEncode(clip=builtin.clip, text=text).run(Context()) for text in ("a dog face", ""))
    both = inputs(builtin, guidance=CFG(dog, nothing, 5.0), seed=(3, 8))
    watched = TraceSampling(**both, count=4).run(Context())
    assert torch.equal(watched.latent.samples, KSampler(**both).run(Context()).samples)
    alone = TraceSampling(**both | {"seed": 8}, count=4).run(Context())
    assert watched.noisy.samples.shape == (8, 8, 16, 16)
    assert torch.allclose(watched.noisy.samples[4:], alone.noisy.samples, atol=1e-4)
    assert torch.allclose(watched.predicted.samples[4:], alone.predicted.samples, atol=1e-3)
    assert watched.labels == alone.labels


def test_noisy_and_predicted_pictures_are_those_of_the_formulas(builtin: Loaded) -> None:
    """Of an euler step everything is known: x_t - (x_t - x0) / sigma * (sigma - next) is where it goes."""
    watched = traced(builtin, count=12)
    sigmas = torch.tensor([*watched.distances.column("sigma").values, 0.0])
    assert watched.distances.column("step").values == tuple(range(1, 13))
    samples = watched.noisy.samples * (1 + sigmas[:-1].square()).sqrt().view(-1, 1, 1, 1)  # x0 + sigma eps
    ratios = (sigmas[1:] / sigmas[:-1]).view(-1, 1, 1, 1)
    after = watched.predicted.samples + ratios * (samples - watched.predicted.samples)
    assert torch.allclose(after[:-1], samples[1:], atol=1e-3)
    assert torch.allclose(after[-1:], watched.latent.samples, atol=1e-5)
    assert watched.noisy.samples[0].std() == pytest.approx(1, abs=0.05)


def test_a_sampling_that_is_split_is_watched_in_parts(builtin: Loaded) -> None:
    whole = traced(builtin, sampler="dpmpp_2m", count=12)
    first = traced(builtin, sampler="dpmpp_2m", count=12, end=5)
    begun = KSampler(**inputs(builtin, sampler="dpmpp_2m", end=5)).run(Context())
    assert first.latent.unfinished is not None
    assert begun.unfinished is not None
    assert first.latent.unfinished.state.keys() == begun.unfinished.state.keys()
    assert first.latent.unfinished.state["walk"].keys() == begun.unfinished.state["walk"].keys()
    for left in (first.latent, begun):
        second = traced(builtin, sampler="dpmpp_2m", count=12, latent=left, seed=None)
        assert torch.equal(second.latent.samples, whole.latent.samples)
        assert torch.equal(torch.cat([first.noisy.samples, second.noisy.samples]), whole.noisy.samples)


def test_what_was_seen_before_a_stop_is_not_forgotten(builtin: Loaded) -> None:
    """A run that is cancelled keeps its state; the next one goes on from there, and gives what one at one go gives."""
    whole = traced(builtin)
    kept: dict[object, Any] = {}

    class Cancelling(Context):
        """Cancelled at the fifth step."""

        steps = 0

        @property
        def cancelled(self) -> bool:
            return True

        def save(self, prefix_key: object, state: Any) -> None:
            kept[prefix_key] = state
            self.steps += 1
            if self.steps == 5:
                raise InterruptedError

        def check_cancelled(self) -> None: ...

    class Resuming(Context):
        def resume(self, prefix_keys: Any) -> Any:
            return next((kept[key] for key in prefix_keys if key in kept), None)

    with pytest.raises(InterruptedError):
        TraceSampling(**inputs(builtin)).run(Cancelling())
    assert next(iter(kept.values())).moves == 5
    resumed = TraceSampling(**inputs(builtin)).run(Resuming())
    assert torch.equal(resumed.latent.samples, whole.latent.samples)
    assert torch.equal(resumed.predicted.samples, whole.predicted.samples)
    assert resumed.distances == whole.distances


def test_nothing_to_watch_is_said(builtin: Loaded) -> None:
    space = builtin.model.space
    picture = Latent(torch.zeros(1, space.channels, 16, 16), space)
    with pytest.raises(Wrong, match="no step is taken, so there is nothing to trace") as refused:
        traced(builtin, latent=picture, strength=0.0)
    assert refused.value.input == "strength"


def test_more_steps_than_there_are_cannot_be_shown(builtin: Loaded) -> None:
    watched = traced(builtin, steps=3, count=8)
    assert len(watched.labels) == len(watched.noisy.samples) == len(watched.predicted.samples) == 3


def test_a_number_of_a_table_is_taken_by_column_and_row() -> None:
    numbers = table({"step": [1, 2, 3], "loss": [0.5, 0.25, 0.125], "name": ["a", "b", "c"]})
    assert TableValue(table=numbers, column="loss").run(Context()) == 0.125
    assert TableValue(table=numbers, column="loss", row=0).run(Context()) == 0.5
    for name, row, message in (
        ("lost", 0, "the table has no column `lost`, but `step`, `loss`, `name`"),
        ("loss", 3, "row is 3, but the table has 3 rows, the first of which is 0"),
        ("loss", -4, "row is -4"),
        ("name", 0, "column `name` holds texts, such as `a`"),
    ):
        with pytest.raises(Wrong, match=message):
            TableValue(table=numbers, column=name, row=row).run(Context())
