"""What keys know of how torch computes, against what torch says of itself."""

import json
import os
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest

from latentgraph.engine.problems import UserError
from latentgraph.nodes import environment

CODE = """
import json, sys, time
from latentgraph.nodes.environment import numeric
before = numeric()
assert not {"torch", "numpy", "subprocess"} & set(sys.modules)
import torch
from latentgraph.nodes.diffusion import numerics
numeric.cache_clear()
assert numeric() == before
assert torch.get_default_dtype() == torch.float32
sdp = torch.backends.cuda
print(json.dumps({"numeric": before, "torch": {
    "threads": str(torch.get_num_threads()),
    "instructions": torch.backends.cpu.get_cpu_capability(),
    "torch": torch.__version__,
    "dtype": str(numerics.DTYPE).removeprefix("torch."),
    "vae": str(numerics.VAE_DTYPE).removeprefix("torch."),
    "deterministic": "on" if torch.are_deterministic_algorithms_enabled() else "off",
    "tf32": "on" if torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32 else "off",
    "attention": ", ".join(name for name, on in {
        "flash": sdp.flash_sdp_enabled(), "memory-efficient": sdp.mem_efficient_sdp_enabled(),
        "cuDNN": sdp.cudnn_sdp_enabled(), "math": sdp.math_sdp_enabled(),
    }.items() if on),
}, "device": numerics.DEVICE.type}))
"""


