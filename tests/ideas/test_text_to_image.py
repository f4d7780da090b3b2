"""Text to image: prompts make different pictures of the same noise, and the judge sees in each what it asked for."""

import torch


def test_all_prompts_begin_with_the_same_noise(ran):
    first, *others = (pictures.pixels[0] for pictures in ran("text-to-image")["noisy"])
    assert len(others) == 3
    # Each was decoded from what its first step began with, which no prompt had any part in.
    assert all(torch.equal(first, other) for other in others)
    assert (first.std() > 0.1).item()


def test_the_judge_sees_in_each_picture_what_its_prompt_says(ran):
    assert ran("text-to-image")["right"] == 1.0


def test_the_last_pictures_are_those_of_ordinary_sampling_to_the_bit(ran):
    from latentgraph.engine.session import load

    pictures = ran("text-to-image")["pictures"].pixels
    alone = load("txt2img").run(prompt="a rocket on a black background", seed=4, steps=20, guidance_scale=5.0)
    assert torch.equal(pictures[2], alone.outputs["image"].pixels[0])
