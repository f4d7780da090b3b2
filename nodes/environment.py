"""What decides the bits that torch computes here, found without importing it; `diffusion.numerics` sets the same.

All of it enters the keys of nodes that compute with tensors: a result is only reused where running would give its bits.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from latentgraph.engine.distributions import version_of
from latentgraph.engine.problems import UserError

STEADY = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "MKL_CBWR": "AUTO,STRICT"}
"""Environment variables that are set unless they are. Without them cuBLAS may add in another order from run to run, and
MKL with another address: the weights of a mapped file lie where they lie, and the processor decides what of it matters.
"""

LIBRARIES = ("torch", "diffusers", "transformers", "tokenizers", "numpy", "scipy", "torchsde")
"""What computes, also where only diffusers imports it."""

VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS",
    "CUDNN",
    "DIFFUSERS_ATTN",
    "DISABLE_ADDMM_CUDA_LT",
    "DNNL_",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_",
    "PYTORCH_TUNABLEOP",
    "TORCH_ALLOW_TF32",
    "TORCH_BLAS",
    "TORCH_CUDNN",
    "TORCH_LINALG",
)
"""How the environment variables begin by which torch and its libraries take other ways to compute."""

CHOICES = {
    "LATENTGRAPH_DEVICE": ("auto", "cpu", "cuda", "mps"),
    "LATENTGRAPH_DTYPE": ("auto", "float32", "float16", "bfloat16"),
    "LATENTGRAPH_VAE_DTYPE": ("float32", "float16", "bfloat16"),
    "LATENTGRAPH_OFFLOAD": ("auto", "none", "layerwise", "group"),
}
"""What environment variables may say about how networks are held, what is meant without them first."""

VECTORS = ("amx", "asimd", "avx", "bf16", "f16c", "fma", "i8mm", "neon", "sve")
"""How the names of instructions begin that compute several numbers at once, in other orders than their fewer."""

_PROC, _DEV, _CPUS = Path("/proc"), Path("/dev"), Path("/sys/devices/system/cpu")


@cache
def numeric() -> dict[str, str]:
    """The facts by name; the same as long as the process lives. Raises UserError for settings of no sense.

    The entry point `torch` of the group `latentgraph.environments`.
    """
    libraries = {name: version_of(name) for name in LIBRARIES}
    maker, vectors = _processor()
    variables = STEADY | {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
    return {
        "device": "; ".join(sorted(set(_gpus()))) if device() == "cuda" else device().removeprefix("cpu"),
        "processor": " ".join([_machine(), maker, *vectors]),
        "instructions": _instructions(vectors),
        "threads": str(threads()),
        "dtype": dtype(),
        "vae": vae_dtype(),
        "storage": "float8_e4m3fn" if offload() == "layerwise" else "as computed",
        "tf32": "off",
        "deterministic": "on",
        "attention": "flash, memory-efficient, cuDNN, math",
        **libraries,
        **dict(sorted(variables.items())),
    }


@cache
def device() -> str:
    """Where networks compute: `cpu`, `cuda` or `mps`, as LATENTGRAPH_DEVICE says; else a GPU that torch can use.

    `mps` has to be asked for. Raises UserError for another setting, and where this torch knows no CUDA.
    """
    wanted, without = _chosen("LATENTGRAPH_DEVICE"), "+cpu" in version_of("torch")
    if wanted == "cuda" and without:
        raise UserError("LATENTGRAPH_DEVICE is `cuda`, but the torch that is installed computes on the CPU only")
    if wanted != "auto":
        return wanted
    return "cpu" if without or not any(_gpus()) else "cuda"


def dtype(on: str | None = None) -> str:
    """What denoisers and text encoders compute in, as LATENTGRAPH_DTYPE says; else float16 on CUDA, float32 elsewhere.

    `on` is the device, by default the one of this process. Raises UserError for another setting.
    """
    wanted = _chosen("LATENTGRAPH_DTYPE")
    if wanted != "auto":
        return wanted
    return "float16" if (on or device()) == "cuda" else "float32"


def vae_dtype() -> str:
    """What autoencoders compute in: float32, which many of them need, unless LATENTGRAPH_VAE_DTYPE says otherwise."""
    return _chosen("LATENTGRAPH_VAE_DTYPE")


def offload() -> str:
    """How networks fit a small device, by LATENTGRAPH_OFFLOAD: `auto`, `none`, `layerwise` or `group`.

    Only `layerwise` changes numbers: weights are held in float8. So `auto` never chooses it.
    """
    return _chosen("LATENTGRAPH_OFFLOAD")


def _chosen(name: str) -> str:
    choices = CHOICES[name]
    wanted = os.environ.get(name) or choices[0]
    if wanted not in choices:
        raise UserError(f"{name} is `{wanted}`: give one of {', '.join(choices)}")
    return wanted


@cache
def threads() -> int:
    """How many threads one operation uses: LATENTGRAPH_THREADS, else OMP_NUM_THREADS, else one for each free core.

    The cores are those that this process may run on; two that share their units count as one.
    """
    wanted = os.environ.get("LATENTGRAPH_THREADS")
    if wanted:
        if not (wanted.isdecimal() and int(wanted)):
            raise UserError(f"LATENTGRAPH_THREADS is `{wanted}`: give a number of threads, 1 or more")
        return int(wanted)
    usual = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if usual.isdecimal() and int(usual):
        return int(usual)
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})


def _siblings(cpu: int) -> str:
    """What says which processors of the system are the same core."""
    try:
        return (_CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def _machine() -> str:
    if hasattr(os, "uname"):
        return os.uname().machine
    return os.environ.get("PROCESSOR_IDENTIFIER", "")  # Windows


def _processor() -> tuple[str, list[str]]:
    """Who made the processor, and its vector instructions; nothing where the system does not say."""
    about: dict[str, str] = {}
    try:
        with (_PROC / "cpuinfo").open() as lines:
            for line in lines:  # only the first processor: the system writes this file while it is read
                if not line.strip():
                    break
                name, _, value = line.partition(":")
                about[name.strip()] = value.strip()
    except OSError:
        pass
    maker = about.get("vendor_id") or about.get("CPU implementer") or ""
    names = (about.get("flags") or about.get("Features") or "").split()
    return maker, sorted(name for name in names if name.startswith(VECTORS))


def _instructions(vectors: list[str]) -> str:
    """The set of instructions that torch's own loops use, in its words."""
    wanted = os.environ.get("ATEN_CPU_CAPABILITY", "").lower()
    if wanted in ("avx512", "avx2", "default"):
        return wanted.upper()
    if {"avx512vl", "avx512bw", "avx512dq", "fma"} <= set(vectors):
        return "AVX512"
    return "AVX2" if {"avx2", "fma"} <= set(vectors) else "DEFAULT"


def _gpus() -> Iterator[str]:
    """The model of each GPU that torch can use, with its driver."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return
    folder = _PROC / "driver" / "nvidia"
    cards = sorted(folder.glob("gpus/*/information"))
    for card in cards:
        driver = (folder / "version").read_text().splitlines()[0]
        model = next((line for line in card.read_text().splitlines() if line.startswith("Model:")), "")
        yield f"{model.partition(':')[2].strip()}, {driver}"
    if not cards and (_DEV / "nvidia0").exists():
        import subprocess

        query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
        try:
            yield from subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout.splitlines()
        except (OSError, subprocess.SubprocessError):
            yield "an unknown GPU"
