"""The node types of training: from artwork to a whole Stable Diffusion, and a judge for what it draws.

Every training shows its loss while it runs (those of a model sample pictures, too), keeps its state now and then, and
goes on from there after a kill, to the same bits at an equal number of threads.
"""

from __future__ import annotations

from typing import NamedTuple

from latentgraph.engine import Context, Field, File, Folder, Node
from latentgraph.engine.node import Wrong

from ..plots.data import Table
from ..ports import Image
from ..references import Clip, ControlNet, Model, Vae
from .data import Dataset, Judge, Scenes, Towers

STEPS = "how many batches are learned from"
RATE = "the highest learning rate"
DECAY = "the last share of the steps, over which the learning rate falls"
SEED = "seeds the first weights, the order of the pictures and the noise"


class TrainTokenizer(Node, category="training"):
    """Train a byte-level BPE tokenizer in CLIP's format on the captions of a data set.

    Sennrich et al. 2016, arXiv:1508.07909; the format of Radford et al. 2021, arXiv:2103.00020.
    """

    data: Dataset
    vocabulary_size: int = Field(1075, ge=514, description="the most tokens it may have")
    max_length: int = Field(24, ge=3, le=512, description="tokens of a prompt, its start and end included")

    def run(self, context: Context) -> Folder:
        from .tokenizer import tokenizer_files, train_tokenizer

        captions = sorted({caption for captions in self.data.captions for caption in captions})
        return Folder.of(tokenizer_files(train_tokenizer(captions, self.vocabulary_size, self.max_length)))


class TrainedVAE(NamedTuple):
    vae: Vae
    losses: tuple[float, ...]


class TrainVAE(Node, category="training", resource="device", primary="vae"):
    """Train a variational autoencoder on the pictures of a data set.

    Kingma and Welling 2013, arXiv:1312.6114, in the form of Rombach et al. 2022, arXiv:2112.10752. Afterwards the mean
    and deviation of the latents over the data are folded into the network, so that latents have mean 0 and deviation 1.
    """

    data: Dataset
    start: Vae | None = Field(None, description="an autoencoder to go on from, with as many latent channels or fewer")
    channels: tuple[int, ...] = Field((32, 64, 96), description="channels at each resolution, multiples of 4")
    latent_channels: int = Field(8, ge=1, le=64, description="channels of the latents")
    kl_weight: float = Field(1e-4, ge=0, description="the weight of the KL divergence from N(0, I)")
    steps: int = Field(2600, ge=1, description=STEPS)
    batch_size: int = Field(4, ge=1, description="pictures in a batch")
    learning_rate: float = Field(1.2e-3, gt=0, description=RATE)
    decay: float = Field(0.5, ge=0, le=1, description=DECAY)
    seed: int = Field(0, ge=0, description=SEED)

    def run(self, context: Context) -> TrainedVAE:
        from .autoencoder import learn

        return TrainedVAE(*learn(self, context))


class TrainedCLIP(NamedTuple):
    clip: Clip
    retrieval: float
    losses: tuple[float, ...]
    towers: Towers


class TrainCLIP(Node, category="training", resource="device", primary="clip"):
    """Train CLIP: a text and a vision tower that put a caption and its picture in the same direction.

    Radford et al. 2021, arXiv:2103.00020. `clip` is the text tower with its tokenizer, as a U-Net is conditioned by;
    `retrieval` is the share of 256 captions whose most similar picture, of the 256 that they belong to, is one that
    they describe; all are from the data learned from. `towers` are both, to be measured by MeasureCLIP; after 0 steps
    they know nothing.
    """

    data: Dataset
    tokenizer: Folder = Field(description="the files of a CLIP tokenizer")
    hidden: int = Field(128, ge=32, multiple_of=32, description="the width of both towers")
    layers: int = Field(3, ge=1, description="the depth of both towers")
    steps: int = Field(500, ge=0, description=STEPS)
    batch_size: int = Field(128, ge=2, le=4096, description="pictures in a batch, each set against all others")
    learning_rate: float = Field(1.2e-3, gt=0, description=RATE)
    seed: int = Field(0, ge=0, description=SEED)

    def run(self, context: Context) -> TrainedCLIP:
        from .contrastive import learn

        return TrainedCLIP(*learn(self, context))


class MeasuredCLIP(NamedTuple):
    cosines: Table
    diagonal: float
    loss: float
    own: float
    other: float
    scale: float
    images: Image
    captions: tuple[str, ...]


