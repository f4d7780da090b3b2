"""Pipelines written as single files, in the layouts of the original authors: the way back from diffusers' names."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

Tensors = dict[str, Tensor]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet(network: Any) -> Tensors:
    layers = network.config.layers_per_block
    found: Tensors = {}
    for name, tensor in network.state_dict().items():
        parts = name.split(".")
        if parts[0] not in ("down_blocks", "mid_block", "up_blocks"):
            start, _, end = name.rpartition(".")
            found[f"{UNET[start]}.{end}"] = tensor
            continue
        if parts[0] == "mid_block":
            kind, index, rest = parts[1], int(parts[2]), parts[3:]
            place = f"middle_block.{2 * index if kind == 'resnets' else 1}"
        else:
            block, kind, index, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
            if parts[0] == "down_blocks":
                number = 1 + block * (layers + 1) + index
                if kind == "downsamplers":
                    found[f"input_blocks.{1 + block * (layers + 1) + layers}.0.op.{rest[-1]}"] = tensor
                    continue
                place = f"input_blocks.{number}.{0 if kind == 'resnets' else 1}"
            else:
                number = block * (layers + 1) + index
                if kind == "upsamplers":
                    has_text = "Cross" in network.config.up_block_types[block]
                    number = block * (layers + 1) + layers
                    found[f"output_blocks.{number}.{2 if has_text else 1}.conv.{rest[-1]}"] = tensor
                    continue
                place = f"output_blocks.{number}.{0 if kind == 'resnets' else 1}"
        if kind == "resnets":
            rest = [RESNET[rest[0]], *rest[1:]]
        found[".".join([place, *rest])] = tensor
    return found


ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def vae(network: Any) -> Tensors:
    levels = len(network.config.block_out_channels)
    found: Tensors = {}
    for name, tensor in network.state_dict().items():
        name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        name = name.replace("down_blocks", "down").replace("downsamplers.0", "downsample")
        if "up_blocks" in name:
            parts = name.split(".")
            parts[1:3] = ["up", str(levels - 1 - int(parts[2]))]
            name = ".".join(parts).replace("upsamplers.0", "upsample")
        if "mid_block.attentions" in name:
            for ours, theirs in ATTENTION.items():
                name = name.replace(f"attentions.0.{ours}.", f"attn_1.{theirs}.")
            if tensor.ndim == 2:
                tensor = tensor[:, :, None, None]
        name = name.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
        found[name.replace("mid_block", "mid").replace("resnets", "block")] = tensor
    return found


def plain_clip(network: Any) -> Tensors:
    """The names of transformers, as they were when the files were written: with an inner `text_model`."""
    state = {name.removeprefix("text_model."): tensor for name, tensor in network.state_dict().items()}
    return {
        (name if name.startswith("text_projection") else f"text_model.{name}"): tensor for name, tensor in state.items()
    }


def open_clip(network: Any, more_layers: int = 0) -> Tensors:
    """OpenCLIP's names; with layers that are not used."""
    state = {name.removeprefix("text_model."): tensor for name, tensor in network.state_dict().items()}
    found: Tensors = {}
    for name, tensor in state.items():
        if name == "text_projection.weight":
            found["text_projection"] = tensor.T.contiguous()
        elif name == "embeddings.position_embedding.weight":
            found["positional_embedding"] = tensor
        elif name == "embeddings.token_embedding.weight":
            found["token_embedding.weight"] = tensor
        elif name.startswith("final_layer_norm"):
            found[name.replace("final_layer_norm", "ln_final")] = tensor
        elif "_proj." in name and "out_proj" not in name:
            if ".q_proj." in name:
                start, end = name.split(".q_proj.")
                joined = torch.cat([state[f"{start}.{part}_proj.{end}"] for part in "qkv"])
                start = start.replace("encoder.layers", "transformer.resblocks").replace("self_attn", "attn")
                found[f"{start}.in_proj_{end}"] = joined
        else:
            name = name.replace("encoder.layers", "transformer.resblocks").replace("self_attn", "attn")
            name = name.replace("layer_norm", "ln_").replace("fc1", "c_fc").replace("fc2", "c_proj")
            found[name] = tensor
    last = 1 + max(int(name.split(".")[2]) for name in found if "resblocks" in name)
    for number in range(last, last + more_layers):
        for name, tensor in list(found.items()):
            if name.startswith("transformer.resblocks.0."):
                found[name.replace("resblocks.0", f"resblocks.{number}")] = torch.ones_like(tensor)
    return found


