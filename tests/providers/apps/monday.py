"""monday: GraphQL, which is parsed, validated and executed on a schema of our own."""

import json
import pathlib
import re
import time

from graphql import GraphQLError, build_schema, execute_sync, parse, validate

from oauth import Answer, App, route

SCHEMA = build_schema((pathlib.Path(__file__).parents[1] / "schemas" / "monday.graphql").read_text())
SCHEMA.type_map["ColumnValue"].resolve_type = lambda value, *_: "StatusValue" if value["type"] == "status" else "TextValue"
VERSIONS = ("2026-01", "2026-04", "2026-07", "2026-10")
SCOPES = {"me": "me:read", "boards": "boards:read", "items": "boards:read", "create_item": "boards:write",
          "create_update": "updates:write", "archive_item": "boards:write", "move_item_to_group": "boards:write",
          "change_column_value": "boards:write", "change_simple_column_value": "boards:write",
          "change_multiple_column_values": "boards:write", "items_page_by_column_values": "boards:read",
          "account": "account:read", "workspaces": "workspaces:read"}


class Monday(App):
    name = "monday"
    authorize_path = "/oauth2/authorize"
    token_path = "/oauth_ms/oauth/token"
    defaults = {"rotation": "strict", "expires_in": "absent", "token_form": "jwt", "errors_200": True, "installed": True,
                # whether calls may say Bearer, or the bare token, or either
                "prefix": "either"}
    account = {"id": "7001", "name": "Ada Byron", "email": "ada@example.com", "slug": "acme",
               "avatar": "https://photos.example.com/ada_thumb.png"}
    needs = {"response_type": "code"}
    pkce = "required"
    prefixes = {"access": "", "refresh": ""}

    def start(self):
        self.boards = {
            board: {
                "id": board, "name": name, "state": "active", "url": f"https://acme.monday.com/boards/{board}",
                "description": None, "board_kind": "public", "updated_at": "2026-11-20T10:00:00Z",
                "groups": [{"id": "topics", "title": "Open", "color": "#579bfc"}, {"id": "done", "title": "Closed", "color": "#00c875"}],
                "columns": [
                    {"id": "name", "title": "Name", "type": "name", "settings_str": "{}"},
                    {"id": "status", "title": "Status", "type": "status",
                     "settings_str": json.dumps({"labels": {"0": "Working on it", "1": "Done", "2": "Stuck", "5": ""}})},
                    {"id": "text", "title": "Reference", "type": "text", "settings_str": "{}"},
                ],
            }
            for board, name in (("9001", "Shop errors"), ("9002", "Site"))
        }
        self.items = {}

    def check_authorize(self, ask):
        if not self.knobs["installed"] and ask.query.get("force_install_if_needed") != "true":
            raise self.refuse_authorize(ask, "the app is not installed in this account")

    def mint(self, kind, consent, life):
        # The refresh token is a JWT as well, of a longer life.
        return super().mint(kind, consent, 90 * 86400 if kind == "refresh" else life)

    def bearer(self, ask):
        header = ask.headers.get("authorization", "")
        said = header.startswith("Bearer ")
        if self.knobs["prefix"] == ("bare" if said else "bearer"):
            self.blame(ask, "the Authorization header has the wrong form")
            return None
        return header.removeprefix("Bearer ")

    def error(self, kind, text):
        if kind in ("unauthorized", "revoked"):
            return Answer(401, {"errors": [{"message": "Not Authenticated", "extensions": {"code": "NOT_AUTHENTICATED", "status_code": 401}}]})
        if kind == "rate_limited":
            return Answer(429, {"errors": [{"message": "Complexity budget exhausted, reset in 1 seconds",
                                            "extensions": {"code": "COMPLEXITY_BUDGET_EXHAUSTED", "status_code": 429, "reset_in_x_seconds": 1}}]})
        codes = {"forbidden": "UserUnauthorizedException", "not_found": "ResourceNotFoundException",
                 "invalid": "InvalidArgumentException", "server": "InternalServerError"}
        status = self.statuses[kind]
        return Answer(200 if self.knobs["errors_200"] and kind != "server" else status, self.failed(text, codes[kind], status))

    @staticmethod
    def failed(text, code, status, path=()):
        error = {"message": text, "path": list(path), "extensions": {"code": code, "status_code": status, "error_data": {}}}
        return {"data": None, "errors": [error], "account_id": 17}

    @route("POST", "/oauth_ms/oauth/revoke", token=False)
    def revocation(self, ask):
        body = ask.json if ask.content_type == "application/json" else ask.form
        self.authenticate(ask, body)
        if body.get("token_type_hint") not in (None, "access_token", "refresh_token"):
            self.reject(ask, "token_type_hint")
        self.revoke(body.get("token"))
        return {"success": True}

    @route("POST", "/v2")
    def graphql(self, ask):
        version = ask.headers.get("api-version")
        if version not in VERSIONS:
            # It would fall back, and say nothing.
            self.blame(ask, f"API-Version must be one of {VERSIONS}, not {version}")
        if ask.content_type != "application/json":
            self.reject(ask, "the body must be application/json")
        body = ask.json
        if not isinstance(body, dict) or not isinstance(body.get("query"), str) or set(body) - {"query", "variables", "operationName"}:
            self.reject(ask, "a body holds query and variables")
        try:
            document = parse(body["query"])
        except GraphQLError as error:
            return self.refuse(ask, error.message)
        wrong = validate(SCHEMA, document)
        if wrong:
            return self.refuse(ask, "; ".join(error.message for error in wrong))
        for definition in document.definitions:
            for selection in definition.selection_set.selections:
                scope = SCOPES.get(selection.name.value)
                if scope and not self.has(ask.token, scope):
                    return Answer(200, self.failed("unauthorized field or type", "UNAUTHORIZED_FIELD_OR_TYPE", 403, [selection.name.value]))
        result = execute_sync(SCHEMA, document, root_value=Fields(self, ask), variable_values=body.get("variables"))
        answer = {"data": result.data, "account_id": 17}
        if result.errors:
            for error in result.errors:
                if not isinstance(error.original_error, Refused):
                    self.blame(ask, f"graphql: {error.message}")
            answer["errors"] = [
                {"message": error.message, "path": error.path,
                 "extensions": {"code": getattr(error.original_error, "code", "BadRequest"), "status_code": 200, "error_data": {}}}
                for error in result.errors
            ]
        return answer

    def refuse(self, ask, text):
        self.blame(ask, f"graphql: {text}")
        body = {"errors": [{"message": text, "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}], "account_id": 17}
        return Answer(200 if self.knobs["errors_200"] else 400, body)


class Refused(Exception):
    """What the provider refuses although the query is right."""

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


def board_view(app, board):
    items = [item for item in app.items.values() if item["board"] == board["id"] and item["state"] == "active"]

    def page(info, limit=25, cursor=None, query_params=None):
        if limit > 500:
            raise ValueError("limit is at most 500")
        rows = items
        for rule in (query_params or {}).get("rules", []):
            wanted = rule["compare_value"] if isinstance(rule["compare_value"], list) else [rule["compare_value"]]
            rows = [row for row in rows if row["values"].get(rule["column_id"]) in wanted
                    or (rule.get("operator") == "contains_text" and wanted[0] in str(row["values"].get(rule["column_id"], row["name"])))]
        return {"cursor": None, "items": [item_view(app, row) for row in rows[:limit]]}

    columns = board["columns"]
    return {
        **board, "items_count": len(items), "items_page": page, "workspace": {"id": "1", "name": "Main"},
        "columns": lambda info, ids=None, types=None: [
            column for column in columns if (not ids or column["id"] in ids) and (not types or column["type"] in types)
        ],
        "groups": lambda info, ids=None: [group for group in board["groups"] if not ids or group["id"] in ids],
    }


def item_view(app, item):
    board = app.boards[item["board"]]

    def values(info, ids=None, types=None):
        rows = []
        for column in board["columns"][1:]:
            if (ids and column["id"] not in ids) or (types and column["type"] not in types):
                continue
            text = item["values"].get(column["id"])
            rows.append({"id": column["id"], "type": column["type"], "text": text, "column": column,
                         "value": None if text is None else json.dumps(text), "label": text})
        return rows

    return {
        **item, "column_values": values, "board": lambda info: board_view(app, board),
        "group": next(group for group in board["groups"] if group["id"] == item["group"]),
        "updates": lambda info, **_: item["updates"],
    }


def find_board(app, board_id):
    if board_id not in app.boards:
        raise Refused("Board not found", "InvalidBoardIdException")
    return app.boards[board_id]


def find_item(app, item_id):
    if item_id not in app.items:
        raise Refused("Item not found", "ResourceNotFoundException")
    return app.items[item_id]


def set_values(item, board, given):
    """`column_values` is a JSON text: {"status": {"label": "Done"}, "text": "x"}."""
    if not isinstance(given, str):
        raise ValueError("column_values must be a JSON string")
    try:
        values = json.loads(given)
    except ValueError:
        raise ValueError("column_values is not JSON") from None
    columns = {column["id"]: column for column in board["columns"]}
    for name, value in values.items():
        if name not in columns:
            raise Refused(f"This column ID doesn't exist for the board: {name}", "InvalidColumnIdException")
        if columns[name]["type"] == "status":
            if not isinstance(value, dict) or not ({"label"} == set(value) or {"index"} == set(value)):
                raise ValueError("a status is {label} or {index}")
            labels = json.loads(columns[name]["settings_str"])["labels"]
            value = value.get("label", labels.get(str(value.get("index"))))
        item["values"][name] = value


class Fields:
    """The fields of monday's queries and mutations, each of which graphql-core calls by its name."""

    def __init__(self, app, ask):
        self.app, self.ask = app, ask

    def me(self, _info):
        account = self.ask.token.consent.account
        return {**account, "photo_url": {"thumb": account["avatar"]},
                "account": {"id": "17", "name": "Acme", "slug": account["slug"]}}

    def account(self, _info):
        return {"id": "17", "name": "Acme", "slug": self.ask.token.consent.account["slug"]}

    def workspaces(self, _info, **_):
        return [{"id": "1", "name": "Main"}]

    def complexity(self, _info):
        return {"before": 5_000_000, "query": 1000, "after": 4_999_000, "reset_in_x_seconds": 60}

    def boards(self, _info, ids=None, limit=25, **_):
        return [board_view(self.app, board) for board in self.app.boards.values() if not ids or board["id"] in ids][:limit]

    def items(self, _info, ids=None, **_):
        return [item_view(self.app, item) for item in self.app.items.values() if not ids or item["id"] in ids]

    def items_page_by_column_values(self, _info, board_id, columns=(), limit=25, **_):
        find_board(self.app, board_id)
        rows = [
            item for item in self.app.items.values()
            if item["board"] == board_id and item["state"] == "active" and all(
                (item["name"] if wanted["column_id"] == "name" else item["values"].get(wanted["column_id"])) in wanted["column_values"]
                for wanted in columns
            )
        ]
        return {"cursor": None, "items": [item_view(self.app, row) for row in rows[:limit]]}

    def next_items_page(self, _info, **_):
        return {"cursor": None, "items": []}

    def create_item(self, _info, board_id, item_name, group_id=None, column_values=None, **_):
        board = find_board(self.app, board_id)
        if not 1 <= len(item_name) <= 255:
            raise ValueError("item_name must be 1 to 255 characters")
        number = str(self.app.number())
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        item = {"id": number, "name": item_name, "state": "active", "url": f"{board['url']}/pulses/{number}", "board": board_id,
                "group": group_id or "topics", "values": {}, "updates": [], "created_at": at, "updated_at": at}
        if column_values is not None:
            set_values(item, board, column_values)
        self.app.items[number] = self.app.make("items", item)
        return item_view(self.app, item)

    def create_update(self, _info, body, item_id=None, **_):
        item = find_item(self.app, item_id)
        if not body:
            raise ValueError("body is empty")
        update = self.app.make("updates", {"id": str(self.app.number()), "body": body, "text_body": re.sub("<[^>]*>", "", body),
                                       "created_at": item["created_at"], "item_id": item_id})
        item["updates"].append(update)
        return update

    def change_simple_column_value(self, _info, board_id, column_id, item_id=None, value=None, **_):
        item, board = find_item(self.app, item_id), find_board(self.app, board_id)
        status = any(column["id"] == column_id and column["type"] == "status" for column in board["columns"])
        set_values(item, board, json.dumps({column_id: {"label": value} if status else value}))
        return item_view(self.app, item)

    def change_column_value(self, _info, board_id, column_id, value, item_id=None, **_):
        item = find_item(self.app, item_id)
        set_values(item, find_board(self.app, board_id), json.dumps({column_id: json.loads(value)}))
        return item_view(self.app, item)

    def change_multiple_column_values(self, _info, board_id, column_values, item_id=None, **_):
        item = find_item(self.app, item_id)
        set_values(item, find_board(self.app, board_id), column_values)
        return item_view(self.app, item)

    def move_item_to_group(self, _info, group_id, item_id=None):
        item = find_item(self.app, item_id)
        item["group"] = group_id
        return item_view(self.app, item)

    def archive_item(self, _info, item_id=None):
        item = find_item(self.app, item_id)
        item["state"] = "archived"
        return item_view(self.app, item)
