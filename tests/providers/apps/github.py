"""GitHub: errors of the token route have status 200, answers are form-encoded unless asked otherwise."""

import base64
import re
import time
from urllib.parse import urlencode

from oauth import Answer, App, route


class GitHub(App):
    name = "github"
    authorize_path = "/login/oauth/authorize"
    token_path = "/login/oauth/access_token"
    # An OAuth app: no expiry, no refresh tokens. {"token_life": 28800, "rotation": "strict"} makes
    # it a GitHub App.
    defaults = {"token_life": None, "rotation": "strict", "errors_200": True, "issues_enabled": True, "push": True}
    account = {
        "id": 583231, "login": "octo", "name": "Octo Cat", "email": None,
        "avatar_url": "https://avatars.example.com/u/583231",
        "emails": [
            {"email": "old@example.com", "primary": False, "verified": True, "visibility": None},
            {"email": "octo@example.com", "primary": True, "verified": True, "visibility": "private"},
        ],
    }
    scope_joint = ","
    prefixes = {"access": "gho_", "refresh": "ghr_"}
    token_errors = {
        "bad_request": (400, "bad_request"),
        "bad_client": (400, "incorrect_client_credentials"),
        "bad_code": (400, "bad_verification_code"),
        "bad_redirect": (400, "redirect_uri_mismatch"),
        "bad_refresh": (400, "bad_refresh_token"),
    }

    def start(self):
        self.repositories = {
            name: {"id": number, "issues": [], "milestones": []}
            for number, name in enumerate(("acme/shop", "acme/site"), 1)
        }

    def control_repository(self, name):
        self.repositories[name] = {"id": self.number(), "issues": [], "milestones": []}

    def check_token_request(self, ask, body, refresh):
        # The one provider that knows its grant without the word.
        super().check_token_request(ask, {"grant_type": "authorization_code", **body}, refresh)

    def token_error(self, kind, text):
        status, error = self.token_errors[kind]
        address = "https://docs.github.com/apps/managing-oauth-apps/troubleshooting"
        body = {"error": error, "error_description": text, "error_uri": address}
        return Answer(200 if self.knobs["errors_200"] else status, body)

    def shape(self, answer, consent, old):
        answer["token_type"] = "bearer"
        if self.knobs["token_life"] is not None:
            answer["scope"] = ""
            answer["refresh_token_expires_in"] = 15811200
        return answer

    def grant(self, consent, old, ask):
        if old:
            # The access tokens of before stop at once.
            for token in self.tokens.values():
                token.gone = token.gone or (token.consent is consent and token.kind == "access")
        return super().grant(consent, old, ask)

    async def token(self, ask):
        try:
            return await super().token(ask)
        except Answer as refused:
            answer = self.token_answer(ask, refused.body)
            answer.status = refused.status
            raise answer from None

    def token_answer(self, ask, answer):
        if "json" not in ask.headers.get("accept", ""):
            return Answer(200, urlencode(answer), {"content-type": "application/x-www-form-urlencoded; charset=utf-8"})
        return super().token_answer(ask, answer)

    def headers(self, ask):
        headers = {
            "x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-ratelimit-used": "1",
            "x-ratelimit-reset": str(int(time.time()) + 3600), "x-ratelimit-resource": "core",
        }
        if ask.token and self.knobs["token_life"] is None:
            headers["x-oauth-scopes"] = ", ".join(ask.token.consent.scopes)
        return headers

    def error(self, kind, text):
        status = self.statuses[kind] if kind != "invalid" else 422
        body = {"message": text, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
        if kind in ("unauthorized", "revoked"):
            body["message"] = "Bad credentials"
        if kind == "not_found":
            body["message"] = "Not Found"
        if kind == "invalid":
            body["message"] = "Validation Failed"
            body["errors"] = [{"resource": "Issue", "code": "invalid", "message": text}]
        return Answer(status, body)

    def admit(self, ask, scope):
        if not ask.headers.get("user-agent"):
            self.reject(ask, "User-Agent is required", "forbidden")
        version = ask.headers.get("x-github-api-version")
        if version not in (None, "2022-11-28", "2026-03-10"):
            self.reject(ask, f"X-GitHub-Api-Version {version} is not supported")
        return super().admit(ask, scope)

    def has(self, token, scope):
        return self.knobs["token_life"] is not None or super().has(token, scope)

    def missing_scope(self, token, scope):
        # What a person may not see is not there.
        return self.error("not_found", scope)

    @route("DELETE", "/applications/{client}/grant", token=False)
    @route("DELETE", "/applications/{client}/token", token=False)
    def revocation(self, ask, client):
        expected = "Basic " + base64.b64encode(f"{client}:{self.clients.get(client)}".encode()).decode()
        if client not in self.clients or ask.headers.get("authorization") != expected:
            raise self.error("not_found", "")
        body = self.valid(ask, "github.json#/$defs/revoke", ask.json)
        if not self.revoke(body["access_token"]):
            raise self.error("not_found", "")
        return Answer(204)

    @route("GET", "/user")
    def user(self, ask):
        account = ask.token.consent.account
        return {
            "login": account["login"], "id": account["id"], "name": account["name"], "email": account["email"],
            "avatar_url": account["avatar_url"], "html_url": f"https://github.com/{account['login']}", "type": "User",
        }

    @route("GET", "/user/emails", "user:email|user")
    def emails(self, ask):
        return ask.token.consent.account["emails"]

    @route("GET", "/user/repos")
    def own(self, ask):
        return self.paged(ask, [self.repository_view(name) for name in self.repositories])

    @route("GET", "/user/installations")
    def installations(self, ask):
        return {"total_count": 1, "installations": [{"id": 1, "account": {"login": "acme"}}]}

    @route("GET", "/installation/repositories")
    @route("GET", "/user/installations/{installation}/repositories")
    def installed(self, ask, installation=None):
        every = [self.repository_view(name) for name in self.repositories]
        return {"total_count": len(every), "repositories": self.paged(ask, every)}

    def paged(self, ask, rows):
        size, page = int(ask.query.get("per_page", 30)), int(ask.query.get("page", 1))
        if not 1 <= size <= 100:
            self.blame(ask, "per_page must be 1 to 100")
        return rows[size * (page - 1) : size * page]

    def repository(self, owner, name):
        full = f"{owner}/{name}"
        if full not in self.repositories:
            raise self.error("not_found", full)
        return self.repositories[full]

    def repository_view(self, name):
        repository = self.repositories[name]
        owner = name.split("/")[0]
        return {
            "id": repository["id"], "name": name.split("/")[1], "full_name": name, "private": True,
            "html_url": f"https://github.com/{name}", "owner": {"login": owner}, "description": None,
            "has_issues": self.knobs["issues_enabled"], "archived": False,
            "open_issues_count": sum(issue["state"] == "open" for issue in repository["issues"]) + 1,
            "updated_at": "2026-11-20T10:00:00Z", "pushed_at": "2026-11-20T10:00:00Z",
            "permissions": {"admin": False, "push": self.knobs["push"], "pull": True},
        }

    @route("GET", "/repos/{owner}/{name}", "repo|public_repo")
    def one(self, ask, owner, name):
        self.repository(owner, name)
        return self.repository_view(f"{owner}/{name}")

    @route("GET", "/repos/{owner}/{name}/milestones", "repo|public_repo")
    def milestones(self, ask, owner, name):
        return self.repository(owner, name)["milestones"]

    @route("GET", "/repos/{owner}/{name}/issues", "repo|public_repo")
    def issues(self, ask, owner, name):
        rows = list(reversed(self.repository(owner, name)["issues"]))
        state = ask.query.get("state", "open")
        if state not in ("open", "closed", "all"):
            self.reject(ask, f"state {state}")
        wanted = [label for label in ask.query.get("labels", "").split(",") if label]
        rows = [
            row for row in rows
            if state in ("all", row["state"]) and all(any(l["name"] == w for l in row["labels"]) for w in wanted)
        ]
        if not wanted and state != "closed":
            # What the list holds beside issues.
            rows.append({"id": 1, "number": 1, "title": "A pull request", "state": "open", "labels": [],
                         "html_url": f"https://github.com/{owner}/{name}/pull/1", "pull_request": {"url": "x"},
                         "updated_at": "2026-11-19T10:00:00Z", "created_at": "2026-11-19T10:00:00Z", "body": None})
        return self.paged(ask, rows)

    def labels(self, given):
        # Without push access they are dropped, silently.
        names = [label if isinstance(label, str) else label["name"] for label in given] if self.knobs["push"] else []
        return [{"id": number, "name": name, "color": "ededed"} for number, name in enumerate(names, 1)]

    @route("POST", "/repos/{owner}/{name}/issues", "repo|public_repo")
    def create(self, ask, owner, name):
        repository = self.repository(owner, name)
        if not self.knobs["issues_enabled"]:
            raise Answer(410, {"message": "Issues has been disabled in this repository.", "status": "410"})
        body = self.valid(ask, "github.json#/$defs/issue", ask.json)
        number = 2 + len(repository["issues"])
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        issue = self.make("issues", {
            "id": self.number(), "node_id": f"I_{number}", "number": number, "state": "open", "state_reason": None,
            "html_url": f"https://github.com/{owner}/{name}/issues/{number}",
            "url": f"{self.base}/api/repos/{owner}/{name}/issues/{number}",
            "title": body["title"], "body": body.get("body"), "labels": self.labels(body.get("labels", [])),
            "user": {"login": ask.token.consent.account["login"]}, "comments": 0, "assignees": [],
            "created_at": at, "updated_at": at, "closed_at": None, "repository": f"{owner}/{name}", "notes": [],
        })
        repository["issues"].append(issue)
        return Answer(201, issue)

    def issue(self, owner, name, number):
        for issue in self.repository(owner, name)["issues"]:
            if str(issue["number"]) == number:
                return issue
        raise self.error("not_found", number)

    @route("GET", "/repos/{owner}/{name}/issues/{number}", "repo|public_repo")
    def read(self, ask, owner, name, number):
        return self.issue(owner, name, number)

    @route("PATCH", "/repos/{owner}/{name}/issues/{number}", "repo|public_repo")
    def edit(self, ask, owner, name, number):
        issue = self.issue(owner, name, number)
        body = self.valid(ask, "github.json#/$defs/issue_edit", ask.json)
        if "labels" in body:
            body = {**body, "labels": self.labels(body["labels"])}
        issue.update(body)
        return issue

    @route("GET", "/repos/{owner}/{name}/issues/{number}/comments", "repo|public_repo")
    def comments(self, ask, owner, name, number):
        return self.paged(ask, self.issue(owner, name, number)["notes"])

    @route("POST", "/repos/{owner}/{name}/issues/{number}/comments", "repo|public_repo")
    def comment(self, ask, owner, name, number):
        issue = self.issue(owner, name, number)
        body = self.valid(ask, "github.json#/$defs/comment", ask.json)
        comment = {"id": self.number(), "body": body["body"]}
        comment["html_url"] = f"{issue['html_url']}#issuecomment-{comment['id']}"
        self.make("comments", {**comment, "issue": issue["number"]})
        issue["notes"].append(comment)
        issue["comments"] += 1
        return Answer(201, comment)

    @route("GET", "/search/issues")
    def search(self, ask):
        query = ask.query.get("q", "")
        words = dict(re.findall(r'(\w+):("[^"]+"|\S+)', query))
        text = re.sub(r'\w+:("[^"]+"|\S+)', "", query).strip().strip('"')
        found = []
        for name, repository in self.repositories.items():
            for issue in repository["issues"]:
                label = words.get("label", "").strip('"')
                if (
                    words.get("repo", name) == name
                    and words.get("state", issue["state"]) == issue["state"]
                    and (not label or any(l["name"] == label for l in issue["labels"]))
                    and (not text or text in f"{issue['title']} {issue['body']}")
                ):
                    found.append(issue)
        return {"total_count": len(found), "incomplete_results": False, "items": self.paged(ask, found)}
