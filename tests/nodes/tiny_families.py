"""Small random pipelines of every family, in the layout of diffusers; made without a network.

What the header of a single file does not say is as the real models have it (heads of 64, or 8 of them in version 1,
norms in groups of 32), so that each can be written as a single file, too. All weights matter: no bias is zero, no norm
the identity.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tiny_model import tokenizer
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}

Words = Callable[..., CLIPTokenizer]
"""Makes the tokenizer; `pad_token` is what it fills up with."""


def shaken(network: Any, strength: float = 0.3) -> Any:
    """The network with weights that all matter: some begin as zeros or ones, text encoders' as nearly nothing."""
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape)
        elif strength:
            nn.init.normal_(parameter, std=strength)
    return network.eval()


def text_encoder(words: CLIPTokenizer, width: int, act: str, projected: bool, layers: int = 2) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        max_position_embeddings=words.model_max_length,
        hidden_act=act,
        projection_dim=width,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return shaken((CLIPTextModelWithProjection if projected else CLIPTextModel)(config), 0.15)


def autoencoder(**changes: Any) -> AutoencoderKL:
    settings: dict[str, Any] = {
        "block_out_channels": (32, 32, 64),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "layers_per_block": 1,
        "latent_channels": 4,
        "sample_size": 32,
    }
    return shaken(AutoencoderKL(**settings | changes), 0)


def unet(**changes: Any) -> UNet2DConditionModel:
    settings: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "attention_head_dim": 8,
        "cross_attention_dim": 64,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return shaken(UNet2DConditionModel(**settings | changes), 0)


def unet_xl(**changes: Any) -> UNet2DConditionModel:
    return unet(
        **{
            "attention_head_dim": (1, 1),
            "cross_attention_dim": 128,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 64 + 6 * 256,
        }
        | changes
    )


NONE = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def sd1(words: Words = tokenizer) -> DiffusionPipeline:
    taken = words()
    return StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(taken, 64, "quick_gelu", projected=False),
        tokenizer=taken,
        unet=unet(),
        scheduler=PNDMScheduler(**NOISE, skip_prk_steps=True),
        **NONE,
    )


def inpaint(words: Words = tokenizer) -> DiffusionPipeline:
    """Version 1 for inpainting: latents, mask and masked latents are 9 channels."""
    parts = sd1(words).components
    parts["unet"] = unet(in_channels=9)
    return StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)


def sd2(words: Words = tokenizer, prediction: str = "v_prediction") -> DiffusionPipeline:
    taken = words(pad_token="!")
    return StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(taken, 64, "gelu", projected=False),
        tokenizer=taken,
        unet=unet(block_out_channels=(64, 64), attention_head_dim=(1, 1), use_linear_projection=True),
        scheduler=DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False, prediction_type=prediction),
        **NONE,
    )


def sdxl(words: Words = tokenizer) -> DiffusionPipeline:
    first, second = words(), words(pad_token="!")
    return StableDiffusionXLPipeline(
        vae=autoencoder(scaling_factor=0.13025),
        text_encoder=text_encoder(first, 64, "quick_gelu", projected=False),
        text_encoder_2=text_encoder(second, 64, "gelu", projected=True),
        tokenizer=first,
        tokenizer_2=second,
        unet=unet_xl(),
        scheduler=EulerDiscreteScheduler(**NOISE, timestep_spacing="leading"),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def sdxl_inpaint(words: Words = tokenizer) -> DiffusionPipeline:
    parts = sdxl(words).components
    parts["unet"] = unet_xl(in_channels=9)
    return StableDiffusionXLInpaintPipeline(**parts, add_watermarker=False)


def refiner(words: Words = tokenizer) -> DiffusionPipeline:
    taken = words(pad_token="!")
    return StableDiffusionXLImg2ImgPipeline(
        vae=autoencoder(scaling_factor=0.13025),
        text_encoder=None,
        text_encoder_2=text_encoder(taken, 64, "gelu", projected=True),
        tokenizer=None,
        tokenizer_2=taken,
        unet=unet_xl(
            block_out_channels=(32, 64, 64),
            attention_head_dim=(1, 1, 1),
            cross_attention_dim=64,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=2,
            projection_class_embeddings_input_dim=64 + 5 * 256,
        ),
        scheduler=EulerDiscreteScheduler(**NOISE, timestep_spacing="leading"),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def sd3(words: Words = tokenizer, t5: bool = False, **changes: Any) -> DiffusionPipeline:
    """Version 3; without the T5 unless it is asked for. `changes` are settings of the transformer."""
    first, second = words(), words(pad_token="!")
    settings: dict[str, Any] = {
        "sample_size": 8,
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 16,
        "num_layers": 2,
        "attention_head_dim": 64,
        "num_attention_heads": 2,
        "caption_projection_dim": 128,
        "joint_attention_dim": 160,
        "pooled_projection_dim": 128,
        "pos_embed_max_size": 16,
    }
    return StableDiffusion3Pipeline(
        transformer=shaken(SD3Transformer2DModel(**settings | changes), 0),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(
            latent_channels=16,
            scaling_factor=1.5305,
            shift_factor=0.0609,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        text_encoder=text_encoder(first, 64, "quick_gelu", projected=True),
        text_encoder_2=text_encoder(second, 64, "gelu", projected=True),
        tokenizer=first,
        tokenizer_2=second,
        text_encoder_3=t5_encoder() if t5 else None,
        tokenizer_3=t5_tokenizer() if t5 else None,
    )


def sd3_t5(words: Words = tokenizer) -> DiffusionPipeline:
    return sd3(words, t5=True)


T5_PIECES = ("<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz", "▁red", "▁apple", "▁dog", "▁blue", "▁on")


def t5_tokenizer() -> T5Tokenizer:
    pieces = [(piece, -float(rank)) for rank, piece in enumerate(T5_PIECES)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def t5_encoder() -> T5EncoderModel:
    return shaken(
        T5EncoderModel(
            T5Config(
                vocab_size=len(T5_PIECES),
                d_model=160,
                d_kv=16,
                d_ff=64,
                num_layers=2,
                num_heads=2,
                feed_forward_proj="gated-gelu",
                relative_attention_num_buckets=8,
                tie_word_embeddings=False,
            )
        )
    )


FAMILIES: dict[str, Callable[..., DiffusionPipeline]] = {
    "sd1": sd1,
    "inpaint": inpaint,
    "sd2": sd2,
    "sdxl": sdxl,
    "sdxl_inpaint": sdxl_inpaint,
    "refiner": refiner,
    "sd3": sd3,
    "sd3_t5": sd3_t5,
}
"""The pipelines, by the names of their fixtures without `tiny_`."""


def pipeline(family: str, words: Words = tokenizer, **options: Any) -> DiffusionPipeline:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FAMILIES[family](words, **options)


def build(family: str, folder: Path, **options: Any) -> Path:
    """Save the pipeline of a family to `folder`, a new one."""
    pipeline(family, **options).save_pretrained(folder)
    return folder


def build_controlnet(base: Path, folder: Path) -> Path:
    """Save a ControlNet that fits the U-Net of a pipeline's folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        denoiser = UNet2DConditionModel.from_pretrained(base, subfolder="unet", torch_dtype=torch.float32)
        net = ControlNetModel.from_unet(denoiser, conditioning_embedding_out_channels=(8, 16, 16))
        for parameter in net.parameters():
            if not parameter.any():  # what begins as nothing would do nothing
                nn.init.normal_(parameter, std=0.1)
        net.save_pretrained(folder)
    return folder
