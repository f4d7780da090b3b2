"""A small classifier that says what a picture shows, trained to judge what the product draws."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from latentgraph.engine.ports import File, Folder

from ..diffusion.numerics import DEVICE, seeded
from .data import Judge as JudgeFiles
from .data import Scenes
from .emoji import captions
from .loop import Plan, Trained, consumed, train
from .pictures import shown_by

if TYPE_CHECKING:
    from latentgraph.engine import Context

    from .nodes import TrainJudge


class Judge(nn.Module):
    """A convolutional network with one head per attribute: pictures [N, 3, 64, 64] in 0..1 to logits by attribute."""

    def __init__(self, attributes: Mapping[str, Sequence[str]], width: int = 32) -> None:
        super().__init__()
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        widths = (3, width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width * 16, 256), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(values)) for name, values in self.attributes.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        features = self.body(pictures * 2 - 1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def verdicts(self, pictures: Tensor) -> list[dict[str, str]]:
        """What each picture shows, by attribute."""
        device = next(self.parameters()).device
        found = {name: logits.argmax(1).tolist() for name, logits in self(pictures.to(device)).items()}
        return [
            {name: self.attributes[name][found[name][index]] for name in self.attributes}
            for index in range(len(pictures))
        ]


def new_judge(attributes: Mapping[str, Sequence[str]], seed: int) -> Judge:
    with seeded(seed):
        return Judge(attributes)


def disturbed(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [N, 3, H, W] in 0..1 as a generative model might draw them: softer, noisier, other in colour, moved."""
    count, size = len(pictures), pictures.shape[-1]
    softness = int(torch.randint(0, 3, (), generator=generator))
    if softness:
        smaller = functional.interpolate(pictures, size=size // (softness + 1), mode="area")
        soft = functional.interpolate(smaller, size=size, mode="bilinear", align_corners=False)
        chosen = (torch.rand(count, 1, 1, 1, generator=generator) < 0.5).float()
        pictures = chosen * soft + (1 - chosen) * pictures
    scale = 1 + 0.06 * (torch.rand(count, generator=generator) * 2 - 1)
    shift = 0.06 * (torch.rand(count, 2, generator=generator) * 2 - 1)
    zeros = torch.zeros(count)
    matrix = torch.stack([torch.stack([scale, zeros, shift[:, 0]], 1), torch.stack([zeros, scale, shift[:, 1]], 1)], 1)
    places = functional.affine_grid(matrix, list(pictures.shape), align_corners=False)
    pictures = functional.grid_sample(pictures, places, padding_mode="border", align_corners=False)
    colour = 1 + 0.16 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    offset = 0.08 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    amount = 0.06 * torch.rand(count, 1, 1, 1, generator=generator)
    noise = torch.randn(pictures.shape, generator=generator)
    return (pictures * colour + offset + amount * noise).clamp(0, 1)


def train_judge(
    judge: Judge,
    images: Tensor,
    labels: Mapping[str, Tensor],
    plan: Plan,
    *,
    batch_size: int,
    context: "Context",
    covered: object,
    seed: int,
) -> Trained:
    """Train on `images`, uint8 [N, 3, H, W], whose `labels` are class indices [N] by attribute."""

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(images), (batch_size,), generator=generator)
        pictures = disturbed(images[chosen].float().div(255), generator)
        logits = judge(pictures.to(DEVICE))
        terms = [functional.cross_entropy(logits[name], labels[name][chosen].to(DEVICE)) for name in logits]
        return torch.stack(terms).sum()

    trained = train(judge, loss, plan, context=context, covered=covered, seed=seed)
    judge.load_state_dict(trained.weights)
    judge.eval()
    return trained


def labels_of(attributes: Mapping[str, Sequence[str]], rows: Sequence[Mapping[str, str]]) -> dict[str, Tensor]:
    """Class indices [N] by attribute from what each picture shows."""
    return {name: torch.tensor([list(values).index(row[name]) for row in rows]) for name, values in attributes.items()}


