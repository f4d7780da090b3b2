import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import diffusers
import original_layouts
import pytest
import tiny_families
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import File
from latentgraph.nodes.adapters import LoadLoRA, LoadModelLoRA
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.patches import patched
from latentgraph.nodes.diffusion.weights import load_text_encoder, load_unet
from latentgraph.nodes.guides import CFG
from latentgraph.nodes.latents import EmptyLatent, VAEDecode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.sampling import KSampler

# What peft says of files that fit in part, and of several adapters, to its own users.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft", "ignore::RuntimeWarning:peft")

KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}


def layers(network: nn.Module, part: str) -> Iterator[tuple[str, Tensor]]:
    """The layers that trainers usually change, by diffusers' names, and their weights."""
    prefix = "" if part == "unet" or hasattr(network, "text_model") else "text_model."
    for name, module in network.named_modules():
        wanted = "attentions" in name if part == "unet" else ".layers." in name
        if wanted and isinstance(module, nn.Linear | nn.Conv2d):
            yield prefix + name, module.weight


def factors(weight: Tensor, generator: torch.Generator, rank: int = 3) -> tuple[Tensor, Tensor]:
    ends = (1,) * (weight.ndim - 2)
    down = torch.randn(rank, *weight.shape[1:], generator=generator) * 0.3
    return down, torch.randn(weight.shape[0], rank, *ends, generator=generator) * 0.3


def lora(
    path: Path, style: str, seed: int = 0, rank: int = 3, alphas: Sequence[float] = (2,), **networks: nn.Module
) -> File:
    """A random LoRA for these networks, by their names in a pipeline."""
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for part, network in networks.items():
        for index, (name, weight) in enumerate(layers(network, part)):
            down, up = factors(weight, generator, rank)
            if style == "kohya":
                key = KOHYA[part] + name.replace(".", "_")
                tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
                tensors[f"{key}.alpha"] = torch.tensor(float(alphas[index % len(alphas)]))
            elif style == "diffusers" and part == "unet":
                tensors |= {f"{part}.{name}.lora.down.weight": down, f"{part}.{name}.lora.up.weight": up}
            elif style == "diffusers":
                key = f"{part}.{name}.lora_linear_layer"
                tensors |= {f"{key}.down.weight": down, f"{key}.up.weight": up}
            else:
                tensors |= {f"{part}.{name}.lora_A.weight": down, f"{part}.{name}.lora_B.weight": up}
    save_file(tensors, path)
    return File.at(path)


@pytest.fixture
def pipeline(tiny: Path) -> Any:
    return diffusers.StableDiffusionPipeline.from_pretrained(tiny, torch_dtype=torch.float32)


def predicted(unet: Any) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    sample, tokens = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 12, 16, generator=generator)
    with torch.no_grad():
        return unet(sample, torch.tensor(300), encoder_hidden_states=tokens).sample


def encoded(encoder: Any) -> Tensor:
    with torch.no_grad():
        return encoder(torch.arange(12)[None])[0]


def difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


@pytest.mark.parametrize("style", ["kohya", "diffusers", "peft"])
def test_a_lora_gives_what_diffusers_gives(
    style: str, loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path
) -> None:
    file = lora(tmp_path / "a.safetensors", style, unet=pipeline.unet, text_encoder=pipeline.text_encoder)
    plain, plain_text = predicted(pipeline.unet), encoded(pipeline.text_encoder)
    pipeline.load_lora_weights(str(file.path), adapter_name="a")
    pipeline.set_adapters(["a"], [{"unet": 0.7, "text_encoder": 0.4}])
    model, clip = LoadLoRA(model=loaded.model, clip=loaded.clip, file=file, strength=0.7, clip_strength=0.4).run(
        context
    )
    with patched(load_unet(model), model.weights.patches) as unet:
        assert difference(predicted(unet), predicted(pipeline.unet)) == 0.0
        assert difference(predicted(unet), plain) > 0.01
    encoder = clip.encoders[0]
    with patched(load_text_encoder(encoder), encoder.weights.patches) as network:
        assert difference(encoded(network), encoded(pipeline.text_encoder)) == 0.0
        assert difference(encoded(network), plain_text) > 0.01


