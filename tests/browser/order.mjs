// Follow one order through three plug-ins, forwards and backwards.
import assert from "node:assert/strict";
import { run } from "./browser.mjs";

const attempt = (page, plugin) => page.locator("ol.story > li", { hasText: `${plugin} 1.0.0` });

await run({
  async "an order is followed through three plug-ins"(page) {
    await page.goto("/events");
    await page.getByLabel("Type", { exact: true }).fill("d365.fno.SalesOrderConfirmed*");
    await page.getByRole("button", { name: "Search" }).click();
    // Before that the list is the one of all events.
    await page.waitForURL(/SalesOrderConfirmed/);
    await page.locator("tbody tr").first().getByRole("link").first().click();
    await page.waitForURL(/events\/\d+$/);
    const begin = page.url();
    await attempt(page, "order-mirror").getByText("done").waitFor();
    // What the guest said stands with its attempt.
    await attempt(page, "order-mirror").locator(".log").getByText("of order").waitFor();

    await page.locator("ol.story > li", { hasText: "Emitted by order-mirror" }).getByRole("link").click();
    await page.getByRole("heading", { name: "d365.custom.order.raised" }).waitFor();
    // The warehouse asked for another attempt at first.
    await attempt(page, "warehouse").filter({ hasText: "attempt 1" }).getByText("retry", { exact: true }).waitFor();
    await attempt(page, "warehouse").filter({ hasText: "attempt 2" }).getByText("done").waitFor();

    await page.locator("ol.story > li", { hasText: "Emitted by warehouse" }).getByRole("link").click();
    await attempt(page, "billing").getByText("done").waitFor();
    const last = page.url();
    assert.notEqual(last, begin);

    // All of it belongs together,
    await page.locator("dl.rows a[href*='correlation=']").first().click();
    await page.waitForURL(/correlation=/);
    await page.locator("tbody tr").nth(3).waitFor();
    assert.equal(await page.locator("tbody tr").count(), 4);

    // and each event says what it comes of.
    await page.goto(last);
    for (const _ of [1, 2]) {
      const comes = page.locator("dt", { hasText: "Comes of" }).locator("+ dd a");
      const href = await comes.getAttribute("href");
      await comes.click();
      await page.waitForURL(`**${href}`);
    }
    assert.equal(page.url(), begin);
  },
});
