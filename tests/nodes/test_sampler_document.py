"""docs/samplers.md says what is measured. Run as a program, this writes its tables anew."""

import inspect
import re
from itertools import groupby
from pathlib import Path

import pytest
from test_solver_orders import CLAIMS, errors, order
from test_solver_twins import CLOSE
from test_solver_twins import tables as twins

from latentgraph.nodes.diffusion.samplers import OF_DIFFUSERS, SAMPLERS, SCHEDULES, known_sampler
from latentgraph.nodes.diffusion.sigmas import SPACED
from latentgraph.nodes.diffusion.solvers import SOLVERS

DOCUMENT = Path(__file__).parents[2] / "docs" / "samplers.md"

NAMES = {
    "euler": ("Euler", "euler"),
    "euler_ancestral": ("Euler a", "euler_a"),
    "heun": ("Heun", "heun"),
    "dpm_2": ("DPM2", "kdpm_2"),
    "dpm_2_ancestral": ("DPM2 a", "kdpm_2_a"),
    "dpm_fast": ("DPM fast", ""),
    "dpm_adaptive": ("DPM adaptive", ""),
    "lms": ("LMS", "lms"),
    "dpmpp_2s": ("", "dpmpp_2s"),
    "dpmpp_2s_ancestral": ("DPM++ 2S a", ""),
    "dpmpp_sde": ("DPM++ SDE", "dpmpp_sde"),
    "dpmpp_2m": ("DPM++ 2M", "dpmpp_2m"),
    "dpmpp_2m_sde": ("DPM++ 2M SDE", "dpmpp_2m_sde"),
    "dpmpp_3m_sde": ("DPM++ 3M SDE", ""),
    "ddim": ("DDIM", "ddim"),
    "ddpm": ("", "ddpm"),
    "pndm": ("PLMS", "pndm"),
    "lcm": ("LCM", "lcm"),
    "uni_pc": ("UniPC", "unipc"),
    "deis": ("", "deis"),
}
"""What A1111 and InvokeAI call samplers. ComfyUI's names are latentgraph's own."""

NUMBER = re.compile(r"\d(?:\.\d+)?e[-+]\d+|\d\.\d\b")


def said(text: str) -> str:
    return f"`{text}`" if text else ""


def paper(sampler: str) -> str:
    """The paper that a sampler's docstring names, or whose code it follows."""
    text = inspect.getdoc(SOLVERS[sampler].step) or ""
    found = re.search(r"arXiv:([\d.]+\d)", text)
    if found is None:
        assert "k-diffusion" in text, sampler
        return "Crowson's k-diffusion"
    return f"[{found[1]}](https://arxiv.org/abs/{found[1]})"


def names() -> list[str]:
    lines = ["| sampler | A1111 | InvokeAI | paper | calls a step | options |", "| --- | --- | --- | --- | --- | --- |"]
    for sampler, options in SAMPLERS.items():
        if sampler in SOLVERS:
            source, calls = paper(sampler), SOLVERS[sampler].evaluations or "as needed"
        else:
            source, calls = f"diffusers' `{OF_DIFFUSERS[sampler][0]}`", ""
        cells = [said(sampler), *map(said, NAMES.get(sampler, ("", ""))), source, str(calls), ", ".join(options)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def orders() -> list[str]:
    lines = ["| sampler | order claimed | measured | measured with the usual start |", "| --- | --- | --- | --- |"]
    for claim in CLAIMS:
        measured = [f"{order(claim.steps, errors(claim, known)):.1f}" for known in (True, False)]
        lines.append(f"| {claim} | {claim.exact} | {' | '.join(measured)} |")
    return lines


def schedules() -> list[str]:
    lines = ["| scheduler | the noise levels | options |", "| --- | --- | --- |"]
    for name, options in SCHEDULES.items():
        what = "What diffusers makes of the model's own configuration."
        if name in SPACED:
            what = " ".join((inspect.getdoc(SPACED[name]) or "").split("\n\n")[0].split())
        lines.append(f"| `{name}` | {what} | {', '.join(options)} |")
    return lines


def tables() -> list[list[str]]:
    """All tables of the document, in its order."""
    return [names(), schedules(), orders(), *twins()]


def blocks(text: str) -> list[tuple[bool, list[str]]]:
    """The lines of a text, those of each table together, with whether they are a table."""
    return [(key, list(lines)) for key, lines in groupby(text.splitlines(), lambda line: line.startswith("|"))]


def test_the_document_says_what_is_measured() -> None:
    written = [line for is_table, lines in blocks(DOCUMENT.read_text()) for line in lines if is_table]
    measured = [line for table in tables() for line in table]
    assert [NUMBER.sub("", line) for line in written] == [NUMBER.sub("", line) for line in measured]
    for line, found in zip(written, measured, strict=True):
        for one, other in zip(NUMBER.findall(line), NUMBER.findall(found), strict=True):
            # Another machine rounds differently: what is small stays as small, what is large is about the same.
            assert float(other) < CLOSE if float(one) < CLOSE else 0.5 <= float(one) / float(other) <= 2


@pytest.mark.parametrize(("sampler", "others"), NAMES.items(), ids=list(NAMES))
def test_the_names_of_other_programs_are_known(sampler: str, others: tuple[str, str]) -> None:
    assert {known_sampler(name) for name in others if name} == {sampler}


if __name__ == "__main__":
    made = iter(tables())
    kept = [next(made) if is_table else lines for is_table, lines in blocks(DOCUMENT.read_text())]
    DOCUMENT.write_text("\n".join(line for lines in kept for line in lines) + "\n")
