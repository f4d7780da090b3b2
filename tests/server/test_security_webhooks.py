"""Webhooks go where they may, signed, until they are taken."""

import asyncio
import base64
import hashlib
import hmac
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serving
from aiohttp import web
from callers import error_of
from serving import NUMBER, Server

from latentgraph.engine import roots
from latentgraph.engine.problems import UserError
from latentgraph.server.checks.policy import Policy
from latentgraph.server.http.receivers import Receivers
from latentgraph.server.http.webhooks import Webhooks, secret, signed
from latentgraph.server.settings import Settings
from latentgraph.server.state import Server as State

ALLOWED = ["http://ok.example", "https://a.example/hooks", "http://b.example:8080/x/", "http://[2001:db8::1]/"]


@pytest.mark.parametrize(
    "url",
    [
        *("http://ok.example", "http://ok.example/", "http://ok.example/any/where?x=1", "http://OK.example:80/x"),
        *(
            "https://a.example/hooks",
            "https://a.example/hooks/",
            "https://a.example/hooks/x/y",
            "https://a.example:443/hooks",
        ),
        *("http://b.example:8080/x/", "http://b.example:8080/x/y", "http://[2001:db8::1]/x"),
    ],
)
def test_webhooks_go_below_what_was_allowed(url: str) -> None:
    assert Receivers(ALLOWED).allow(url)


@pytest.mark.parametrize(
    "url",
    [
        *("http://ok.example.evil.example/", "http://ok.example@evil.example/", "http://ok.example:80@evil.example/"),
        *(
            "http://ok.example%2eevil.example/",
            "http://ok.example%00.evil.example/",
            "http://ok.example\t.evil.example/",
        ),
        *(
            "http://ok.example\\.evil.example/",
            "http://evil.example\\@ok.example/",
            "http://evil.example#@ok.example/",
        ),
        *("http://evil.example/?http://ok.example", "http://evil.example/http://ok.example", "http://ok.example#x"),
        *("http://ok.example:81/", "https://ok.example/", "ftp://ok.example/", "http:/ok.example/", "http:ok.example"),
        *("//ok.example/", "ok.example", "", " http://ok.example/", "http://ok.example /", "http://ok。example/"),
        *("http://ok.example\r\nX: y", "http://ok.example:99999/", "http://ok.example:x/", "http:///ok.example"),
        *(
            "https://a.example/",
            "https://a.example/hooksevil",
            "https://a.example/hook",
            "https://a.example/hooks/../x",
        ),
        *(
            "https://a.example/hooks/%2e%2e/x",
            "https://a.example/hooks/%252e%252e/x",
            "https://a.example/hooks%2f..%2fx",
        ),
        *(
            "https://a.example/hooks/..\\x",
            "https://a.example/hooks/./x",
            "http://b.example/x/",
            "http://b.example:8080/",
        ),
        *("http://127.0.0.1/", "http://[::1]/", "http://0/", "http://169.254.169.254/", "file:///etc/passwd"),
    ],
)
def test_webhooks_go_nowhere_else(url: str) -> None:
    assert not Receivers(ALLOWED).allow(url)


@pytest.mark.parametrize(
    "url", ["ok.example", "*", "http://", "http://x/?q=1", "ftp://x", "http://a@b/", "http://x/../y"]
)
def test_what_is_allowed_has_to_be_a_url(url: str) -> None:
    with pytest.raises(UserError, match="write a URL such as"):
        Receivers([url])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = serving.start(tmp_path_factory.mktemp("webhooks"), "--webhook=http://ok.example/hooks")
    yield found
    found.stop()


def test_a_submission_with_another_url_is_refused(server: Server) -> None:
    for url in ("http://ok.example.evil.example/hooks", "http://ok.example/hooks/../x", "http://127.0.0.1/"):
        answer = server.request("POST", "/v1/jobs", {"graph": NUMBER, "webhook": url})
        assert (answer.status, error_of(answer)) == (403, "forbidden")
    assert server.request("POST", "/v1/jobs", {"graph": NUMBER, "webhook": "http://ok.example/hooks/1"}).status == 202