def learn(node: "TrainJudge", context: "Context") -> tuple[JudgeFiles, float]:
    """What the node TrainJudge does: the trained classifier, and its accuracy on the pictures held back."""
    data = node.data
    if not data.attributes or len(data.images) <= node.held_back:
        raise ValueError(f"a judge needs what pictures show, and more than {node.held_back} of them")
    known = len(data.images) - node.held_back
    judge = new_judge(data.attributes, node.seed)
    train_judge(
        judge,
        data.images[:known],
        labels_of(data.attributes, data.shown[:known]),
        Plan(node.steps, node.learning_rate, warmup=50, decay=0.6, ema=0.99),
        batch_size=node.batch_size,
        context=context,
        covered=consumed(node),
        seed=node.seed + 1,
    )
    files = {
        "attributes.json": (json.dumps(judge.attributes, indent=2) + "\n").encode(),
        "judge.safetensors": save({key: value.cpu().half().contiguous() for key, value in judge.state_dict().items()}),
    }
    trained = JudgeFiles(Folder.of(files))
    verdicts = loaded(trained).verdicts(data.images[known:].float().div(255))
    right = sum(verdict == dict(shown) for verdict, shown in zip(verdicts, data.shown[known:], strict=True))
    return trained, right / node.held_back


def loaded(files: JudgeFiles) -> Judge:
    """The classifier, in float32; its files are in float16. Raises ValueError where they make none."""
    folder = files.folder
    missing = [name for name in files.FILES if name not in folder]
    if missing:
        raise ValueError(f"the folder is no judge: it has no {' and no '.join(missing)}, which train/judge writes")
    try:
        attributes = json.loads(folder["attributes.json"].read())
        judge = new_judge({str(name): [str(value) for value in attributes[name]] for name in attributes}, seed=0)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError("attributes.json of the judge does not list the values of attributes by name") from error
    try:
        judge.load_state_dict(load(folder["judge.safetensors"].read()))
    except Exception as error:  # safetensors and torch raise classes of their own
        raise ValueError("judge.safetensors does not fit what attributes.json lists: the files are no judge") from error
    return judge.eval()


def judged(
    files: JudgeFiles, pictures: Tensor, scenes: Scenes
) -> tuple[float, float, float, float, float, float, tuple[str, ...], tuple[bool, ...], File]:
    """The shares that the node JudgeScenes gives, each picture's label and whether it is right, and a report."""
    if len(pictures) != len(scenes.scenes):
        raise ValueError(f"{len(pictures)} pictures are to be judged by {len(scenes.scenes)} scenes")
    verdicts = loaded(files).verdicts(pictures)
    rows, labels = [], []
    for scene, group, verdict in zip(scenes.scenes, scenes.groups, verdicts, strict=True):
        wanted = shown_by(scene)
        things = {verdict["first"], verdict["second"]} - {"none"} == set(scene.things)
        row = {
            "prompt": captions(scene)[0],
            "group": group,
            "background": verdict["background"] == scene.background,
            "things": things and verdict["accessory"] == wanted["accessory"],
            "seen as": ", ".join(value for value in verdict.values() if value != "none"),
        }
        rows.append(row)
        labels.append(row["prompt"] if row["background"] and row["things"] else f"{row['prompt']} [{row['seen as']}]")

    def share(group: str) -> float:
        chosen = [row["things"] for row in rows if row["group"] == group]
        return sum(chosen) / len(chosen) if chosen else 0.0

    background = sum(row["background"] for row in rows) / len(rows)
    groups = ("seen", "kept out", "dressed", "dressed, kept out", "pairs")
    shares = {group: share(group) for group in groups}
    report = {"background": background, **shares, "pictures": rows}
    file = File("report.json", content=(json.dumps(report, indent=1) + "\n").encode())
    right = tuple(bool(row["background"] and row["things"]) for row in rows)
    return background, *shares.values(), tuple(labels), right, file  # type: ignore[return-value]
