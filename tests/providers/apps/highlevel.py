"""HighLevel: forms only, a version header per route, an agency's token is no location's."""

import json
import re
import secrets
import time
from datetime import datetime, timezone

from oauth import Answer, App, route

SCOPES = {"calls": "voice-ai-dashboard.readonly", "write": "contacts.write", "locations": "locations.readonly"}


class HighLevel(App):
    name = "highlevel"
    authorize_path = "/oauth/chooselocation"
    token_path = "/oauth/token"
    # company: an agency installs; omit_location: the refresh answer forgets it
    defaults = {"token_life": 86399, "rotation": "grace", "grace": 30, "company": False, "omit_location": False}
    account = {"id": "hlUser01", "company": "hlCompany01", "location": "hlLocation01", "locations": ["hlLocation01", "hlLocation02"]}
    client_auth = ("body",)
    needs = {"response_type": "code"}
    prefixes = {"access": "hla-", "refresh": "hlr-"}
    # What every client is told is wrong.
    messages = {
        "bad_client": "Invalid client credentials!",
        "bad_code": "Invalid grant: authorization code is invalid",
        "bad_redirect": "Invalid grant: redirect_uri does not match",
        "bad_refresh": "Invalid grant: refresh token is invalid",
    }

    def start(self):
        self.calls_list, self.contacts = [], {}

    # ---- control

    def control_calls(self, value):
        """A list of calls; or how many to make, and `duplicate`: the last of a page is the first of the next."""
        if isinstance(value, list):
            self.calls_list = value
            return
        count, size = value["count"], value.get("page_size", 50)
        start = value.get("start", 1763596800000)
        self.calls_list = [self.call(number, start + number * 60000) for number in range(count)]
        if value.get("duplicate"):
            for at in range(size, count + 1, size + 1):
                self.calls_list.insert(at, dict(self.calls_list[at - 1]))

    def control_edit_call(self, value):
        for call in self.calls_list:
            if call["id"] == value["id"]:
                call.update(value)

    def call(self, number, at):
        hidden = f"customer-{secrets.token_hex(12)}"
        self.keep("customer_secret", f"highlevel-customer-{number}", hidden)
        action = {
            "actionId": f"action{number}", "actionType": "CUSTOM_ACTION", "actionName": "Look up order",
            "actionParameters": {"apiDetails": {"url": "https://api.example.com", "method": "GET",
                                                "authenticationRequired": True, "authenticationValue": hidden}},
            "executedAt": "2026-11-20T10:00:30.000Z", "triggerReceivedAt": "2026-11-20T10:00:29.000Z",
        }
        moment = datetime.fromtimestamp(at / 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"
        return {
            "id": f"call{number:06d}", "contactId": f"contact{number % 7}", "agentId": "agent1", "isAgentDeleted": False,
            "fromNumber": f"+4144{number:07d}", "createdAt": moment, "duration": 30 + number % 300, "trialCall": number % 10 == 9,
            "executedCallActions": [action], "summary": f"Call number {number}", "transcript": f"bot: hello {number}",
            "extractedData": {"order": str(number)}, "messageId": f"message{number}",
        }

    # ---- OAuth

    def check_token_request(self, ask, body, refresh):
        self.valid(ask, f"oauth.json#/$defs/highlevel_{'refresh' if refresh else 'exchange'}", body, self.unprocessable)

    def by_code(self, ask, body, client):
        # This one does not ask for the address again.
        code = self.codes.get(body["code"])
        return super().by_code(ask, {"redirect_uri": code and code.query["redirect_uri"], **body}, client)

    @staticmethod
    def unprocessable(text):
        return Answer(422, {"statusCode": 422, "message": [text], "error": "Unprocessable Entity", "traceId": "t-1"})

    def token_error(self, kind, text):
        if kind == "bad_client":
            return Answer(401, {"statusCode": 401, "message": self.messages[kind], "error": "Unauthorized", "traceId": "t-1"})
        message = self.messages.get(kind, text)
        return Answer(400, {"statusCode": 400, "message": message, "error": "Bad Request", "traceId": "t-1"})

    def extra(self, _query):
        return {"company": self.knobs["company"], "location": self.knobs["account"]["location"]}

    def shape(self, answer, consent, old):
        account = consent.account
        answer |= {"userType": "Company" if consent.extra["company"] else "Location", "companyId": account["company"],
                   "userId": account["id"], "traceId": "t-1"}
        if consent.extra["company"]:
            answer |= {"isBulkInstallation": True, "approvedLocations": account["locations"]}
        elif not (old and self.knobs["omit_location"]):
            answer["locationId"] = consent.extra["location"]
        return answer

    def rotated(self, consent, old):
        # The same token again gives what it gave before.
        return old.follower if old.follower else super().rotated(consent, old)

    @route("POST", "/oauth/locationToken")
    def location_token(self, ask):
        self.version(ask, "2021-07-28")
        if ask.content_type != "application/x-www-form-urlencoded":
            self.blame(ask, "the location token takes a form only")
            raise self.error("invalid", "form")
        body = self.valid(ask, "highlevel.json#/$defs/location_token", ask.form, self.unprocessable)
        consent = ask.token.consent
        if not consent.extra["company"] or body["companyId"] != consent.account["company"]:
            raise self.error("unauthorized", "the token is not a company's")
        if body["locationId"] not in consent.account["locations"]:
            raise self.error("invalid", "Location not found")
        inner = type(consent)(len(self.consents) + 1, consent.client, consent.account, consent.scopes,
                              {"company": False, "location": body["locationId"]})
        self.consents.append(inner)
        return Answer(201, self.grant(inner, None, ask))

    @route("GET", "/oauth/installedLocations")
    def installed(self, ask):
        self.version(ask, "2021-07-28")
        rows = [{"_id": location, "name": f"Location {location[-2:]}", "address": "", "isInstalled": True}
                for location in ask.token.consent.account["locations"]]
        return {"locations": rows, "count": len(rows), "installToFutureLocations": False}

    # ---- API

    def headers(self, ask):
        return {"x-ratelimit-limit-daily": "200000", "x-ratelimit-daily-remaining": "199999",
                "x-ratelimit-interval-milliseconds": "10000", "x-ratelimit-max": "100", "x-ratelimit-remaining": "99"}

    def error(self, kind, text):
        status = self.statuses[kind]
        if kind in ("unauthorized", "revoked"):
            return Answer(401, {"statusCode": 401, "message": "Invalid token: access token is invalid",
                                "error": "Unauthorized", "traceId": "t-1"})
        if kind == "invalid":
            return self.unprocessable(text)
        return Answer(status, {"statusCode": status, "message": text, "traceId": "t-1"})

    def missing_scope(self, token, scope):
        return Answer(401, {"statusCode": 401, "message": "The token is not authorized for this scope.", "traceId": "t-1"})

    def version(self, ask, wanted):
        if ask.headers.get("version") != wanted:
            self.blame(ask, f"the header Version must be {wanted}, not {ask.headers.get('version')}")
            raise Answer(400, {"statusCode": 400, "message": "version header was not found or is invalid", "traceId": "t-1"})

    def location(self, ask, location):
        extra = ask.token.consent.extra
        if extra["company"] or extra["location"] != location:
            raise Answer(403, {"statusCode": 403, "message": "The token does not have access to this location.",
                               "error": "Forbidden", "traceId": "t-1"})

    @route("GET", "/locations/{location}", SCOPES["locations"])
    def read_location(self, ask, location):
        self.version(ask, "2021-07-28")
        self.location(ask, location)
        return {"location": {"id": location, "name": "Acme Zürich", "companyId": ask.token.consent.account["company"],
                             "email": "office@example.com", "timezone": "Europe/Zurich"}, "traceId": "t-1"}

    @route("GET", "/voice-ai/dashboard/call-logs", SCOPES["calls"])
    def call_logs(self, ask):
        self.version(ask, "2021-04-15")
        query = self.valid(ask, "highlevel.json#/$defs/calls_query", ask.query)
        self.location(ask, query["locationId"])
        rows = self.calls_list
        if "startDate" in query:
            start, end = int(query["startDate"]), int(query["endDate"])
            if start > end:
                self.reject(ask, "startDate is after endDate")
            rows = [row for row in rows if start <= self.millis(row) <= end]
        if query.get("sortBy"):
            rows = sorted(rows, key=lambda row: row[query["sortBy"]], reverse=query.get("sort") == "descend")
        page, size = int(query.get("page", 1)), int(query.get("pageSize", 10))
        return {"total": len(rows), "page": page, "pageSize": size, "callLogs": rows[size * (page - 1) : size * page]}

    @staticmethod
    def millis(row):
        return int(datetime.fromisoformat(row["createdAt"]).timestamp() * 1000)

    @route("GET", "/voice-ai/dashboard/call-logs/{call}", SCOPES["calls"])
    def call_log(self, ask, call):
        self.version(ask, "2021-04-15")
        self.location(ask, ask.query.get("locationId"))
        for row in self.calls_list:
            if row["id"] == call:
                return row
        raise self.error("not_found", "Call not found")

    @route("POST", "/contacts/upsert", SCOPES["write"])
    def upsert(self, ask):
        self.version(ask, "2021-07-28")
        if ask.content_type != "application/json":
            self.reject(ask, "a contact comes as application/json")
        body = self.valid(ask, "highlevel.json#/$defs/contact", ask.json)
        self.location(ask, body["locationId"])
        key = (body["locationId"], (body.get("email") or re.sub(r"\D", "", body.get("phone") or "")).lower())
        if not key[1]:
            self.reject(ask, "email or phone is needed")
        new = key not in self.contacts
        if new:
            self.contacts[key] = self.make("contacts", {"id": f"hlContact{self.number()}", "dateAdded": int(time.time())})
        self.contacts[key].update(json.loads(json.dumps(body)))
        return Answer(201 if new else 200, {"new": new, "contact": self.contacts[key], "traceId": "t-1"})
