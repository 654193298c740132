"""Jira Cloud: tokens rotate with a leeway, sites are chosen after the consent, text is ADF."""

import re
import time

from oauth import Answer, App, route

TYPES = [
    {"id": "10001", "name": "Epic", "subtask": False}, {"id": "10003", "name": "Sub-task", "subtask": True},
    {"id": "10002", "name": "Task", "subtask": False}, {"id": "10004", "name": "Bug", "subtask": False},
]
STATUSES = {
    "To Do": {"key": "new", "name": "To Do"}, "In Progress": {"key": "indeterminate", "name": "In Progress"},
    "Done": {"key": "done", "name": "Done"},
}


class Atlassian(App):
    name = "atlassian"
    authorize_path = "/authorize"
    token_path = "/oauth/token"
    # sites: how many, or a list of {id, url, name}
    defaults = {"rotation": "grace", "grace": 600, "sites": 1, "types": None, "no_rotation_answer": False}
    account = {"id": "5b10ac8d82e05b22cc7d4ef5", "name": "Ada Byron", "email": "ada@example.com",
               "avatar": "https://avatars.example.com/ada_48.png"}
    needs = {"response_type": "code", "audience": "api.atlassian.com", "prompt": "consent"}
    client_auth = ("body",)
    token_json = True
    prefixes = {"access": "eyAtl", "refresh": "ATRT-"}
    token_errors = {**App.token_errors, "bad_refresh": (403, "unauthorized_client"), "bad_code": (403, "invalid_grant"),
                    "bad_redirect": (403, "invalid_grant"),
                    "bad_client": (401, "access_denied")}

    def start(self):
        self.projects = {
            "OPS": {"id": "10000", "key": "OPS", "name": "Operations", "projectTypeKey": "software", "style": "classic"},
            "SHOP": {"id": "10001", "key": "SHOP", "name": "Shop", "projectTypeKey": "software", "style": "next-gen"},
        }
        self.issues = {}

    def site_list(self):
        sites = self.knobs["sites"]
        if isinstance(sites, int):
            names = ["acme", "beta", "gamma"][:sites]
            sites = [{"id": f"1324a887-45db-1bf4-1e99-ef0ff456d{number}21", "url": f"https://{name}.atlassian.net",
                      "name": name} for number, name in enumerate(names, 4)]
        return sites

    def token_error(self, kind, text):
        words = {"bad_refresh": "refresh_token is invalid", "bad_client": "Unauthorized"}
        return super().token_error(kind, words.get(kind, text))

    def refreshable(self, consent, ask):
        return "offline_access" in consent.scopes and super().refreshable(consent, ask)

    def rotated(self, consent, old):
        # Seen in the field: an answer without a new one, after which the old one goes on.
        return None if self.knobs["no_rotation_answer"] else super().rotated(consent, old)

    def error(self, kind, text):
        if kind in ("unauthorized", "revoked"):
            return Answer(401, {"code": 401, "message": "Unauthorized"})
        if kind == "forbidden":
            return Answer(403, {"code": 403, "message": "Forbidden"})
        status = self.statuses[kind]
        return Answer(status, {"errorMessages": [text], "errors": {}, "status": status})

    def expired(self, ask):
        answer = super().expired(ask)
        if answer.status == 404:
            answer.body = {"code": 404, "message": "Not Found"}
        return answer

    def missing_scope(self, token, scope):
        return Answer(401, {"code": 401, "message": "Unauthorized; scope does not match"})

    @route("GET", "/oauth/token/accessible-resources")
    def resources(self, ask):
        scopes = [scope for scope in ask.token.consent.scopes if scope != "offline_access"]
        return [{**site, "scopes": scopes, "avatarUrl": "https://site.example.com/avatar.png"} for site in self.site_list()]

    def site(self, cloud):
        for site in self.site_list():
            if site["id"] == cloud:
                return site
        raise Answer(404, {"code": 404, "message": "Not Found"})

    @route("GET", "/ex/jira/{cloud}/rest/api/3/myself", "read:jira-user")
    def myself(self, ask, cloud):
        self.site(cloud)
        account = ask.token.consent.account
        return {"accountId": account["id"], "displayName": account["name"], "emailAddress": account["email"],
                "avatarUrls": {"48x48": account["avatar"]}, "active": True}

    @route("GET", "/ex/jira/{cloud}/rest/api/3/project/search", "read:jira-work")
    def search_projects(self, ask, cloud):
        self.site(cloud)
        return {"values": list(self.projects.values()), "isLast": True, "total": len(self.projects), "startAt": 0}

    def project(self, key):
        for project in self.projects.values():
            if key in (project["key"], project["id"]):
                return project
        raise self.error("not_found", f"No project could be found with key '{key}'.")

    @route("GET", "/ex/jira/{cloud}/rest/api/3/project/{key}", "read:jira-work")
    def read_project(self, ask, cloud, key):
        self.site(cloud)
        return self.project(key)

    def types(self):
        return self.knobs["types"] or TYPES

    @route("GET", "/ex/jira/{cloud}/rest/api/3/issue/createmeta/{key}/issuetypes", "read:jira-work")
    def issue_types(self, ask, cloud, key):
        self.site(cloud)
        self.project(key)
        return {"issueTypes": self.types(), "total": len(self.types()), "startAt": 0, "maxResults": 50}

    @route("POST", "/ex/jira/{cloud}/rest/api/3/issue", "write:jira-work")
    def create(self, ask, cloud):
        site = self.site(cloud)
        fields = self.valid(ask, "jira.json#/$defs/issue", ask.json)["fields"]
        project = self.project(fields["project"].get("key") or fields["project"].get("id"))
        kind = [k for k in self.types() if fields["issuetype"].get("id") == k["id"] or fields["issuetype"].get("name") == k["name"]]
        if not kind:
            self.blame(ask, "issuetype is none of the project's")
            raise Answer(400, {"errorMessages": [], "errors": {"issuetype": "Specify a valid issue type"}})
        number = self.number()
        key = f"{project['key']}-{len(self.issues) + 1}"
        issue = self.make("issues", {
            "id": str(number), "key": key, "self": f"{self.base}/api/ex/jira/{cloud}/rest/api/3/issue/{number}",
            "browse": f"{site['url']}/browse/{key}", "cloud": cloud, "comments": [], "links": [],
            "fields": {**fields, "project": project, "issuetype": kind[0], "labels": fields.get("labels", []),
                       "status": self.status("To Do"), "updated": time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())},
        })
        self.issues[key] = issue
        return Answer(201, {name: issue[name] for name in ("id", "key", "self")})

    @staticmethod
    def status(name):
        return {"name": name, "statusCategory": STATUSES[name]}

    def issue(self, cloud, key):
        self.site(cloud)
        for issue in self.issues.values():
            if key in (issue["key"], issue["id"]) and issue["cloud"] == cloud:
                return issue
        raise self.error("not_found", "Issue does not exist or you do not have permission to see it.")

    @staticmethod
    def view(issue, wanted=None):
        fields = issue["fields"]
        if wanted and "*all" not in wanted:
            fields = {name: value for name, value in fields.items() if name in wanted}
        return {"id": issue["id"], "key": issue["key"], "self": issue["self"], "fields": fields}

    @route("GET", "/ex/jira/{cloud}/rest/api/3/issue/{key}", "read:jira-work")
    def read(self, ask, cloud, key):
        wanted = ask.query.get("fields")
        return self.view(self.issue(cloud, key), wanted and wanted.split(","))

    @route("PUT", "/ex/jira/{cloud}/rest/api/3/issue/{key}", "write:jira-work")
    def edit(self, ask, cloud, key):
        issue = self.issue(cloud, key)
        issue["fields"].update(self.valid(ask, "jira.json#/$defs/edit", ask.json).get("fields", {}))
        return Answer(204)

    @route("POST", "/ex/jira/{cloud}/rest/api/3/issue/{key}/comment", "write:jira-work")
    def comment(self, ask, cloud, key):
        issue = self.issue(cloud, key)
        body = self.valid(ask, "jira.json#/$defs/comment", ask.json)
        comment = self.make("comments", {"id": str(self.number()), "issue": issue["key"], "body": body["body"]})
        issue["comments"].append(comment)
        return Answer(201, {**comment, "self": f"{issue['self']}/comment/{comment['id']}"})

    @route("GET", "/ex/jira/{cloud}/rest/api/3/issue/{key}/comment", "read:jira-work")
    def comments(self, ask, cloud, key):
        rows = self.issue(cloud, key)["comments"]
        return {"comments": rows, "total": len(rows), "startAt": 0, "maxResults": 50}

    @route("GET", "/ex/jira/{cloud}/rest/api/3/issue/{key}/transitions", "read:jira-work")
    def transitions(self, ask, cloud, key):
        self.issue(cloud, key)
        return {"transitions": [{"id": str(number), "name": name, "to": self.status(name)}
                                for number, name in ((11, "To Do"), (21, "In Progress"), (31, "Done"))]}

    @route("POST", "/ex/jira/{cloud}/rest/api/3/issue/{key}/transitions", "write:jira-work")
    def transition(self, ask, cloud, key):
        issue = self.issue(cloud, key)
        wanted = self.valid(ask, "jira.json#/$defs/transition", ask.json)["transition"]["id"]
        names = {"11": "To Do", "21": "In Progress", "31": "Done"}
        if wanted not in names:
            self.reject(ask, f"Transition id '{wanted}' is not valid for this issue.")
        issue["fields"]["status"] = self.status(names[wanted])
        return Answer(204)

    @route("POST", "/ex/jira/{cloud}/rest/api/3/issue/{key}/remotelink", "write:jira-work")
    def remote_link(self, ask, cloud, key):
        issue = self.issue(cloud, key)
        issue["links"].append(self.valid(ask, "jira.json#/$defs/remote_link", ask.json))
        return Answer(201, {"id": self.number(), "self": f"{issue['self']}/remotelink/1"})

    # ---- JQL, as far as Lux needs it

    def query(self, ask, cloud, jql):
        self.site(cloud)
        rows = [issue for issue in self.issues.values() if issue["cloud"] == cloud]
        text, *order = re.split(r"\s+order\s+by\s+", jql.strip(), flags=re.I)
        for clause in re.split(r"\s+and\s+", text, flags=re.I):
            match = re.fullmatch(r'\(?\s*(project|labels|statusCategory|key|summary)\s*(!=|=|~)\s*("((?:[^"\\]|\\.)*)"|[\w-]+)\s*\)?', clause)
            if not match:
                self.reject(ask, f"Error in the JQL Query: {clause}")
            name, operator, value = match[1], match[2], match[4] if match[4] is not None else match[3]
            if name == "project":
                self.project(value)
            rows = [row for row in rows if (operator != "!=") == self.holds(row, name, value)]
        return list(reversed(rows)) if order and "desc" in order[0].lower() else rows

    @staticmethod
    def holds(row, name, value):
        fields = row["fields"]
        if name == "project":
            return value in (fields["project"]["key"], fields["project"]["id"], fields["project"]["name"])
        if name == "labels":
            return value in fields["labels"]
        if name == "statusCategory":
            category = fields["status"]["statusCategory"]
            return value.lower() in (category["key"], category["name"].lower())
        return value == row["key"] if name == "key" else value in fields["summary"]

    @route("GET", "/ex/jira/{cloud}/rest/api/3/search/jql", "read:jira-work")
    def search(self, ask, cloud):
        return self.found(ask, cloud, ask.query.get("jql", ""), ask.query.get("fields", "id").split(","),
                          int(ask.query.get("maxResults", 50)))

    @route("POST", "/ex/jira/{cloud}/rest/api/3/search/jql", "read:jira-work")
    def search_by_body(self, ask, cloud):
        body = self.valid(ask, "jira.json#/$defs/search", ask.json)
        return self.found(ask, cloud, body["jql"], body.get("fields", ["id"]), body.get("maxResults", 50))

    def found(self, ask, cloud, jql, fields, most):
        rows = self.query(ask, cloud, jql)
        return {"issues": [self.view(row, fields) for row in rows[:most]], "isLast": len(rows) <= most}

    @route("GET", "/ex/jira/{cloud}/rest/api/3/search")
    def old_search(self, ask, cloud):
        self.blame(ask, "this search was taken away")
        return Answer(410, {"errorMessages": ["The requested API has been removed."], "errors": {}})

    @route("POST", "/ex/jira/{cloud}/rest/api/3/search/approximate-count", "read:jira-work")
    def count(self, ask, cloud):
        return {"count": len(self.query(ask, cloud, self.valid(ask, "jira.json#/$defs/count", ask.json)["jql"]))}
