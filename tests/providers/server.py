"""Plays every provider that Lux can be connected with, in one process.

    python tests/providers/server.py [--client github:id:secret] ...

The first line on stdout is the port, on 127.0.0.1 (and on 127.0.0.2, which is "another host").
Each application lies under its own name, the provider's own path after it: `/github/login/oauth/
authorize`, `/atlassian/ex/jira/{cloudId}/rest/api/3/issue`, `/slack/api/chat.postMessage`. Hosts
that are APIs only may be told as `/github/api` too.

    POST /control/reset                 everything but what was issued is forgotten
    POST /control/{app}                 JSON, merged: knobs (oauth.py `KNOBS`, `defaults` in apps/) and
                                        actions: client, next, release, revoke_all, expire,
                                        remove_scopes; highlevel: calls, edit_call; github: repository
    GET  /control/stats[/{app}]         counts, requests, what was created, what was invalid
    GET  /control/secrets               whatever must never be shown, by name
"""

import argparse
import asyncio
import json
import re
import socket
import sys
import traceback
from urllib.parse import parse_qsl

from aiohttp import web

from apps import EVERY
from check import Invalid
from oauth import Answer

# What a client reads of a body without an end.
HUGE = 64 * 1024 * 1024


class Ask:
    """One request to a provider."""

    def __init__(self, request, path, raw):
        self.method, self.path, self.raw, self.headers = request.method, path, raw, request.headers
        self.query = dict(request.query)
        self.content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.token = None
        self.app = None

    @property
    def form(self):
        if self.content_type != "application/x-www-form-urlencoded":
            return None
        return dict(parse_qsl(self.raw.decode("utf-8", "replace"), keep_blank_values=True))

    @property
    def json(self):
        try:
            return json.loads(self.raw)
        except ValueError:
            self.app.blame(self, "the body is not JSON")
            raise self.app.error("invalid", "Problems parsing JSON") from None


