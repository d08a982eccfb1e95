// Read how a saga went, and have one go on that waits for a person.
import { run } from "./browser.mjs";

await run({
  async "an operator has a parked saga go on"(page) {
    await page.goto("/sagas");
    await page.getByLabel("Status").selectOption("parked");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.waitForURL(/status=parked/);
    await page.getByRole("link", { name: "journey/parked" }).click();
    await page.getByRole("heading", { name: /journey\/parked/ }).waitFor();
    // Its steps, what went wrong, and the event behind each.
    const line = (text) => page.locator("ol.story > li", { hasText: text });
    await line("waits for a person").getByText("it cannot be undone").waitFor();
    await line("began").getByRole("link", { name: /^event \d+$/ }).waitFor();
    await page.getByRole("button", { name: "It was done by hand: go on" }).click();
    await line("retried").getByText(/done by hand, says/).waitFor();
    await page.locator("h1 .badge", { hasText: "compensated" }).waitFor();
    await page.getByRole("link", { name: "Audit" }).click();
    await page.getByRole("row").filter({ hasText: "retry-saga" }).first().waitFor();
  },

  async "an operator cancels one that waits"(page) {
    await page.goto("/sagas");
    await page.getByRole("link", { name: "journey/waits" }).click();
    await page.getByText("waits for d365.custom.journey.never").first().waitFor();
    await page.getByLabel(/^Cancel it/).fill("the customer called");
    await page.getByRole("button", { name: "Cancel the saga" }).click();
    await page.locator("h1 .badge", { hasText: "compensated" }).waitFor();
    await page.getByText("the customer called").first().waitFor();
  },
});
