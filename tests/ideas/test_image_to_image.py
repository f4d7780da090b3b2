"""Image to image: strength 0 is the picture through the autoencoder, and more strength leaves less of it."""

from itertools import pairwise

import torch

from latentgraph.nodes.diffusion.pixels import decoded


def test_strength_0_gives_the_picture_through_the_autoencoder_to_the_bit(ran):
    outputs = ran("image-to-image")
    assert torch.equal(outputs["pictures"][0].pixels, outputs["unchanged"].pixels)


def test_the_distance_to_the_picture_grows_with_each_strength(ran):
    distances = ran("image-to-image")["by_strength"]
    assert len(distances) == 6
    assert all(after > before + 0.005 for before, after in pairwise(distances))


def test_the_distance_is_the_root_of_the_mean_square(ran):
    from latentgraph.engine import File
    from latentgraph.graphs.ideas.index import FOLDER

    outputs = ran("image-to-image")
    given = decoded(File.at(FOLDER.parent / "examples" / "dog.png"))[:, :3]
    for pictures, said in zip(outputs["pictures"], outputs["by_strength"], strict=True):
        each = torch.stack([(picture - given[0]).square().mean().sqrt() for picture in pictures.pixels])
        assert abs(said - each.mean().item()) < 1e-6
