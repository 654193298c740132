"""Dropbox: arguments of uploads lie in a header, which must be ASCII."""

import hashlib
import json

from oauth import Answer, App, route


class Dropbox(App):
    name = "dropbox"
    authorize_path = "/oauth2/authorize"
    token_path = "/oauth2/token"
    defaults = {"token_life": 14400}
    account = {"id": "dbid:AAH4f99T0taONIb-lux", "uid": "12345", "email": "ada@example.com", "name": "Ada Byron",
               "photo": "https://photos.example.com/ada.jpg"}
    needs = {"response_type": "code"}
    prefixes = {"access": "sl.", "refresh": "dbr-"}

    def start(self):
        self.files = {}

    def extra(self, query):
        return {"offline": query.get("token_access_type") == "offline"}

    def refreshable(self, consent, ask):
        return consent.extra["offline"] and super().refreshable(consent, ask)

    def shape(self, answer, consent, old):
        answer["token_type"] = "bearer"
        if old is None:
            answer |= {"uid": consent.account["uid"], "account_id": consent.account["id"]}
        return answer

    def error(self, kind, text):
        if kind == "invalid":
            return Answer(400, f"Error in call to API function: {text}", {"content-type": "text/plain; charset=utf-8"})
        tags = {"unauthorized": "invalid_access_token", "revoked": "invalid_access_token", "not_found": "path",
                "forbidden": "no_permission", "rate_limited": "too_many_requests", "server": "internal_error"}
        status = 409 if kind == "not_found" else self.statuses[kind]
        body = {"error_summary": f"{tags[kind]}/..", "error": {".tag": tags[kind]}}
        if kind == "not_found":
            body = {"error_summary": "path/not_found/..", "error": {".tag": "path", "path": {".tag": "not_found"}}}
        if kind == "rate_limited":
            body["error"] = {"reason": {".tag": "too_many_requests"}, "retry_after": 1}
        return Answer(status, body)

    def expired(self, _ask):
        return Answer(401, {"error_summary": "expired_access_token/..", "error": {".tag": "expired_access_token"}})

    def missing_scope(self, token, scope):
        return Answer(401, {"error_summary": "missing_scope/..",
                            "error": {".tag": "missing_scope", "required_scope": scope.split("|")[0]}})

    def nothing(self, ask):
        """A call without arguments has no body, or says null."""
        if ask.raw not in (b"", b"null") or (ask.raw and ask.content_type != "application/json"):
            self.reject(ask, "this function takes no arguments: the body must be empty or null")
        if not ask.raw and ask.content_type:
            self.reject(ask, f"a call without a body must not tell the type {ask.content_type}")

    def body(self, ask, schema):
        if ask.content_type != "application/json":
            self.reject(ask, "Bad HTTP \"Content-Type\" header: expecting \"application/json\"")
        return self.valid(ask, f"dropbox.json#/$defs/{schema}", ask.json)

    @route("POST", "/2/auth/token/revoke")
    def revocation(self, ask):
        self.nothing(ask)
        self.revoke(ask.token.value)
        return Answer(200, None)

    @route("POST", "/2/users/get_current_account", "account_info.read")
    def current(self, ask):
        self.nothing(ask)
        account = ask.token.consent.account
        return {"account_id": account["id"], "email": account["email"], "email_verified": True, "disabled": False,
                "name": {"display_name": account["name"], "given_name": "Ada", "surname": "Byron"},
                "profile_photo_url": account["photo"], "country": "CH", "locale": "en"}

    @route("POST", "/2/files/upload", "files.content.write")
    def upload(self, ask):
        if ask.content_type != "application/octet-stream":
            self.reject(ask, "Bad HTTP \"Content-Type\" header: expecting \"application/octet-stream\"")
        argument = ask.headers.get("dropbox-api-arg", "")
        # Bytes that are no ASCII arrive as surrogates here.
        if not argument.isascii():
            self.reject(ask, "HTTP header \"Dropbox-API-Arg\": must be ASCII")
        try:
            argument = json.loads(argument)
        except ValueError:
            self.reject(ask, "HTTP header \"Dropbox-API-Arg\": could not decode input as JSON")
        self.valid(ask, "dropbox.json#/$defs/upload", argument)
        path, mode = argument["path"], argument.get("mode", "add")
        digest = hashlib.sha256(ask.raw).hexdigest()
        if mode == "add" and path.lower() in self.files:
            if self.files[path.lower()]["digest"] == digest:
                return self.view(self.files[path.lower()])
            if not argument.get("autorename"):
                raise Answer(409, {"error_summary": "path/conflict/file/..",
                                   "error": {".tag": "path", "reason": {".tag": "conflict", "conflict": {".tag": "file"}}}})
            stem, dot, kind = path.rpartition(".")
            number = 1
            while path.lower() in self.files:
                path = f"{stem} ({number}){dot}{kind}" if dot else f"{kind} ({number})"
                number += 1
        number = self.number()
        file = {"id": f"id:lux{number}", "name": path.rsplit("/", 1)[-1], "path_display": path, "path_lower": path.lower(),
                "rev": f"0{number}a", "size": len(ask.raw), "digest": digest, "client_modified": "2026-11-20T10:00:00Z",
                "server_modified": "2026-11-20T10:00:00Z", "content": ask.raw.decode("utf-8", "replace")[:65536]}
        self.files[path.lower()] = self.make("files", file)
        return self.view(file)

    @staticmethod
    def view(file):
        return {name: value for name, value in file.items() if name not in ("digest", "content")}

    def file(self, path):
        for file in self.files.values():
            if path.lower() == file["path_lower"] or path == file["id"]:
                return file
        raise self.error("not_found", path)

    @route("POST", "/2/files/get_metadata", "files.metadata.read")
    def metadata(self, ask):
        return {".tag": "file", **self.view(self.file(self.body(ask, "metadata")["path"]))}

    @route("POST", "/2/files/create_folder_v2", "files.content.write")
    def folder(self, ask):
        body = self.body(ask, "folder")
        return {"metadata": {"id": f"id:folder{self.number()}", "path_display": body["path"]}}

    @route("POST", "/2/sharing/create_shared_link_with_settings", "sharing.write")
    def link(self, ask):
        file = self.file(self.body(ask, "link")["path"])
        link = {"url": f"https://www.dropbox.com/scl/fi/{file['rev']}/{file['name']}?dl=0", "id": file["id"]}
        return self.make("links", link)


