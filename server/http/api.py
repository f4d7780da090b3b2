"""The operations over HTTP that concern jobs."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from ..errors import NotFound
from ..queue.log import PAGE, is_final
from . import messages
from .events import JobId, Seq
from .files import FILE, send_file
from .routes import Call, Parameter, answer, route
from .streams import SSE, position_of, stream

Wait = Annotated[float, Field(ge=0, le=300)]
LIMIT = Parameter(Annotated[int, Field(ge=1, le=500)], 50, "at most so many")
AFTER = Parameter(Seq, 0, "only what comes after this")


@route(
    "POST",
    "/v1/jobs",
    {
        202: messages.Submitted | messages.Job,
        200: messages.Submitted | messages.Job,
    },
    "jobs",
    scope="submit",
    body=messages.Submission,
    query={"wait": Parameter(Wait, 0.0, "seconds to wait for the job's end; its document is the answer then")},
    refusals=(409, 422, 429),
)
async def submit(call: Call) -> web.StreamResponse:
    """Submit a graph to be run."""
    found = await call.server.submit(call.caller, await call.body(messages.Submission))
    if not call.query["wait"]:
        return answer(found, 200 if found["existing"] else 202)
    job = await _over(call, found["job"])
    return answer(job, 200 if is_final(job["state"]) else 202)


async def _over(call: Call, job: str) -> dict[str, Any]:
    """The job's document when it is over, or when nobody wants to wait any longer."""
    deadline = time.monotonic() + call.query["wait"]
    with call.server.heads.waiting(job) as more:
        while True:
            more.clear()
            found = call.server.document(call.caller, job)
            left = deadline - time.monotonic()
            if is_final(found["state"]) or left <= 0 or call.server.stopping.is_set():
                return found
            try:
                await asyncio.wait_for(more.wait(), left)
            except TimeoutError:
                continue


@route(
    "GET",
    "/v1/jobs",
    {200: messages.JobList},
    "jobs",
    query={
        "state": Parameter(list[messages.State], [], "only jobs in these states; may be repeated"),
        "limit": LIMIT,
        "before": Parameter(JobId, None, "only jobs older than this one"),
    },
)
async def jobs(call: Call) -> web.StreamResponse:
    """The jobs of the token, newest first."""
    return answer(call.server.listed(call.caller, call.query["state"], call.query["limit"], call.query["before"]))


@route("GET", "/v1/jobs/{job}", {200: messages.Job}, "jobs", refusals=(404,))
async def job(call: Call) -> web.StreamResponse:
    """One job."""
    return answer(call.server.document(call.caller, call.part("job")))


@route("DELETE", "/v1/jobs/{job}", {204: None}, "jobs", scope="submit", refusals=(404, 409))
async def delete_job(call: Call) -> web.StreamResponse:
    """Forget a job that is over, its events and its outputs."""
    await call.server.delete(call.caller, call.part("job"))
    return web.Response(status=204)


@route("POST", "/v1/jobs/{job}/cancel", {200: messages.Cancelled}, "jobs", scope="submit", refusals=(404,))
async def cancel(call: Call) -> web.StreamResponse:
    """Cancel a job: a queued one at once, a running one within a step. Its outcome is its last event."""
    return answer(await call.server.cancel(call.caller, call.part("job")))


@route("POST", "/v1/jobs/{job}/retry", {202: messages.Submitted}, "jobs", scope="submit", refusals=(404, 422, 429))
async def retry(call: Call) -> web.StreamResponse:
    """Submit the same graph and params once more; what was computed is reused."""
    return answer(await call.server.retry(call.caller, call.part("job")), 202)


@route("GET", "/v1/jobs/{job}/graph", {200: messages.JobGraph}, "jobs", refusals=(404,))
async def job_graph(call: Call) -> web.StreamResponse:
    """The graph of a job, its params, and the graph as boxes and links."""
    server, row = call.server, call.server.job(call.caller, call.part("job"))
    asked = server.checker.asked_again(row, server.log.text(row))
    described = await server.in_checks(server.checker.described, asked)
    return answer(
        {
            "graph": asked.text,
            "name": asked.name,
            "params": asked.params,
            "boxes": described["boxes"],
            "links": described["links"],
        }
    )


@route(
    "GET",
    "/v1/jobs/{job}/events",
    {200: messages.Events},
    "jobs",
    query={"after": AFTER},
    refusals=(404, 429),
    streams=SSE,
)
async def events(call: Call) -> web.StreamResponse:
    """The events of a job after `after`; as server-sent events until its end, where `Accept` asks for that."""
    server, row, after = call.server, call.server.job(call.caller, call.part("job")), position_of(call)
    if SSE in call.request.headers.get("Accept", ""):
        return await stream(call, row["id"], None)
    found = server.log.events(row["id"], after, PAGE)
    listed = [json.loads("{" + event.text) for event in found]
    last = found[-1].seq if found else after
    return answer({"events": listed, "last": last, "end": any(event.last for event in found), "epoch": server.epoch})


@route("GET", "/v1/events", {200: SSE}, "jobs", query={"after": AFTER}, refusals=(410, 429))
async def feed(call: Call) -> web.StreamResponse:
    """The events of all jobs of the token, as server-sent events; `id` is the cursor."""
    return await stream(call, None, call.caller.name)


@route("GET", r"/v1/jobs/{job}/outputs/{file:[\s\S]+}", {200: FILE}, "jobs", file=True, refusals=(404,))
async def output(call: Call) -> web.StreamResponse:
    """A file of an output. Ranges and ETags are understood."""
    row = call.server.job(call.caller, call.part("job"))
    found = call.server.log.output(row["id"], call.part("file"))
    path = call.server.blobs.path(found["digest"]) if found is not None else None
    if found is None or path is None or not path.is_file():
        raise NotFound("the job has no such output")
    name = call.part("file").rpartition("/")[2]
    return await send_file(call.request, path, found["media"], name, found["digest"])