@pytest.mark.parametrize("kind", ["LoCon", "DoRA"])
def test_loras_of_convolutions_and_with_magnitudes_give_what_diffusers_gives(
    kind: str, loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path
) -> None:
    generator, tensors, plain = torch.Generator().manual_seed(0), {}, predicted(pipeline.unet)
    for name, module in pipeline.unet.named_modules():
        if kind == "LoCon" and isinstance(module, nn.Conv2d) and "resnets" in name:
            down, up = factors(module.weight, generator)
            key = f"lora_unet_{name.replace('.', '_')}"
            tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(2.0)}
        if kind == "DoRA" and name.endswith(("to_q", "to_v")):
            down, up = factors(module.weight, generator)
            magnitude = module.weight.norm(dim=1) * 1.5
            key = f"unet.{name}"
            tensors |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
            tensors[f"{key}.lora_magnitude_vector"] = magnitude
    save_file(tensors, tmp_path / "a.safetensors")
    pipeline.load_lora_weights(str(tmp_path / "a.safetensors"), adapter_name="a")
    pipeline.set_adapters(["a"], [0.7])
    model = LoadModelLoRA(model=loaded.model, file=File.at(tmp_path / "a.safetensors"), strength=0.7).run(context)
    with patched(load_unet(model), model.weights.patches) as unet:
        assert difference(predicted(unet), predicted(pipeline.unet)) == 0.0
        assert difference(predicted(unet), plain) > 0.01
    assert torch.equal(predicted(load_unet(loaded.model)), plain)


def test_alphas_that_differ_from_layer_to_layer_are_those_of_their_layers(
    loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path
) -> None:
    networks = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    file = lora(tmp_path / "a.safetensors", "kohya", alphas=(1, 2, 6), **networks)
    tensors = load_file(file.path)
    for part, network in networks.items():
        for name, weight in layers(network, part):
            key = KOHYA[part] + name.replace(".", "_")
            down, up = tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]
            change = up.flatten(1) @ down.flatten(1) * (tensors[f"{key}.alpha"] / len(down))
            weight.data += 0.5 * change.reshape(weight.shape)
    model, clip = LoadLoRA(model=loaded.model, clip=loaded.clip, file=file, strength=0.5).run(context)
    with patched(load_unet(model), model.weights.patches) as unet:
        assert difference(predicted(unet), predicted(pipeline.unet)) < 1e-5
    encoder = clip.encoders[0]
    with patched(load_text_encoder(encoder), encoder.weights.patches) as network:
        assert difference(encoded(network), encoded(pipeline.text_encoder)) < 1e-5


def test_several_add_up_as_in_diffusers(loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path) -> None:
    model = loaded.model
    for index, (style, strength) in enumerate([("kohya", 0.7), ("peft", -0.3), ("kohya", 0.5)]):
        file = lora(tmp_path / f"{index}.safetensors", style, seed=index, rank=2 + index, unet=pipeline.unet)
        model = LoadModelLoRA(model=model, file=file, strength=strength).run(context)
    for index in range(3):
        pipeline.load_lora_weights(str(tmp_path / f"{index}.safetensors"), adapter_name=str(index))
    pipeline.set_adapters(["0", "1", "2"], [0.7, -0.3, 0.5])
    with patched(load_unet(model), model.weights.patches) as unet:
        assert difference(predicted(unet), predicted(pipeline.unet)) == 0.0


def test_afterwards_the_network_is_bit_for_bit_what_it_was(
    loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path
) -> None:
    file = lora(tmp_path / "a.safetensors", "kohya", unet=pipeline.unet, text_encoder=pipeline.text_encoder)
    model, clip = LoadLoRA(model=loaded.model, clip=loaded.clip, file=file).run(context)
    for network, weights, output in (
        (load_unet(model), model.weights, predicted),
        (load_text_encoder(clip.encoders[0]), clip.encoders[0].weights, encoded),
    ):
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        plain, modules = output(network), [*network.modules()]
        with suppress(KeyboardInterrupt), patched(network, weights.patches):
            assert difference(output(network), plain) > 0.01
            raise KeyboardInterrupt
        assert [*network.modules()] == modules
        assert {name: tensor.tolist() for name, tensor in network.state_dict().items()} == {
            name: tensor.tolist() for name, tensor in before.items()
        }
        assert difference(output(network), plain) == 0.0


def test_the_global_random_generator_stays(loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path) -> None:
    file = lora(tmp_path / "a.safetensors", "kohya", unet=pipeline.unet)
    state = torch.random.get_rng_state()
    model = LoadModelLoRA(model=loaded.model, file=file).run(context)
    with patched(load_unet(model), model.weights.patches):
        pass
    assert torch.equal(torch.random.get_rng_state(), state)


def test_one_use_of_a_network_at_a_time(loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path) -> None:
    file = lora(tmp_path / "a.safetensors", "kohya", unet=pipeline.unet)
    model = LoadModelLoRA(model=loaded.model, file=file).run(context)
    network, found = load_unet(model), []
    plain = predicted(network)

    def compute() -> None:
        with patched(network, ()):
            found.append(predicted(network))

    other = threading.Thread(target=compute)
    with patched(network, model.weights.patches):
        other.start()
        other.join(0.2)
        assert not found
    other.join()
    assert difference(found[0], plain) == 0.0


