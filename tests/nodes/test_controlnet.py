from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import original_layouts
import pytest
import tiny_families
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import File, Folder
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.controls import ApplyControlNet, LoadControlNet
from latentgraph.nodes.diffusion.control import residuals
from latentgraph.nodes.facts import TextFacts
from latentgraph.nodes.guides import CFG, Cond, Conditioning, Control
from latentgraph.nodes.latents import EmptyLatent, VAEDecode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.ports import Image
from latentgraph.nodes.references import ControlNet
from latentgraph.nodes.sampling import KSampler

PROMPT, NEGATIVE = "a red apple on blue", "dog"
STEPS = 4
PIPELINES = {
    "sd1": diffusers.StableDiffusionControlNetPipeline,
    "sdxl": diffusers.StableDiffusionXLControlNetPipeline,
}


class Family:
    """A pipeline with a ControlNet, by diffusers and by the nodes."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, tiny_families.build(name, folder / name)
        self.net_folder = tiny_families.build_controlnet(self.folder, folder / "net")
        self.net = diffusers.ControlNetModel.from_pretrained(self.net_folder, torch_dtype=torch.float32)
        self.loaded: Loaded = LoadModel(name=str(self.folder)).run(Context())

    def control_net(self) -> ControlNet:
        return LoadControlNet(source=Folder.at(self.net_folder)).run(Context())

    def theirs(
        self, nets: Any, image: Any, scale: Any, start: Any = 0.0, end: Any = 1.0, guided: float = 7.5
    ) -> Tensor:
        pipeline = PIPELINES[self.name].from_pretrained(self.folder, controlnet=nets, torch_dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
        drawn: Tensor = pipeline(
            PROMPT,
            image=image,
            negative_prompt=NEGATIVE,
            num_inference_steps=STEPS,
            guidance_scale=guided,
            generator=torch.Generator().manual_seed(3),
            controlnet_conditioning_scale=scale,
            control_guidance_start=start,
            control_guidance_end=end,
            output_type="pt",
        ).images
        return drawn

    def ours(self, controls: list[dict[str, Any]], guided: float = 7.5) -> Tensor:
        context = Context()
        model, clip, vae = self.loaded
        positive, negative = (CLIPEncode(clip=clip, text=text).run(context) for text in (PROMPT, NEGATIVE))
        guidance: Any = CFG(positive, negative, guided)
        for control in controls:
            guidance = ApplyControlNet(guidance=guidance, control_net=self.control_net(), **control).run(context)
        latent = EmptyLatent(model=model, width=32, height=32).run(context)
        sampled = KSampler(
            model=model,
            guidance=guidance,
            latent=latent,
            sampler="diffusers:EulerDiscreteScheduler",
            steps=STEPS,
            seed=3,
        ).run(context)
        return VAEDecode(vae=vae, latent=sampled).run(context).pixels


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return Family("sd1", tmp_path_factory.mktemp("control"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return Family("sdxl", tmp_path_factory.mktemp("control"))


def picture(seed: int = 0, size: int = 32, channels: int = 3) -> Tensor:
    return torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(seed))


def difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("guided", [1.0, 7.5])
def test_a_controlnet_gives_what_diffusers_gives(family: str, guided: float, request: pytest.FixtureRequest) -> None:
    pair: Family = request.getfixturevalue(family)
    image = picture()
    theirs = pair.theirs(pair.net, image, 0.8, guided=guided)
    assert difference(theirs, pair.ours([{"image": Image(image), "strength": 0.8}], guided)) == 0.0
    assert difference(theirs, pair.ours([], guided)) > 0.001


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.25, 1.0), (0.3, 0.7), (0.0, 0.1)])
def test_it_takes_part_from_start_to_end_as_in_diffusers(sd1: Family, start: float, end: float) -> None:
    theirs = sd1.theirs(sd1.net, picture(), 1.0, start, end)
    assert difference(theirs, sd1.ours([{"image": Image(picture()), "start": start, "end": end}])) == 0.0


def test_several_add_up_as_in_diffusers(sd1: Family) -> None:
    theirs = sd1.theirs([sd1.net, sd1.net], [picture(1), picture(2)], [0.8, 0.4], [0.0, 0.25], [0.5, 1.0])
    ours = sd1.ours(
        [
            {"image": Image(picture(1)), "strength": 0.8, "end": 0.5},
            {"image": Image(picture(2)), "strength": 0.4, "start": 0.25},
        ]
    )
    assert difference(theirs, ours) == 0.0


def test_transparent_pictures_lie_on_white(sd1: Family) -> None:
    clear = torch.cat([picture(), torch.zeros(1, 1, 32, 32)], dim=1)
    guidance = ApplyControlNet(
        guidance=Conditioning((Cond(torch.zeros(1, 12, 64)),)), control_net=sd1.control_net(), image=Image(clear)
    ).run(Context())
    assert torch.equal(guidance.conds[0].controls[0].image, torch.ones(1, 3, 32, 32))


def test_a_picture_of_another_size_is_refused(sd1: Family) -> None:
    with pytest.raises(ValueError, match="the ControlNet's picture is 40 by 40, the picture that is drawn 32 by 32"):
        sd1.ours([{"image": Image(picture(size=40))}])


def test_one_file_is_the_same_as_the_folder(sd1: Family, sdxl: Family, tmp_path: Path) -> None:
    for family in (sd1, sdxl):
        file = File.at(family.net_folder / "diffusion_pytorch_model.safetensors")
        net = LoadControlNet(source=file).run(Context())
        assert net.weights.family == family.name
        for control_net in (net, family.control_net()):
            assert control_net.weights.family == family.name
            control = Control(control_net, picture().repeat(2, 1, 1, 1), 0.7)
            found = added_by(family, [control])
            assert difference(found[1], expected(family)[1]) == 0.0
            assert all(difference(a, b) == 0.0 for a, b in zip(found[0], expected(family)[0], strict=True))


def original(net: Any) -> dict[str, Tensor]:
    """The tensors of a ControlNet under the names that the original authors gave them."""
    found, rest = {}, {}
    for name, tensor in net.state_dict().items():
        start, _, end = name.rpartition(".")
        number = start.rpartition(".")[2]
        if start.startswith("controlnet_down_blocks."):
            found[f"zero_convs.{number}.0.{end}"] = tensor
        elif start == "controlnet_mid_block":
            found[f"middle_block_out.0.{end}"] = tensor
        elif start.startswith("controlnet_cond_embedding."):
            place = {"conv_in": 0, "conv_out": 14}.get(number)
            found[f"input_hint_block.{2 + 2 * int(number) if place is None else place}.{end}"] = tensor
        else:
            rest[name] = tensor
    found |= original_layouts.unet(SimpleNamespace(config=net.config, state_dict=lambda: rest))
    return {f"control_model.{name}": tensor for name, tensor in found.items()}


@pytest.mark.parametrize("prefix", ["control_model.", ""])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_file_with_the_authors_names_is_the_same(
    family: str, prefix: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pair: Family = request.getfixturevalue(family)
    unet = diffusers.UNet2DConditionModel.from_pretrained(pair.folder, subfolder="unet", torch_dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        # The authors' files have room for exactly these eight convolutions.
        net = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
        tiny_families.shaken(net, 0.1)
    tensors = {name.replace("control_model.", prefix, 1): tensor for name, tensor in original(net).items()}
    save_file(tensors, tmp_path / "a.safetensors")
    control_net = LoadControlNet(source=File.at(tmp_path / "a.safetensors")).run(Context())
    assert control_net.weights.family == family
    image, given = picture(size=64).repeat(2, 1, 1, 1), inputs(pair)
    down, middle = added_by(pair, [Control(control_net, image, 0.7)])
    with torch.no_grad():
        theirs, theirs_middle = net(
            given["sample"],
            given["timestep"],
            given["tokens"],
            image,
            0.7,
            added_cond_kwargs=given["added"],
            return_dict=False,
        )
    assert difference(middle, theirs_middle) < 1e-5
    assert all(difference(a, b) < 1e-5 for a, b in zip(down, theirs, strict=True))
    assert middle.abs().max() > 0.01


def inputs(family: Family) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(7)
    added = {"text_embeds": torch.randn(2, 64, generator=generator), "time_ids": torch.rand(2, 6, generator=generator)}
    return {
        "sample": torch.randn(2, 4, 8, 8, generator=generator),
        "timestep": torch.tensor(400),
        "tokens": torch.randn(2, 12, family.net.config.cross_attention_dim, generator=generator),
        "added": added if family.name == "sdxl" else None,
    }


@torch.no_grad()
def added_by(family: Family, controls: list[Control], index: int = 0, count: int = 1) -> Any:
    return residuals(controls, **inputs(family), index=index, count=count, dtype=torch.float32)


@torch.no_grad()
def expected(family: Family) -> Any:
    given = inputs(family)
    return family.net(
        given["sample"],
        given["timestep"],
        given["tokens"],
        picture().repeat(2, 1, 1, 1),
        0.7,
        added_cond_kwargs=given["added"],
        return_dict=False,
    )


def test_outside_its_range_nothing_is_evaluated(sd1: Family) -> None:
    control = Control(sd1.control_net(), picture(), 1.0, 0.5, 1.0)
    assert added_by(sd1, [control], index=0, count=2) == (None, None)


def test_both_halves_of_a_guidance_get_it_unless_it_is_for_what_is_wanted_or_tells_no_places(sd1: Family) -> None:
    positive, negative = Conditioning((Cond(torch.zeros(1, 12, 64)),)), Conditioning((Cond(torch.ones(1, 12, 64)),))
    net = sd1.control_net()

    def counts(net: ControlNet, **inputs: bool) -> tuple[int, int]:
        guidance: Any = ApplyControlNet(
            guidance=CFG(positive, negative, 2.0), control_net=net, image=Image(picture()), **inputs
        ).run(Context())
        return len(guidance.positive.conds[0].controls), len(guidance.negative.conds[0].controls)

    assert counts(net) == (1, 1)
    assert counts(net, negatives=False) == (1, 0)
    pooling = net.weights.config | {"global_pool_conditions": True}
    weights = replace(net.weights)
    object.__setattr__(weights, "config", pooling)
    assert counts(ControlNet(weights)) == (1, 0)


def test_a_controlnet_of_another_family_is_refused_before_the_run(sd1: Family, sdxl: Family) -> None:
    known = {"guidance": TextFacts(64, 1), "control_net": sdxl.control_net(), "start": 0.0, "end": 1.0}
    with pytest.raises(Wrong, match=r"128 wide \(Stable Diffusion XL\), this text is 64 wide"):
        ApplyControlNet.describe(known)
    assert ApplyControlNet.describe(known | {"control_net": sd1.control_net()}) == {"guidance": TextFacts(64, 1)}


def test_a_range_without_steps_is_refused(sd1: Family) -> None:
    with pytest.raises(Wrong, match=r"end is 0.2 and start 0.5"):
        ApplyControlNet.describe({"start": 0.5, "end": 0.2})


def test_what_is_no_controlnet_is_refused_before_the_run(sd1: Family, tmp_path: Path) -> None:
    def refused(source: Any) -> str:
        with pytest.raises(Wrong) as raised:
            LoadControlNet.describe({"source": source})
        assert raised.value.input == "source"
        return str(raised.value)

    assert "no config.json" in refused(Folder.at(sd1.folder / "tokenizer"))
    assert "has no" in refused(Folder.at(sd1.folder / "vae"))
    unet = sd1.folder / "unet" / "diffusion_pytorch_model.safetensors"
    assert "cannot be used as a ControlNet: it has neither" in refused(File.at(unet))
    whole = sd1.net_folder / "diffusion_pytorch_model.safetensors"
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-10])
    assert "cut off" in refused(File.at(tmp_path / "cut.safetensors"))
    assert "no controlnet" in refused("nothing").lower()
    tensors = load_file(whole)
    save_file({name: tensor for name, tensor in tensors.items() if "attn2" not in name}, tmp_path / "odd.safetensors")
    assert "no transformers that read text" in refused(File.at(tmp_path / "odd.safetensors"))
