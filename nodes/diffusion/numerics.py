"""How torch computes here: the same numbers every time, on one device. Importing this module sets it."""

import os

import torch

# Set before CUDA starts: without it cuBLAS may add in another order from run to run.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
torch.use_deterministic_algorithms(True)
torch.utils.deterministic.fill_uninitialized_memory = False  # only costs time: nothing here reads unwritten memory
torch.backends.cudnn.benchmark = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_tf32 = False

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Where networks compute; values that flow over links are on the CPU."""