def test_strength_0_is_the_model_itself(loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path) -> None:
    file = lora(tmp_path / "a.safetensors", "peft", unet=pipeline.unet, text_encoder=pipeline.text_encoder)
    adapted = LoadLoRA(model=loaded.model, clip=loaded.clip, file=file, strength=0.0).run(context)
    assert adapted == (loaded.model, loaded.clip)


def test_only_the_networks_that_a_file_changes_get_patches(
    loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path
) -> None:
    file = lora(tmp_path / "a.safetensors", "peft", text_encoder=pipeline.text_encoder)
    model, clip = LoadLoRA(model=loaded.model, clip=loaded.clip, file=file).run(context)
    assert model == loaded.model
    assert len(clip.encoders[0].weights.patches) == 1


def test_what_fits_nothing_is_said(loaded: Loaded, pipeline: Any, tmp_path: Path) -> None:
    file = lora(tmp_path / "a.safetensors", "peft", unet=pipeline.unet, text_encoder=pipeline.text_encoder)
    tensors = load_file(file.path)
    count = len(tensors) // 2 - sum(name.startswith("text_encoder") for name in tensors) // 2
    tensors |= {f"unet.nowhere.to_q.lora_{end}.weight": torch.ones(2, 2) for end in "AB"}
    save_file(tensors, tmp_path / "b.safetensors")
    said: list[str] = []
    context = Context(report=lambda kind, content: said.append(content["message"]))
    model = LoadModelLoRA(model=loaded.model, file=File.at(tmp_path / "b.safetensors")).run(context)
    assert said == [
        f"b.safetensors: 1 of {count + 1} layers are not in the unet: nowhere.to_q",
        "b.safetensors: its part for the text_encoder is not used",
    ]
    with patched(load_unet(model), model.weights.patches):  # the rest works
        pass


def refused(loaded: Loaded, file: File) -> str:
    """What is said before anything runs."""
    known = {"model": loaded.model, "clip": loaded.clip, "file": file, "strength": 1.0, "clip_strength": None}
    with pytest.raises(Wrong) as raised:
        LoadLoRA.describe(known)
    assert raised.value.input == "file"
    return str(raised.value)


def test_a_lora_of_another_family_is_refused_before_the_run(loaded: Loaded, tmp_path: Path) -> None:
    key = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    save_file(
        {f"{key}.lora_down.weight": torch.ones(4, 2048), f"{key}.lora_up.weight": torch.ones(640, 4)},
        tmp_path / "xl.safetensors",
    )
    message = refused(loaded, File.at(tmp_path / "xl.safetensors"))
    assert "is a LoRA for Stable Diffusion XL" in message
    assert "2048" in message


def test_a_lora_with_other_sizes_is_refused(loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path) -> None:
    tensors = load_file(lora(tmp_path / "a.safetensors", "peft", unet=pipeline.unet).path)
    save_file({name: torch.ones(3, 9) for name in tensors if "attn1.to_q" in name}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=r"another model: at .*attn1\.to_q it has 3 by 9, the unet has 8 by 8"):
        LoadModelLoRA(model=loaded.model, file=File.at(tmp_path / "b.safetensors")).run(context)


def test_a_lora_of_which_nothing_fits_is_refused(loaded: Loaded, context: Context, tmp_path: Path) -> None:
    save_file({f"unet.nowhere.lora_{end}.weight": torch.ones(2, 2) for end in "AB"}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="none of its layers is in this one"):
        LoadModelLoRA(model=loaded.model, file=File.at(tmp_path / "a.safetensors")).run(context)


def test_what_is_no_lora_is_refused_before_the_run(loaded: Loaded, tiny: Path, tmp_path: Path) -> None:
    unet = tiny / "unet" / "diffusion_pytorch_model.safetensors"
    assert "is no LoRA: its tensors are called" in refused(loaded, File.at(unet))
    (tmp_path / "cut.safetensors").write_bytes(unet.read_bytes()[:-100])
    assert "cut off" in refused(loaded, File.at(tmp_path / "cut.safetensors"))
    (tmp_path / "old.pt").write_bytes(b"x")
    assert "latentgraph models convert" in refused(loaded, File.at(tmp_path / "old.pt"))
    save_file({"lora_prior_x.lora_down.weight": torch.ones(1, 1)}, tmp_path / "odd.safetensors")
    assert "known are names that begin with" in refused(loaded, File.at(tmp_path / "odd.safetensors"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("x.hada_w1_a", "LoHa"), ("x.lokr_w1", "LoKr"), ("x.oft_blocks", "OFT"), ("x.on_input", "IA3")],
)
def test_other_changes_to_models_than_loras_are_called_by_their_name(
    loaded: Loaded, tmp_path: Path, name: str, kind: str
) -> None:
    save_file({f"lora_unet_{name}": torch.ones(2, 2)}, tmp_path / "other.safetensors")
    assert f" {kind}, another kind of change" in refused(loaded, File.at(tmp_path / "other.safetensors"))


