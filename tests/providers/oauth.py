"""One application of one provider: its clients, consents, tokens, knobs, and what it was asked.

What the providers have in common is here; how each speaks is a class in `apps/`.
"""

import asyncio
import base64
import hashlib
import html
import json
import re
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode

from check import Invalid, check

# A knob that a test may turn; the value here is what a provider does that nobody touched.
# A class in `apps/` changes defaults by `defaults`.
KNOBS = {
    # seconds; None: access tokens do not expire and there are no refresh tokens
    "token_life": 3600,
    # "strict" | "grace" | "never"; how long the old one lives is `grace`, in seconds
    "rotation": "never",
    "grace": 0,
    # a refresh token that is used again after its rotation kills all tokens of its consent
    "family_revocation": True,
    # how an answer tells the life: "number" | "string" | "absent"
    "expires_in": "number",
    # "opaque" | "jwt"
    "token_form": "opaque",
    # an answer that is form-encoded whatever the client accepts
    "form_answer": False,
    # scopes that people do not tick
    "withhold": [],
    # no refresh token, as if the person had consented before
    "no_refresh_token": False,
    "code_life": 600,
    # "allow" | "deny": what a person answers without a page; None shows the page
    "auto": None,
    # the answer waits for {"release": true}, the deed is done
    "after_exchange_hold": False,
    "refresh_hold": False,
    # milliseconds that token answers take
    "token_delay": 0,
    # the status of a call with an expired token
    "expired_status": 401,
}


class Answer(Exception):
    """What is sent back; raised where that is shorter."""

    def __init__(self, status, body=None, headers=None):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, dict(headers or {})


@dataclass
class Consent:
    """What one person allowed one client at one time: the family of its tokens."""

    number: int
    client: str
    account: dict
    scopes: list
    extra: dict = field(default_factory=dict)
    live: bool = True


@dataclass
class Token:
    kind: str
    name: str
    value: str
    consent: Consent
    expires: float | None = None
    # when a younger one took its place, and what was issued then
    replaced: float | None = None
    follower: "Token | None" = None
    gone: bool = False


@dataclass
class Code:
    value: str
    query: dict
    consent: Consent
    issued: float
    used: bool = False


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def route(method, path, scope=None, token=True):
    """Marks a method as the answer to a request; `{x}` in the path is one segment, `{x:*}` the rest."""
    pattern = re.compile(
        re.sub(r"\\\{(\w+)(:\\\*)?\\\}", lambda m: f"(?P<{m[1]}>{'.+' if m[2] else '[^/]+'})", re.escape(path)) + "$"
    )

    def mark(function):
        function.routes = [*getattr(function, "routes", []), (method, pattern, scope, token)]
        return function

    return mark


