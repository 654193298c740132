// A certified OpenID provider (npm `oidc-provider`) that looks like Replit's: issuer with a path,
// RS256, public client with PKCE, the claims that Replit's ID tokens hold. It logs people in by
// itself, and can be made to fail and to forge.
//
//   PORT=9400 MODULES=folder/with/node_modules node server.mjs
//
// Whom it logs in: `login_hint`, else the user of /__ctl/user, else 40000001. What /__ctl takes
// (POST, JSON):
//   reset     {}                       counters, faults, forgeries, description, user, lifetimes
//   user      {sub, claims?}           the user of the next logins; claims are merged into theirs
//   rotate    {mode}                   overlap: a new key signs, the old stays published
//                                      hard: the old key is gone; publish: the new one waits
//   forge     {mode, times?, claims?}  the next ID tokens; see `forgeries`. {} ends it
//   fault     {path, status?, delay?, drop?, truncate?, flood?, redirect?, times?}
//   describe  {…}                      fields of the discovery document; null takes one out
//   lifetimes {access?, id?}           of new tokens, in seconds
//   revoke    {}                       every refresh token and grant is gone
// GET /__ctl/stats: how often each endpoint was asked.
import crypto from "node:crypto";
import http from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const modules = createRequire(`${process.env.MODULES}/x.js`);
const load = (name) => import(pathToFileURL(modules.resolve(name)).href);
const { Provider } = await load("oidc-provider");
const jose = await load("jose");

const host = "127.0.0.1";
const port = Number(process.env.PORT);
const mount = "/oidc";
const issuer = `http://${host}:${port}${mount}`;
const publicClient = "00000000-1111-2222-3333-444444444444";
const redirects = (process.env.REDIRECTS ?? "").split(",").filter(Boolean);

const users = new Map([
  ["40000001", person("ada", "Ada", "Byron", { email: "ada@example.com", email_verified: true })],
  ["40000002", person("grace", "Grace", null, { email: "grace@example.com", email_verified: false })],
  ["40000003", person("noemail", null, null, { email: null })],
  // Tokens of before February 2026 do not say whether the address is verified.
  ["40000004", person("legacy", "Le", "Gacy", { email: "legacy@example.com" })],
  ["40000005", person("ada2", "Other", "Ada", { email: "ADA@Example.com", email_verified: true })],
]);
function person(username, first_name, last_name, email) {
  return { username, first_name, last_name, profile_image_url: null, ...email };
}

const key = async () => {
  const { privateKey } = await jose.generateKeyPair("RS256", { extractable: true });
  const kid = crypto.randomBytes(8).toString("hex");
  return { ...(await jose.exportJWK(privateKey)), alg: "RS256", use: "sig", kid };
};
const published = ({ kty, n, e, alg, use, kid }) => ({ kty, n, e, alg, use, kid });
let keys = [await key()];
const attacker = await key();

let stats, faults, forge, description, user, lifetimes;
function reset() {
  stats = { discovery: 0, jwks: 0, auth: 0, token: 0, code: 0, refresh: 0, token_error: 0, end_session: 0 };
  [faults, forge, description, user] = [[], null, {}, "40000001"];
  lifetimes = { access: 3600, id: 3600 };
}
reset();

// ---- forgeries: each gets the header, the claims and the key of a good token, and spoils them
const seconds = () => Math.floor(Date.now() / 1000);
const claim = (name, value) => (token) => {
  if (value === undefined) delete token.claims[name];
  else token.claims[name] = typeof value === "function" ? value(token.claims) : value;
};
const byAttacker = (also) => (token) => {
  token.key = attacker;
  token.header.kid = attacker.kid;
  also?.(token);
};
const forgeries = {
  claims: () => {},
  bad_signature: (token) => { token.key = attacker; },
  unknown_kid: byAttacker(),
  no_kid: (token) => { delete token.header.kid; },
  embedded_jwk: byAttacker((token) => { token.header.jwk = published(attacker); }),
  jku: byAttacker((token) => { token.header.jku = `http://${host}:${port}/__ctl/attacker`; }),
  wrong_iss: claim("iss", "https://evil.example/oidc"),
  iss_slash: claim("iss", `${issuer}/`),
  missing_iss: claim("iss"),
  wrong_aud: claim("aud", "ffffffff-0000-0000-0000-000000000000"),
  missing_aud: claim("aud"),
  aud_array_ok: claim("aud", ({ aud }) => [aud]),
  aud_extra_no_azp: claim("aud", ({ aud }) => [aud, "other"]),
  aud_extra_azp_ok: ({ claims }) => { [claims.azp, claims.aud] = [claims.aud, [claims.aud, "other"]]; },
  azp_wrong: claim("azp", "other"),
  expired: ({ claims }) => { [claims.iat, claims.exp] = [seconds() - 7200, seconds() - 3600]; },
  exp_string: claim("exp", ({ exp }) => String(exp)),
  missing_exp: claim("exp"),
  iat_future: ({ claims }) => { [claims.iat, claims.exp] = [seconds() + 3600, seconds() + 7200]; },
  missing_iat: claim("iat"),
  nbf_future: claim("nbf", () => seconds() + 3600),
  missing_sub: claim("sub"),
  empty_sub: claim("sub", ""),
  number_sub: claim("sub", 40000001),
  wrong_nonce: claim("nonce", "not-yours"),
  missing_nonce: claim("nonce"),
  wrong_at_hash: claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
  email_unverified: claim("email_verified", false),
  email_verified_string: claim("email_verified", "true"),
  alg_none: (token) => { token.whole = `${encoded({ alg: "none" })}.${encoded(token.claims)}.`; },
  // The classic confusion: what is public as a key of RSA is used as a secret.
  hs256_pubkey: async (token) => {
    const pem = await jose.exportSPKI(await jose.importJWK(published(keys[0]), "RS256"));
    const signed = `${encoded({ alg: "HS256", kid: token.header.kid })}.${encoded(token.claims)}`;
    token.whole = `${signed}.${crypto.createHmac("sha256", pem).update(signed).digest("base64url")}`;
  },
  rs512: (token) => { token.header.alg = "RS512"; },
  ps256: (token) => { token.header.alg = "PS256"; },
  crit: (token) => { Object.assign(token.header, { crit: ["lux-test"], "lux-test": true }); },
  garbage: (token) => { token.whole = "not.a.jwt"; },
  absent: (token) => { token.whole = undefined; },
};
const encoded = (value) => jose.base64url.encode(JSON.stringify(value));

