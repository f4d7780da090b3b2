"""Sampling that was stopped goes on where it stood, to the same bits, and never from where another one stood."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import test_parity
import torch
from stopping import Kept, Killed, cancelled_after, killed_after

from latentgraph.engine.context import Cancelled, Context
from latentgraph.engine.digest import digest
from latentgraph.engine.ports import PortType
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion import resuming
from latentgraph.nodes.diffusion.native import SigmaWalk
from latentgraph.nodes.diffusion.samplers import SAMPLERS
from latentgraph.nodes.diffusion.scheduled import SchedulerWalk
from latentgraph.nodes.diffusion.schedulers import new_scheduler
from latentgraph.nodes.guides import CFG
from latentgraph.nodes.latents import EmptyLatent, VAEEncode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.ports import Image, Latent
from latentgraph.nodes.sampling import KSampler
from latentgraph.nodes.tracing import TraceAttention

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

EVERY = [*SAMPLERS, *(f"diffusers:{name}" for name in test_parity.BOTH_WAYS + test_parity.NO_ADD_NOISE)]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each move of a sampling: a step, or an evaluation by a scheduler of diffusers."""
    made: list[int] = []
    for kind in (SigmaWalk, SchedulerWalk):
        moved = kind.__call__

        def counting(self: Any, *given: Any, moved: Any = moved) -> torch.Tensor:
            made.append(1)
            return moved(self, *given)

        monkeypatch.setattr(kind, "__call__", counting)
    return made


@pytest.fixture
def node(loaded: Loaded, context: Context) -> Callable[..., KSampler]:
    red, dog = (CLIPEncode(clip=loaded.clip, text=text).run(context) for text in ("a red apple", "dog"))
    canvas = EmptyLatent(model=loaded.model, batch_size=2).run(context)
    usual = {"model": loaded.model, "guidance": CFG(red, dog, 5.0), "latent": canvas, "steps": 5, "seed": 3}
    return lambda **inputs: KSampler(**usual | inputs)


def stopped(node: KSampler, context: Context) -> None:
    with pytest.raises((Cancelled, Killed)):
        node.run(context)


