"""Whether the simulator refuses what the providers refuse: `python tests/providers/selftest.py`."""

import asyncio
import base64
import copy
import hashlib
import json
import unittest
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from apps import EVERY
from check import Invalid, check, registry
from server import serve


def doc(*content, **more):
    return {"type": "doc", "version": 1, "content": list(content), **more}


def text(words, *marks):
    return {"type": "text", "text": words, **({"marks": [{"type": mark} for mark in marks]} if marks else {})}


def paragraph(*content):
    return {"type": "paragraph", "content": list(content)}


def changed(thing, path, value):
    """A copy with another value at a path; `...` takes it out."""
    thing = copy.deepcopy(thing)
    *way, last = path.split(".")
    inner = thing
    for step in way:
        inner = inner[int(step) if step.isdigit() else step]
    if value is ...:
        del inner[last]
    else:
        inner[int(last) if last.isdigit() else last] = value
    return thing


ADF = doc(
    {"type": "heading", "attrs": {"level": 2}, "content": [text("Cause")]},
    paragraph(text("a table is "), text("gone", "strong"), {"type": "hardBreak"}, text("x", "code"),
              {"type": "text", "text": "here", "marks": [{"type": "link", "attrs": {"href": "https://lux.example"}}]}),
    {"type": "codeBlock", "attrs": {"language": "text"}, "content": [text("Traceback")]},
    {"type": "bulletList", "content": [{"type": "listItem", "content": [paragraph(text("step"))]}]},
    {"type": "rule"},
)
JIRA = {"fields": {"project": {"key": "OPS"}, "issuetype": {"id": "10004"}, "summary": "500 on /pay", "labels": ["lux-1"], "description": ADF}}
GITHUB = {"title": "500 on /pay", "body": "x", "labels": ["lux"]}
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "x"}}
SLACK = {"channel": "C0LUX", "text": "x", "blocks": [SECTION], "unfurl_links": False}
EVENT = {
    "summary": "Repair", "start": {"dateTime": "2026-11-21T10:00:00+00:00"}, "end": {"dateTime": "2026-11-21T10:30:00+00:00"},
    "attendees": [{"email": "ada@example.com"}],
    "conferenceData": {"createRequest": {"requestId": "lux-1", "conferenceSolutionKey": {"type": "hangoutsMeet"}}},
}
TASK = {"data": {"name": "x", "notes": "y", "projects": ["1331"], "external": {"gid": "lux-1"}}}
CALLS = {"locationId": "l", "startDate": "1763596800000", "endDate": "1763683200000", "page": "1", "pageSize": "50",
         "sortBy": "createdAt", "sort": "ascend"}
CONTACT = {"locationId": "l", "email": "a@example.com", "name": "A", "source": "lux", "tags": ["newsletter"]}
UPLOAD = {"path": "/Lux/a.md", "mode": "add", "autorename": True, "mute": True}
HL_REFRESH = {"grant_type": "refresh_token", "refresh_token": "r", "client_id": "c", "client_secret": "s", "user_type": "Location"}
EXCHANGE = {"grant_type": "authorization_code", "code": "c", "redirect_uri": "r", "client_id": "c", "client_secret": "s", "code_verifier": "v" * 43}