async function sign({ header, claims, key }) {
  const signer = new jose.CompactSign(new TextEncoder().encode(JSON.stringify(claims)));
  const crit = header.crit && { crit: { "lux-test": false } };
  return signer.setProtectedHeader(header).sign(await jose.importJWK({ ...key, alg: header.alg }, header.alg), crit);
}

/** Replit's tokens hold at_hash, which the library leaves out of the code flow. */
async function spoil(body) {
  const { kid } = jose.decodeProtectedHeader(body.id_token);
  const hash = crypto.createHash("sha256").update(body.access_token).digest();
  const claims = { ...jose.decodeJwt(body.id_token), at_hash: hash.subarray(0, 16).toString("base64url") };
  const token = { header: { alg: "RS256", kid }, claims, key: keys.find((key) => key.kid === kid) };
  if (forge) {
    Object.assign(token.claims, forge.claims);
    await forgeries[forge.mode](token);
    if (forge.times && --forge.times === 0) forge = null;
  }
  body.id_token = "whole" in token ? token.whole : await sign(token);
}

// ---- what the provider keeps, which outlives the provider's own object when keys are rotated
const kept = new Map();
const grants = new Map();
class Store {
  constructor(name) { this.name = name; }
  at(id) { return `${this.name}:${id}`; }
  async upsert(id, payload, ttl) {
    kept.set(this.at(id), { payload, until: ttl ? Date.now() + ttl * 1000 : Infinity });
    if (payload.grantId) grants.set(payload.grantId, (grants.get(payload.grantId) ?? new Set()).add(this.at(id)));
  }
  async find(id) {
    const found = kept.get(this.at(id));
    return found && found.until > Date.now() ? found.payload : undefined;
  }
  async findByUid(uid) {
    for (const [at, { payload }] of kept) if (at.startsWith(`${this.name}:`) && payload.uid === uid) return payload;
  }
  async findByUserCode() {}
  async consume(id) { kept.get(this.at(id)).payload.consumed = seconds(); }
  async destroy(id) { kept.delete(this.at(id)); }
  async revokeByGrantId(grant) { for (const at of grants.get(grant) ?? []) kept.delete(at); }
}

function build() {
  const client = (client_id, token_endpoint_auth_method, client_secret) => ({
    client_id, client_secret, token_endpoint_auth_method, application_type: "native",
    grant_types: ["authorization_code", "refresh_token"], response_types: ["code"],
    redirect_uris: ["http://127.0.0.1/back"], post_logout_redirect_uris: ["http://127.0.0.1/"],
  });
  const provider = new Provider(issuer, {
    adapter: Store,
    jwks: { keys },
    clients: [
      client(publicClient, "none"),
      client("confidential", "client_secret_basic", "s3cret of/the:test"),
      client("confidential-post", "client_secret_post", "s3cret of/the:test"),
    ],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["username", "first_name", "last_name", "profile_image_url"] },
    scopes: ["openid", "email", "profile", "offline_access"],
    conformIdTokenClaims: false,
    responseTypes: ["code"],
    pkce: { required: () => true },
    cookies: { keys: [crypto.randomBytes(16).toString("hex")] },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => { ctx.body = `<!doctype html>${form}<script>document.forms[0].submit()</script>`; },
      },
    },
    interactions: { url: (_, { uid }) => `${mount}/interaction/${uid}` },
    findAccount: (_, sub) => users.has(sub) ? { accountId: sub, claims: () => ({ sub, ...users.get(sub) }) } : undefined,
    ttl: {
      AccessToken: () => lifetimes.access, AuthorizationCode: 60, IdToken: () => lifetimes.id,
      RefreshToken: 14 * 86400, Session: 14 * 86400, Grant: 14 * 86400, Interaction: 600,
    },
  });
  // Replit takes any host of the application: here any address of this machine, and those given.
  const known = (text) => {
    const url = URL.canParse(text) ? new URL(text) : {};
    return (url.protocol === "http:" && ["127.0.0.1", "localhost"].includes(url.hostname)) || redirects.includes(text);
  };
  provider.Client.prototype.redirectUriAllowed = known;
  provider.Client.prototype.postLogoutRedirectUriAllowed = known;
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.oidc?.route === "discovery") {
      ctx.body = Object.fromEntries(Object.entries({ ...ctx.body, ...description }).filter(([, value]) => value !== null));
    }
    if (ctx.oidc?.route !== "token") return;
    if (ctx.body.error) stats.token_error++;
    else stats[ctx.oidc.params.grant_type === "refresh_token" ? "refresh" : "code"]++;
    if (ctx.body.id_token) await spoil(ctx.body);
  });
  provider.on("server_error", (_, error) => console.error(error));
  return provider;
}
let provider = build();

