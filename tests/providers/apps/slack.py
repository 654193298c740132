"""Slack: `ok` says how it went, the status does not."""

import time

from oauth import Answer, App, route


class Slack(App):
    name = "slack"
    authorize_path = "/oauth/v2/authorize"
    token_path = "/api/oauth.v2.access"
    # Without rotation; {"token_life": 43200, "rotation": "strict"} switches it on.
    defaults = {"token_life": None, "rotation": "strict", "user_only": False, "errors_200": True}
    account = {
        "id": "U0ADA", "name": "ada", "real_name": "Ada Byron", "email": "ada@example.com",
        "avatar": "https://avatars.example.com/ada_192.png", "team": {"id": "T0LUX", "name": "Lux Works"},
    }
    scope_joint = ","
    pkce = "refused"
    api_host = False
    prefixes = {"access": "xoxb-", "refresh": "xoxe-1-"}
    token_errors = {
        "bad_request": (400, "invalid_arguments"),
        "bad_client": (400, "bad_client_secret"),
        "bad_code": (400, "invalid_code"),
        "bad_redirect": (400, "bad_redirect_uri"),
        "bad_refresh": (400, "invalid_refresh_token"),
    }

    def start(self):
        self.channels = {
            "C0LUX": {"id": "C0LUX", "name": "lux", "is_member": True, "is_archived": False, "is_private": False},
            "C0OPS": {"id": "C0OPS", "name": "ops", "is_member": False, "is_archived": False, "is_private": False},
            "C0OLD": {"id": "C0OLD", "name": "old", "is_member": True, "is_archived": True, "is_private": False},
            "C0SECRET": {"id": "C0SECRET", "name": "secret", "is_member": False, "is_archived": False, "is_private": True},
        }
        self.messages = []

    def no(self, error, **more):
        return Answer(200 if self.knobs["errors_200"] else 400, {"ok": False, "error": error, **more})

    def check_token_request(self, ask, body, refresh):
        super().check_token_request(ask, {"grant_type": "authorization_code", **body}, refresh)

    def token_error(self, kind, text):
        return self.no(self.token_errors[kind][1])

    def shape(self, answer, consent, old):
        account = consent.account
        shaped = {
            "ok": True, "app_id": "A0LUX", "team": account["team"], "enterprise": None, "is_enterprise_install": False,
            "authed_user": {"id": account["id"]},
        }
        if self.knobs["user_only"]:
            shaped["authed_user"] |= {**answer, "token_type": "user"}
            return shaped
        return {**shaped, **answer, "token_type": "bot", "bot_user_id": "U0BOT"}

    def headers(self, ask):
        return {"x-oauth-scopes": self.scope_joint.join(ask.token.consent.scopes)} if ask.token else {}

    def bearer(self, ask):
        value = super().bearer(ask)
        if value is None and "token" in ask.query:
            self.blame(ask, "a token in the query")
        return value

    def error(self, kind, text):
        names = {
            "unauthorized": "invalid_auth", "revoked": "token_revoked", "not_found": "channel_not_found",
            "invalid": "invalid_arguments", "rate_limited": "ratelimited", "server": "internal_error",
            "forbidden": "missing_scope",
        }
        answer = self.no(names[kind])
        if kind in ("rate_limited", "server"):
            answer.status = self.statuses[kind]
        return answer

    def expired(self, _ask):
        return self.no("token_expired")

    def missing_scope(self, token, scope):
        return self.no("missing_scope", needed=scope.split("|")[0], provided=",".join(token.consent.scopes))

    @route("POST", "/api/auth.test")
    @route("GET", "/api/auth.test")
    def test(self, ask):
        team = ask.token.consent.account["team"]
        return {"ok": True, "url": "https://lux-works.slack.com/", "team": team["name"], "team_id": team["id"],
                "user": "lux", "user_id": "U0BOT", "bot_id": "B0LUX"}

    @route("POST", "/api/auth.revoke")
    @route("GET", "/api/auth.revoke")
    def revocation(self, ask):
        return {"ok": True, "revoked": self.revoke(ask.token.value)}

    @route("POST", "/api/users.info", "users:read")
    @route("GET", "/api/users.info", "users:read")
    def user(self, ask):
        account = ask.token.consent.account
        wanted = ask.query.get("user") or (ask.form or {}).get("user")
        if ask.content_type == "application/json":
            # This method reads forms only.
            self.blame(ask, "users.info takes no JSON")
            wanted = None
        if wanted != account["id"]:
            return self.no("user_not_found")
        profile = {"real_name": account["real_name"], "display_name": account["name"], "image_192": account["avatar"]}
        if self.has(ask.token, "users:read.email"):
            profile["email"] = account["email"]
        return {"ok": True, "user": {"id": account["id"], "name": account["name"], "real_name": account["real_name"],
                                     "team_id": account["team"]["id"], "profile": profile, "tz": "Europe/Zurich"}}

    @route("GET", "/api/conversations.list", "channels:read")
    @route("POST", "/api/conversations.list", "channels:read")
    def conversations(self, ask):
        kinds = (ask.query.get("types") or (ask.form or {}).get("types") or "public_channel").split(",")
        rows = [
            row for row in self.channels.values()
            if ("private_channel" if row["is_private"] else "public_channel") in kinds
            and not (row["is_archived"] and ask.query.get("exclude_archived") == "true")
        ]
        return {"ok": True, "channels": rows, "response_metadata": {"next_cursor": ""}}

    def channel(self, ask, name):
        for channel in self.channels.values():
            if name in (channel["id"], channel["name"], f"#{channel['name']}"):
                break
        else:
            raise self.no("channel_not_found")
        if channel["is_archived"]:
            raise self.no("is_archived")
        if channel["is_private"]:
            raise self.no("channel_not_found")
        if not channel["is_member"] and not self.has(ask.token, "chat:write.public"):
            raise self.no("not_in_channel")
        return channel

    @route("POST", "/api/chat.postMessage", "chat:write")
    def post(self, ask):
        kind = ask.content_type
        body = self.valid(ask, "slack.json#/$defs/message", ask.json if kind == "application/json" else ask.form)
        channel = self.channel(ask, body["channel"])
        ts = f"{int(time.time())}.{self.number():06d}"
        message = self.make("messages", {**body, "channel": channel["id"], "ts": ts, "edits": 0})
        self.messages.append(message)
        return {"ok": True, "channel": channel["id"], "ts": ts, "message": {"text": body.get("text", ""), "type": "message"}}

    @route("POST", "/api/chat.update", "chat:write")
    def update(self, ask):
        body = self.valid(ask, "slack.json#/$defs/update", ask.json)
        for message in self.messages:
            if (message["channel"], message["ts"]) == (body["channel"], body["ts"]):
                message.update(body)
                message["edits"] += 1
                return {"ok": True, "channel": body["channel"], "ts": body["ts"], "text": body.get("text", "")}
        return self.no("message_not_found")

    @route("GET", "/api/chat.getPermalink")
    def permalink(self, ask):
        channel, ts = ask.query.get("channel"), ask.query.get("message_ts", "")
        return {"ok": True, "channel": channel,
                "permalink": f"https://lux-works.slack.com/archives/{channel}/p{ts.replace('.', '')}"}