def test_a_sampling_whose_attention_is_watched_is_stopped_and_gives_the_same_maps(
    node: Callable[..., KSampler], loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "PAUSE", 0.0)
    usual = node()
    inputs = {name: getattr(usual, name) for name in usual.inputs()}
    watched, states = TraceAttention(**inputs, clip=loaded.clip, text="a red apple"), Kept()
    stopped(watched, cancelled_after(3, states))
    assert digest(watched.run(Context(states=states)).maps) == digest(watched.run(Context()).maps)


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "diffusers:HeunDiscreteScheduler"])
def test_a_sampling_that_ends_earlier_takes_no_state_that_is_beyond_its_end(
    node: Callable[..., KSampler], counted: list[int], monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    monkeypatch.setattr(resuming, "PAUSE", 0.0)
    monkeypatch.setattr(resuming, "SHARE", float("inf"))
    states = Kept()
    whole = node(sampler=sampler).run(Context(states=states))
    for end in (1, 3):
        alone = node(sampler=sampler, end=end).run(Context())
        assert digest(node(sampler=sampler, end=end).run(Context(states=states))) == digest(alone)
    # What the shorter one kept on its way is of use to the whole one.
    made = len(counted)
    assert digest(node(sampler=sampler).run(Context(states=states))) == digest(whole)
    assert len(counted) - made < made


@pytest.mark.parametrize("sampler", EVERY)
def test_every_sampler_goes_on_to_the_same_bits(
    node: Callable[..., KSampler], counted: list[int], monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    monkeypatch.setattr(resuming, "PAUSE", 0.0)
    monkeypatch.setattr(resuming, "SHARE", float("inf"))
    at_once = node(sampler=sampler).run(Context())
    everything, states = len(counted), Kept()
    counted.clear()
    for evaluations, stop in ((1, cancelled_after), (2, killed_after), (everything - 4, cancelled_after)):
        stopped(node(sampler=sampler), stop(evaluations, states))
        assert len(states.states) == 1
    assert len(counted) == everything - 1
    on = node(sampler=sampler).run(Context(states=states))
    assert len(counted) == everything
    assert digest(on) == digest(at_once)


def test_a_picture_that_is_changed_goes_on_to_the_same_bits(
    loaded: Loaded, node: Callable[..., KSampler], counted: list[int]
) -> None:
    picture = Image(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    encoded = VAEEncode(vae=loaded.vae, image=picture, seed=1).run(Context())
    sampler = node(latent=encoded, seed=None, strength=0.7, sampler="euler_ancestral", steps=8)
    at_once, states = sampler.run(Context()), Kept()
    everything = len(counted)
    counted.clear()
    stopped(sampler, cancelled_after(2, states))
    assert digest(sampler.run(Context(states=states))) == digest(at_once)
    assert len(counted) == everything == 5


def small_sampling(folder: Path) -> KSampler:
    model, clip, _ = LoadModel(name=str(folder)).run(Context())
    text = CLIPEncode(clip=clip, text="dog").run(Context())
    canvas = EmptyLatent(model=model).run(Context())
    return KSampler(model=model, guidance=text, latent=canvas, sampler="dpmpp_2m_sde", steps=5, seed=1)


def test_another_process_goes_on_to_the_same_bits(tiny: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from test_resuming import *\n"
        "states = Kept()\n"
        "stopped(small_sampling(Path(sys.argv[1])), cancelled_after(3, states))\n"
        "((key, (kind, content)),) = states.states.items()\n"
        "Path(sys.argv[2]).write_bytes(content); print(key, kind)\n"
    )
    command = [sys.executable, "-c", code, str(tiny), str(tmp_path / "state")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    key, kind = done.stdout.splitlines()[-1].split()
    states, shown = Kept(), []
    states.states[key] = kind, (tmp_path / "state").read_bytes()
    context = Context(states=states, report=lambda kind, content: shown.append(content.get("step")))
    sampler = small_sampling(tiny)
    assert digest(sampler.run(context)) == digest(sampler.run(Context()))
    assert shown[0] == 3


def test_it_may_be_stopped_again_and_again(node: Callable[..., KSampler], counted: list[int]) -> None:
    sampler, states = node(sampler="dpmpp_2m_sde"), Kept()
    at_once = sampler.run(Context())
    counted.clear()
    for _ in range(4):
        stopped(sampler, cancelled_after(1, states))
    assert digest(sampler.run(Context(states=states))) == digest(at_once)
    assert len(counted) == 5


def test_what_is_shown_goes_on_where_it_stood(node: Callable[..., KSampler]) -> None:
    sampler, states = node(sampler="diffusers:HeunDiscreteScheduler"), Kept()
    stopped(sampler, cancelled_after(4, states))
    shown: list[int] = []
    sampler.run(Context(states=states, report=lambda kind, content: shown.append(content.get("step", -1))))
    assert [step for step in shown if step >= 0] == [2, 2, 3, 3, 4, 5]


@pytest.mark.parametrize(
    "change",
    [
        "guidance",
        "scale",
        "empty",
        "picture",
        "sampler",
        "options",
        "scheduler",
        "steps",
        "seed",
        "strength",
        "batch",
        "model",
    ],
)
def test_the_state_of_another_sampling_is_never_taken(
    node: Callable[..., KSampler], tiny: Path, tmp_path: Path, counted: list[int], change: str
) -> None:
    first = node(sampler="dpmpp_2m", steps=5)
    if change in ("strength", "picture"):
        first = node(sampler="dpmpp_2m", steps=5, latent=replace(first.latent, empty=False))
    guidance, latent = first.guidance, first.latent
    assert isinstance(guidance, CFG)
    changes: dict[str, Callable[[], dict[str, Any]]] = {
        "guidance": lambda: {"guidance": CFG(guidance.positive, guidance.positive, 5.0)},
        "scale": lambda: {"guidance": replace(guidance, scale=5.5)},
        "empty": lambda: {"latent": replace(latent, empty=False)},
        "picture": lambda: {"latent": replace(latent, samples=latent.samples + 1)},
        "sampler": lambda: {"sampler": "uni_pc"},
        "options": lambda: {"sampler": "dpmpp_2m_sde"},
        "scheduler": lambda: {"scheduler": "karras"},
        "steps": lambda: {"steps": 6},
        "seed": lambda: {"seed": (3, 5)},
        "strength": lambda: {"strength": 0.8},
        "batch": lambda: {"latent": Latent(latent.samples[:1], latent.space, empty=True)},
        "model": lambda: {"model": changed_model(tiny, tmp_path / "model")},
    }
    states = Kept()
    stopped(first, cancelled_after(3, states))
    other = first.model_copy(update=changes[change]())
    counted.clear()
    fresh = other.run(Context())
    everything = len(counted)
    counted.clear()
    assert digest(other.run(Context(states=states))) == digest(fresh)
    assert len(counted) == everything
    counted.clear()
    first.run(Context(states=states))
    assert len(counted) == 2


def changed_model(tiny: Path, folder: Path) -> Any:
    shutil.copytree(tiny, folder)
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"norm_eps": 1e-3}))
    return LoadModel(name=str(folder)).run(Context()).model


# when


def kept_at(monkeypatch: pytest.MonkeyPatch, evaluation: float, keeping: float, count: int) -> list[int]:
    """After which evaluations a state is kept, where an evaluation and keeping a state take so many seconds."""
    clock, kept = [0.0], []

    class Counting(Context):
        def save(self, prefix_key: object, state: PortType) -> None:
            clock[0] += keeping
            kept.append(state.moves)  # type: ignore[attr-defined]

    monkeypatch.setattr(resuming.time, "monotonic", lambda: clock[0])
    states = resuming.Resuming(Counting(), [torch.Generator()], "covered")
    for index in range(count):
        clock[0] += evaluation
        states.reached(index + 1, torch.zeros(1), dict)
    return kept


def test_states_are_kept_seconds_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept_at(monkeypatch, 0.25, 0.0, 20) == [8, 16]
    assert kept_at(monkeypatch, 5.0, 0.0, 3) == [1, 2, 3]


def test_keeping_states_takes_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = kept_at(monkeypatch, 1.0, 3.0, 1000)
    assert 1 < len(kept) <= 1000 * 0.02 / 3 + 2


def test_a_sampling_that_cannot_be_taken_up_again_is_not_kept() -> None:
    states = Kept()
    keeper = resuming.Resuming(Context(states=states, cancelled=lambda: True), [], "covered")
    keeper.reached(1, torch.zeros(1), lambda: None)
    keeper.reached(1, torch.zeros(2, 3).t(), dict)
    assert states.states == {}
    keeper.reached(1, torch.zeros(1, 2).t(), dict)
    assert len(states.states) == 1


def test_what_a_scheduler_remembers_is_kept_only_where_it_is_data(loaded: Loaded) -> None:
    scheduler = new_scheduler(loaded.model, "diffusers:DDIMScheduler", "model")
    walk = SchedulerWalk(loaded.model, scheduler, 3, 0, [])
    assert walk.state() is not None
    scheduler.secret = object()
    assert walk.state() is None
