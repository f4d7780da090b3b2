"""Training what steers a model that there is: a LoRA from a few pictures, and a ControlNet."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from diffusers import ControlNetModel, DDPMScheduler, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor, nn

from latentgraph.engine.ports import File, Folder

from ..diffusion.edges import canny
from ..diffusion.numerics import DEVICE, seeded, torch
from ..diffusion.weights import load_text_encoder, load_tokenizer, load_unet, load_vae
from ..references import Clip, ControlNet, Model, Vae, Weights
from .assembly import halved, weights_of
from .autoencoder import encode_all
from .contrastive import Captions, chosen_caption, tokens_of
from .denoiser import min_snr_weight
from .loop import Plan, Trained, consumed, train

if TYPE_CHECKING:
    from latentgraph.engine import Context

    from .nodes import TrainControlNet, TrainLoRA

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The layers of a U-Net that a LoRA changes: those of its attention, as usual."""

Predict = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""What is predicted from noisy latents, timesteps and tokens, for pictures with these indices."""


def learn_lora(node: "TrainLoRA", context: "Context") -> File:
    """What the node TrainLoRA does: the LoRA as a file, with the names that diffusers gives its tensors."""
    unet = copy.deepcopy(load_unet(node.model, torch.float32))
    settings = LoraConfig(
        r=node.rank, lora_alpha=node.rank, init_lora_weights="gaussian", target_modules=list(ATTENTION)
    )
    with seeded(node.seed):
        unet.add_adapter(settings)
    learned = nn.ParameterList(parameter for parameter in unet.parameters() if parameter.requires_grad)
    captions = [(caption,) for caption in node.captions]

    def predict(noisy: Tensor, timesteps: Tensor, tokens: Tensor, chosen: Tensor) -> Tensor:
        predicted: Tensor = unet(noisy, timesteps, tokens).sample
        return predicted

    pictures = node.images.pixels[:, :3].mul(255).round().byte()
    trained = _train(node, node.model, node.clip, node.vae, pictures, captions, learned, predict, context)
    learned.load_state_dict(trained.weights)
    state = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    content = save({f"unet.{name}": value.detach().cpu().half().contiguous() for name, value in state.items()})
    return File("lora.safetensors", content=content)


def new_controlnet(unet: UNet2DConditionModel, factor: int, seed: int) -> ControlNetModel:
    """A ControlNet for a U-Net whose latents are `factor` times smaller than the pictures, before training.

    A copy of the U-Net's first half, whose results begin as zeros (Zhang et al. 2023, arXiv:2302.05543, 3.1).
    """
    halvings = factor.bit_length() - 1
    with seeded(seed):
        return ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=(16, 32, 96, 256)[: halvings + 1]
        ).requires_grad_()


def learn_controlnet(
    node: "TrainControlNet", hints: Tensor, context: "Context"
) -> tuple[ControlNet, tuple[float, ...]]:
    """What the node TrainControlNet does with `hints` uint8 [N, 3, H, W]: the network, and the loss of each step."""
    unet = load_unet(node.model, torch.float32)
    controlnet = new_controlnet(unet, node.model.space.factor, node.seed)

    def predict(noisy: Tensor, timesteps: Tensor, tokens: Tensor, chosen: Tensor) -> Tensor:
        hint = hints[chosen].to(DEVICE).float().div(255)
        down, middle = controlnet(noisy, timesteps, tokens, hint, return_dict=False)
        predicted: Tensor = unet(
            noisy,
            timesteps,
            tokens,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return predicted

    data = node.data
    trained = _train(node, node.model, node.clip, node.vae, data.images, data.captions, controlnet, predict, context)
    controlnet.load_state_dict(trained.weights)
    weights = weights_of("controlnet", controlnet, controlnet.to_json_string())
    halves = Weights("controlnet", node.model.family, Folder.of(halved(weights)))
    return ControlNet(halves), tuple(trained.losses.tolist())


def _train(
    node: Any,
    model: Model,
    clip: Clip,
    vae: Vae,
    pictures: Tensor,
    captions: Captions,
    module: nn.Module,
    predict: Predict,
    context: "Context",
) -> Trained:
    """Train `module`, by which `predict` predicts, to remove noise from the latents of pictures uint8 [N, 3, H, W]."""
    encoder, tokenizer = load_text_encoder(clip.encoders[0], torch.float32), load_tokenizer(clip.encoders[0])
    network = load_vae(vae, torch.float32)
    latents = encode_all(network, pictures, lambda done, total: context.progress(done, total, "pictures to latents"))
    latents *= vae.space.scaling
    schedule = DDPMScheduler.from_config(model.scheduler_config)
    predicts = schedule.config.prediction_type
    if predicts not in ("epsilon", "v_prediction"):
        raise ValueError(f"the model predicts {predicts}: only models that predict noise or v can be trained further")
    weights = min_snr_weight(schedule.alphas_cumprod)
    if predicts == "epsilon":
        weights = weights / schedule.alphas_cumprod  # min(SNR, gamma) / SNR, as SNR + 1 = SNR / alphas_cumprod
    weights = weights.to(DEVICE)

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(latents), (node.batch_size,), generator=generator)
        empty = torch.rand(node.batch_size, generator=generator) < node.unconditional
        said = [chosen_caption(captions[index], generator) for index in chosen.tolist()]
        texts = ["" if nothing else text for text, nothing in zip(said, empty.tolist(), strict=True)]
        with torch.no_grad():
            tokens = encoder(tokens_of(tokenizer, texts).to(DEVICE)).last_hidden_state
        clean = latents[chosen].to(DEVICE)
        noise = torch.randn(clean.shape, generator=generator).to(DEVICE)
        timesteps = torch.randint(len(weights), (node.batch_size,), generator=generator).to(DEVICE)
        noisy = schedule.add_noise(clean, noise, timesteps)
        wanted = noise if predicts == "epsilon" else schedule.get_velocity(clean, noise, timesteps)
        given = predict(noisy, timesteps, tokens, chosen)
        return ((given - wanted).square().mean((1, 2, 3)) * weights[timesteps]).mean()

    plan = Plan(node.steps, node.learning_rate, warmup=min(50, node.steps // 10), decay=0.4, ema=0.99)
    return train(module, loss, plan, context=context, covered=consumed(node), seed=node.seed + 1)


def edges_of(images: Tensor) -> Tensor:
    """The edges of pictures uint8 [N, 3, H, W] as CannyEdges has them, as pictures uint8 [N, 3, H, W]."""
    edges = torch.cat([canny(part.float().div(255), 100, 200) for part in images.split(256)])
    return edges.mul(255).byte().expand(-1, 3, -1, -1)