class App:
    name = ""
    authorize_path = ""
    token_path = ""
    defaults = {}
    account = {}
    # what every scope is joined by in the answer of the token route
    scope_joint = " "
    # parameters that the authorize page refuses to be without
    needs = {}
    # "required" | "taken" | "refused"
    pkce = "taken"
    # "body", "basic": how a client may tell its secret
    client_auth = ("body", "basic")
    token_json = False
    prefixes = {"access": "at-", "refresh": "rt-"}
    # whether the API lies below /api of this prefix too
    api_host = True

    def __init__(self, base):
        self.base = f"{base}/{self.name}"
        self.routes = []
        for name in dir(type(self)):
            function = getattr(type(self), name)
            for method, pattern, scope, token in getattr(function, "routes", []):
                self.routes.append((method, pattern, scope, token, getattr(self, name)))
        # What names a segment goes before what takes any.
        self.routes.sort(key=lambda one: one[1].groups)
        # What was issued outlives a reset: a secret is one forever.
        self.issued = []
        self.clients = {}
        self.add_client(f"{self.name}-client", f"{self.name}-secret-{secrets.token_hex(12)}")
        self.reset()

    def reset(self):
        self.knobs = {**KNOBS, **self.defaults, "account": dict(type(self).account)}
        self.consents, self.tokens, self.codes = [], {}, {}
        self.failures = []
        self.held = []
        self.requests, self.invalid = [], []
        self.counts = {
            name: 0
            for name in (
                "authorizes", "allowed", "denied", "exchanges", "exchanges_refused",
                "refreshes", "refreshes_refused", "revokes",
            )
        }
        self.calls = {}
        self.created = {}
        self.counter = 1000
        self.start()

    def start(self):
        """The state of the provider's own things."""

    # ---- secrets

    def add_client(self, client, secret):
        self.clients[client] = secret
        self.keep("client_secret", f"{self.name}-client-secret", secret)

    def keep(self, kind, name, value):
        self.issued.append({"app": self.name, "kind": kind, "name": name, "value": value})

    def redact(self, value):
        """The same with the names of secrets in their places."""
        if isinstance(value, dict):
            return {name: self.redact(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.redact(inner) for inner in value]
        if isinstance(value, str):
            for secret in self.issued:
                if secret["kind"] != "state":
                    value = value.replace(secret["value"], f"<{secret['name']}>")
        return value

    def number(self):
        self.counter += 1
        return self.counter

    def make(self, kind, thing):
        self.created.setdefault(kind, []).append(thing)
        return thing

    # ---- control

    def control(self, body):
        """Actions are taken, the rest must be knobs."""
        for name, value in body.items():
            action = getattr(self, f"control_{name}", None)
            if action:
                action(value)
            elif name in self.knobs:
                both = isinstance(value, dict) and isinstance(self.knobs[name], dict)
                self.knobs[name] = {**self.knobs[name], **value} if both else value
            else:
                raise Invalid(f"{self.name} has no knob {name}")

    def control_client(self, value):
        self.clients = {}
        self.add_client(value["id"], value["secret"])

    def control_next(self, value):
        """Failures of the next answers, in order: see `fail`."""
        for failure in value if isinstance(value, list) else [value]:
            self.failures.append({"times": 1, "where": "api", **failure})

    def control_release(self, _):
        for event in self.held:
            event.set()
        self.held = []

    def control_revoke_all(self, _):
        """The person withdrew it in the provider's settings."""
        for consent in self.consents:
            consent.live = False

    def control_expire(self, kind):
        """Tokens of the kind are past their life, whatever was told; "refresh" for the other kind."""
        for token in self.tokens.values():
            if token.kind == ("refresh" if kind == "refresh" else "access"):
                token.expires = time.time() - 1

    def control_remove_scopes(self, scopes):
        for consent in self.consents:
            consent.scopes = [scope for scope in consent.scopes if scope not in scopes]

    # ---- the authorize page

    def authorize(self, ask):
        query = ask.query
        self.counts["authorizes"] += 1
        client, redirect = query.get("client_id"), query.get("redirect_uri")
        if client not in self.clients:
            raise self.refuse_authorize(ask, "this client_id is not known")
        if not redirect or not re.match(r"https?://", redirect):
            raise self.refuse_authorize(ask, "redirect_uri is missing")
        if not query.get("state"):
            raise self.refuse_authorize(ask, "there is no state")
        for name, value in self.needs.items():
            given = query.get(name)
            if not given or (value is not None and given != value):
                raise self.refuse_authorize(ask, f"{name} must be {value or 'there'}")
        challenge = query.get("code_challenge")
        if challenge and self.pkce == "refused":
            raise self.refuse_authorize(ask, "code_challenge makes this a public client")
        if challenge and query.get("code_challenge_method") != "S256":
            raise self.refuse_authorize(ask, "code_challenge_method must be S256")
        if challenge and not re.fullmatch(r"[A-Za-z0-9_-]{43}", challenge):
            raise self.refuse_authorize(ask, "code_challenge is no SHA-256")
        if not challenge and self.pkce == "required":
            raise self.refuse_authorize(ask, "code_challenge is required")
        self.check_authorize(ask)
        self.keep("state", f"{self.name}-state", query["state"])

        decision = query.get("decision") or self.knobs["auto"] or ("allow" if "auto" in query else None)
        if decision is None:
            return self.page(query)
        if decision != "allow":
            self.counts["denied"] += 1
            return self.back(redirect, {"error": "access_denied", "error_description": "The user denied access", "state": query["state"]})
        self.counts["allowed"] += 1
        consent = Consent(
            len(self.consents) + 1, client, dict(self.knobs["account"]), self.granted(query), self.extra(query)
        )
        self.consents.append(consent)
        code = f"{self.name[:2]}code-{secrets.token_urlsafe(24)}"
        self.keep("code", f"{self.name}-code-{consent.number}", code)
        self.codes[code] = Code(code, query, consent, time.time())
        return self.back(redirect, {"code": code, "state": query["state"], **self.back_extra(consent)})

    def check_authorize(self, ask):
        """What this provider alone checks."""

    def back_extra(self, _consent):
        return {}

    def refuse_authorize(self, ask, reason):
        self.blame(ask, f"authorize: {reason}")
        return Answer(400, f"<!doctype html><title>Refused</title><p>{html.escape(reason)}</p>", {"content-type": "text/html"})

    @staticmethod
    def back(redirect, parameters):
        joint = "&" if "?" in redirect else "?"
        return Answer(302, None, {"location": f"{redirect}{joint}{urlencode(parameters)}"})

    def page(self, query):
        fields = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in query.items()
        )
        title = f"{self.name}: allow access?"
        return Answer(
            200,
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>'
            f'<p id="scopes">{html.escape(query.get("scope", ""))}</p><form method="get">{fields}'
            '<button name="decision" value="allow" id="allow">Allow</button> '
            '<button name="decision" value="deny" id="deny">Deny</button></form></html>',
            {"content-type": "text/html; charset=utf-8"},
        )

    def asked_scopes(self, query):
        return [scope for scope in re.split(r"[ ,]+", query.get("scope", "")) if scope]

    def granted(self, query):
        return [scope for scope in self.asked_scopes(query) if scope not in self.knobs["withhold"]]

    def extra(self, _query):
        """What the consent holds beside scopes (a site, a location)."""
        return {}

    # ---- the token route

    async def token(self, ask):
        body = self.token_body(ask)
        grant = body.get("grant_type", "authorization_code")
        refresh = grant == "refresh_token"
        try:
            self.check_token_request(ask, body, refresh)
            client = self.authenticate(ask, body)
            consent, old = self.by_refresh(body, client) if refresh else (self.by_code(ask, body, client), None)
        except Answer:
            self.counts["refreshes_refused" if refresh else "exchanges_refused"] += 1
            raise
        answer = self.grant(consent, old, ask)
        self.counts["refreshes" if refresh else "exchanges"] += 1
        if self.knobs["token_delay"]:
            await asyncio.sleep(self.knobs["token_delay"] / 1000)
        if self.knobs["refresh_hold" if refresh else "after_exchange_hold"]:
            event = asyncio.Event()
            self.held.append(event)
            await event.wait()
        return self.token_answer(ask, answer)

    def token_body(self, ask):
        kind = ask.content_type
        if kind == "application/x-www-form-urlencoded":
            return ask.form
        if kind == "application/json" and self.token_json:
            return ask.json
        self.blame(ask, f"the token route takes no {kind or 'body without a type'}")
        raise self.token_error("bad_request", "the request must be application/x-www-form-urlencoded")

    def check_token_request(self, ask, body, refresh):
        self.valid(ask, f"oauth.json#/$defs/{'refresh' if refresh else 'exchange'}", body, self.bad_token_request)

    def bad_token_request(self, reason):
        return self.token_error("bad_request", reason)

    def authenticate(self, ask, body):
        """The client; both ways at once are refused by Dropbox, and are a mistake everywhere."""
        header = ask.headers.get("authorization", "")
        client, secret = body.get("client_id"), body.get("client_secret")
        way = "body"
        if header.startswith("Basic "):
            if secret is not None:
                self.blame(ask, "the client's secret is told twice")
                raise self.token_error("bad_request", "two ways of client authentication")
            way = "basic"
            client, _, secret = base64.b64decode(header[6:]).decode().partition(":")
        if way not in self.client_auth:
            self.blame(ask, f"the client's secret must come in the {self.client_auth[0]}")
            raise self.token_error("bad_client", "client authentication failed")
        if client not in self.clients or not secrets.compare_digest(self.clients[client], secret or ""):
            raise self.token_error("bad_client", "client authentication failed")
        return client

    def by_code(self, ask, body, client):
        code = self.codes.get(body.get("code"))
        if code is None or code.consent.client != client:
            raise self.token_error("bad_code", "the code is not known")
        if code.used:
            self.blame(ask, "a code was used twice")
            code.consent.live = False
            raise self.token_error("bad_code", "the code was used before")
        if time.time() > code.issued + self.knobs["code_life"]:
            raise self.token_error("bad_code", "the code expired")
        if body.get("redirect_uri") != code.query["redirect_uri"]:
            self.blame(ask, "redirect_uri is another than before")
            raise self.token_error("bad_redirect", "redirect_uri does not match")
        challenge, verifier = code.query.get("code_challenge"), body.get("code_verifier")
        if challenge:
            self.keep("verifier", f"{self.name}-verifier", verifier or "-none-")
            if not verifier or b64(hashlib.sha256(verifier.encode()).digest()) != challenge:
                self.blame(ask, "code_verifier does not fit the challenge")
                raise self.token_error("bad_code", "code_verifier does not fit")
        code.used = True
        return code.consent

    def by_refresh(self, body, client):
        token = self.tokens.get(body.get("refresh_token"))
        bad = self.token_error("bad_refresh", "the refresh token is invalid")
        if token is None or token.kind != "refresh" or token.consent.client != client:
            raise bad
        if token.gone or not token.consent.live or (token.expires and token.expires < time.time()):
            raise bad
        if token.replaced is not None:
            grace = self.knobs["grace"] if self.knobs["rotation"] == "grace" else 0
            if time.time() > token.replaced + grace:
                if self.knobs["family_revocation"]:
                    token.consent.live = False
                raise bad
        return token.consent, token

    def grant(self, consent, old, ask):
        """Issues tokens; `old` is the refresh token that was used."""
        life = self.knobs["token_life"]
        access = self.mint("access", consent, life)
        answer = {"access_token": access.value, "token_type": "Bearer", "scope": self.scope_joint.join(consent.scopes)}
        if life is not None and self.knobs["expires_in"] != "absent":
            answer["expires_in"] = str(life) if self.knobs["expires_in"] == "string" else life
        fresh = None
        if old is None:
            if life is not None and self.refreshable(consent, ask):
                fresh = self.mint("refresh", consent, None)
        elif self.knobs["rotation"] != "never":
            fresh = self.rotated(consent, old)
        if fresh:
            answer["refresh_token"] = fresh.value
        return self.shape(answer, consent, old)

    def rotated(self, consent, old):
        fresh = self.mint("refresh", consent, None)
        if old.replaced is None:
            old.replaced = time.time()
        old.follower = fresh
        return fresh

    def refreshable(self, _consent, _ask):
        return not self.knobs["no_refresh_token"]

    def mint(self, kind, consent, life):
        number = 1 + sum(token.kind == kind for token in self.tokens.values())
        expires = None if life is None else time.time() + life
        value = self.prefixes[kind] + secrets.token_urlsafe(30)
        if self.knobs["token_form"] == "jwt":
            claims = {"sub": consent.account["id"], "iat": int(time.time()), "jti": secrets.token_hex(8)}
            if expires is not None:
                claims["exp"] = int(expires)
            value = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
            value += "." + secrets.token_urlsafe(64)
        token = Token(kind, f"{self.name}-{kind}-{number}", value, consent, expires)
        self.tokens[value] = token
        self.keep(kind, token.name, value)
        return token

    def shape(self, answer, _consent, _old):
        """The answer as this provider words it."""
        return answer

    def token_answer(self, ask, answer):
        if self.knobs["form_answer"]:
            flat = {name: value for name, value in answer.items() if not isinstance(value, (dict, list))}
            return Answer(200, urlencode(flat), {"content-type": "application/x-www-form-urlencoded; charset=utf-8"})
        return Answer(200, answer, {"cache-control": "no-store"})

    # kind -> status, error of RFC 6749
    token_errors = {
        "bad_request": (400, "invalid_request"),
        "bad_client": (401, "invalid_client"),
        "bad_code": (400, "invalid_grant"),
        "bad_redirect": (400, "invalid_grant"),
        "bad_refresh": (400, "invalid_grant"),
    }

    def token_error(self, kind, text):
        status, error = self.token_errors[kind]
        return Answer(status, {"error": error, "error_description": text})

    # ---- revocation

    def revoke(self, value):
        """Whether the token was known; with it goes all that came of its consent."""
        token = self.tokens.get(value)
        self.counts["revokes"] += 1
        if token is None or token.gone or not token.consent.live:
            return False
        token.consent.live = False
        return True

    # ---- calls

    def bearer(self, ask):
        header = ask.headers.get("authorization", "")
        kind, _, value = header.partition(" ")
        return value if kind == "Bearer" else None

    def admit(self, ask, scope):
        """The token of a call, which must be live and hold the scope."""
        token = self.tokens.get(self.bearer(ask))
        if token is None or token.kind != "access":
            raise self.error("unauthorized", "the token is not known")
        ask.token = token
        if token.gone or not token.consent.live:
            raise self.error("revoked", "the token was revoked")
        if token.expires is not None and token.expires < time.time():
            raise self.expired(ask)
        if scope and not self.has(token, scope):
            raise self.missing_scope(token, scope)
        return token

    def has(self, token, scope):
        return any(one in token.consent.scopes for one in scope.split("|"))

    def expired(self, _ask):
        status = self.knobs["expired_status"]
        return self.error({403: "forbidden", 404: "not_found"}.get(status, "unauthorized"), "the token expired")

    def missing_scope(self, _token, scope):
        return self.error("forbidden", f"the scope {scope} is missing")

    statuses = {
        "unauthorized": 401, "revoked": 401, "forbidden": 403, "not_found": 404, "invalid": 400,
        "rate_limited": 429, "server": 500,
    }

    def error(self, kind, text):
        return Answer(self.statuses[kind], {"error": kind, "message": text})

    def headers(self, _ask):
        """Headers of every answer of the API."""
        return {}

    # ---- what was wrong with a request

    def blame(self, ask, reason):
        self.invalid.append({"app": self.name, "method": ask.method, "path": ask.path, "reason": reason})

    def valid(self, ask, schema, value, refuse=None):
        """Checks a value; what is wrong is counted, and answered as the provider would."""
        try:
            check(schema, value)
        except Invalid as wrong:
            self.blame(ask, f"{schema}: {wrong}")
            raise (refuse or (lambda text: self.error("invalid", text)))(str(wrong)) from None
        return value

    def reject(self, ask, reason, kind="invalid"):
        self.blame(ask, reason)
        raise self.error(kind, reason)
