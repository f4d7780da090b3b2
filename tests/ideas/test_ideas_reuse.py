"""One number changed in an idea's graph: only what follows from it is computed again."""


def test_another_guidance_scale_draws_one_more_row_and_the_others_are_reused(ran, planned):
    ran("classifier-free-guidance")
    actions = planned("classifier-free-guidance", scales=[0.0, 1.0, 3.0, 5.0, 7.0])
    anew = {node for node, action in actions.items() if action != "reuse"}
    assert anew == {
        "guided/4",
        "sampled/4",
        "decoded/4",
        "verdict/4",
        "diversity/4",
        "shown/4",
        "table",
        "plot",
        "strip",
    }
    assert {"model", "conditioned", "unconditioned", "canvas", "judge", "sampled/3"} <= actions.keys() - anew


def test_a_graph_that_ran_is_reused_as_a_whole(ran, planned):
    ran("classifier-free-guidance")
    assert set(planned("classifier-free-guidance").values()) == {"reuse"}


def test_another_strength_of_image_to_image_is_drawn_alone(ran, planned):
    ran("image-to-image")
    actions = planned("image-to-image", strengths=[0.0, 0.2, 0.4, 0.6, 0.8, 0.9])
    anew = {node for node, action in actions.items() if action != "reuse"}
    assert anew == {"sampled/5", "decoded/5", "compared/5", "distances", "curve", "strip"}
