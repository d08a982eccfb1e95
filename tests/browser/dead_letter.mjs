// Find a dead letter, read why it died, edit it, replay it, see it done.
import assert from "node:assert/strict";
import { run } from "./browser.mjs";

await run({
  async "an operator mends a dead letter"(page) {
    await page.goto("/");
    // It is in the picture already.
    await page.locator("#column-dead .node", { hasText: "decide" }).click();
    await page.waitForURL(/dead-letters/);
    // Three that died of the same are one line; what they died of leads to them.
    await page.locator("table.groups").getByRole("link", { name: /is over its limit/ }).click();
    await page.waitForURL(/where=group/);
    await page.getByText("3 dead letters").waitFor();
    // Which of them is the newest, and so names the group, is chance.
    const letters = page.locator("table:not(.groups)");
    await letters.getByRole("row", { name: /A-17 is over its limit/ }).getByRole("link").click();

    await page.getByRole("heading", { name: /^Dead letter \d+$/ }).waitFor();
    await page.getByText("decide 1.0.0: rejected").waitFor();
    assert.equal(await page.locator("pre.error").innerText(), "A-17 is over its limit");
    assert.match(await page.locator("pre.body").innerText(), /"creditlimit": 90000/);

    // What is no JSON is refused, and what was typed stays.
    await page.getByRole("link", { name: "Edit body…" }).click();
    const body = page.getByLabel("Body, application/json");
    const before = await body.inputValue();
    await body.fill(before.replace("90000", "ninety"));
    await page.getByRole("button", { name: "Save and replay" }).click();
    await page.getByRole("alert").getByText("this is no JSON").waitFor();
    assert.match(await body.inputValue(), /ninety/);

    await body.fill(before.replace("90000", "40000"));
    await page.getByRole("button", { name: "Save and replay" }).click();
    await page.waitForURL(/events\/\d+$/);
    // The page is not loaded again: it hears that the attempt has ended.
    await page.locator("ol.story li.well", { hasText: "decide" }).getByText("done").waitFor();
    assert.match(await page.locator("pre.body").innerText(), /40000/);

    await page.getByRole("link", { name: "Dead letters" }).click();
    await page.getByText("A-17 is over its limit").waitFor({ state: "detached" });

    await page.getByRole("link", { name: "Audit" }).click();
    const row = (action) => page.getByRole("row").filter({ has: page.locator(".badge", { hasText: action }) });
    await row("replay").first().waitFor();
    assert.match(await row("edit").first().innerText(), /local/);
  },

  async "a group is replayed at a rate, watched, and cancelled"(page) {
    await page.goto("/dead-letters");
    await page.getByLabel("Conditions, one a line").fill("plugin=mendable\nreason=rejected");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.getByRole("link", { name: "Replay these…" }).click();
    await page.getByText("The set is the letters that are there").waitFor();
    await page.getByLabel("Letters a second, at the most").fill("5");
    await page.getByRole("button", { name: /^Replay 40 dead letters$/ }).click();
    await page.waitForURL(/replays\//);
    // It goes on by itself, seen without a reload.
    const finished = async () => Number(await page.locator("progress").getAttribute("value"));
    await page.waitForFunction(() => Number(document.querySelector("progress").getAttribute("value")) > 3);
    await page.getByRole("button", { name: "Cancel the rest" }).click();
    await page.getByText("cancelled").waitFor();
    await page.getByText(/stay where they are/).waitFor();
    const at = await finished();
    assert.ok(3 < at && at < 40, `${at} of 40`);
  },
});
