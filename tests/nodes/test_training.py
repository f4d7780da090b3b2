"""Training: it learns, it is deterministic, and it goes on after a kill to the same bits."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stopping import Kept, Killed

from latentgraph.engine import Cancelled, Context, File, Folder
from latentgraph.nodes.models import LoadModel
from latentgraph.nodes.ports import Image
from latentgraph.nodes.training import loop
from latentgraph.nodes.training.data import Dataset, Scenes
from latentgraph.nodes.training.datasets import EmojiScenes
from latentgraph.nodes.training.emoji import BACKGROUNDS, OBJECTS, KeptOut, Scene, all_scenes, captions
from latentgraph.nodes.training.nodes import (
    AssembleModel,
    EvaluationScenes,
    JudgeScenes,
    MeasureVAE,
    TrainCLIP,
    TrainJudge,
    TrainTokenizer,
    TrainUNet,
    TrainVAE,
)

GRAPHS = Path(__file__).parents[2] / "graphs"
ARTWORK = Folder.at(GRAPHS / "train" / "emoji")
KEPT_OUT = File.at(GRAPHS / "train" / "kept-out.txt")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return EmojiScenes(artwork=ARTWORK, kept_out=KEPT_OUT, count=48).run(Context())


@pytest.fixture(scope="module")
def tokenizer(data: Dataset) -> Folder:
    return TrainTokenizer(data=data, vocabulary_size=600).run(Context())


@pytest.fixture(scope="module")
def parts(data: Dataset, tokenizer: Folder):
    """A whole tiny pipeline, trained for two steps each."""
    vae = TrainVAE(data=data, channels=(8, 8), latent_channels=2, steps=2, batch_size=2).run(Context())
    clip = TrainCLIP(data=data, tokenizer=tokenizer, hidden=32, layers=1, steps=2, batch_size=4).run(Context())
    unet = TrainUNet(
        data=data, vae=vae.vae, clip=clip.clip, channels=(8, 16), steps=2, batch_size=2, prompts=("a dog",)
    )
    return vae.vae, clip.clip, unet.run(Context()).model


def test_a_data_set_is_the_same_for_the_same_seed_and_another_for_another(data: Dataset):
    again = EmojiScenes(artwork=ARTWORK, kept_out=KEPT_OUT, count=48).run(Context())
    other = EmojiScenes(artwork=ARTWORK, kept_out=KEPT_OUT, count=48, seed=2).run(Context())
    assert torch.equal(again.images, data.images)
    assert again.captions == data.captions
    assert not torch.equal(other.images, data.images)


def test_pictures_are_64_pixels_wide_with_a_plain_caption_first(data: Dataset):
    assert data.images.shape == (48, 3, 64, 64)
    assert data.images.dtype == torch.uint8
    assert captions(Scene("blue", ("dog",), "glasses"))[0] == "a dog face with glasses on a blue background"
    assert captions(Scene("pink", ("apple", "banana")))[0] == "a red apple and a banana on a pink background"
    assert captions(Scene("orange", ("umbrella",)))[0] == "an umbrella on an orange background"


def test_nothing_that_is_kept_out_is_ever_trained_on():
    kept_out = KeptOut.parse(KEPT_OUT.read().decode())
    data = EmojiScenes(artwork=ARTWORK, kept_out=KEPT_OUT, count=3000).run(Context())
    for shown in data.shown:
        things = [shown["first"], shown["second"]]
        assert not any((thing, shown["background"]) in kept_out.things for thing in things)
        assert (shown["first"], shown["accessory"]) not in kept_out.accessories


def test_the_kept_out_list_has_one_in_twenty_of_the_things_and_two_of_the_accessories():
    kept_out = KeptOut.parse(KEPT_OUT.read().decode())
    assert len(kept_out.things) == round(len(OBJECTS) * len(BACKGROUNDS) / 20)
    assert len(kept_out.accessories) == 2


def test_a_kept_out_list_that_names_what_there_is_not_is_refused_with_its_line():
    with pytest.raises(ValueError, match=r"line 2 .*`dogg, blue`"):
        KeptOut.parse("# first\ndogg, blue\n")


def test_artwork_that_lacks_a_picture_is_refused_by_name(tmp_path: Path):
    (tmp_path / "emoji.json").write_bytes(ARTWORK["emoji.json"].read())
    with pytest.raises(FileNotFoundError, match="img/google/64"):
        EmojiScenes(artwork=Folder.at(tmp_path)).run(Context())


def test_every_word_of_the_captions_is_one_token(data: Dataset):
    everything = [
        caption for kind in ("single", "pair", "dressed") for s in all_scenes(kind) for caption in captions(s)
    ]
    data = Dataset(data.images, tuple((caption,) for caption in everything), {}, ())
    files = TrainTokenizer(data=data).run(Context())
    vocabulary = json.loads(files["vocab.json"].read())
    words = {word.strip(",") for caption in everything for word in caption.lower().split()}
    assert [word for word in words if f"{word}</w>" not in vocabulary] == []


TRAININGS = {
    "vae": lambda data, tokenizer, parts: TrainVAE(
        data=data, channels=(8, 8), latent_channels=2, steps=6, batch_size=2
    ),
    "clip": lambda data, tokenizer, parts: TrainCLIP(
        data=data, tokenizer=tokenizer, hidden=32, layers=1, steps=6, batch_size=4
    ),
    "unet": lambda data, tokenizer, parts: TrainUNet(
        data=data, vae=parts[0], clip=parts[1], channels=(8, 16), steps=6, batch_size=2, prompts=("a dog",)
    ),
    "judge": lambda data, tokenizer, parts: TrainJudge(data=data, held_back=8, steps=6, batch_size=4),
}


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(kind, data, tokenizer, parts, monkeypatch, learned):
    monkeypatch.setattr(loop, "KEPT_EVERY", 2)
    node = TRAININGS[kind](data, tokenizer, parts)
    at_once = node.run(Context())
    assert len(learned) == 6
    learned.clear()
    states = Kept()
    with pytest.raises(Killed):
        node.run(killed_at_loss(3, states))
    assert len(learned) == 3
    with pytest.raises(Cancelled):
        node.run(Context(states=states, cancelled=lambda: len(learned) >= 6))
    assert len(learned) == 6  # the third step a second time: two were kept; then the fourth and the fifth
    on = node.run(Context(states=states))
    assert len(learned) == 7
    assert digests(on) == digests(at_once)
    if hasattr(on, "losses"):
        assert on.losses == at_once.losses


def killed_at_loss(step: int, states: Kept) -> Context:
    """A context whose process ends when it has learned for the `step`th time."""

    def report(kind: str, content: dict) -> None:
        if kind == "progress" and content.get("message", "").startswith("loss") and content["step"] == step:
            raise Killed

    return Context(report=report, states=states)


@pytest.fixture
def learned(monkeypatch) -> list[int]:
    """Grows with every step of a training."""
    steps: list[int] = []

    class Counting(torch.optim.AdamW):
        def step(self, *arguments):
            steps.append(1)
            return super().step(*arguments)

    monkeypatch.setattr(torch.optim, "AdamW", Counting)
    return steps


def digests(trained) -> list[str]:
    value = trained[0]
    value = getattr(value, "encoders", (value,))[0]
    folder = value.folder if hasattr(value, "folder") else value.weights.folder
    return [file.digest for file in folder.files]


def vae_training(data: Dataset, **inputs) -> TrainVAE:
    usual = {"data": data, "channels": (8, 8), "latent_channels": 2, "steps": 4, "batch_size": 2, "decay": 0.0}
    return TrainVAE(**usual | inputs)


@pytest.fixture(scope="module")
def trained(data: Dataset) -> Kept:
    """What is kept of a whole training."""
    states = Kept()
    vae_training(data).run(Context(states=states))
    return states


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({"steps": 6}, 4),
        ({"steps": 8, "decay": 0.5}, 4),
        ({"steps": 6, "decay": 1.0}, 0),
        ({"learning_rate": 1e-3}, 0),
        ({"seed": 1}, 0),
        ({"batch_size": 3}, 0),
        ({"kl_weight": 1e-3}, 0),
    ],
)
def test_a_training_goes_on_from_another_that_learned_the_same_up_to_there(data, trained, learned, change, shared):
    states = Kept(trained)
    other = vae_training(data, **change)
    learned.clear()
    fresh = other.run(Context())
    steps = len(learned)
    learned.clear()
    assert digests(other.run(Context(states=states))) == digests(fresh)
    assert len(learned) == steps - shared


def test_a_training_on_other_pictures_starts_anew(data, trained, learned):
    states = Kept(trained)
    vae_training(replace(data, images=255 - data.images)).run(Context(states=states))
    assert len(learned) == 4


def test_what_the_sample_pictures_show_does_not_matter_to_a_training(data, tokenizer, parts, learned):
    states = Kept()
    TRAININGS["unet"](data, tokenizer, parts).run(Context(states=states))
    learned.clear()
    other = TRAININGS["unet"](data, tokenizer, parts).model_copy(update={"prompts": ("a cat",)})
    other.run(Context(states=states))
    assert learned == []


def test_more_training_lowers_the_loss_of_an_autoencoder(data, tmp_path):
    trained = TrainVAE(data=data, channels=(8, 16), latent_channels=4, steps=60, batch_size=4).run(Context())
    losses = torch.tensor(trained.losses)
    assert losses[-10:].mean() < 0.7 * losses[:10].mean()


def test_latents_of_a_trained_autoencoder_have_mean_0_and_deviation_1(data, parts):
    from latentgraph.nodes.diffusion.weights import load_vae
    from latentgraph.nodes.training.autoencoder import encode_all

    latents = encode_all(load_vae(parts[0]), data.images)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_an_autoencoder_with_more_latent_channels_begins_where_the_one_with_fewer_ended(data, parts, tmp_path):
    from latentgraph.nodes.diffusion.weights import load_vae
    from latentgraph.nodes.training.autoencoder import reconstructed, widened

    before = load_vae(parts[0])
    after = widened(before, 4, seed=0).eval()
    pictures = data.images[:4].float().div(255)
    with torch.no_grad():
        after.decoder.conv_in.weight[:, 2:] = 0
        torch.testing.assert_close(reconstructed(after, pictures), reconstructed(before, pictures), atol=1e-5, rtol=0)


def test_an_assembled_model_is_loaded_by_diffusers_and_by_the_product_alike(parts, tmp_path):
    from diffusers import StableDiffusionPipeline

    vae, clip, model = parts
    folder = AssembleModel(model=model, clip=clip, vae=vae).run(Context())
    for file in folder.files:
        target = tmp_path / "model" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read())
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "model", torch_dtype=torch.float32)
    assert pipeline.tokenizer.model_max_length == 24
    loaded = LoadModel(name=str(tmp_path / "model")).run(Context())
    assert loaded.vae.space.channels == 2
    assert all(value.dtype == torch.float32 for value in pipeline.unet.state_dict().values())


def test_measuring_an_autoencoder_gives_the_ratio_that_numpy_gives(data, parts):
    from latentgraph.nodes.diffusion.weights import load_vae
    from latentgraph.nodes.training.autoencoder import reconstructed

    measured = MeasureVAE(vae=parts[0], data=data, count=48).run(Context())
    pictures = data.images.float().div(255)
    with torch.no_grad():
        error = (reconstructed(load_vae(parts[0]), pictures) - pictures).double().numpy()
    import numpy

    assert measured.psnr == pytest.approx(numpy.mean([-10 * numpy.log10((one**2).mean()) for one in error]), abs=1e-3)


def test_the_judge_counts_what_is_right_by_group(data, tmp_path):
    judge = TrainJudge(data=data, held_back=8, steps=1, batch_size=2).run(Context()).judge
    from latentgraph.nodes.training.judge import loaded

    pictures = data.images[:6].float().div(255)
    seen_as = loaded(judge).verdicts(pictures)
    scenes = [Scene(v["background"], (v["first"],)) for v in seen_as[:3]] + [Scene("red", ("dog",))] * 3
    groups = ("seen",) * 3 + ("pairs",) * 3
    verdict = JudgeScenes(judge=judge, images=Image(pictures), scenes=Scenes(tuple(scenes), groups)).run(Context())
    rows = json.loads(verdict.report.read())["pictures"]
    for row, seen in zip(rows[:3], seen_as[:3], strict=True):
        assert row["things"] == (seen["second"] == "none" and seen["accessory"] == "none")
    assert verdict.seen == sum(row["things"] for row in rows[:3]) / 3
    assert len(verdict.labels) == len(verdict.right) == 6


def test_an_evaluation_asks_for_everything_that_was_kept_out():
    asked = EvaluationScenes(kept_out=KEPT_OUT, repeats=1).run(Context())
    kept_out = KeptOut.parse(KEPT_OUT.read().decode())
    unseen = {
        (s.things[0], s.background)
        for s, g in zip(asked.scenes.scenes, asked.scenes.groups, strict=True)
        if g == "kept out"
    }
    assert unseen == kept_out.things
    seen = [
        s for s, g in zip(asked.scenes.scenes, asked.scenes.groups, strict=True) if g in ("seen", "dressed", "pairs")
    ]
    assert not any(kept_out.has(scene) for scene in seen)
    assert len(asked.prompts) == len(asked.scenes.scenes)


def test_a_new_controlnet_is_the_first_half_of_the_model_and_changes_nothing(parts):
    from latentgraph.nodes.diffusion.weights import load_unet
    from latentgraph.nodes.training.steering import new_controlnet

    model = parts[2]
    unet = load_unet(model)
    net = new_controlnet(unet, model.space.factor, seed=0)
    pixels = 16
    latents = torch.randn(2, model.space.channels, pixels // model.space.factor, pixels // model.space.factor)
    with torch.no_grad():
        down, middle = net(
            latents, 300, torch.randn(2, 7, model.width), torch.rand(2, 3, pixels, pixels), return_dict=False
        )
    assert all(not part.any() for part in (*down, middle))
    whole, half = unet.state_dict(), net.state_dict()
    shared = [name for name in half if name in whole and name.startswith(("down_blocks.", "mid_block."))]
    assert shared
    assert all(torch.equal(half[name], whole[name]) for name in shared)
    assert all(parameter.requires_grad for parameter in net.parameters())