def test_before_the_run_the_outputs_are_known(loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path) -> None:
    file = lora(tmp_path / "a.safetensors", "kohya", unet=pipeline.unet, text_encoder=pipeline.text_encoder)
    known = {"model": loaded.model, "clip": loaded.clip, "file": file, "strength": 0.5, "clip_strength": None}
    assert LoadLoRA.describe(known) == LoadLoRA(**known).run(context)._asdict()


PIPELINES = {"sd1": diffusers.StableDiffusionPipeline, "sdxl": diffusers.StableDiffusionXLPipeline}


@pytest.mark.parametrize("style", ["kohya", "peft"])
@pytest.mark.parametrize("family", PIPELINES)
def test_pictures_are_those_of_the_pipeline(family: str, style: str, context: Context, tmp_path: Path) -> None:
    folder = tiny_families.build(family, tmp_path / family)
    pipeline = PIPELINES[family].from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    parts = [part for part in ("unet", "text_encoder", "text_encoder_2") if hasattr(pipeline, part)]
    networks = {part: getattr(pipeline, part) for part in parts}
    file = lora(tmp_path / "a.safetensors", style, **networks)
    if family == "sdxl" and style == "kohya":
        file = with_the_authors_names(file, pipeline.unet, tmp_path / "b.safetensors")
    loaded = LoadModel(name=str(folder)).run(context)

    def theirs() -> Tensor:
        generator = torch.Generator().manual_seed(3)
        options = {"num_inference_steps": 3, "guidance_scale": 5.0, "height": 32, "width": 32, "output_type": "pt"}
        drawn: Tensor = pipeline("a red apple", negative_prompt="dog", generator=generator, **options).images
        return drawn

    def ours(adapted: Any) -> Tensor:
        positive, negative = (CLIPEncode(clip=adapted.clip, text=text).run(context) for text in ("a red apple", "dog"))
        canvas = EmptyLatent(model=adapted.model, width=32, height=32).run(context)
        sampled = KSampler(
            model=adapted.model,
            guidance=CFG(positive, negative, 5.0),
            latent=canvas,
            sampler=f"diffusers:{type(pipeline.scheduler).__name__}",
            steps=3,
            seed=3,
        ).run(context)
        return VAEDecode(vae=loaded.vae, latent=sampled).run(context).pixels

    base = ours(loaded)
    assert difference(base, theirs()) == 0.0
    pipeline.load_lora_weights(str(file.path), adapter_name="a")
    pipeline.set_adapters(["a"], [0.6])
    adapted = LoadLoRA(model=loaded.model, clip=loaded.clip, file=file, strength=0.6).run(context)
    picture = ours(adapted)
    assert difference(picture, theirs()) == 0.0
    assert difference(picture, base) > 0.001
    assert difference(ours(loaded), base) == 0.0  # without it all is as it was


def with_the_authors_names(file: File, unet: Any, path: Path) -> File:
    """A LoRA as kohya's scripts write it for Stable Diffusion XL, whose U-Net they name as its authors do."""
    blocks = original_layouts.unet(unet)
    by_shape = {name: tensor for name, tensor in blocks.items() if name.endswith(".weight")}
    own = {name: tensor for name, tensor in unet.state_dict().items() if name.endswith(".weight")}
    names = {
        mine.removesuffix(".weight").replace(".", "_"): theirs.removesuffix(".weight").replace(".", "_")
        for (mine, tensor), (theirs, same) in zip(own.items(), by_shape.items(), strict=True)
        if tensor is same or torch.equal(tensor, same)
    }
    tensors = {}
    for key, tensor in load_file(file.path).items():
        layer, _, end = key.partition(".")
        inner = layer.removeprefix("lora_unet_")
        tensors[f"lora_unet_{names[inner]}.{end}" if layer.startswith("lora_unet_") else key] = tensor
    save_file({name.replace("lora_te_", "lora_te1_"): tensor for name, tensor in tensors.items()}, path)
    return File.at(path)
