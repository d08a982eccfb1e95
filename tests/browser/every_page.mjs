// Every page, 1280 and 390 pixels wide, light and dark: nothing sticks out, contrast and names
// are those of WCAG AA, and a picture of each is kept where SLUICE_SCREENSHOTS says.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { axe, openPage, withBrowser } from "./browser.mjs";

const folder = process.env.SLUICE_SCREENSHOTS;
if (folder) await mkdir(folder, { recursive: true });

/** The pages that stand at fixed addresses, and those that are found by a link. */
async function pages(page) {
  const found = { flow: "/", "plug-ins": "/plug-ins", events: "/events", "dead-letters": "/dead-letters", hosts: "/hosts", audit: "/audit", replays: "/replays", sagas: "/sagas", schemas: "/schemas" };
  const link = async (from, selector) => {
    await page.goto(from);
    return page.locator(selector).first().getAttribute("href");
  };
  found.story = await link("/events?type=d365.custom.order.raised", "tbody a");
  found.group = await link("/dead-letters", "table.groups a");
  found["dead-letter"] = await link(found.group, "table:not(.groups) tbody a");
  found.edit = `${found["dead-letter"]}/edit`;
  found["replay-ask"] = await link(found.group, ".bar a.primary");
  found.replay = await link("/replays", "article h2 a");
  found.saga = await link("/sagas?status=parked", "tbody a");
  found["sign-in"] = "/login";
  found["not-found"] = "/nothing/here";
  return found;
}

const faults = [];

async function look(page, name, path, width, scheme) {
  await page.goto(path);
  // Two looks, so that there are rates.
  const rate = path === "/" ? ".node .figure strong" : ".figures dd";
  if (["/", "/plug-ins"].includes(path)) {
    await page.waitForFunction(
      (rate) => [...document.querySelectorAll(rate)].some((figure) => /^[1-9].*\/s/.test(figure.textContent)), rate,
    );
  }
  const where = `${name} at ${width}, ${scheme}`;
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
  if (width < wide) faults.push(`${where}: ${wide} pixels wide`);
  await page.evaluate(axe.source);
  const result = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
  for (const violation of result.violations) {
    const nodes = violation.nodes.map((node) => `${node.target}: ${node.any.map((check) => check.message).join("; ")}`);
    faults.push(`${where}: ${violation.id}: ${nodes.slice(0, 3).join(" | ")}`);
  }
  if (folder) await page.screenshot({ path: `${folder}/${name}-${width}-${scheme}.png`, fullPage: true });
}

await withBrowser(async (browser) => {
  const first = await openPage(browser);
  const all = await pages(first.page);
  await first.context.close();
  for (const [name, path] of Object.entries(all)) assert.ok(path, `no address of ${name}`);
  for (const width of [1280, 390]) {
    for (const colorScheme of ["light", "dark"]) {
      const { page, context, calm } = await openPage(browser, { viewport: { width, height: 900 }, colorScheme });
      for (const [name, path] of Object.entries(all)) await look(page, name, path, width, colorScheme);
      calm();
      await context.close();
    }
  }
  // By the keyboard alone: the first stop leads past the menu, and each page is reached.
  const { page, calm } = await openPage(browser);
  await page.goto("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForURL(/events|plug-ins|dead-letters/);
  calm();
  assert.deepEqual(faults, []);
  console.log(`done: ${Object.keys(all).length} pages, at 2 widths, light and dark`);
});
