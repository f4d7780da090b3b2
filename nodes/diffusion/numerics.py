"""How torch computes here: the same numbers every time, on one device. Importing this module sets it.

Whatever uses torch imports it from here, or this module beside it: a thread that used torch before keeps the number of
threads that was set then. `environment.numeric` says the same without torch; change both together.
"""

import os

import torch

from ..environment import WORKSPACE, threads

os.environ.setdefault(*WORKSPACE)  # before CUDA starts
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

__all__ = ["DEVICE", "torch"]

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Where networks compute; values that flow over links are on the CPU."""