def test_where_none_are_allowed_there_are_none() -> None:
    assert not Receivers([]).allow("http://ok.example/")


def test_the_signature_is_that_of_the_specification() -> None:
    # The example of the Standard Webhooks specification.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    content = b'{"test": 2432232314}'
    expected = hmac.new(key, b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + content, hashlib.sha256).digest()
    assert base64.b64encode(expected).decode() == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    headers = signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", content)
    signature = hmac.new(
        key, f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content, hashlib.sha256
    )
    assert headers["webhook-signature"] == "v1," + base64.b64encode(signature.digest()).decode()


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "webhook-secret"
    key = secret(path)
    assert len(key) == 24
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("whsec_")
    assert secret(path) == key


class Receiver:
    """Listens for webhooks; the first answers are given, then 200."""

    def __init__(self, *answers: web.Response) -> None:
        self.answers, self.got = list(answers), list[tuple[str, Any, bytes]]()
        self.enough = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((request.path, request.headers, await request.read()))
        if self.answers:
            return self.answers.pop(0)
        self.enough.set()
        return web.Response()

    async def listen(self) -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a server in this process, which is confined only until the test is over."""
    monkeypatch.setattr(roots, "_roots", None)
    monkeypatch.setenv("LATENTGRAPH_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    nodes = (str(serving.TINY),)
    return Settings(data, Policy(nodes=nodes, graphs=str(data / "graphs"), uploads=str(data / "uploads")))


async def submit(state: State, url: str) -> str:
    """A job that is over at once, and whose end is to be told."""
    from latentgraph.server.http.access import LOCAL
    from latentgraph.server.http.messages import Submission

    found = await state.submit(LOCAL, Submission(graph=NUMBER, webhook=url))
    await state.cancel(LOCAL, found["job"])
    job: str = found["job"]
    return job


def with_webhooks(settings: Settings, *urls: str) -> Settings:
    return Settings(**{**vars(settings), "webhooks": urls})


def test_a_webhook_is_signed_and_sent_again_until_it_is_taken(settings: Settings) -> None:
    async def story() -> None:
        receiver = Receiver(web.Response(status=500), web.Response(status=302, headers={"Location": "/elsewhere"}))
        runner, url = await receiver.listen()
        state = State(with_webhooks(settings, url))
        job = await submit(state, f"{url}/hook")
        delivering = asyncio.create_task(Webhooks(state, first_pause=0.02).run())
        await asyncio.wait_for(receiver.enough.wait(), 20)
        await asyncio.sleep(0.2)
        delivering.cancel()
        assert [path for path, _, _ in receiver.got] == [
            "/hook"
        ] * 3  # redirects are not followed, and nothing is sent again
        key = secret(settings.data / "webhook-secret")
        for _, headers, body in receiver.got:
            told = json.loads(body)
            assert (told["type"], told["data"]["job"]) == ("job.cancelled", job)
            assert headers["webhook-id"] == job
            said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            expected = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
            assert headers["webhook-signature"] == f"v1,{expected}"
        await state.close()
        await runner.cleanup()

    asyncio.run(story())


def test_a_webhook_survives_the_server_and_not_what_is_allowed_no_more(settings: Settings) -> None:
    async def story() -> None:
        receiver = Receiver()
        runner, url = await receiver.listen()
        other, elsewhere = await Receiver().listen()
        before = State(with_webhooks(settings, url, elsewhere))
        await submit(before, f"{url}/hook")
        await submit(before, f"{elsewhere}/hook")
        await before.close()
        after = State(with_webhooks(settings, url))
        delivering = asyncio.create_task(Webhooks(after, first_pause=0.02).run())
        await asyncio.wait_for(receiver.enough.wait(), 20)
        while after.database.reading.execute("select count(*) from deliveries").fetchone()[0]:
            await asyncio.sleep(0.01)
        delivering.cancel()
        assert len(receiver.got) == 1
        await after.close()
        await runner.cleanup()
        await other.cleanup()

    asyncio.run(story())
