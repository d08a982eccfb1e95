// Sign in with a wrong token and a right one, come to the page that was wanted, and leave.
import assert from "node:assert/strict";
import { run } from "./browser.mjs";

async function enter(page, token) {
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

await run({
  async "an operator signs in, acts, and leaves"(page) {
    await page.goto("/plug-ins?by=link");
    await page.waitForURL(/login/);
    await enter(page, "nobodys");
    await page.getByRole("alert").getByText("No user of this host has that token.").waitFor();
    await enter(page, process.env.OPERATOR);
    await page.waitForURL(/plug-ins\?by=link$/);
    await page.getByText("operator · operator").waitFor();
    // The page keeps itself up to date in the session too.
    await page.locator("#pulse", { hasText: "Live" }).waitFor();
    await page.getByRole("button", { name: "Pause mendable" }).click();
    await page.getByRole("button", { name: "Resume mendable" }).click();
    await page.getByRole("button", { name: "Pause mendable" }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL(/login/);
    await page.goto("/audit");
    await page.waitForURL(/login/);
  },

  async "a viewer looks and has no buttons"(page) {
    await page.goto("/");
    await enter(page, process.env.VIEWER);
    await page.getByText("vera · viewer").waitFor();
    for (const path of ["/plug-ins", "/dead-letters", "/dead-letters/1"]) {
      await page.goto(path);
      assert.equal(await page.locator("main form[method=post]").count(), 0, path);
    }
  },
});