// ---- logs in and consents without a human
async function interact(request, response) {
  const { params, prompt, session, grantId } = await provider.interactionDetails(request, response);
  const accountId = users.has(params.login_hint) ? params.login_hint : user;
  const finish = (result, merge) => provider.interactionFinished(request, response, result, { mergeWithLastSubmission: merge });
  if (accountId === "deny") return finish({ error: "access_denied", error_description: "declined" }, false);
  if (prompt.name === "login") return finish({ login: { accountId } }, false);
  const grant = (grantId && (await provider.Grant.find(grantId))) || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const { missingOIDCScope, missingOIDCClaims } = prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(" "));
  if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
  return finish({ consent: { grantId: await grant.save() } }, true);
}

const answer = (response, status, body) => {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
};

async function control(request, response, name) {
  let text = "";
  for await (const chunk of request) text += chunk;
  const body = text ? JSON.parse(text) : {};
  switch (name) {
    case "stats": return answer(response, 200, stats);
    case "attacker": return answer(response, 200, { keys: [published(attacker)] });
    case "reset": reset(); break;
    case "user":
      user = String(body.sub);
      if (body.claims) users.set(user, { ...users.get(user), ...body.claims });
      break;
    case "rotate": {
      const fresh = await key();
      keys = { hard: [fresh], publish: [...keys, fresh], overlap: [fresh, ...keys] }[body.mode];
      provider = build();
      break;
    }
    case "forge": forge = body.mode ? body : null; break;
    case "fault": faults.push(body); break;
    case "describe": description = body; break;
    case "lifetimes": Object.assign(lifetimes, body); break;
    case "revoke":
      for (const at of kept.keys()) if (/^(RefreshToken|Grant|AccessToken):/.test(at)) kept.delete(at);
      break;
    default: return answer(response, 404, { error: "no such control" });
  }
  return answer(response, 200, {});
}

/** Whether the request ended by a fault that was asked for. */
async function fail(request, response, path) {
  const fault = faults.find((fault) => fault.path === path);
  if (!fault) return false;
  if (fault.times && --fault.times === 0) faults = faults.filter((other) => other !== fault);
  if (fault.delay) await new Promise((done) => setTimeout(done, fault.delay));
  if (fault.drop) request.socket.destroy();
  else if (fault.truncate) {
    response.writeHead(200, { "content-type": "application/json", "content-length": 1000 });
    response.write('{"keys":[');
    setTimeout(() => request.socket.destroy(), 50);
  } else if (fault.flood) {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(`{"filler":"${"x".repeat(fault.flood)}"}`);
  } else if (fault.redirect) {
    response.writeHead(302, { location: fault.redirect });
    response.end();
  } else if (fault.status) answer(response, fault.status, { error: fault.error ?? "server_error" });
  else return false;
  return true;
}

const counted = {
  "/.well-known/openid-configuration": "discovery", "/jwks": "jwks", "/auth": "auth", "/token": "token", "/session/end": "end_session",
};
http.createServer(async (request, response) => {
  try {
    const { pathname } = new URL(request.url, issuer);
    if (pathname.startsWith("/__ctl/")) return await control(request, response, pathname.slice(7));
    if (!pathname.startsWith(`${mount}/`)) return answer(response, 404, { error: "nothing here" });
    const path = pathname.slice(mount.length);
    if (counted[path]) stats[counted[path]]++;
    if (await fail(request, response, path)) return;
    if (path.startsWith("/interaction/")) return await interact(request, response);
    // How the library learns where it is mounted.
    request.originalUrl = request.url;
    request.url = request.url.slice(mount.length);
    return provider.callback()(request, response);
  } catch (error) {
    console.error(error);
    if (!response.headersSent) answer(response, 500, { error: "server_error" });
  }
}).listen(port, host);
