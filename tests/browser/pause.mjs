// Pause a plug-in and see it fall behind; let it go on and see it catch up.
import assert from "node:assert/strict";
import { run } from "./browser.mjs";

const figure = (page, plugin, name) =>
  page.locator(`article#${plugin} .figures div`, { has: page.locator("dt", { hasText: new RegExp(`^${name}$`) }) }).locator("dd");

async function send(count) {
  for (let n = 0; n < count; n += 1) {
    const event = {
      specversion: "1.0", id: crypto.randomUUID(), source: "/test", type: "d365.custom.account.update",
      subject: `account/${n}`, datacontenttype: "application/json", data: { accountnumber: `B-${n}`, creditlimit: 1 },
    };
    const answer = await fetch(process.env.GATEWAY_URL, {
      method: "POST", headers: { "content-type": "application/cloudevents+json" }, body: JSON.stringify(event),
    });
    assert.equal(answer.status, 202, await answer.text());
  }
}

await run({
  async "a paused plug-in falls behind and catches up"(page) {
    await page.goto("/plug-ins");
    await page.getByRole("button", { name: "Pause decide" }).click();
    await page.locator("article#decide .badge", { hasText: "paused" }).waitFor();
    const before = Number(await figure(page, "decide", "Behind").innerText());
    await send(30);
    await page.waitForFunction(
      (least) => {
        const terms = [...document.querySelectorAll("article#decide dt")];
        const lag = terms.find((term) => term.textContent === "Behind").nextElementSibling;
        return least <= Number(lag.textContent.replaceAll(",", ""));
      },
      before + 30,
    );
    // The picture shows it too.
    await page.getByRole("link", { name: "Flow" }).click();
    await page.locator("#column-plug-ins .node", { hasText: "decide" }).getByText("paused").waitFor();

    await page.getByRole("link", { name: "Plug-ins", exact: true }).click();
    await page.getByRole("button", { name: "Resume decide" }).click();
    await page.getByRole("button", { name: "Pause decide" }).waitFor();
    await figure(page, "decide", "Behind").getByText(/^0$/).waitFor();
  },
});