def started_with(**variables: str) -> Any:
    """What a process with these environment variables says, and what torch in it does."""
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "LATENTGRAPH_THREADS")}
    done = subprocess.run([sys.executable, "-c", CODE], env=kept | variables, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is found out once a process is found out anew."""
    for function in (environment.numeric, environment.threads, environment.device):
        function.cache_clear()
    yield
    for function in (environment.numeric, environment.threads, environment.device):
        function.cache_clear()


@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({}, None),
        ({"OMP_NUM_THREADS": "1", "LATENTGRAPH_THREADS": "3", "ATEN_CPU_CAPABILITY": "default"}, "3"),
        (
            {
                "LATENTGRAPH_THREADS": "2",
                "LATENTGRAPH_DEVICE": "cpu",
                "LATENTGRAPH_DTYPE": "bfloat16",
                "LATENTGRAPH_VAE_DTYPE": "float16",
            },
            "2",
        ),
    ],
)
def test_the_facts_are_what_torch_does(variables: dict[str, str], threads: str | None) -> None:
    said = started_with(**variables)
    assert said["torch"] == {name: said["numeric"][name] for name in said["torch"]}
    assert bool(said["numeric"]["device"]) == (said["device"] == "cuda")
    assert said["numeric"]["threads"] == (threads or said["torch"]["threads"])


def test_the_threads_are_as_many_as_this_process_has_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(environment, "_CPUS", tmp_path)
    assert environment.threads() == 4
    for cpu, siblings in {0: "0,4", 1: "1,5", 2: "2,6", 5: "1,5"}.items():
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(siblings)
    environment.threads.cache_clear()
    assert environment.threads() == 3


@pytest.mark.parametrize(("usual", "threads"), [("1", 1), ("3,2", 3), ("0", 4), ("many", 4)])
def test_the_threads_that_other_programs_use_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, usual: str, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(environment, "_CPUS", tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", usual)
    assert environment.threads() == threads


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "1.5"])
def test_a_number_of_threads_of_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setenv("LATENTGRAPH_THREADS", wanted)
    with pytest.raises(UserError, match=f"LATENTGRAPH_THREADS is `{wanted}`: give a number"):
        environment.numeric()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("NVIDIA_TF32_OVERRIDE", True),
        ("CUBLAS_WORKSPACE_CONFIG", True),
        ("MKL_CBWR", True),
        ("ONEDNN_MAX_CPU_ISA", True),
        ("PYTORCH_TUNABLEOP_ENABLED", True),
        ("LATENTGRAPH_THREADS", True),
        ("TORCH_HOME", False),
        ("HOME", False),
    ],
)
def test_variables_that_change_numbers_are_facts_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch, name: str, changes: bool
) -> None:
    before = environment.numeric()
    environment.numeric.cache_clear()
    environment.threads.cache_clear()
    monkeypatch.setenv(name, "57")
    assert (environment.numeric() != before) == changes


@pytest.mark.parametrize("name", environment.CHOICES)
def test_a_setting_that_is_none_of_the_choices_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "large")
    with pytest.raises(UserError, match=f"{name} is `large`: give one of {environment.CHOICES[name][0]}, "):
        environment.numeric()


@pytest.mark.parametrize(
    ("name", "value"),
    [("LATENTGRAPH_DTYPE", "bfloat16"), ("LATENTGRAPH_VAE_DTYPE", "float16"), ("LATENTGRAPH_OFFLOAD", "layerwise")],
)
def test_settings_that_change_numbers_are_facts(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    before = environment.numeric()
    environment.numeric.cache_clear()
    monkeypatch.setenv(name, value)
    assert environment.numeric() != before


def test_moving_weights_in_groups_changes_no_number_and_is_no_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment.numeric()
    environment.numeric.cache_clear()
    monkeypatch.setenv("LATENTGRAPH_OFFLOAD", "group")
    assert environment.numeric() == before


def test_a_card_computes_in_half_precision_unless_something_else_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "driver" / "nvidia" / "gpus" / "0").mkdir(parents=True)
    (tmp_path / "driver" / "nvidia" / "gpus" / "0" / "information").write_text("Model: NVIDIA L4\n")
    (tmp_path / "driver" / "nvidia" / "version").write_text("570\n")
    monkeypatch.setattr(environment, "_PROC", tmp_path)
    monkeypatch.setattr(environment, "version_of", lambda name: "2.13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def facts(**variables: str) -> tuple[str, ...]:
        environment.numeric.cache_clear()
        environment.device.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(f"LATENTGRAPH_{name}", value)
            found = environment.numeric()
        return found["device"], found["dtype"], found["vae"]

    assert facts() == ("NVIDIA L4, 570", "float16", "float32")
    assert facts(DTYPE="float32") == ("NVIDIA L4, 570", "float32", "float32")
    assert facts(DEVICE="cpu") == ("", "float32", "float32")
    assert facts(DEVICE="mps") == ("mps", "float32", "float32")


def test_cuda_is_refused_where_torch_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "version_of", lambda name: "2.13.0+cpu")
    monkeypatch.setenv("LATENTGRAPH_DEVICE", "cuda")
    with pytest.raises(UserError, match="the torch that is installed computes on the CPU only"):
        environment.numeric()


def test_a_device_that_is_not_there_is_said_when_torch_is_asked() -> None:
    missing = "cuda" if sys.platform == "darwin" else "mps"
    code = "from latentgraph.nodes.diffusion import numerics"
    variables = os.environ | {"LATENTGRAPH_DEVICE": missing}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert f"LATENTGRAPH_DEVICE is `{missing}`, but torch finds no such device: set it to cpu or auto" in done.stderr


CPUINFO = (
    "processor : 0\nvendor_id : GenuineIntel\nflags : fpu {}\n\nprocessor : 1\nvendor_id : Other\nflags : amx_tile\n"
)


@pytest.mark.parametrize(
    ("flags", "instructions"),
    [
        ("sse4_2 avx", "DEFAULT"),
        ("avx avx2", "DEFAULT"),
        ("avx2 fma", "AVX2"),
        ("avx2 fma avx512f avx512vl", "AVX2"),
        ("avx2 fma avx512f avx512vl avx512bw avx512dq", "AVX512"),
    ],
)
def test_the_instructions_are_those_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, instructions: str
) -> None:
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    (tmp_path / "cpuinfo").write_text(CPUINFO.format(flags))
    monkeypatch.setattr(environment, "_PROC", tmp_path)
    facts = environment.numeric()
    assert facts["instructions"] == instructions
    assert facts["processor"].split()[1] == "GenuineIntel"
    assert "amx_tile" not in facts["processor"]


def test_a_graphics_card_counts_where_torch_can_use_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for bus, model in {"0": "NVIDIA H100 80GB HBM3", "1": "NVIDIA H100 80GB HBM3"}.items():
        folder = tmp_path / "driver" / "nvidia" / "gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ: 1\n")
    (tmp_path / "driver" / "nvidia" / "version").write_text("NVRM version: 570\nGCC\n")
    monkeypatch.setattr(environment, "_PROC", tmp_path)
    monkeypatch.setattr(environment, "version_of", lambda name: "2.13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment.numeric()["device"] == "NVIDIA H100 80GB HBM3, NVRM version: 570"
    environment.numeric.cache_clear()
    environment.device.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert environment.numeric()["device"] == ""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    environment.numeric.cache_clear()
    environment.device.cache_clear()
    monkeypatch.setattr(environment, "version_of", lambda name: "2.13.0+cpu")
    assert environment.numeric()["device"] == ""


def test_a_card_that_only_its_program_knows_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA L4, 8.9, 570\n")
    program.chmod(0o755)
    monkeypatch.setattr(environment, "_PROC", tmp_path)
    monkeypatch.setattr(environment, "_DEV", tmp_path)
    monkeypatch.setattr(environment, "version_of", lambda name: "2.13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.numeric()["device"] == "NVIDIA L4, 8.9, 570"
    environment.numeric.cache_clear()
    environment.device.cache_clear()
    program.unlink()
    assert environment.numeric()["device"] == "an unknown GPU"


def test_versions_are_those_that_the_packages_state() -> None:
    facts = environment.numeric()
    assert {name: facts[name] for name in environment.LIBRARIES} == {
        name: version(name) for name in environment.LIBRARIES
    }


def test_they_come_in_through_an_entry_point() -> None:
    (entry,) = entry_points(group="latentgraph.environments", name="torch")
    assert entry.load() is environment.numeric


def test_finding_them_takes_little_time() -> None:
    def once() -> float:
        for function in (environment.numeric, environment.threads, environment.device):
            function.cache_clear()
        started = time.process_time()
        environment.numeric()
        return time.process_time() - started

    assert sysconfig.get_path("purelib") in sys.path
    assert min(once() for _ in range(5)) < 0.005
