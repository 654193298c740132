// A shop's page as bundlers make it; DSN and options come from the server that serves it.
import * as Sentry from "@sentry/browser";

Sentry.init({
  release: "shop@1.2.3",
  environment: "staging",
  ...window.shop,
});
Sentry.setTag("shelf", "7");
Sentry.setUser({ id: "u-42" });

const prices = { apple: { cents: 3 } };

function price(item) {
  return prices[item].cents;
}

document.querySelector("#buy").addEventListener("click", () => {
  Sentry.addBreadcrumb({ category: "cart", message: "put a plum into the cart" });
  price("pear");
});

// For the one who drives the browser: everything has left, or could not.
window.told = async () => Sentry.flush(20000);
