"""The samplers: one short function to each published algorithm, all that it remembers in plain data.

`SOLVERS` has them by name. Each makes one step, `step(denoiser, x, walk, index)`, so that a walk may stop after any of
them and go on elsewhere; called, `SOLVERS["euler"](denoiser, x, sigmas)` makes them all.
"""

from . import adaptive, ancestral, cfg_pp, dpmpp, euler, markov, multistep, sde, singlestep, unipc
from .contract import SOLVERS, Denoiser, Solver, Walk

__all__ = [
    "SOLVERS",
    "Denoiser",
    "Solver",
    "Walk",
    "adaptive",
    "ancestral",
    "cfg_pp",
    "dpmpp",
    "euler",
    "markov",
    "multistep",
    "sde",
    "singlestep",
    "unipc",
]