class Simulator:
    def __init__(self, base, clients=()):
        self.apps = {app.name: app(base) for app in EVERY}
        self.stolen = []
        self.port = int(base.rsplit(":", 1)[1])
        for app, client, secret in clients:
            self.apps[app].control_client({"id": client, "secret": secret})

    # ---- the world outside

    async def handle(self, request):
        app = self.apps.get(request.match_info["app"])
        if app is None:
            return web.json_response({"message": "no such application"}, status=404)
        ask = Ask(request, "/" + request.match_info["path"], await request.read())
        ask.app = app
        if app.api_host and ask.path.startswith("/api/"):
            ask.path = ask.path[4:]
        record = self.record(app, ask)
        try:
            answer = await self.answer(app, ask, request)
        except Answer as raised:
            answer = raised
        except Exception as error:
            # A fault of this program must not pass for the provider's.
            traceback.print_exc()
            app.blame(ask, f"the simulator failed: {error!r}")
            answer = app.error("server", "the simulator failed")
        if isinstance(answer, web.StreamResponse):
            record["status"] = answer.status
            return answer
        if not isinstance(answer, Answer):
            answer = Answer(200, answer)
        record["status"] = answer.status
        record["token"] = ask.token and ask.token.name
        return self.respond(app, ask, answer)

    async def answer(self, app, ask, request):
        where = "authorize" if ask.path == app.authorize_path else "token" if ask.path == app.token_path else "api"
        found = None
        if where == "api":
            found = next((r for r in app.routes if r[0] == ask.method and r[1].match(ask.path)), None)
            if found and found[4].__name__ == "revocation":
                where = "revoke"
            name = f"{ask.method} {ask.path}"
            app.calls[name] = app.calls.get(name, 0) + 1
        failed = await self.fail(app, ask, request, where)
        if failed is not None:
            return failed
        if where == "authorize":
            return app.authorize(ask)
        if where == "token":
            if ask.method != "POST":
                app.blame(ask, "the token route takes POST")
                return app.token_error("bad_request", "POST")
            return await app.token(ask)
        if found is None:
            app.blame(ask, "there is no such route")
            return app.error("not_found", "Not Found")
        _, pattern, scope, token, function = found
        if token:
            app.admit(ask, scope)
        return function(ask, **pattern.match(ask.path).groupdict())

    async def fail(self, app, ask, request, where):
        """The failure that was asked for the next answer: {do, times, where, path, method, …}.

        `do` is a status (401, 403, 404, 429, 500, 502), or slow (`ms`), huge, redirect (`to`), drop,
        html. `where` is api, token, revoke or any; `path` a part of the path; `after` how many
        answers stay whole before.
        """
        for failure in app.failures:
            if failure["where"] not in (where, "any") or failure.get("path", "") not in ask.path:
                continue
            if failure.get("method", ask.method) != ask.method:
                continue
            if failure.get("after", 0) > 0:
                failure["after"] -= 1
                continue
            break
        else:
            return None
        failure["times"] -= 1
        if failure["times"] <= 0:
            app.failures.remove(failure)
        do = failure["do"]
        if do == "slow":
            await asyncio.sleep(failure["ms"] / 1000)
            return None
        if do == "drop":
            request.transport.abort()
            return web.Response(status=500)
        if do == "huge":
            return await self.huge(request)
        if do == "redirect":
            to = failure.get("to", f"http://127.0.0.2:{self.port}/elsewhere{ask.path}")
            return Answer(failure.get("status", 307), None, {"location": to})
        if do in (502, "html"):
            status = failure.get("status", 502)
            return Answer(status, "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
                          {"content-type": "text/html"})
        kinds = {401: "unauthorized", 403: "forbidden", 404: "not_found", 429: "rate_limited", 500: "server"}
        if do == 429:
            answer = Answer(429, app.error("rate_limited", "Too many requests").body)
            if failure.get("retry_after", 1) is not None:
                answer.headers["retry-after"] = str(failure.get("retry_after", 1))
        elif do in kinds and where == "api":
            answer = app.error(kinds[do], "asked for")
        elif "error" in failure:
            answer = Answer(do, {"error": failure["error"], "error_description": "asked for"})
        else:
            answer = Answer(do, {"message": "asked for"})
        answer.headers |= failure.get("headers", {})
        return answer

    @staticmethod
    async def huge(request):
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"filler":"')
        try:
            for _ in range(HUGE // 65536):
                await response.write(b"x" * 65536)
            await response.write(b'"}')
        except ConnectionError:
            pass
        return response

    def record(self, app, ask):
        body = None
        if ask.raw:
            body = ask.raw[:65536].decode("utf-8", "replace")
            if ask.form is not None:
                body = ask.form
            elif "json" in ask.content_type:
                try:
                    body = json.loads(body)
                except ValueError:
                    pass
        record = {
            "app": app.name, "method": ask.method, "path": ask.path, "query": ask.query,
            "headers": {name.lower(): self.plain(value) for name, value in ask.headers.items()},
            "body": body, "status": None, "token": None,
        }
        app.requests.append(record)
        return record

    @staticmethod
    def plain(value):
        # Client authentication by Basic holds the secret in another form.
        return "Basic <client>" if value.startswith("Basic ") else value.encode("utf-8", "replace").decode()

    @staticmethod
    def respond(app, ask, answer):
        headers = {**app.headers(ask), **answer.headers}
        if answer.body is None:
            return web.Response(status=answer.status, headers=headers)
        if isinstance(answer.body, str):
            kind = headers.pop("content-type", "text/plain")
            return web.Response(status=answer.status, body=answer.body.encode(), headers={**headers, "content-type": kind})
        return web.json_response(answer.body, status=answer.status, headers=headers)

    async def elsewhere(self, request):
        """Another host, that has no business with anybody's token."""
        self.stolen.append({"path": request.path, "authorization": "authorization" in request.headers})
        return web.json_response({"id": "elsewhere", "ok": True})

    # ---- control

    async def control(self, request):
        name = request.match_info["app"]
        if name == "reset":
            for app in self.apps.values():
                app.control_release(None)
                app.reset()
            self.stolen.clear()
            return web.json_response({})
        try:
            for app in list(self.apps.values()) if name == "all" else [self.apps[name]]:
                app.control(await request.json())
        except (Invalid, KeyError, TypeError) as error:
            return web.json_response({"error": repr(error)}, status=400)
        return web.json_response({})

    def stats_of(self, app):
        return {
            **app.counts, "held": len(app.held), "calls": app.calls, "created": app.created,
            "live": sum(consent.live for consent in app.consents), "failures": len(app.failures),
            "tokens": sum(token.kind == "access" for token in app.tokens.values()),
        }

    async def stats(self, request):
        name = request.match_info.get("app")
        apps = [self.apps[name]] if name else self.apps.values()
        every = {app.name: self.stats_of(app) for app in apps}
        return web.json_response({
            "apps": every, "stolen": self.stolen,
            "requests": [app.redact(record) for app in apps for record in app.requests],
            "invalid": [app.redact(wrong) for app in apps for wrong in app.invalid],
        })

    async def secrets(self, _request):
        return web.json_response([secret for app in self.apps.values() for secret in app.issued])


def application(simulator):
    web_app = web.Application(client_max_size=256 * 1024 * 1024)
    web_app.add_routes([
        web.get("/control/stats", simulator.stats), web.get("/control/stats/{app}", simulator.stats),
        web.get("/control/secrets", simulator.secrets), web.post("/control/{app}", simulator.control),
        web.route("*", "/elsewhere{path:.*}", simulator.elsewhere),
        web.route("*", "/{app}/{path:.*}", simulator.handle),
    ])
    return web_app


async def serve(clients):
    """The runner and the port that the system chose."""
    first = socket.socket()
    first.bind(("127.0.0.1", 0))
    port = first.getsockname()[1]
    simulator = Simulator(f"http://127.0.0.1:{port}", clients)
    runner = web.AppRunner(application(simulator), access_log=None)
    await runner.setup()
    await web.SockSite(runner, first).start()
    try:
        await web.TCPSite(runner, "127.0.0.2", port).start()
    except OSError as error:
        print(f"there is no other host: {error}", file=sys.stderr)
    return runner, simulator, port


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", action="append", default=[], help="app:id:secret")
    given = [re.split(":", client, maxsplit=2) for client in parser.parse_args().client]
    _, _, port = await serve(given)
    print(port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
