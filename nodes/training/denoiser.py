"""Training the U-Net to remove noise from latents, conditioned on captions (Ho et al. 2020, Rombach et al. 2022)."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from latentgraph.engine.ports import File

from ..diffusion.numerics import DEVICE, seeded
from ..diffusion.weights import load_text_encoder, load_tokenizer, load_unet, load_vae
from ..references import Model
from .assembly import weights_of
from .autoencoder import encode_all, grid
from .contrastive import Captions, chosen_caption, tokens_of
from .loop import Plan, Trained, consumed, train
from .pictures import spread

if TYPE_CHECKING:
    from latentgraph.engine import Context

    from .nodes import TrainUNet


def new_unet(channels: tuple[int, ...], latent_channels: int, size: int, width: int, seed: int) -> UNet2DConditionModel:
    """A small untrained U-Net for latents [N, C, size, size]; it attends to the text below the highest resolution."""
    deeper = len(channels) - 1
    with seeded(seed):
        return UNet2DConditionModel(
            sample_size=size,
            in_channels=latent_channels,
            out_channels=latent_channels,
            down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * deeper,
            up_block_types=("CrossAttnUpBlock2D",) * deeper + ("UpBlock2D",),
            block_out_channels=channels,
            layers_per_block=1,
            cross_attention_dim=width,
            attention_head_dim=4,
            norm_num_groups=8,
        )


def new_schedule() -> DDIMScheduler:
    """Stable Diffusion's schedule (scaled linear betas from 0.00085 to 0.012) for a network that predicts v."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def min_snr_weight(alphas_cumprod: Tensor, gamma: float = 5.0) -> Tensor:
    """The loss weight of each timestep for v-prediction: min(SNR, gamma) / (SNR + 1) (Hang et al. 2023, 2303.09556)."""
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return snr.clamp(max=gamma) / (snr + 1)


def train_unet(
    unet: UNet2DConditionModel,
    schedule: DDIMScheduler,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    latents: Tensor,
    captions: Captions,
    plan: Plan,
    *,
    batch_size: int,
    unconditional: float,
    context: "Context",
    covered: object,
    seed: int,
    sample: Callable[[], Tensor] | None = None,
) -> Trained:
    """Train `unet` on clean `latents` [N, C, h, w] and their captions; leaves the averaged weights in it.

    A caption is left empty with probability `unconditional`, so that classifier-free guidance has an unconditional
    prediction to steer away from (Ho and Salimans 2022, arXiv:2207.12598).
    """
    weights = min_snr_weight(schedule.alphas_cumprod).to(DEVICE)
    texts = sorted({"", *(text for options in captions for text in options)})
    row = {text: index for index, text in enumerate(texts)}
    tokens = tokens_of(tokenizer, texts)
    text_encoder.eval()
    unet.to(memory_format=torch.channels_last)

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(latents), (batch_size,), generator=generator)
        empty = torch.rand(batch_size, generator=generator) < unconditional
        said = [chosen_caption(captions[index], generator) for index in chosen.tolist()]
        rows = [row["" if nothing else text] for text, nothing in zip(said, empty.tolist(), strict=True)]
        with torch.no_grad():
            conditioning = text_encoder(tokens[rows].to(DEVICE)).last_hidden_state
        clean = latents[chosen].to(DEVICE)
        noise = torch.randn(clean.shape, generator=generator).to(DEVICE)
        timesteps = torch.randint(len(weights), (batch_size,), generator=generator).to(DEVICE)
        noisy = schedule.add_noise(clean, noise, timesteps)
        wanted = schedule.get_velocity(clean, noise, timesteps)
        given = unet(noisy.contiguous(memory_format=torch.channels_last), timesteps, conditioning).sample
        return ((given - wanted).square().mean((1, 2, 3)) * weights[timesteps]).mean()

    trained = train(unet, loss, plan, context=context, covered=covered, seed=seed, sample=sample, sample_every=500)
    unet.load_state_dict(trained.weights)
    unet.eval()
    return trained


@torch.no_grad()
def draw(
    unet: UNet2DConditionModel,
    schedule: DDIMScheduler,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    prompts: list[str],
    *,
    steps: int = 20,
    scale: float = 5.0,
    seed: int = 0,
) -> Tensor:
    """Pictures float [N, 3, H, W] in 0..1 of the prompts, by DDIM with classifier-free guidance."""
    tokens = tokens_of(tokenizer, [""] * len(prompts) + prompts)
    encoded = text_encoder(tokens.to(DEVICE)).last_hidden_state
    size = unet.config.sample_size
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(len(prompts), unet.config.in_channels, size, size, generator=generator).to(DEVICE)
    schedule = DDIMScheduler.from_config(schedule.config)
    schedule.set_timesteps(steps)
    for timestep in schedule.timesteps:
        without, wanted = unet(torch.cat([latents, latents]), timestep, encoded).sample.chunk(2)
        guided = without + scale * (wanted - without)
        latents = schedule.step(guided, timestep, latents).prev_sample
    return vae.decode(latents / vae.config.scaling_factor).sample.add(1).div(2).clamp(0, 1)


def learn(node: "TrainUNet", context: "Context") -> tuple[Model, tuple[float, ...]]:
    """What the node TrainUNet does: the trained denoiser and the loss of every step."""
    vae, text_encoder, tokenizer = (
        load_vae(node.vae, torch.float32),
        load_text_encoder(node.clip.encoders[0], torch.float32),
        load_tokenizer(node.clip.encoders[0]),
    )
    latents = encode_all(
        vae, node.data.images, lambda done, total: context.progress(done, total, "pictures to latents")
    )
    latents *= vae.config.scaling_factor
    width = text_encoder.config.hidden_size
    if node.start is None:
        unet = new_unet(node.channels, latents.shape[1], latents.shape[-1], width, node.seed)
    else:
        unet = copy.deepcopy(load_unet(node.start, torch.float32)).requires_grad_(True)
        if (unet.config.in_channels, unet.config.cross_attention_dim) != (latents.shape[1], width):
            raise ValueError("the model to start from was made for other latents or another text encoder")
        if node.start.scheduler_config.get("prediction_type") != "v_prediction":
            raise ValueError("the model to start from does not predict v, as this training has it learn")
    schedule = new_schedule()
    captions = node.data.captions
    prompts = list(node.prompts) or [captions[index][0] for index in spread(len(captions), 16)]

    def sample() -> Tensor:
        return grid(draw(unet, schedule, vae, text_encoder, tokenizer, prompts), columns=8)

    trained = train_unet(
        unet,
        schedule,
        text_encoder,
        tokenizer,
        latents,
        captions,
        Plan(node.steps, node.learning_rate, warmup=100, decay=node.decay, ema=0.999),
        batch_size=node.batch_size,
        unconditional=node.unconditional,
        context=context,
        covered=consumed(node),
        seed=node.seed + 1,
        sample=sample,
    )
    config = File("scheduler_config.json", content=schedule.to_json_string().encode())
    model = Model(weights_of("unet", unet, unet.to_json_string()), config, node.vae.space)
    return model, tuple(trained.losses.tolist())
