"""The node types of classifiers: a judge that says what pictures show, and what can be told by it."""

from __future__ import annotations

from typing import NamedTuple

from latentgraph.engine import Context, Field, Folder, Node
from latentgraph.engine.node import Wrong

from ..latents import Seed
from ..plots.data import Table
from ..ports import Image
from ..references import Classifier, Model, Vae
from .data import Dataset, Judge
from .nodes import RATE, SEED, STEPS


class LoadJudge(Node, category="training"):
    """A judge from the folder that train/judge writes: `attributes.json` and `judge.safetensors`.

    Fails where the files are missing, or are none of a judge.
    """

    folder: Folder = Field(description="a folder with attributes.json and judge.safetensors")

    def run(self, context: Context) -> Judge:
        from .judge import loaded

        judge = Judge(Folder.of({name: self.folder[name].read() for name in Judge.FILES if name in self.folder}))
        try:
            loaded(judge)
        except ValueError as error:
            raise Wrong("folder", str(error)) from error
        return judge


class JudgedPictures(NamedTuple):
    right: tuple[bool, ...]
    share: float
    seen: tuple[str, ...]


class JudgePictures(Node, category="training", resource="device", primary="share"):
    """Tell which pictures of emoji scenes show what a text says: `share` of them do, 0..1.

    A text is a caption of the data set or a part of one: `a dog face with glasses on a blue background`, `dog with
    glasses`, `glasses`, `blue`. A picture is right where all of that is seen; more may be. `right` is for
    each picture, and `seen` says what the judge sees in it, as a caption. Fails for words that no caption has.
    """

    judge: Judge
    images: Image = Field(description="pictures of 64 by 64 pixels")
    shown: str | tuple[str, ...] = Field(description="what is to be seen, in all pictures; a list for one text each")

    def run(self, context: Context) -> JudgedPictures:
        from .seen import seen

        texts = (self.shown,) if isinstance(self.shown, str) else self.shown
        right, captions = seen(self.judge, self.images.pixels, texts)
        return JudgedPictures(right, sum(right) / len(right), captions)


class TrainedClassifier(NamedTuple):
    classifier: Classifier
    accuracy: float
    accuracies: Table
    losses: tuple[float, ...]


class TrainClassifier(Node, category="training", resource="device", primary="classifier"):
    """Train a classifier that tells what noisy latents show, for ClassifierGuidance.

    Dhariwal and Nichol 2021, arXiv:2105.05233: it learns on latents with the noise of any of the model's timesteps, and
    is told how much that is. It learns one attribute of the data, such as `background`. `accuracies` has the share of
    the latents held back from training whose label it tells rightly, by timestep: with more noise less can be told.
    `accuracy` is that with the least noise.
    """

    data: Dataset
    model: Model = Field(description="the model that is to be guided: its noise is learned with")
    vae: Vae
    attribute: str = Field("background", description="what is learned: background, first, second or accessory")
    held_back: int = Field(200, ge=1, description="pictures at the end of the data that are only for the accuracy")
    width: int = Field(48, ge=8, multiple_of=8, description="channels at the highest resolution")
    steps: int = Field(400, ge=1, description=STEPS)
    batch_size: int = Field(64, ge=1, description="pictures in a batch")
    learning_rate: float = Field(2e-3, gt=0, description=RATE)
    seed: Seed = Field(0, description=SEED)

    def run(self, context: Context) -> TrainedClassifier:
        from .noisy import learn

        return TrainedClassifier(*learn(self, context))
