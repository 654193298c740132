"""Google: one consent for all its services, and nothing lasting unless asked for."""

import json
import re
import time

from oauth import Answer, App, b64, route

CALENDAR = "https://www.googleapis.com/auth/calendar.events|https://www.googleapis.com/auth/calendar.events.owned|https://www.googleapis.com/auth/calendar"
MEET = "https://www.googleapis.com/auth/meetings.space.created"
DRIVE = "https://www.googleapis.com/auth/drive.file|https://www.googleapis.com/auth/drive"


class Google(App):
    name = "google"
    authorize_path = "/o/oauth2/v2/auth"
    token_path = "/token"
    # meet: how a conference begins, "success" | "pending" | "failure"
    defaults = {"token_life": 3599, "meet": "success", "id_token": True}
    account = {
        "id": "117000000000000000001", "email": "ada@example.com", "name": "Ada Byron",
        "picture": "https://lh3.example.com/ada.png", "folders": ["folder-reports"],
    }
    needs = {"response_type": "code"}
    prefixes = {"access": "ya29.", "refresh": "1//0"}

    def start(self):
        self.events, self.files, self.meetings = {}, {}, {}

    def granted(self, query):
        scopes = super().granted(query)
        if query.get("include_granted_scopes") == "true":
            for consent in self.consents:
                if consent.live and consent.account["id"] == self.knobs["account"]["id"]:
                    scopes += [scope for scope in consent.scopes if scope not in scopes]
        # The short names come back long.
        long = {"email": "https://www.googleapis.com/auth/userinfo.email",
                "profile": "https://www.googleapis.com/auth/userinfo.profile"}
        return list(dict.fromkeys(long.get(scope, scope) for scope in scopes))

    def extra(self, query):
        offline = query.get("access_type") == "offline" and "consent" in query.get("prompt", "").split()
        return {"offline": offline}

    def refreshable(self, consent, ask):
        return consent.extra["offline"] and super().refreshable(consent, ask)

    def shape(self, answer, consent, old):
        if self.knobs["id_token"] and "openid" in consent.scopes:
            account = consent.account
            claims = {"iss": "https://accounts.google.com", "sub": account["id"], "email": account["email"],
                      "email_verified": True, "aud": consent.client, "exp": int(time.time()) + 3600}
            token = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "RS256"}, claims)) + ".c2lnbmF0dXJl"
            self.keep("id_token", f"google-id-{consent.number}", token)
            answer["id_token"] = token
        return answer

    def token_error(self, kind, text):
        return super().token_error(kind, "Token has been expired or revoked." if kind == "bad_refresh" else text)

    def revoke(self, value):
        # With one goes all that this person allowed this client.
        known = super().revoke(value)
        if known:
            mine = self.tokens[value].consent
            for consent in self.consents:
                if (consent.client, consent.account["id"]) == (mine.client, mine.account["id"]):
                    consent.live = False
        return known

    @route("POST", "/revoke", token=False)
    def revocation(self, ask):
        value = ask.query.get("token") or (ask.form or {}).get("token")
        if not value:
            self.reject(ask, "there is no token to revoke")
        if not self.revoke(value):
            return Answer(400, {"error": "invalid_token", "error_description": "Token expired or revoked"})
        return {}

    def error(self, kind, text):
        status = self.statuses[kind]
        words = {401: ("authError", "UNAUTHENTICATED"), 403: ("insufficientPermissions", "PERMISSION_DENIED"),
                 404: ("notFound", "NOT_FOUND"), 400: ("invalid", "INVALID_ARGUMENT"),
                 429: ("rateLimitExceeded", "RESOURCE_EXHAUSTED"), 500: ("backendError", "INTERNAL")}
        reason, name = words[status]
        return Answer(status, {"error": {"code": status, "message": text, "status": name,
                                         "errors": [{"domain": "global", "reason": reason, "message": text}]}})

    @route("GET", "/oauth2/v2/userinfo")
    def userinfo(self, ask):
        account = ask.token.consent.account
        return {"id": account["id"], "email": account["email"], "verified_email": True, "name": account["name"],
                "picture": account["picture"]}

    @route("GET", "/oauth2/v3/userinfo")
    @route("GET", "/v1/userinfo")
    def userinfo_oidc(self, ask):
        account = ask.token.consent.account
        return {"sub": account["id"], "email": account["email"], "email_verified": True, "name": account["name"],
                "picture": account["picture"]}

    # ---- calendar

    def calendar(self, calendar):
        if calendar not in ("primary", "team@group.calendar.google.com"):
            raise self.error("not_found", f"calendar {calendar}")

    @route("POST", "/calendar/v3/calendars/{calendar}/events", CALENDAR)
    def insert(self, ask, calendar):
        self.calendar(calendar)
        self.valid(ask, "google.json#/$defs/event_query", ask.query)
        body = self.valid(ask, "google.json#/$defs/event", ask.json)
        if str(body["end"]) < str(body["start"]):
            self.reject(ask, "The specified time range is empty.")
        number = self.number()
        identity = body.get("id") or f"event{number}"
        if identity in self.events:
            raise Answer(409, {"error": {"code": 409, "message": "The requested identifier already exists.",
                                         "errors": [{"domain": "global", "reason": "duplicate"}]}})
        event = {**body, "id": identity, "status": "confirmed", "calendar": calendar,
                 "htmlLink": f"https://www.google.com/calendar/event?eid={identity}",
                 "sendUpdates": ask.query.get("sendUpdates", "none")}
        request = event.pop("conferenceData", None)
        if request and ask.query.get("conferenceDataVersion") == "1":
            wanted = request["createRequest"]
            same = [known for known in self.meetings.values() if known["requestId"] == wanted["requestId"]]
            code = same[0]["code"] if same else f"lux-{chr(97 + number % 26) * 4}-mtg"
            self.meetings[identity] = {"requestId": wanted["requestId"], "code": code}
            event["conferenceData"] = {"createRequest": {**wanted, "status": {"statusCode": self.knobs["meet"]}}}
            if self.knobs["meet"] == "success":
                self.arrange(event, code)
        self.events[identity] = self.make("events", event)
        return event

    def arrange(self, event, code):
        address = f"https://meet.google.com/{code}"
        event["hangoutLink"] = address
        event["conferenceData"]["createRequest"]["status"] = {"statusCode": "success"}
        event["conferenceData"]["conferenceId"] = code
        event["conferenceData"]["entryPoints"] = [{"entryPointType": "video", "uri": address, "label": address[8:]}]

    @route("GET", "/calendar/v3/calendars/{calendar}/events", CALENDAR)
    def list_events(self, ask, calendar):
        self.calendar(calendar)
        return {"kind": "calendar#events", "items": [e for e in self.events.values() if e["status"] != "cancelled"]}

    def event(self, identity):
        if identity not in self.events or self.events[identity]["status"] == "cancelled":
            raise self.error("not_found", "Not Found")
        return self.events[identity]

    @route("GET", "/calendar/v3/calendars/{calendar}/events/{event}", CALENDAR)
    def read_event(self, ask, calendar, event):
        self.calendar(calendar)
        found = self.event(event)
        # What was pending has come about by the next look.
        if event in self.meetings and "hangoutLink" not in found and self.knobs["meet"] != "failure":
            self.arrange(found, self.meetings[event]["code"])
        return found

    @route("DELETE", "/calendar/v3/calendars/{calendar}/events/{event}", CALENDAR)
    def delete_event(self, ask, calendar, event):
        self.calendar(calendar)
        self.event(event)["status"] = "cancelled"
        return Answer(204)

    # ---- meet

    @route("POST", "/v2/spaces", MEET)
    def space(self, ask):
        self.valid(ask, "google.json#/$defs/space", ask.json if ask.raw else {})
        code = f"lux-{chr(97 + self.number() % 26) * 4}-xyz"
        return self.make("spaces", {"name": f"spaces/{code.replace('-', '')}", "meetingCode": code,
                                    "meetingUri": f"https://meet.google.com/{code}", "config": {"accessType": "TRUSTED"}})

    # ---- drive

    @route("GET", "/drive/v3/about", DRIVE)
    def about(self, ask):
        if "fields" not in ask.query:
            self.reject(ask, "The 'fields' parameter is required for this method.")
        account = ask.token.consent.account
        return {"user": {"displayName": account["name"], "emailAddress": account["email"]}}

    @route("POST", "/upload/drive/v3/files", DRIVE)
    def upload(self, ask):
        if ask.query.get("uploadType") != "multipart":
            self.reject(ask, "uploadType must be multipart")
        boundary = re.fullmatch(r'multipart/related;\s*boundary="?([^";]+)"?', ask.headers.get("content-type", ""))
        if not boundary:
            self.reject(ask, "the upload must be multipart/related with a boundary")
        parts = ask.raw.split(b"--" + boundary[1].encode())
        if len(parts) != 4 or parts[3].strip() != b"--":
            self.reject(ask, "the upload must be two parts")
        heads = []
        for part in parts[1:3]:
            head, _, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            lines = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
            heads.append((lines.get("content-type", ""), body.removesuffix(b"\r\n")))
        (kind, metadata), (media, content) = heads
        if not kind.startswith("application/json") or not media:
            self.reject(ask, "the first part must be application/json, the second must tell its type")
        try:
            body = json.loads(metadata)
        except ValueError:
            self.reject(ask, "the first part is not JSON")
        self.valid(ask, "google.json#/$defs/file", body)
        return self.store(ask, body, content)

    @route("POST", "/drive/v3/files", DRIVE)
    def create_file(self, ask):
        return self.store(ask, self.valid(ask, "google.json#/$defs/file", ask.json), b"")

    def store(self, ask, body, content):
        for parent in body.get("parents", []):
            if parent not in ask.token.consent.account["folders"] and parent not in self.files:
                raise self.error("not_found", f"File not found: {parent}.")
        identity = f"file{self.number()}"
        self.files[identity] = self.make("files", {
            **body, "id": identity, "size": str(len(content)), "content": content.decode("utf-8", "replace")[:65536],
            "webViewLink": f"https://drive.google.com/file/d/{identity}/view", "kind": "drive#file",
        })
        return self.fields(ask, self.files[identity])

    @staticmethod
    def fields(ask, file):
        wanted = [name.strip() for name in ask.query.get("fields", "kind,id,name,mimeType").split(",")]
        return {name: value for name, value in file.items() if name in wanted or "*" in wanted}

    @route("GET", "/drive/v3/files", DRIVE)
    def list_files(self, ask):
        rows = list(self.files.values())
        for name, value in re.findall(r"(name|mimeType) ?= ?'((?:[^'\\]|\\.)*)'", ask.query.get("q", "")):
            rows = [row for row in rows if row.get(name) == value.replace("\\'", "'")]
        for parent in re.findall(r"'([^']+)' in parents", ask.query.get("q", "")):
            rows = [row for row in rows if parent in row.get("parents", [])]
        return {"files": [{key: value for key, value in row.items() if key != "content"} for row in rows]}

    @route("GET", "/drive/v3/files/{file}", DRIVE)
    def read_file(self, ask, file):
        if file not in self.files:
            raise self.error("not_found", f"File not found: {file}.")
        return self.fields(ask, self.files[file])
