// The DSN comes from the environment (SENTRY_DSN).
const Sentry = require("@sentry/node");
Sentry.init({
  release: "shop@1.2.3",
  environment: "staging",
  tracesSampleRate: 1.0,
  includeLocalVariables: true,
  // Of like errors in a row it would tell only the first.
  integrations: (usual) => usual.filter((integration) => integration.name !== "Dedupe"),
});

const express = require("express");
const PRICES = new Map([["apple", { cents: 3 }]]);

function price(item) {
  const password = process.env.TILL_PASSWORD;
  const card = process.env.TILL_CARD;
  return PRICES.get(item).cents + password.length * 0 + card.length * 0;
}

const app = express();
app.get("/", (request, response) => response.send("welcome\n"));
app.post("/buy/:item", (request, response) => {
  Sentry.setTag("shelf", "7");
  Sentry.setUser({ id: "u-42" });
  Sentry.addBreadcrumb({ category: "cart", message: "put a plum into the cart" });
  response.json({ price: price(request.params.item) });
});
Sentry.setupExpressErrorHandler(app);

const server = app.listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => Sentry.close(10000).then(() => process.exit(0))));