# schema, a good value, and what spoils it
CASES = [
    ("adf.json", ADF, [
        ("content.0.attrs.level", 7), ("content.0.attrs", ...), ("content.1.content.0.text", ""), ("version", ...), ("version", 2),
        ("type", "document"), ("content", "plain"), ("content.2.content.0.marks", [{"type": "strong"}]),
        ("content.2.content.0", {"type": "hardBreak"}), ("content.3.content", []), ("content.3.content.0.content", []),
        ("content.3.content.0", paragraph()), ("content.1.content.1.marks", [{"type": "bold"}]),
        ("content.1.content.3.marks", [{"type": "code"}, {"type": "strong"}]), ("content.1.content.4.marks.0.attrs", ...),
        ("content.1.content.4.marks.0.attrs.href", "javascript:alert(1)"), ("content.4", {"type": "table"}), ("content.4", text("loose")),
        ("content.1.content.0.value", 1),
    ]),
    ("jira.json#/$defs/issue", JIRA, [
        ("fields.description", "plain text"), ("fields.description.content.1.content.0.text", ""), ("fields.description.version", ...),
        ("fields.summary", "x" * 256), ("fields.summary", "two\nlines"), ("fields.summary", ""), ("fields.summary", ...),
        ("fields.labels", ["two words"]), ("fields.project", ...), ("fields.issuetype", ...), ("fields.issuetype", "Bug"),
        ("fields.other", 1), ("other", 1), ("fields", "x"), ("fields.issuetype.id", 10004),
    ]),
    ("jira.json#/$defs/comment", {"body": ADF}, [("body", "plain"), ("body", ...), ("body", doc(paragraph(text(""))))]),
    ("jira.json#/$defs/transition", {"transition": {"id": "31"}}, [("transition.id", 31), ("transition", "31"), ("other", 1)]),
    ("jira.json#/$defs/edit", {"fields": {"summary": "x"}}, [("fields.summary", "a\nb"), ("fields", ...), ("other", 1)]),
    ("jira.json#/$defs/count", {"jql": "project = OPS"}, [("jql", ...), ("jql", ""), ("other", 1)]),
    ("jira.json#/$defs/search", {"jql": "project = OPS", "fields": ["summary"]}, [("fields", "summary"), ("startAt", 1)]),
    ("jira.json#/$defs/remote_link", {"object": {"url": "https://x", "title": "x"}}, [("object.url", ...), ("object", ...)]),
    ("github.json#/$defs/issue", GITHUB, [
        ("title", ...), ("title", ""), ("title", 5), ("labels", "lux"), ("body", "x" * 65537), ("other", 1), ("labels", ["x" * 51]),
    ]),
    ("github.json#/$defs/issue_edit", {"state": "closed", "state_reason": "completed"}, [("state", "done"), ("state_reason", "fixed"), ("other", 1)]),
    ("github.json#/$defs/comment", {"body": "x"}, [("body", ""), ("body", ...), ("other", 1)]),
    ("github.json#/$defs/revoke", {"access_token": "x"}, [("access_token", ...), ("access_token", "")]),
    ("slack.json#/$defs/message", SLACK, [
        ("channel", ...), ("blocks.0.text.text", "x" * 3001), ("blocks.0.text.text", ""), ("blocks", []), ("blocks", [SECTION] * 51),
        ("blocks.0.text", "x"), ("blocks.0.text", ...), ("blocks.0.type", "paragraph"), ("unfurl_links", "false"), ("other", 1),
        ("blocks.0", {"type": "header", "text": {"type": "mrkdwn", "text": "x"}}),
        ("blocks.0", {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}), ("thread_ts", 1.5), ("text", "x" * 40001),
        ("blocks.0", {"type": "context", "elements": []}),
        ("blocks.0", {"type": "actions", "elements": [{"type": "button", "text": "go"}]}),
    ]),
    ("slack.json#/$defs/update", {"channel": "C", "ts": "1.000001", "text": "x"}, [("ts", ...), ("ts", "1"), ("text", ...)]),
    ("google.json#/$defs/event", EVENT, [
        ("start", ...), ("start", {"dateTime": "2026-11-21T10:00:00"}), ("start", {"date": "21.11.2026"}), ("start.date", "2026-11-21"),
        ("attendees", "ada@example.com"), ("attendees.0.email", "ada"), ("conferenceData.createRequest.requestId", ...),
        ("conferenceData.createRequest.conferenceSolutionKey.type", "zoom"), ("other", 1), ("description", "x" * 8193),
    ]),
    ("google.json#/$defs/event_query", {"conferenceDataVersion": "1", "sendUpdates": "all"}, [("conferenceDataVersion", "2"), ("sendUpdates", "true")]),
    ("google.json#/$defs/space", {"config": {"accessType": "TRUSTED"}}, [("config.accessType", "ALL"), ("name", "x")]),
    ("google.json#/$defs/file", {"name": "a.md", "parents": ["f"], "mimeType": "text/markdown"}, [
        ("name", ...), ("name", ""), ("parents", "f"), ("parents", ["f", "g"]), ("mimeType", "markdown"), ("other", 1),
    ]),
    ("dropbox.json#/$defs/upload", UPLOAD, [("path", "Lux/a.md"), ("path", ...), ("mode", "replace"), ("autorename", "yes"), ("other", 1)]),
    ("dropbox.json#/$defs/link", {"path": "/a"}, [("path", "a"), ("path", ...)]),
    ("dropbox.json#/$defs/metadata", {"path": "/a"}, [("path", "a"), ("other", 1)]),
    ("dropbox.json#/$defs/folder", {"path": "/a"}, [("path", "a"), ("other", 1)]),
    ("asana.json#/$defs/task", TASK, [
        ("data", ...), ("data.name", 123), ("data.projects", "1331"), ("data.projects", ["shop"]), ("data.projects", ...),
        ("data.html_notes", "<body>x</body>"), ("data.external", "lux-1"), ("data.other", 1), ("name", "x"),
    ]),
    ("asana.json#/$defs/task_edit", {"data": {"completed": True}}, [("data.completed", "true"), ("data", {}), ("data.projects", ["1331"])]),
    ("asana.json#/$defs/story", {"data": {"text": "x"}}, [("data.text", ""), ("data.html_text", "<body>x</body>"), ("data", "x")]),
    ("highlevel.json#/$defs/calls_query", CALLS, [
        ("startDate", ...), ("endDate", ...), ("startDate", "2026-11-20"), ("startDate", "1763596800"), ("pageSize", "51"), ("pageSize", "0"),
        ("page", "0"), ("sort", "asc"), ("sortBy", "date"), ("locationId", ...), ("other", "1"),
    ]),
    ("highlevel.json#/$defs/contact", CONTACT, [("locationId", ...), ("email", "a"), ("tags", "newsletter"), ("other", 1), ("country", "Switzerland")]),
    ("highlevel.json#/$defs/location_token", {"companyId": "c", "locationId": "l"}, [("companyId", ...), ("locationId", ""), ("other", 1)]),
    ("oauth.json#/$defs/exchange", EXCHANGE, [
        ("code", ...), ("redirect_uri", ...), ("grant_type", "code"), ("grant_type", ...), ("code_verifier", "short"), ("other", "1"),
    ]),
    ("oauth.json#/$defs/refresh", {"grant_type": "refresh_token", "refresh_token": "r"}, [("refresh_token", ...), ("refresh_token", ""), ("code", "c")]),
    ("oauth.json#/$defs/highlevel_refresh", HL_REFRESH, [("user_type", ...), ("user_type", "location"), ("client_secret", ...)]),
    ("oauth.json#/$defs/highlevel_exchange", {**changed(HL_REFRESH, "refresh_token", ...), "grant_type": "authorization_code", "code": "c"}, [
        ("user_type", ...), ("code_verifier", "v" * 43), ("code", ...),
    ]),
]


