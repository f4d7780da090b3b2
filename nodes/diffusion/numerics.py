"""How torch computes here: the same numbers every time, on one device. Importing this module sets it.

Whatever uses torch imports it from here, or this module beside it: a thread that used torch before keeps the number of
threads that was set then. `environment.numeric` says the same without torch; change both together.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from latentgraph.engine.problems import UserError

from ..environment import STEADY, device, dtype, threads, vae_dtype

for name, value in STEADY.items():  # before cuBLAS and MKL start
    os.environ.setdefault(name, value)
torch.set_num_threads(threads())
torch.use_deterministic_algorithms(True)
torch.utils.deterministic.fill_uninitialized_memory = False  # only costs time: nothing here reads unwritten memory
torch.set_default_dtype(torch.float32)
torch.set_float32_matmul_precision("highest")  # no TF32
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = False
torch.backends.cuda.enable_flash_sdp(True)
torch.backends.cuda.enable_mem_efficient_sdp(True)
torch.backends.cuda.enable_cudnn_sdp(True)
torch.backends.cuda.enable_math_sdp(True)

__all__ = ["DEVICE", "DTYPE", "VAE_DTYPE", "seeded", "torch"]


def _device() -> torch.device:
    """Raises UserError where a device was asked for that torch cannot use."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if there[device()]:
        return torch.device(device())
    wanted = os.environ.get("LATENTGRAPH_DEVICE") or "auto"
    if wanted != "auto":
        raise UserError(f"LATENTGRAPH_DEVICE is `{wanted}`, but torch finds no such device: set it to cpu or auto")
    return torch.device("cpu")


DEVICE = _device()
"""Where networks compute; values that flow over links are on the CPU."""

DTYPE: torch.dtype = getattr(torch, dtype(DEVICE.type))
"""What denoisers and text encoders compute in; values that flow over links are float32."""

VAE_DTYPE: torch.dtype = getattr(torch, vae_dtype())
"""What autoencoders compute in."""

_building = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generator, seeded, for building or loading a network: it is as it was afterwards.

    One thread at a time: the generator is the whole process's, and so is what libraries change in torch to load.
    """
    with _building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
