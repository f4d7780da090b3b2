"""Many pictures as one."""

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node

from .latents import Side
from .ports import Image


class ImageGrid(Node, category="images"):
    """Pictures in rows, each with a label below it: one picture f32[1, 3, H, W].

    Pictures [N, 3 or 4, h, w] are laid on white. Where `right` is given, a green or red bar says of each whether it is.
    Fails where there are labels, but not one for each picture.
    """

    images: Image
    labels: tuple[str, ...] = Field((), description="what to write below each picture; none without")
    right: tuple[bool, ...] = Field((), description="whether each picture is right; unmarked without")
    columns: int = Field(8, ge=1, le=100, description="pictures in a row")
    cell: Side = Field(128, description="the width of a picture in the grid, in pixels")

    def run(self, context: Context) -> Image:
        from .diffusion.grid import labelled

        count = len(self.images.pixels)
        for name, given in (("labels", self.labels), ("right", self.right)):
            if given and len(given) != count:
                raise ValueError(f"there are {count} pictures, but {len(given)} values in {name}")
        return Image(labelled(self.images.pixels, self.labels, self.right, self.columns, self.cell))
