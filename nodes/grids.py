"""Many pictures as one."""

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node

from .latents import Side
from .ports import Image


class ImageGrid(Node, category="images"):
    """Pictures in rows, each with a label below it: one picture f32[1, 3, H, W].

    Pictures [N, 3 or 4, h, w] are laid on white. Where `right` is given, a green or red bar says of each whether it is.
    With `column_labels` a row has as many pictures as there are labels. Fails where there are labels, but not one for
    each picture, column or row.
    """

    images: Image
    labels: tuple[str, ...] = Field((), description="what to write below each picture; none without")
    right: tuple[bool, ...] = Field((), description="whether each picture is right; unmarked without")
    column_labels: tuple[str, ...] = Field((), description="what to write above each column; none without")
    row_labels: tuple[str, ...] = Field((), description="what to write beside each row; none without")
    columns: int = Field(8, ge=1, le=100, description="pictures in a row, where no labels say so")
    cell: Side = Field(128, description="the width of a picture in the grid, in pixels")

    def run(self, context: Context) -> Image:
        from .diffusion.grid import Labels, labelled

        count = len(self.images.pixels)
        columns = len(self.column_labels) or min(self.columns, count)
        rows = -(-count // columns)
        for name, given, what, wanted in (
            ("labels", self.labels, "pictures", count),
            ("right", self.right, "pictures", count),
            ("row_labels", self.row_labels, f"rows of {columns} pictures", rows),
        ):
            if given and len(given) != wanted:
                raise ValueError(f"there are {wanted} {what}, but {len(given)} values in {name}")
        if len(self.column_labels) > count:
            raise ValueError(f"there are {count} pictures, but {len(self.column_labels)} values in column_labels")
        labels = Labels(self.labels, self.column_labels, self.row_labels)
        return Image(labelled(self.images.pixels, labels, self.right, columns, self.cell))