class MeasureCLIP(Node, category="training", resource="device", primary="cosines"):
    """Compare each of N captions with each of the N pictures they belong to: the matrix that CLIP learns from.

    `cosines`, -1..1, has a row for each caption and a column for each picture, by its number. `diagonal` is the share
    of captions to which their own picture is the most similar one; `own` and `other` are the mean cosines on and off
    the diagonal. `loss` is what training makes small: the cross entropy of cosines times `scale`, which is learned, of
    rows and of columns (Radford et al. 2021, arXiv:2103.00020, figure 3). Other pictures that a caption fits do not
    count in `diagonal` and `loss`.
    """

    towers: Towers
    data: Dataset
    count: int = Field(64, ge=2, le=512, description="how many pictures, evenly spread over the data")
    wording: int = Field(0, ge=0, description="which caption of each picture, the last where it has fewer; 0 the plain")

    def run(self, context: Context) -> MeasuredCLIP:
        from .contrastive import measured

        return MeasuredCLIP(*measured(self))


class TrainedUNet(NamedTuple):
    model: Model
    losses: tuple[float, ...]


class TrainUNet(Node, category="training", resource="device", primary="model"):
    """Train a U-Net to remove noise from the latents of a data set, conditioned on its captions.

    The network predicts v (Salimans and Ho 2022, arXiv:2202.00512) under Stable Diffusion's scaled linear schedule of
    1,000 steps, weighted by min-SNR (Hang et al. 2023, arXiv:2303.09556). A caption is left out with probability
    `unconditional`, for classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598).
    """

    data: Dataset
    vae: Vae
    clip: Clip
    start: Model | None = Field(None, description="a model to go on from, for the same latents and text encoder")
    channels: tuple[int, ...] = Field((64, 128, 192), description="channels at each resolution, multiples of 8")
    unconditional: float = Field(0.1, ge=0, le=1, description="the share of captions left empty")
    steps: int = Field(3000, ge=1, description=STEPS)
    batch_size: int = Field(32, ge=1, description="pictures in a batch")
    learning_rate: float = Field(1e-3, gt=0, description=RATE)
    decay: float = Field(0.4, ge=0, le=1, description=DECAY)
    prompts: tuple[str, ...] = Field((), description="what the sample pictures show; captions of the data if empty")
    seed: int = Field(0, ge=0, description=SEED)

    def run(self, context: Context) -> TrainedUNet:
        from .denoiser import learn

        return TrainedUNet(*learn(self, context))


class TrainLoRA(Node, category="training", resource="device"):
    """Teach a model a look or a thing from a few pictures: a LoRA for the attention of its U-Net.

    Hu et al. 2021, arXiv:2106.09685. The file has the names that diffusers gives the tensors, in float16, and LoadLoRA
    takes it. Fails where there is not one caption for each picture.
    """

    model: Model
    clip: Clip
    vae: Vae
    images: Image = Field(description="what to learn from")
    captions: tuple[str, ...] = Field(description="what each picture shows")
    rank: int = Field(4, ge=1, le=256, description="how much it can learn; the file grows with it")
    unconditional: float = Field(0.1, ge=0, le=1, description="the share of captions left empty")
    steps: int = Field(300, ge=1, description=STEPS)
    batch_size: int = Field(8, ge=1, description="pictures in a batch")
    learning_rate: float = Field(2e-3, gt=0, description=RATE)
    seed: int = Field(0, ge=0, description=SEED)

    def run(self, context: Context) -> File:
        from .steering import learn_lora

        count = len(self.images.pixels)
        if len(self.captions) != count:
            raise Wrong("captions", f"there are {len(self.captions)} captions for {count} pictures: give one for each")
        return learn_lora(self, context)


class TrainedControlNet(NamedTuple):
    control_net: ControlNet
    losses: tuple[float, ...]


class TrainControlNet(Node, category="training", resource="device", primary="control_net"):
    """Train a small ControlNet by which the edges of a picture steer a model.

    Zhang et al. 2023, arXiv:2302.05543; the edges are those of CannyEdges. It begins as a copy of the model's first
    half. With most captions left empty it learns to read the edges: a caption that says all leaves nothing to learn.
    """

    data: Dataset
    model: Model
    clip: Clip
    vae: Vae
    unconditional: float = Field(0.8, ge=0, le=1, description="the share of captions left empty")
    steps: int = Field(1000, ge=1, description=STEPS)
    batch_size: int = Field(16, ge=1, description="pictures in a batch")
    learning_rate: float = Field(5e-4, gt=0, description=RATE)
    seed: int = Field(0, ge=0, description=SEED)

    def run(self, context: Context) -> TrainedControlNet:
        from .steering import edges_of, learn_controlnet

        return TrainedControlNet(*learn_controlnet(self, edges_of(self.data.images), context))


