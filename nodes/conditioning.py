"""What a picture is to show, and how strongly."""

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node

from .ports import CFG, Clip, Conditioning, Guidance


class CLIPEncode(Node, category="conditioning"):
    """Text as conditioning: the last hidden state of CLIP's text encoder, one vector for each of its T tokens.

    A list of texts gives a conditioning for a batch, one picture to each text: tokens f32[N, T, D]. Text is padded to T
    tokens, which the tokenizer determines (77 for Stable Diffusion). Longer text is cut there, and the progress message
    says what was left out.
    """

    clip: Clip
    text: str | tuple[str, ...] = Field(description="what to draw; a list for a batch; may be empty")

    def run(self, context: Context) -> Conditioning:
        from .diffusion.text import encode

        texts = (self.text,) if isinstance(self.text, str) else self.text
        if not texts:
            raise ValueError("the list of texts is empty: give at least one, which may be the empty text")
        conditioning, cut = encode(self.clip, texts)
        for lost in filter(None, cut):
            context.progress(1, 1, f"the text is too long for the text encoder; left out: {lost}")
        return conditioning


class CFGCombine(Node, category="conditioning"):
    """Classifier-free guidance: away from the negative, towards the positive (Ho and Salimans 2022, arXiv:2207.12598).

    The sampler evaluates `scale * (positive - negative) + negative` at each step. At scale 1 it evaluates the positive
    alone, at 0 the negative alone; any other scale evaluates both and takes twice as long.
    """

    positive: Conditioning
    negative: Conditioning | None = Field(None, description="what not to draw; may be left out only where scale is 1")
    scale: float = Field(7.5, ge=-100, le=100, description="how strongly; 3 to 8 are usual")

    def run(self, context: Context) -> Guidance:
        if self.negative is None and self.scale != 1:
            raise ValueError('there is no negative: link a CLIPEncode of the text "" to it, or set scale to 1')
        return CFG(self.positive, self.negative, self.scale)
