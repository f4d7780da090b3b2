"""Training the U-Net: its error falls, and the noise that it sees agrees more and more with the real noise."""

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from fixtures import Ran

from latentgraph.engine.context import Context
from latentgraph.engine.ports import Folder
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.weights import load_unet
from latentgraph.nodes.latents import VAEEncode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.training.contrastive import chosen_caption
from latentgraph.nodes.training.data import Dataset
from latentgraph.nodes.training.datasets import EmojiScenes, ShowDataset
from latentgraph.nodes.training.denoiser import new_unet
from latentgraph.nodes.training.measures import MeasureDenoiser
from latentgraph.nodes.training.nodes import TrainUNet

ARTWORK = Folder.at(Path(__file__).parents[2] / "graphs" / "train" / "emoji")
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.fixture(scope="module")
def builtin() -> Loaded:
    return LoadModel(name="builtin").run(Context())


@pytest.fixture(scope="module")
def data() -> Dataset:
    return EmojiScenes(artwork=ARTWORK, count=6, seed=3).run(Context())


def test_the_loss_falls(ran: Ran):
    given = ran("training-the-unet")
    losses = given["losses"]
    assert given["first_loss"] == pytest.approx(sum(losses[:50]) / 50)
    assert given["last_loss"] == pytest.approx(sum(losses[-50:]) / 50)
    assert given["last_loss"] < 0.7 * given["first_loss"]


def test_the_network_comes_to_see_the_noise_most_of_all_where_there_is_little(ran: Ran):
    given = ran("training-the-unet")
    untrained, early, trained = (table.column("correlation with the noise").values for table in given["measured"])
    assert all(before < middle < after for before, middle, after in zip(untrained, early, trained, strict=True))
    assert given["untrained"] == untrained[0] < 0.2
    assert given["learned"] == trained[0] > untrained[0] + 0.25
    assert min(trained[-2:]) > 0.97
    # At its beginning the network sees no more than what any noisy picture has of the noise.
    already = given["measured"][0].column("of the noisy picture itself").values
    assert all(one < other + 0.02 for one, other in zip(untrained, already, strict=True))


def test_a_longer_training_goes_on_from_a_shorter_one(ran: Ran):
    """It has the same losses as far as that went."""
    whole, shorter = ran("training-the-unet")["losses"], ran("training-the-unet", steps=110)["losses"]
    assert len(shorter) == 110
    assert shorter == whole[:110]


def test_the_first_loss_is_that_of_plain_pytorch_with_diffusers_velocity(builtin: Loaded, data: Dataset):
    trained = TrainUNet(
        data=data, vae=builtin.vae, clip=builtin.clip, channels=(16, 32), steps=1, batch_size=4, seed=5
    ).run(Context())
    shown = ShowDataset(data=data, count=6).run(Context())
    latents = VAEEncode(vae=builtin.vae, image=shown.images).run(Context()).samples

    generator = torch.Generator().manual_seed(6)
    chosen = torch.randint(6, (4,), generator=generator)
    empty = torch.rand(4, generator=generator) < 0.1
    said = [chosen_caption(data.captions[index], generator) for index in chosen.tolist()]
    texts = tuple("" if nothing else text for text, nothing in zip(said, empty.tolist(), strict=True))
    tokens = CLIPEncode(clip=builtin.clip, text=texts).run(Context()).conds[0].tokens
    noise = torch.randn(latents[chosen].shape, generator=generator)
    timesteps = torch.randint(1000, (4,), generator=generator)

    schedule = DDIMScheduler(**SCHEDULE, prediction_type="v_prediction")
    noisy = schedule.add_noise(latents[chosen], noise, timesteps)
    velocity = schedule.get_velocity(latents[chosen], noise, timesteps)
    unet = new_unet((16, 32), 8, 16, 128, 5)
    with torch.no_grad():
        predicted = unet(noisy, timesteps, encoder_hidden_states=tokens).sample
    kept = schedule.alphas_cumprod[timesteps]
    snr = kept / (1 - kept)
    weights = snr.clamp(max=5) / (snr + 1)  # min-SNR, for v (Hang et al. 2023, arXiv:2303.09556)
    loss = float((weights * (predicted - velocity).square().mean((1, 2, 3))).mean())
    assert trained.losses[0] == pytest.approx(loss, rel=1e-4)


def test_the_measured_loss_is_that_of_plain_pytorch_with_diffusers_velocity(builtin: Loaded, data: Dataset):
    shown = ShowDataset(data=data, count=6).run(Context())
    texts = CLIPEncode(clip=builtin.clip, text=shown.captions).run(Context())
    clean = VAEEncode(vae=builtin.vae, image=shown.images).run(Context())
    given = MeasureDenoiser(model=builtin.model, guidance=texts, latent=clean, timesteps=(30, 800), seed=4).run(
        Context()
    )

    schedule = DDIMScheduler(**SCHEDULE, prediction_type="v_prediction", clip_sample=False)
    noise = torch.stack(
        [torch.randn(clean.samples.shape[1:], generator=torch.Generator().manual_seed(4 + row)) for row in range(6)]
    )
    for row, timestep in enumerate((30, 800)):
        at = torch.full((6,), timestep)
        noisy = schedule.add_noise(clean.samples, noise, at)
        with torch.no_grad():
            predicted = load_unet(builtin.model)(noisy, timestep, texts.conds[0].tokens).sample
        velocity = schedule.get_velocity(clean.samples, noise, at)
        loss = float(torch.nn.functional.mse_loss(predicted, velocity))
        assert given.table.column("loss").values[row] == pytest.approx(loss, rel=1e-4)
        kept = float(schedule.alphas_cumprod[timestep])
        seen = kept**0.5 * predicted + (1 - kept) ** 0.5 * noisy
        each = [
            float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])
            for a, b in zip(seen, noise, strict=True)
        ]
        assert given.correlations[row] == pytest.approx(sum(each) / 6, abs=1e-5)
    assert given.loss == pytest.approx(sum(given.table.column("loss").values) / 2)
