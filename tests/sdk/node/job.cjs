// A program that ends by its error: what it told must arrive all the same.
const Sentry = require("@sentry/node");
Sentry.init({ release: "shop@1.2.3", environment: "staging" });

function bill(customer) {
  throw new RangeError(`the nightly bill of ${customer} failed`);
}

setTimeout(() => bill("ann"), 10);