class Schemas(unittest.TestCase):
    def test_each_takes_the_good_and_refuses_the_spoiled(self):
        for schema, good, spoiled in CASES:
            check(schema, good)
            for path, value in spoiled:
                with self.subTest(schema=schema, path=path, value=str(value)[:40]), self.assertRaises(Invalid):
                    check(schema, changed(good, path, value))

    def test_none_is_left_untested(self):
        tested = {schema for schema, _, _ in CASES}
        parts = {"labels", "title", "text", "named", "summary", "fields", "plain", "words", "button", "block", "moment", "path", "gid", "word"}
        for name in registry():
            schema = registry()[name].contents
            for part in schema.get("$defs", {}):
                if name != "adf.json" and part not in parts:
                    self.assertIn(f"{name}#/$defs/{part}", tested)

    def test_a_plain_string_is_no_document(self):
        for wrong in ("plain", None, [], {}, {"type": "doc", "content": []}):
            with self.assertRaises(Invalid):
                check("adf.json", wrong)


SCOPES = {
    "github": "read:user user:email repo", "slack": "chat:write,chat:write.public,channels:read,users:read,users:read.email",
    "google": "openid email profile https://www.googleapis.com/auth/calendar.events https://www.googleapis.com/auth/meetings.space.created https://www.googleapis.com/auth/drive.file",
    "dropbox": "account_info.read files.content.write", "asana": "tasks:read tasks:write projects:read users:read workspaces:read",
    "atlassian": "read:jira-work write:jira-work read:jira-user offline_access", "monday": "me:read boards:read boards:write updates:write",
    "highlevel": "voice-ai-dashboard.readonly contacts.readonly contacts.write locations.readonly",
}
PARAMETERS = {
    "google": {"access_type": "offline", "prompt": "consent"}, "dropbox": {"token_access_type": "offline"},
    "atlassian": {"audience": "api.atlassian.com", "prompt": "consent"},
}
VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
BACK = "http://127.0.0.1:5000/api/integrations/x/callback"
# how each words that a refresh token or a code is bad
REFUSALS = {"github": 200, "slack": 200, "atlassian": 403}
EXPIRING = {"github": {"token_life": 60}, "slack": {"token_life": 60}}