class AssembleModel(Node, category="training"):
    """Put a model, its text encoder and its autoencoder together: a folder in the layout of diffusers, in float16."""

    model: Model
    clip: Clip
    vae: Vae

    def run(self, context: Context) -> Folder:
        from .assembly import pipeline_folder

        return pipeline_folder(self.model, self.clip, self.vae)


class ReconstructionQuality(NamedTuple):
    psnr: float
    colour_error: float
    compared: Image


class MeasureVAE(Node, category="training", resource="device"):
    """How well an autoencoder gives pictures back.

    `psnr` is the mean peak signal-to-noise ratio in dB over `count` pictures, `colour_error` the mean absolute error of
    8 by 8 averages in 0..1, and `compared` has pictures above their reconstructions.
    """

    vae: Vae
    data: Dataset
    count: int = Field(512, ge=1, description="how many pictures, evenly spread over the data")

    def run(self, context: Context) -> ReconstructionQuality:
        from .autoencoder import measured

        return ReconstructionQuality(*measured(self.vae, self.data.images, self.count))


class TrainedJudge(NamedTuple):
    judge: Judge
    accuracy: float


class TrainJudge(Node, category="training", resource="device", primary="judge"):
    """Train a small classifier that says what a picture shows: its background, its things, its accessory.

    It learns on pictures that are disturbed as a generative model might (softer, noisier, moved, other in colour).
    `accuracy` is the share of undisturbed pictures held back from training of which it gets everything right.
    """

    data: Dataset
    held_back: int = Field(500, ge=1, description="pictures at the end of the data that are only for the accuracy")
    steps: int = Field(900, ge=1, description=STEPS)
    batch_size: int = Field(64, ge=1, description="pictures in a batch")
    learning_rate: float = Field(2e-3, gt=0, description=RATE)
    seed: int = Field(0, ge=0, description=SEED)

    def run(self, context: Context) -> TrainedJudge:
        from .judge import learn

        return TrainedJudge(*learn(self, context))


class Evaluation(NamedTuple):
    scenes: Scenes
    prompts: tuple[str, ...]


class EvaluationScenes(Node, category="training", primary="scenes"):
    """Choose scenes to ask a model for, those that training saw and those that were kept out, with their prompts.

    Groups: `seen` and `kept out` are single things, `dressed` and `dressed, kept out` animals with accessories, `pairs`
    two things. Every kept-out pair of thing and background is asked for `repeats` times, and so is every kept-out pair
    of animal and accessory on each of five backgrounds.
    """

    kept_out: File = Field(description="what training left out")
    seen: int = Field(106, ge=0, description="single things that training saw")
    dressed: int = Field(44, ge=0, description="animals with accessories that training saw")
    pairs: int = Field(50, ge=0, description="pairs of things")
    repeats: int = Field(2, ge=1, description="how often each kept-out scene is asked for")
    seed: int = Field(5, ge=0, description="seeds the choice")

    def run(self, context: Context) -> Evaluation:
        from .emoji import KeptOut, captions, evaluation_scenes

        kept_out = KeptOut.parse(self.kept_out.read().decode())
        counts = {"seen": self.seen, "dressed": self.dressed, "pairs": self.pairs}
        chosen = evaluation_scenes(kept_out, counts, self.repeats, self.seed)
        scenes = tuple(scene for scene, _ in chosen)
        prompts = tuple(captions(scene)[0] for scene in scenes)
        return Evaluation(Scenes(scenes, tuple(group for _, group in chosen)), prompts)


class Verdict(NamedTuple):
    background: float
    seen: float
    kept_out: float
    dressed: float
    dressed_kept_out: float
    pairs: float
    labels: tuple[str, ...]
    right: tuple[bool, ...]
    report: File


class JudgeScenes(Node, category="training", resource="device"):
    """Judge drawn pictures by what they should show: the share that is right, by group.

    A group is right where its things are (a pair in either order, and an animal together with its accessory);
    `background` is the share of all pictures whose background is right. `right` and `labels` go with each picture;
    `report` has everything as JSON.
    """

    judge: Judge
    images: Image
    scenes: Scenes

    def run(self, context: Context) -> Verdict:
        from .judge import judged

        return Verdict(*judged(self.judge, self.images.pixels, self.scenes))
