from pathlib import Path
from typing import Any

import diffusers
import PIL.Image
import pytest
import tiny_families
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import File, Folder
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.controls import ApplyIPAdapter, LoadIPAdapter
from latentgraph.nodes.diffusion.weights import load_unet
from latentgraph.nodes.facts import TextFacts
from latentgraph.nodes.guides import CFG
from latentgraph.nodes.latents import EmptyLatent, VAEDecode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.ports import Image
from latentgraph.nodes.references import ImageAdapter
from latentgraph.nodes.sampling import KSampler

TEXT, WIDTH, PROJECTED, SIDE = 64, 32, 24, 16
"""How wide the text of the pipeline is, the hidden states and the embeddings of the image encoder; its pictures."""

PROMPT, NEGATIVE = "a red apple on blue", "dog"

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "whole": {
        "proj.weight": (4 * TEXT, PROJECTED),
        "proj.bias": (4 * TEXT,),
        "norm.weight": (TEXT,),
        "norm.bias": (TEXT,),
    },
    "plus": {
        "latents": (1, 4, 64),
        "proj_in.weight": (64, WIDTH),
        "proj_in.bias": (64,),
        "proj_out.weight": (TEXT, 64),
        "proj_out.bias": (TEXT,),
        "norm_out.weight": (TEXT,),
        "norm_out.bias": (TEXT,),
        **{
            f"layers.{layer}.{name}": shape
            for layer in range(4)
            for name, shape in {
                "0.norm1.weight": (64,),
                "0.norm1.bias": (64,),
                "0.norm2.weight": (64,),
                "0.norm2.bias": (64,),
                "0.to_q.weight": (64, 64),
                "0.to_kv.weight": (128, 64),
                "0.to_out.weight": (64, 64),
                "1.0.weight": (64,),
                "1.0.bias": (64,),
                "1.1.weight": (256, 64),
                "1.3.weight": (64, 256),
            }.items()
        },
    },
}
"""The projections that the authors published, small."""