class Simulated(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.runner, self.simulator, port = await serve([(a.name, f"{a.name}-id", f"{a.name}-s3cret") for a in EVERY])
        self.base = f"http://127.0.0.1:{port}"
        self.http = aiohttp.ClientSession()

    async def asyncTearDown(self):
        await self.http.close()
        await self.runner.cleanup()

    async def ask(self, method, path, token=None, headers=None, **more):
        headers = dict(headers or {})
        if token:
            headers["authorization"] = f"Bearer {token}"
        if not {"data", "json"} & set(more):
            more["skip_auto_headers"] = ["content-type"]
        async with self.http.request(method, self.base + path, headers=headers, allow_redirects=False, **more) as answer:
            body = await answer.read()
            try:
                value = json.loads(body) if body else None
            except ValueError:
                value = body.decode("utf-8", "replace")
            return answer.status, value, answer.headers

    async def control(self, app, **body):
        status, answer, _ = await self.ask("POST", f"/control/{app}", json=body)
        self.assertEqual(status, 200, answer)

    async def stats(self, app):
        _, stats, _ = await self.ask("GET", f"/control/stats/{app}")
        return {**stats["apps"][app], "invalid": stats["invalid"], "requests": stats["requests"], "stolen": stats["stolen"]}

    def query(self, app, **changes):
        query = {"client_id": f"{app}-id", "redirect_uri": BACK, "response_type": "code", "state": "s" * 43,
                 "scope": SCOPES[app], "auto": "", **PARAMETERS.get(app, {})}
        if app not in ("slack", "highlevel"):
            query |= {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        return {name: value for name, value in {**query, **changes}.items() if value is not None}

    async def code(self, app, **changes):
        cls = next(a for a in EVERY if a.name == app)
        status, body, headers = await self.ask("GET", f"/{app}{cls.authorize_path}", params=self.query(app, **changes))
        self.assertEqual(status, 302, body)
        self.assertTrue(headers["location"].startswith(BACK))
        return dict(parse_qsl(urlsplit(headers["location"]).query))["code"]

    async def token(self, app, headers=None, **changes):
        cls = next(a for a in EVERY if a.name == app)
        form = {"client_id": f"{app}-id", "client_secret": f"{app}-s3cret", **changes}
        if app == "highlevel":
            form.setdefault("user_type", "Location")
        form = {name: value for name, value in form.items() if value is not None}
        headers = {"accept": "application/json", **(headers or {})}
        return await self.ask("POST", f"/{app}{cls.token_path}", headers=headers, data=form)

    async def exchange(self, app, code=None, **changes):
        code = code or await self.code(app)
        more = {} if app in ("slack", "highlevel") else {"code_verifier": VERIFIER}
        return await self.token(app, grant_type="authorization_code", code=code, **{"redirect_uri": BACK, **more, **changes})

    async def refresh(self, app, token, **changes):
        return await self.token(app, grant_type="refresh_token", refresh_token=token, **changes)

    def refused(self, app, answer):
        status, body, _ = answer
        self.assertNotIn("access_token", body)
        self.assertEqual(status, REFUSALS.get(app, 400), body)

    async def connected(self, app, **knobs):
        await self.control(app, **{**EXPIRING.get(app, {}), **knobs})
        status, answer, _ = await self.exchange(app)
        self.assertEqual(status, 200, answer)
        return answer


class Consent(Simulated):
    async def test_every_provider_connects_and_refreshes_without_a_complaint(self):
        for app in SCOPES:
            with self.subTest(app):
                answer = await self.connected(app)
                status, fresh, _ = await self.refresh(app, answer["refresh_token"])
                self.assertEqual(status, 200, fresh)
                self.assertNotEqual(fresh["access_token"], answer["access_token"])
                stats = await self.stats(app)
                self.assertEqual((stats["exchanges"], stats["refreshes"], stats["invalid"]), (1, 1, []))

    async def test_a_page_asks_a_person(self):
        status, page, _ = await self.ask("GET", "/github/login/oauth/authorize", params=self.query("github", auto=None))
        self.assertEqual(status, 200)
        self.assertIn("Allow</button>", page)
        self.assertIn("Deny</button>", page)
        query = self.query("github", auto=None, decision="deny")
        status, _, headers = await self.ask("GET", "/github/login/oauth/authorize", params=query)
        self.assertEqual(status, 302)
        self.assertIn("error=access_denied", headers["location"])
        self.assertEqual((await self.stats("github"))["denied"], 1)

    async def test_authorize_refuses(self):
        wrong = [
            ("github", {"client_id": "other"}), ("github", {"redirect_uri": None}), ("github", {"state": None}),
            ("github", {"code_challenge_method": "plain"}), ("github", {"code_challenge": "short"}),
            ("slack", {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}), ("google", {"response_type": "token"}),
            ("atlassian", {"audience": None}), ("atlassian", {"prompt": None}), ("monday", {"code_challenge": None}),
        ]
        for app, changes in wrong:
            with self.subTest(app=app, changes=changes):
                before = len((await self.stats(app))["invalid"])
                path = next(a for a in EVERY if a.name == app).authorize_path
                status, _, _ = await self.ask("GET", f"/{app}{path}", params=self.query(app, **changes))
                self.assertEqual(status, 400)
                self.assertEqual(len((await self.stats(app))["invalid"]), before + 1)

    async def test_nothing_lasting_without_asking(self):
        for app, changes in (("google", {"access_type": None}), ("google", {"prompt": None}), ("dropbox", {"token_access_type": None}),
                             ("atlassian", {"scope": "read:jira-work"})):
            with self.subTest(app=app, changes=changes):
                _, answer, _ = await self.exchange(app, await self.code(app, **changes))
                self.assertNotIn("refresh_token", answer)

    async def test_a_code_is_used_once_by_its_client_at_its_address_with_its_verifier(self):
        for app in SCOPES:
            with self.subTest(app):
                self.refused(app, await self.exchange(app, await self.code(app), redirect_uri=BACK + "/other"))
                if app not in ("slack", "highlevel"):
                    self.refused(app, await self.exchange(app, await self.code(app), code_verifier="w" * 50))
                    self.refused(app, await self.exchange(app, await self.code(app), code_verifier=None))
                _, bad, _ = await self.exchange(app, await self.code(app), client_secret="wrong")
                self.assertNotIn("access_token", bad)
                code = await self.code(app)
                _, good, _ = await self.exchange(app, code)
                self.assertIn("access_token", good)
                self.refused(app, await self.exchange(app, code))
                # What came of a code that was used twice is dead.
                self.assertFalse(self.simulator.apps[app].tokens[good["access_token"]].consent.live)

    async def test_dropbox_takes_one_way_of_authentication(self):
        basic = {"authorization": "Basic " + base64.b64encode(b"dropbox-id:dropbox-s3cret").decode()}
        status, body, _ = await self.exchange("dropbox", headers=basic)
        self.assertEqual((status, body["error"]), (400, "invalid_request"))
        status, _, _ = await self.exchange("dropbox", headers=basic, client_id=None, client_secret=None)
        self.assertEqual(status, 200)

    async def test_github_answers_forms_unless_asked(self):
        status, body, headers = await self.exchange("github", headers={"accept": "*/*"})
        self.assertIn("x-www-form-urlencoded", headers["content-type"])
        self.assertIn("access_token=gho_", body)
        status, body, _ = await self.token("github", headers={"accept": "*/*"}, code="x", redirect_uri=BACK)
        self.assertEqual(status, 200)
        self.assertIn("error=bad_verification_code", body)

    async def test_highlevel_takes_forms_with_a_user_type(self):
        status, body, _ = await self.token("highlevel", grant_type="refresh_token", refresh_token="x", user_type="location")
        self.assertEqual(status, 422)
        status, _, _ = await self.ask("POST", "/highlevel/oauth/token", json=HL_REFRESH)
        self.assertEqual(status, 400)
        self.assertEqual(len((await self.stats("highlevel"))["invalid"]), 2)


class Life(Simulated):
    async def test_rotation_is_strict_and_kills_the_family(self):
        for app in ("github", "slack", "monday"):
            with self.subTest(app):
                first = await self.connected(app)
                _, second, _ = await self.refresh(app, first["refresh_token"])
                self.refused(app, await self.refresh(app, first["refresh_token"]))
                self.refused(app, await self.refresh(app, second["refresh_token"]))
                self.assertEqual((await self.stats(app))["refreshes_refused"], 2)

    async def test_grace_lets_the_old_one_live(self):
        first = await self.connected("atlassian", grace=60)
        _, second, _ = await self.refresh("atlassian", first["refresh_token"])
        status, again, _ = await self.refresh("atlassian", first["refresh_token"])
        self.assertEqual(status, 200)
        self.assertNotEqual(again["refresh_token"], second["refresh_token"])
        await self.control("atlassian", grace=0)
        self.refused("atlassian", await self.refresh("atlassian", first["refresh_token"]))
        # HighLevel gives the same one again.
        first = await self.connected("highlevel")
        _, second, _ = await self.refresh("highlevel", first["refresh_token"])
        _, again, _ = await self.refresh("highlevel", first["refresh_token"])
        self.assertEqual(again["refresh_token"], second["refresh_token"])

    async def test_google_and_dropbox_never_rotate(self):
        for app in ("google", "dropbox", "asana"):
            first = await self.connected(app)
            _, second, _ = await self.refresh(app, first["refresh_token"])
            self.assertNotIn("refresh_token", second)
            status, _, _ = await self.refresh(app, first["refresh_token"])
            self.assertEqual(status, 200)

    async def test_how_life_is_told(self):
        monday = await self.connected("monday")
        self.assertNotIn("expires_in", monday)
        claims = monday["access_token"].split(".")[1]
        self.assertIn("exp", json.loads(base64.urlsafe_b64decode(claims + "==")))
        self.assertEqual((await self.connected("asana", expires_in="string"))["expires_in"], "3600")
        self.assertNotIn("expires_in", await self.connected("asana", expires_in="absent"))
        await self.control("slack", token_life=None)
        _, plain, _ = await self.exchange("slack")
        self.assertNotIn("expires_in", plain)
        self.assertNotIn("refresh_token", plain)

    async def test_calls_need_a_live_token_with_the_scope(self):
        token = (await self.connected("atlassian", withhold=["write:jira-work"]))["access_token"]
        status, sites, _ = await self.ask("GET", "/atlassian/oauth/token/accessible-resources", token)
        self.assertEqual(status, 200)
        issue = f"/atlassian/api/ex/jira/{sites[0]['id']}/rest/api/3/issue"
        self.assertEqual((await self.ask("POST", issue, token, json=JIRA))[0], 401)
        self.assertEqual((await self.ask("GET", issue + "/OPS-1", token))[0], 404)
        for status in (401, 403, 404):
            await self.control("atlassian", expire="access", expired_status=status)
            self.assertEqual((await self.ask("GET", issue + "/OPS-1", token))[0], status)
        self.assertEqual((await self.ask("GET", issue + "/OPS-1", "other"))[0], 401)

    async def test_withdrawn_consents_are_dead(self):
        for app in SCOPES:
            answer = await self.connected(app)
            await self.control(app, revoke_all=True)
            self.refused(app, await self.refresh(app, answer["refresh_token"]))

    async def test_a_revoked_google_token_takes_all_consents_along(self):
        calendar = await self.connected("google")
        drive = await self.connected("google")
        status, _, _ = await self.ask("POST", "/google/revoke", params={"token": drive["refresh_token"]})
        self.assertEqual(status, 200)
        self.refused("google", await self.refresh("google", calendar["refresh_token"]))

    async def test_an_answer_is_held_after_the_deed(self):
        await self.control("monday", after_exchange_hold=True)
        waiting = asyncio.create_task(self.exchange("monday"))
        while (await self.stats("monday"))["held"] == 0 and not waiting.done():
            await asyncio.sleep(0.01)
        self.assertEqual((await self.stats("monday"))["exchanges"], 1)
        self.assertFalse(waiting.done())
        await self.control("monday", release=True)
        self.assertEqual((await waiting)[0], 200)

    async def test_failures_come_as_asked(self):
        token = (await self.connected("github"))["access_token"]
        for do, expected in ((401, 401), (403, 403), (404, 404), (429, 429), (500, 500), (502, 502)):
            await self.control("github", next={"do": do, "retry_after": 7})
            status, body, headers = await self.ask("GET", "/github/api/user", token)
            self.assertEqual(status, expected)
            if do == 429:
                self.assertEqual(headers["retry-after"], "7")
            if do == 502:
                self.assertIn("<html>", body)
        self.assertEqual((await self.ask("GET", "/github/user", token))[0], 200)
        await self.control("github", next=[{"do": "redirect"}, {"do": "huge"}])
        status, _, headers = await self.ask("GET", "/github/api/user", token)
        self.assertIn("127.0.0.2", headers["location"])
        async with self.http.get(f"{self.base}/github/api/user") as answer:
            size = 0
            async for chunk in answer.content.iter_any():
                size += len(chunk)
        self.assertGreater(size, 64 * 1024 * 1024)
        async with self.http.get(headers["location"], headers={"authorization": "Bearer x"}) as answer:
            self.assertEqual(answer.status, 200)
        self.assertEqual((await self.stats("github"))["stolen"], [{"path": "/elsewhere/user", "authorization": True}])

    async def test_secrets_are_known_and_records_hold_none(self):
        for app in SCOPES:
            answer = await self.connected(app)
            await self.refresh(app, answer["refresh_token"])
        _, secrets, _ = await self.ask("GET", "/control/secrets")
        self.assertGreater(len(secrets), 8 * 5)
        async with self.http.get(f"{self.base}/control/stats") as answer:
            stats = await answer.text()
        for secret in secrets:
            if secret["kind"] != "state":
                self.assertNotIn(secret["value"], stats, secret["name"])


class Work(Simulated):
    async def test_github(self):
        token = (await self.connected("github", token_life=None))["access_token"]
        agent = {"user-agent": "lux", "accept": "application/vnd.github+json"}
        issues = "/github/api/repos/acme/shop/issues"
        status, issue, headers = await self.ask("POST", issues, token, agent, json=GITHUB)
        self.assertEqual((status, issue["number"], issue["labels"][0]["name"]), (201, 2, "lux"))
        self.assertEqual(headers["x-oauth-scopes"], "read:user, user:email, repo")
        _, rows, _ = await self.ask("GET", issues, token, agent)
        self.assertEqual([("pull_request" in row) for row in rows], [False, True])
        _, rows, _ = await self.ask("GET", issues, token, agent, params={"labels": "lux", "state": "all"})
        self.assertEqual(len(rows), 1)
        self.assertEqual((await self.ask("POST", f"{issues}/2/comments", token, agent, json={"body": "x"}))[0], 201)
        _, closed, _ = await self.ask("PATCH", f"{issues}/2", token, agent, json={"state": "closed", "state_reason": "completed"})
        self.assertEqual(closed["state"], "closed")
        self.assertEqual((await self.stats("github"))["invalid"], [])
        self.assertEqual((await self.ask("POST", issues, token, agent, json={"body": "x"}))[0], 422)
        self.assertEqual((await self.ask("POST", issues, token, {"user-agent": ""}, json=GITHUB))[0], 403)
        self.assertEqual((await self.ask("GET", "/github/api/repos/acme/none", token, agent))[0], 404)
        await self.control("github", issues_enabled=False)
        self.assertEqual((await self.ask("POST", issues, token, agent, json=GITHUB))[0], 410)
        client = {"authorization": "Basic " + base64.b64encode(b"github-id:github-s3cret").decode()}
        path = "/github/api/applications/github-id/grant"
        self.assertEqual((await self.ask("DELETE", path, None, client, json={"access_token": token}))[0], 204)
        self.assertEqual((await self.ask("GET", "/github/api/user", token, agent))[0], 401)

    async def test_slack(self):
        token = (await self.connected("slack"))["access_token"]
        _, posted, _ = await self.ask("POST", "/slack/api/chat.postMessage", token, json=SLACK)
        self.assertTrue(posted["ok"])
        for channel, error in (("C0OLD", "is_archived"), ("C0NONE", "channel_not_found")):
            status, answer, _ = await self.ask("POST", "/slack/api/chat.postMessage", token, json={**SLACK, "channel": channel})
            self.assertEqual((status, answer["error"]), (200, error))
        await self.control("slack", remove_scopes=["chat:write.public"])
        _, answer, _ = await self.ask("POST", "/slack/api/chat.postMessage", token, json={**SLACK, "channel": "ops"})
        self.assertEqual(answer["error"], "not_in_channel")
        self.assertEqual((await self.stats("slack"))["invalid"], [])
        _, answer, _ = await self.ask("POST", "/slack/api/chat.postMessage", token, json=changed(SLACK, "blocks.0.text.text", "x" * 3001))
        self.assertEqual(answer["error"], "invalid_arguments")
        _, user, _ = await self.ask("POST", "/slack/api/users.info", token, data={"user": "U0ADA"})
        self.assertEqual(user["user"]["profile"]["email"], "ada@example.com")
        await self.control("slack", expire="access")
        _, answer, _ = await self.ask("POST", "/slack/api/auth.test", token)
        self.assertEqual(answer["error"], "token_expired")
        await self.control("slack", user_only=True)
        _, answer, _ = await self.exchange("slack")
        self.assertNotIn("access_token", answer)
        self.assertIn("access_token", answer["authed_user"])

    async def test_google(self):
        token = (await self.connected("google"))["access_token"]
        events = "/google/calendar/v3/calendars/primary/events"
        _, event, _ = await self.ask("POST", f"{events}?conferenceDataVersion=1&sendUpdates=all", token, json=EVENT)
        self.assertTrue(event["hangoutLink"].startswith("https://meet.google.com/"))
        _, event, _ = await self.ask("POST", events, token, json=EVENT)
        self.assertNotIn("hangoutLink", event)
        await self.control("google", meet="pending")
        _, event, _ = await self.ask("POST", f"{events}?conferenceDataVersion=1", token, json=changed(EVENT, "conferenceData.createRequest.requestId", "2"))
        self.assertEqual(event["conferenceData"]["createRequest"]["status"]["statusCode"], "pending")
        _, event, _ = await self.ask("GET", f"{events}/{event['id']}", token)
        self.assertIn("hangoutLink", event)
        _, space, _ = await self.ask("POST", "/google/v2/spaces", token, json={})
        self.assertIn("meetingUri", space)
        upload = "/google/upload/drive/v3/files?uploadType=multipart&fields=id,name,webViewLink"
        body = ('--b\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{"name":"a.md","parents":["folder-reports"]}\r\n'
                "--b\r\nContent-Type: text/markdown\r\n\r\n# x\r\n--b--\r\n").encode()
        related = {"content-type": "multipart/related; boundary=b"}
        status, file, _ = await self.ask("POST", upload, token, related, data=body)
        self.assertEqual((status, set(file)), (200, {"id", "name", "webViewLink"}))
        self.assertEqual((await self.stats("google"))["created"]["files"][0]["content"], "# x")
        self.assertEqual((await self.stats("google"))["invalid"], [])
        for wrong in (body.replace(b'"name":"a.md",', b""), body.replace(b"application/json", b"text/plain"), body.replace(b"--b--", b"")):
            self.assertEqual((await self.ask("POST", upload, token, related, data=wrong))[0], 400)
        self.assertEqual((await self.ask("POST", events, token, json=changed(EVENT, "attendees", "ada")))[0], 400)
        self.assertEqual((await self.ask("POST", f"{events}?conferenceDataVersion=2", token, json=EVENT))[0], 400)
        await self.control("google", remove_scopes=["https://www.googleapis.com/auth/drive.file"])
        self.assertEqual((await self.ask("POST", upload, token, related, data=body))[0], 403)

    async def test_dropbox(self):
        token = (await self.connected("dropbox"))["access_token"]
        upload = "/dropbox/2/files/upload"
        octets = {"content-type": "application/octet-stream"}
        argument = {**octets, "dropbox-api-arg": json.dumps({**UPLOAD, "path": "/Lux/Zürich.md"})}
        _, first, _ = await self.ask("POST", upload, token, argument, data=b"x")
        _, same, _ = await self.ask("POST", upload, token, argument, data=b"x")
        _, second, _ = await self.ask("POST", upload, token, argument, data=b"y")
        self.assertEqual((first["path_display"], same["id"], second["path_display"]),
                         ("/Lux/Zürich.md", first["id"], "/Lux/Zürich (1).md"))
        self.assertEqual((await self.ask("POST", "/dropbox/2/users/get_current_account", token))[0], 200)
        self.assertEqual((await self.stats("dropbox"))["invalid"], [])
        raw = {**octets, "dropbox-api-arg": json.dumps({**UPLOAD, "path": "/Lux/Zürich.md"}, ensure_ascii=False)}
        status, words, _ = await self.ask("POST", upload, token, raw, data=b"x")
        self.assertEqual(status, 400)
        self.assertIn("ASCII", words)
        self.assertEqual((await self.ask("POST", "/dropbox/2/users/get_current_account", token, json={}))[0], 400)
        status, body, _ = await self.ask("POST", "/dropbox/2/sharing/create_shared_link_with_settings", token, json={"path": "/a"})
        self.assertEqual((status, body["error"]["required_scope"]), (401, "sharing.write"))

    async def test_asana(self):
        token = (await self.connected("asana"))["access_token"]
        api = "/asana/api/1.0"
        status, task, _ = await self.ask("POST", f"{api}/tasks?opt_fields=gid,name,permalink_url,completed", token, json=TASK)
        self.assertEqual((status, set(task["data"])), (201, {"gid", "name", "permalink_url", "completed"}))
        _, found, _ = await self.ask("GET", f"{api}/tasks/external:lux-1", token)
        self.assertEqual(found["data"]["gid"], task["data"]["gid"])
        self.assertEqual((await self.ask("POST", f"{api}/tasks", token, json=TASK))[0], 400)
        _, counts, _ = await self.ask("GET", f"{api}/projects/1331/task_counts", token)
        self.assertEqual(counts["data"], {})
        _, counts, _ = await self.ask("GET", f"{api}/projects/1331/task_counts?opt_fields=num_incomplete_tasks", token)
        self.assertEqual(counts["data"], {"num_incomplete_tasks": 1})
        path = f"{api}/tasks/{task['data']['gid']}"
        self.assertEqual((await self.ask("POST", f"{path}/stories", token, json={"data": {"text": "x"}}))[0], 201)
        _, done, _ = await self.ask("PUT", path, token, json={"data": {"completed": True}})
        self.assertTrue(done["data"]["completed"])
        self.assertEqual((await self.stats("asana"))["invalid"], [])
        self.assertEqual((await self.ask("POST", f"{api}/tasks", token, json={"data": {"name": 123, "projects": ["1331"]}}))[0], 400)
        self.assertEqual((await self.ask("GET", f"{api}/projects/9", token))[0], 404)

    async def test_jira(self):
        token = (await self.connected("atlassian", sites=2))["access_token"]
        _, sites, _ = await self.ask("GET", "/atlassian/api/oauth/token/accessible-resources", token)
        self.assertEqual(len(sites), 2)
        api = f"/atlassian/api/ex/jira/{sites[0]['id']}/rest/api/3"
        status, made, _ = await self.ask("POST", f"{api}/issue", token, json=JIRA)
        self.assertEqual((status, made["key"]), (201, "OPS-1"))
        jql = 'project = "OPS" AND labels = "lux-1" AND statusCategory != Done ORDER BY updated DESC'
        _, found, _ = await self.ask("GET", f"{api}/search/jql", token, params={"jql": jql, "fields": "summary,status"})
        self.assertEqual(found["issues"][0]["fields"]["status"]["statusCategory"]["key"], "new")
        self.assertEqual((await self.ask("POST", f"{api}/issue/OPS-1/comment", token, json={"body": ADF}))[0], 201)
        self.assertEqual((await self.ask("POST", f"{api}/issue/OPS-1/transitions", token, json={"transition": {"id": "31"}}))[0], 204)
        _, count, _ = await self.ask("POST", f"{api}/search/approximate-count", token, json={"jql": jql})
        self.assertEqual(count, {"count": 0})
        self.assertEqual((await self.stats("atlassian"))["invalid"], [])
        other = f"/atlassian/api/ex/jira/{sites[1]['id']}/rest/api/3"
        self.assertEqual((await self.ask("GET", f"{other}/issue/OPS-1", token))[0], 404)
        for path, value in (("fields.description", "plain"), ("fields.summary", "a\nb"), ("fields.issuetype.id", "1")):
            self.assertEqual((await self.ask("POST", f"{api}/issue", token, json=changed(JIRA, path, value)))[0], 400)
        self.assertEqual((await self.ask("GET", f"{api}/search/jql", token, params={"jql": "drop table"}))[0], 400)
        self.assertEqual((await self.ask("GET", f"{api}/search?jql=x", token))[0], 410)
        self.assertEqual(len((await self.stats("atlassian"))["invalid"]), 5)

    async def test_monday(self):
        token = (await self.connected("monday"))["access_token"]

        async def ask(query, version="2026-10", **variables):
            headers = {"api-version": version} if version else {}
            _, answer, _ = await self.ask("POST", "/monday/api/v2", token, headers, json={"query": query, "variables": variables})
            return answer

        answer = await ask("query{me{id name email photo_url{thumb} account{id slug}}}")
        self.assertEqual(answer["data"]["me"]["account"]["slug"], "acme")
        create = "mutation($b:ID!,$n:String!,$c:JSON){create_item(board_id:$b,item_name:$n,column_values:$c,create_labels_if_missing:true){id url}}"
        answer = await ask(create, b="9001", n="500 on /pay", c='{"text":"lux-1","status":{"label":"Stuck"}}')
        item = answer["data"]["create_item"]["id"]
        answer = await ask("mutation($i:ID!,$b:String!){create_update(item_id:$i,body:$b){id}}", i=item, b="<p>x</p>")
        self.assertIn("id", answer["data"]["create_update"])
        status = "query($b:[ID!]){boards(ids:$b){id name state url items_count items_page(limit:100){cursor items{id name state url column_values{id type text}}}} complexity{before query after reset_in_x_seconds}}"
        answer = await ask(status, b=["9001"])
        self.assertEqual(answer["data"]["boards"][0]["items_page"]["items"][0]["column_values"][0]["text"], "Stuck")
        found = 'query{items_page_by_column_values(board_id:9001,columns:[{column_id:"text",column_values:["lux-1"]}],limit:1){items{id}}}'
        self.assertEqual((await ask(found))["data"]["items_page_by_column_values"]["items"], [{"id": item}])
        self.assertEqual((await self.stats("monday"))["invalid"], [])
        wrong = [
            ("query{me{photo_thumb}}", {}), ("query{me{id", {}), (create, {"b": "9001"}), (create, {"b": "9001", "n": "x" * 256}),
            (create, {"b": "9001", "n": "x", "c": {"text": "an object"}}), (create, {"b": "9001", "n": "x", "c": '{"status":"Done"}'}),
            ("query{boards(ids:9001){items_page(limit:501){cursor}}}", {}),
        ]
        for number, (query, variables) in enumerate(wrong, 1):
            with self.subTest(query=query, variables=str(variables)[:60]):
                self.assertIn("errors", await ask(query, **variables))
                self.assertEqual(len((await self.stats("monday"))["invalid"]), number)
        for version in (None, "2023-01", "now"):
            await ask("query{me{id}}", version)
        self.assertEqual(len((await self.stats("monday"))["invalid"]), len(wrong) + 3)
        await self.control("monday", remove_scopes=["boards:write"])
        answer = await ask(create, b="9001", n="x")
        self.assertEqual(answer["errors"][0]["extensions"]["code"], "UNAUTHORIZED_FIELD_OR_TYPE")

    async def test_highlevel(self):
        token = (await self.connected("highlevel"))["access_token"]
        await self.control("highlevel", calls={"count": 120, "duplicate": True})
        calls, versioned = "/highlevel/voice-ai/dashboard/call-logs", {"version": "2021-04-15"}
        seen = []
        for page in (1, 2, 3):
            query = {**CALLS, "locationId": "hlLocation01", "page": str(page)}
            _, answer, _ = await self.ask("GET", calls, token, versioned, params=query)
            seen += [row["id"] for row in answer["callLogs"]]
        self.assertEqual((len(seen), len(set(seen)), seen[49]), (122, 120, seen[50]))
        contact = {**CONTACT, "locationId": "hlLocation01"}
        api = {"version": "2021-07-28"}
        self.assertTrue((await self.ask("POST", "/highlevel/contacts/upsert", token, api, json=contact))[1]["new"])
        self.assertFalse((await self.ask("POST", "/highlevel/contacts/upsert", token, api, json=contact))[1]["new"])
        self.assertEqual((await self.ask("GET", "/highlevel/locations/hlLocation01", token, api))[0], 200)
        self.assertEqual((await self.stats("highlevel"))["invalid"], [])
        wrong = [
            ("GET", calls, api, {"params": {"locationId": "hlLocation01"}}), ("GET", calls, versioned, {"params": {}}),
            ("GET", calls, versioned, {"params": {"locationId": "hlLocation01", "startDate": "1763596800000"}}),
            ("GET", calls, versioned, {"params": {"locationId": "hlLocation01", "pageSize": "51"}}),
            ("POST", "/highlevel/contacts/upsert", versioned, {"json": contact}), ("POST", "/highlevel/contacts/upsert", api, {"data": contact}),
            ("POST", "/highlevel/contacts/upsert", api, {"json": changed(contact, "email", ...)}), ("GET", "/highlevel/locations/hlLocation01", {}, {}),
        ]
        for number, (method, path, headers, more) in enumerate(wrong, 1):
            status, _, _ = await self.ask(method, path, token, headers, **more)
            self.assertIn(status, (400, 422))
            self.assertEqual(len((await self.stats("highlevel"))["invalid"]), number, (path, more))
        self.assertEqual((await self.ask("GET", calls, token, versioned, params={"locationId": "hlLocation02"}))[0], 403)

    async def test_an_agency_gets_a_locations_token(self):
        company = await self.connected("highlevel", company=True)
        self.assertEqual((company["userType"], "locationId" in company), ("Company", False))
        api = {"version": "2021-07-28"}
        path, form = "/highlevel/oauth/locationToken", {"companyId": "hlCompany01", "locationId": "hlLocation02"}
        self.assertEqual((await self.ask("GET", "/highlevel/locations/hlLocation02", company["access_token"], api))[0], 403)
        self.assertEqual((await self.ask("POST", path, company["access_token"], api, json=form))[0], 422)
        status, inner, _ = await self.ask("POST", path, company["access_token"], api, data=form)
        self.assertEqual((status, inner["userType"], inner["locationId"]), (201, "Location", "hlLocation02"))
        self.assertEqual((await self.ask("GET", "/highlevel/locations/hlLocation02", inner["access_token"], api))[0], 200)

    async def test_what_is_no_route_is_told(self):
        token = (await self.connected("github"))["access_token"]
        self.assertEqual((await self.ask("GET", "/github/api/nowhere", token))[0], 404)
        self.assertEqual(len((await self.stats("github"))["invalid"]), 1)


if __name__ == "__main__":
    unittest.main()