TRANSFORMER = {
    "pos_embed.pos_embed": "pos_embed",
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "context_embedder": "context_embedder",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
}
BLOCK = {
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "attn2.to_out.0": "x_block.attn2.proj",
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
JOINED = {
    ("attn", "to_q", "to_k", "to_v"): "x_block.attn.qkv",
    ("attn2", "to_q", "to_k", "to_v"): "x_block.attn2.qkv",
    ("attn", "add_q_proj", "add_k_proj", "add_v_proj"): "context_block.attn.qkv",
}


def transformer(network: Any) -> Tensors:
    state, last, found = network.state_dict(), network.config.num_layers - 1, {}

    def swapped(tensor: Tensor) -> Tensor:
        """Shift and scale are in the other order."""
        return torch.cat(tensor.chunk(2)[::-1])

    for name, tensor in state.items():
        if not name.startswith("transformer_blocks."):
            start = name if name in TRANSFORMER else name.rpartition(".")[0]
            tensor = swapped(tensor) if start == "norm_out.linear" else tensor
            found[TRANSFORMER[start] + name[len(start) :]] = tensor
            continue
        _, number, rest = name.split(".", 2)
        start, _, end = rest.rpartition(".")
        if start == "norm1_context.linear" and int(number) == last:
            tensor = swapped(tensor)
        if start in BLOCK:
            found[f"joint_blocks.{number}.{BLOCK[start]}.{end}"] = tensor
    for number in range(last + 1):
        for (attention, *parts), theirs in JOINED.items():
            for end in ("weight", "bias"):
                names = [f"transformer_blocks.{number}.{attention}.{part}.{end}" for part in parts]
                if names[0] in state:
                    found[f"joint_blocks.{number}.{theirs}.{end}"] = torch.cat([state[name] for name in names])
    return found


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def single_file(pipeline: Any, family: str) -> Tensors:
    """The tensors of a pipeline as the single files of its family have them, with what such files have besides."""
    denoiser = transformer(pipeline.transformer) if family == "sd3" else unet(pipeline.unet)
    found = prefixed("model.diffusion_model.", denoiser) | prefixed("first_stage_model.", vae(pipeline.vae))
    positions = torch.arange(77)[None]
    if family in ("sd1", "inpaint"):
        found |= prefixed("cond_stage_model.transformer.", plain_clip(pipeline.text_encoder))
        found["cond_stage_model.transformer.text_model.embeddings.position_ids"] = positions
        found["betas"] = torch.linspace(0.03, 0.1, 1000) ** 2
    elif family == "sd2":
        found |= prefixed("cond_stage_model.model.", open_clip(pipeline.text_encoder, more_layers=1))
        found["cond_stage_model.model.logit_scale"] = torch.tensor(4.6)
    elif family in ("sdxl", "sdxl_inpaint"):
        found |= prefixed("conditioner.embedders.0.transformer.", plain_clip(pipeline.text_encoder))
        found |= prefixed("conditioner.embedders.1.model.", open_clip(pipeline.text_encoder_2))
        found["conditioner.embedders.0.transformer.text_model.embeddings.position_ids"] = positions
    elif family == "refiner":
        found |= prefixed("conditioner.embedders.0.model.", open_clip(pipeline.text_encoder_2))
    else:
        first = plain_clip(pipeline.text_encoder)
        del first["text_projection.weight"]
        found |= prefixed("text_encoders.clip_l.transformer.", first)
        found |= prefixed("text_encoders.clip_g.transformer.", plain_clip(pipeline.text_encoder_2))
    return {name: tensor.contiguous() for name, tensor in found.items()}


def save(tensors: Tensors, path: Path, **about: str) -> Path:
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt", **about})
    return path
