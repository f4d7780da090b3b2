"""A Stable Diffusion 1.5 of full size (860 million parameters in its U-Net, random) from one file: time and memory.

    python tests/benchmarks/full_size.py make FOLDER [float32 | float16]    the file, and configurations beside it
    python tests/benchmarks/full_size.py measure FOLDER                      latentgraph, then diffusers: a table

Both read the same file, sample two steps of Euler at 512 pixels under guidance at scale 5 on the CPU in float32, and
decode. Each in a process of its own; the peak is the largest resident set, mapped pages of the file included. It takes
24 GB of memory at most and about a quarter of an hour on two cores, so it is no test.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROMPT, STEPS, SIZE, SCALE = "a photo of an astronaut riding a horse on mars", 2, 512, 5.0


def make(folder: Path, dtype: str) -> None:
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from latentgraph.nodes.diffusion.original_texts import clip_tokenizer

    sys.path.insert(0, str(Path(__file__).parents[1] / "nodes"))
    import original_layouts

    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768).to(kind)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=512,
    ).to(kind)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12)
    ).to(kind)
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    words = CLIPTokenizer.from_pretrained(
        written(clip_tokenizer("<|endoftext|>"), folder / "configuration" / "tokenizer")
    )
    pipeline = StableDiffusionPipeline(
        vae, text_encoder, words, unet, scheduler, None, None, requires_safety_checker=False
    )
    original_layouts.save(original_layouts.single_file(pipeline, "sd1"), folder / "full.safetensors")
    pipeline.save_config(folder / "configuration")
    for name in ("vae", "unet", "scheduler"):
        getattr(pipeline, name).save_config(folder / "configuration" / name)
    text_encoder.config.save_pretrained(folder / "configuration" / "text_encoder")
    count = sum(parameter.numel() for parameter in unet.parameters())
    print(f"{folder / 'full.safetensors'}: a U-Net of {count:,} parameters, in {dtype}")


def written(files: Any, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files.files:
        (folder / file.name).write_bytes(file.read())
    return folder


def with_latentgraph(folder: Path) -> None:
    from latentgraph.engine.context import Context
    from latentgraph.nodes.conditioning import CLIPEncode
    from latentgraph.nodes.guidance import CFGCombine
    from latentgraph.nodes.latents import EmptyLatent, VAEDecode
    from latentgraph.nodes.models import LoadModel
    from latentgraph.nodes.sampling import KSampler

    context, clock = Context(), Clock()
    loaded = LoadModel(name=str(folder / "full.safetensors")).run(context)
    loaded.model.weights.folder.digest  # noqa: B018 (it is remembered after the first time)
    clock.tell("digest")
    texts = [CLIPEncode(clip=loaded.clip, text=text).run(context) for text in (PROMPT, "")]
    clock.tell("text")
    guidance = CFGCombine(positive=texts[0], negative=texts[1], scale=SCALE).run(context)
    canvas = EmptyLatent(model=loaded.model, width=SIZE, height=SIZE).run(context)
    inputs = {"model": loaded.model, "guidance": guidance, "latent": canvas, "steps": STEPS, "seed": 1}
    latent = KSampler(**inputs, sampler="diffusers:EulerDiscreteScheduler").run(context)
    clock.tell("sampling")
    pixels = VAEDecode(vae=loaded.vae, latent=latent).run(context).pixels
    clock.tell("decoding", mean=float(pixels.mean()))


def with_diffusers(folder: Path) -> None:
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

    clock = Clock()
    pipeline = StableDiffusionPipeline.from_single_file(
        str(folder / "full.safetensors"),
        config=str(folder / "configuration"),
        torch_dtype=torch.float32,
        safety_checker=None,
        local_files_only=True,
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    clock.tell("loading")
    options = {"num_inference_steps": STEPS, "guidance_scale": SCALE, "height": SIZE, "width": SIZE}
    generator = torch.Generator().manual_seed(1)
    latent = pipeline(PROMPT, generator=generator, output_type="latent", **options).images
    clock.tell("sampling")
    with torch.no_grad():
        decoded = pipeline.vae.decode(latent / pipeline.vae.config.scaling_factor).sample
    clock.tell("decoding", mean=float((decoded / 2 + 0.5).clamp(0, 1).mean()))


class Clock:
    """Prints how long each part took, and the peak of memory so far."""

    def __init__(self) -> None:
        self.since = time.perf_counter()

    def tell(self, part: str, **more: float) -> None:
        now = time.perf_counter()
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
        print(json.dumps({"part": part, "seconds": round(now - self.since, 1), "peak": peak, **more}), flush=True)
        self.since = now


def measure(folder: Path) -> None:
    print(f"the file has {(folder / 'full.safetensors').stat().st_size / 1e9:.2f} GB")
    for name in ("latentgraph", "diffusers"):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, __file__, name, folder], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        parts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        listed = ", ".join(f"{part['part']} {part['seconds']} s" for part in parts)
        peak, mean, whole = parts[-1]["peak"] / 1e9, parts[-1]["mean"], time.perf_counter() - started
        print(f"{name}: {whole:.0f} s ({listed}), peak {peak:.2f} GB, mean of the picture {mean:.8f}")


if __name__ == "__main__":
    action, place, *rest = sys.argv[1:]
    if action == "make":
        make(Path(place), *(rest or ["float32"]))
    else:
        {"measure": measure, "latentgraph": with_latentgraph, "diffusers": with_diffusers}[action](Path(place))