class Models:
    """A pipeline, an image encoder, and adapters that look at whole pictures and at their places."""

    def __init__(self, folder: Path) -> None:
        self.folder = tiny_families.build("sd1", folder / "sd1")
        self.encoder = folder / "encoder"
        self.loaded: Loaded = LoadModel(name=str(self.folder)).run(Context())
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(self.folder, torch_dtype=torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = CLIPVisionConfig(
                hidden_size=WIDTH,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=SIDE,
                patch_size=8,
                projection_dim=PROJECTED,
            )
            tiny_families.shaken(CLIPVisionModelWithProjection(config), 0.15).save_pretrained(self.encoder)
        for kind in SHAPES:
            save_file(adapter(pipeline.unet, kind), folder / f"{kind}.safetensors")
        self.files = {kind: File.at(folder / f"{kind}.safetensors") for kind in SHAPES}

    def adapter(self, kind: str) -> ImageAdapter:
        return LoadIPAdapter(file=self.files[kind], image_encoder=Folder.at(self.encoder)).run(Context())

    def theirs(self, kinds: list[str], images: list[Tensor], scales: list[float], guided: float) -> Tensor:
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(self.folder, torch_dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
        encoder = CLIPVisionModelWithProjection.from_pretrained(self.encoder, dtype=torch.float32)
        pipeline.register_modules(
            image_encoder=encoder, feature_extractor=CLIPImageProcessorPil(size=SIDE, crop_size=SIDE)
        )
        paths = [self.files[kind].path for kind in kinds]
        pipeline.load_ip_adapter(
            [str(path.parent) for path in paths], subfolder="", weight_name=[path.name for path in paths]
        )
        pipeline.set_ip_adapter_scale(scales)
        drawn: Tensor = pipeline(
            PROMPT,
            negative_prompt=NEGATIVE,
            ip_adapter_image=[pil(image) for image in images],
            num_inference_steps=3,
            guidance_scale=guided,
            generator=torch.Generator().manual_seed(3),
            height=32,
            width=32,
            output_type="pt",
        ).images
        return drawn

    def ours(self, kinds: list[str], images: list[Tensor], scales: list[float], guided: float) -> Tensor:
        context = Context()
        model, clip, vae = self.loaded
        positive, negative = (CLIPEncode(clip=clip, text=text).run(context) for text in (PROMPT, NEGATIVE))
        guidance: Any = CFG(positive, negative, guided)
        for kind, image, scale in zip(kinds, images, scales, strict=True):
            guidance = ApplyIPAdapter(
                guidance=guidance, adapter=self.adapter(kind), image=Image(image), strength=scale
            ).run(context)
        sampled = KSampler(
            model=model,
            guidance=guidance,
            latent=EmptyLatent(model=model, width=32, height=32).run(context),
            sampler="diffusers:EulerDiscreteScheduler",
            steps=3,
            seed=3,
        ).run(context)
        return VAEDecode(vae=vae, latent=sampled).run(context).pixels


def adapter(unet: Any, kind: str) -> dict[str, Tensor]:
    """A random adapter for a U-Net."""
    generator = torch.Generator().manual_seed(1)
    shapes = {f"image_proj.{name}": shape for name, shape in SHAPES[kind].items()}
    for index, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            hidden = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            shapes |= {f"ip_adapter.{index}.to_{part}_ip.weight": (hidden, TEXT) for part in "kv"}
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def pil(image: Tensor) -> PIL.Image.Image:
    return PIL.Image.fromarray((image[0] * 255).round().byte().permute(1, 2, 0).numpy())


def picture(seed: int = 0) -> Tensor:
    values = torch.randint(0, 256, (1, 3, 20, 30), generator=torch.Generator().manual_seed(seed))
    return values / 255


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("ip"))


def difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("guided", [1.0, 7.5])
def test_a_picture_prompt_gives_what_diffusers_gives(models: Models, kind: str, guided: float) -> None:
    theirs = models.theirs([kind], [picture()], [0.8], guided)
    ours = models.ours([kind], [picture()], [0.8], guided)
    assert difference(ours, theirs) == 0.0
    assert difference(ours, models.ours([], [], [], guided)) > 0.001
    assert difference(ours, models.ours([kind], [picture(1)], [0.8], guided)) > 0.001


def test_several_add_up_as_in_diffusers(models: Models) -> None:
    names, images, scales = ["whole", "plus"], [picture(1), picture(2)], [0.8, 0.4]
    assert difference(models.ours(names, images, scales, 5.0), models.theirs(names, images, scales, 5.0)) == 0.0


def test_afterwards_the_model_is_what_it_was(models: Models) -> None:
    unet = load_unet(models.loaded.model)
    before = {name: tensor.tolist() for name, tensor in unet.state_dict().items()}
    processors, modules, plain = unet.attn_processors, [*unet.modules()], models.ours([], [], [], 5.0)
    models.ours(["whole"], [picture()], [1.0], 5.0)
    assert {name: tensor.tolist() for name, tensor in unet.state_dict().items()} == before
    assert unet.attn_processors == processors
    assert [*unet.modules()] == modules
    assert unet.config.encoder_hid_dim_type is None
    assert difference(models.ours([], [], [], 5.0), plain) == 0.0


def test_conditions_with_pictures_and_without_stand_beside_each_other(models: Models) -> None:
    context = Context()
    model, clip, _ = models.loaded
    text = CLIPEncode(clip=clip, text=PROMPT).run(context)
    with_picture: Any = ApplyIPAdapter(
        guidance=text, adapter=models.adapter("whole"), image=Image(picture()), strength=0.0
    ).run(context)
    drawn = [
        KSampler(
            model=model,
            guidance=CFG(positive, text, 4.0),
            latent=EmptyLatent(model=model, width=32, height=32).run(context),
            sampler="diffusers:EulerDiscreteScheduler",
            steps=2,
            seed=3,
        )
        .run(context)
        .samples
        for positive in (with_picture, text)
    ]
    assert difference(*drawn) < 1e-4  # strength 0; two batches of one instead of one of two


def test_adapters_and_encoders_that_do_not_go_together_are_refused_before_the_run(
    models: Models, tmp_path: Path
) -> None:
    def refused(file: File, encoder: Folder) -> Wrong:
        with pytest.raises(Wrong) as raised:
            LoadIPAdapter.describe({"file": file, "image_encoder": encoder})
        return raised.value

    encoder = Folder.at(models.encoder)
    unet = File.at(models.folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert "is no IP-Adapter" in str(refused(unet, encoder))
    wide = {"image_proj.proj.weight": torch.ones(8, 99), "ip_adapter.1.to_k_ip.weight": torch.ones(4, 768)}
    save_file(wide, tmp_path / "wide.safetensors")
    wrong = refused(File.at(tmp_path / "wide.safetensors"), encoder)
    assert wrong.input == "image_encoder"
    assert "vectors are 24 wide" in str(wrong)
    assert refused(models.files["whole"], Folder.at(models.folder / "vae")).input == "image_encoder"
    faces = {"image_proj.proj.0.weight": torch.ones(2, 2), "ip_adapter.1.to_k_ip.weight": torch.ones(4, 768)}
    save_file(faces | {"ip_adapter.0.to_q_lora.down.weight": torch.ones(1, 1)}, tmp_path / "faces.safetensors")
    assert "faces' identities" in str(refused(File.at(tmp_path / "faces.safetensors"), encoder))


def test_weights_that_are_no_numbers_are_said(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = load_file(models.files["whole"].path)
    save_file(tensors | {"image_proj.proj.bias": torch.full((4 * TEXT,), float("nan"))}, tmp_path / "nan.safetensors")
    monkeypatch.setitem(models.files, "whole", File.at(tmp_path / "nan.safetensors"))
    with pytest.raises(ValueError, match=r"nan\.safetensors are damaged: proj\.bias holds NaN or infinity"):
        models.ours(["whole"], [torch.rand(1, 3, 20, 20)], [1.0], 1.0)


def test_an_adapter_of_another_family_is_refused_before_the_run(models: Models) -> None:
    known = {"guidance": TextFacts(768, 1), "adapter": models.adapter("whole")}
    with pytest.raises(Wrong, match="is for texts 64 wide"):
        ApplyIPAdapter.describe(known)
    assert ApplyIPAdapter.describe(known | {"guidance": TextFacts(64, 1)}) == {"guidance": TextFacts(64, 1)}


def test_an_adapter_with_parts_missing_leaves_the_model_as_it_was(models: Models, tmp_path: Path) -> None:
    tensors = load_file(models.files["plus"].path)
    save_file({name: tensor for name, tensor in tensors.items() if "layers.3" not in name}, tmp_path / "a.safetensors")
    plain = models.ours([], [], [], 5.0)
    models.files["cut"] = File.at(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="parts are missing"):
        models.ours(["cut"], [picture()], [1.0], 5.0)
    assert difference(models.ours([], [], [], 5.0), plain) == 0.0
