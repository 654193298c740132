// The inbox: lets this browser show notifications. They come by the pulse, see lux.js.
"use strict";
(() => {
  const button = document.querySelector("#allow");
  const show = () => { button.hidden = !("Notification" in window) || Notification.permission !== "default"; };
  button.addEventListener("click", async () => {
    const said = await Notification.requestPermission();
    if (said === "granted") lux.told({ text: "This browser notifies you while a page of Lux is open" });
    else lux.told({ text: "The browser does not allow it; its settings for this site say so", bad: true });
    show();
  });
  show();
})();
