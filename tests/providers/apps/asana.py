"""Asana: everything lies in `data`, and the token's answer tells who it is."""

import re
import time

from oauth import Answer, App, route

WORKSPACE = {"gid": "1100", "name": "Acme", "resource_type": "workspace"}


class Asana(App):
    name = "asana"
    api_host = False
    authorize_path = "/-/oauth_authorize"
    token_path = "/-/oauth_token"
    account = {"gid": "4670001", "id": "4670001", "name": "Ada Byron", "email": "ada@example.com",
               "photo": {"image_128x128": "https://photos.example.com/ada_128.png"}}
    needs = {"response_type": "code"}
    client_auth = ("body",)
    prefixes = {"access": "2/asa/", "refresh": "2/asr/"}

    def start(self):
        self.projects = {
            gid: {"gid": gid, "name": name, "resource_type": "project", "workspace": WORKSPACE, "completed": False,
                  "archived": False, "due_on": None, "modified_at": "2026-11-20T10:00:00.000Z",
                  "permalink_url": f"https://app.asana.com/0/{gid}",
                  "current_status_update": {"gid": "77", "title": "On track", "resource_subtype": "on_track"}}
            for gid, name in (("1331", "Shop"), ("1332", "Site"))
        }
        self.tasks, self.stories = {}, {}

    def shape(self, answer, consent, old):
        account = consent.account
        answer["token_type"] = "bearer"
        answer["data"] = {"id": int(account["gid"]), "gid": account["gid"], "name": account["name"], "email": account["email"]}
        return answer

    @route("POST", "/-/oauth_revoke", token=False)
    def revocation(self, ask):
        form = ask.form or {}
        self.authenticate(ask, form)
        token = self.tokens.get(form.get("token"))
        if token and token.kind == "access":
            # The documentation: a refresh token must be given to take the authorization away.
            self.blame(ask, "revoking an access token leaves the authorization")
        self.revoke(form.get("token"))
        return {}

    def error(self, kind, text):
        return Answer(self.statuses[kind], {"errors": [{"message": text, "help": "See https://developers.asana.com/docs/errors"}]})

    def pick(self, ask, thing, whole=True):
        """`opt_fields` choose; a list has only names without them."""
        wanted = ask.query.get("opt_fields")
        if wanted is None:
            return dict(thing) if whole else {k: thing[k] for k in ("gid", "name", "resource_type") if k in thing}
        picked = {"gid": thing["gid"]}
        for path in re.split(r", ?", wanted):
            head, _, rest = path.partition(".")
            value = thing.get(head)
            if head not in thing:
                continue
            if isinstance(value, dict):
                inner = picked.setdefault(head, {k: value[k] for k in ("gid", "resource_type") if k in value})
                if rest and rest in value:
                    inner[rest] = value[rest]
            else:
                picked[head] = value
        return picked

    @route("GET", "/api/1.0/users/me", "users:read|default")
    def me(self, ask):
        account = ask.token.consent.account
        return {"data": self.pick(ask, {**account, "resource_type": "user", "workspaces": [WORKSPACE]})}

    @route("GET", "/api/1.0/workspaces", "workspaces:read|default")
    def workspaces(self, ask):
        return {"data": [self.pick(ask, WORKSPACE, False)], "next_page": None}

    @route("GET", "/api/1.0/workspaces/{workspace}/projects", "projects:read|default")
    @route("GET", "/api/1.0/projects", "projects:read|default")
    def list_projects(self, ask, workspace=None):
        workspace = workspace or ask.query.get("workspace")
        if workspace not in (None, WORKSPACE["gid"]):
            raise self.error("not_found", f"workspace: Unknown object: {workspace}")
        return {"data": [self.pick(ask, project, False) for project in self.projects.values()], "next_page": None}

    def project(self, gid):
        if gid not in self.projects:
            raise self.error("not_found", f"project: Unknown object: {gid}")
        return self.projects[gid]

    @route("GET", "/api/1.0/projects/{gid}", "projects:read|default")
    def read_project(self, ask, gid):
        return {"data": self.pick(ask, self.project(gid))}

    @route("GET", "/api/1.0/projects/{gid}/task_counts", "projects:read|default")
    def counts_of(self, ask, gid):
        self.project(gid)
        rows = [task for task in self.tasks.values() if gid in task["in"]]
        done = sum(task["completed"] for task in rows)
        counts = {"num_tasks": len(rows), "num_completed_tasks": done, "num_incomplete_tasks": len(rows) - done}
        wanted = re.split(r", ?", ask.query.get("opt_fields", ""))
        return {"data": {name: value for name, value in counts.items() if name in wanted}}

    @route("POST", "/api/1.0/tasks", "tasks:write|default")
    def create(self, ask):
        data = self.valid(ask, "asana.json#/$defs/task", ask.json)["data"]
        for gid in data.get("projects", []):
            self.project(gid)
        external = data.get("external", {}).get("gid")
        if external and any(task["external"]["gid"] == external for task in self.tasks.values()):
            raise self.error("invalid", "external: gid is already in use")
        gid = str(120000 + self.number())
        project = (data.get("projects") or ["0"])[0]
        task = {
            "gid": gid, "resource_type": "task", "resource_subtype": "default_task", "name": data.get("name", ""),
            "notes": data.get("notes", ""), "html_notes": data.get("html_notes"), "completed": data.get("completed", False),
            "permalink_url": f"https://app.asana.com/0/{project}/{gid}", "external": {"gid": external, "data": None},
            "projects": [self.projects[p] for p in data.get("projects", [])], "in": data.get("projects", []),
            "modified_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "memberships": [],
        }
        self.tasks[gid] = self.make("tasks", task)
        return Answer(201, {"data": self.pick(ask, task)})

    def task(self, gid):
        for task in self.tasks.values():
            if gid in (task["gid"], f"external:{task['external']['gid']}"):
                return task
        raise self.error("not_found", f"task: Unknown object: {gid}")

    @route("GET", "/api/1.0/projects/{project}/tasks", "tasks:read|default")
    @route("GET", "/api/1.0/tasks", "tasks:read|default")
    def list_tasks(self, ask, project=None):
        project = project or ask.query.get("project")
        if project is None:
            self.reject(ask, "You should specify one of project, tag, section, user_task_list, or assignee + workspace")
        self.project(project)
        rows = [task for task in self.tasks.values() if project in task["in"]]
        if ask.query.get("completed_since") == "now":
            rows = [task for task in rows if not task["completed"]]
        return {"data": [self.pick(ask, task, False) for task in rows][: int(ask.query.get("limit", 100))], "next_page": None}

    @route("GET", "/api/1.0/tasks/{gid}", "tasks:read|default")
    def read(self, ask, gid):
        return {"data": self.pick(ask, self.task(gid))}

    @route("PUT", "/api/1.0/tasks/{gid}", "tasks:write|default")
    def edit(self, ask, gid):
        task = self.task(gid)
        data = self.valid(ask, "asana.json#/$defs/task_edit", ask.json)["data"]
        task.update({key: value for key, value in data.items() if key != "external"})
        return {"data": self.pick(ask, task)}

    @route("POST", "/api/1.0/tasks/{gid}/stories", "stories:write|tasks:write|default")
    def comment(self, ask, gid):
        task = self.task(gid)
        data = self.valid(ask, "asana.json#/$defs/story", ask.json)["data"]
        story = self.make("stories", {"gid": str(self.number()), "resource_type": "story", "type": "comment",
                                      "task": task["gid"], "text": data.get("text") or data.get("html_text")})
        self.stories.setdefault(task["gid"], []).append(story)
        return Answer(201, {"data": story})

    @route("GET", "/api/1.0/tasks/{gid}/stories", "stories:read|tasks:read|default")
    def comments(self, ask, gid):
        return {"data": self.stories.get(self.task(gid)["gid"], []), "next_page": None}
