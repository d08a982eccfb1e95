// Takes the address of a console, gives a page of a real browser on it; whatever the page
// complains of makes the test fail.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const modules = createRequire(`${process.env.SLUICE_PLAYWRIGHT}/`);
const { chromium } = modules("playwright-core");

export const url = process.env.CONSOLE_URL;
export const axe = modules("axe-core");

// Without these the browser looks for its maker's hosts at every start.
const args = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

export async function withBrowser(body) {
  const browser = await chromium.launch({ executablePath: process.env.SLUICE_CHROMIUM, args });
  try {
    await body(browser);
  } finally {
    await browser.close();
  }
}

/** A page that fails the test when it logs an error, throws, breaks its policy or loads from elsewhere. */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({ baseURL: url, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`threw ${error}`));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("status of 4")) {
      complaints.push(`logged ${message.text()}`);
    }
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) complaints.push(`asked for ${request.url()}`);
  });
  page.setDefaultTimeout(15_000);
  return { page, context, calm: () => assert.deepEqual(complaints, []) };
}

/** Runs the tests of one file; the last line says that all of them were run. */
export async function run(tests) {
  await withBrowser(async (browser) => {
    for (const [name, test] of Object.entries(tests)) {
      const { page, context, calm } = await openPage(browser);
      try {
        await test(page, context, browser);
        calm();
      } catch (error) {
        console.error(`${name}: at ${page.url()}: ${error.stack}`);
        console.error((await page.locator("body").innerText().catch(() => "")).slice(0, 4_000));
        process.exitCode = 1;
      }
      await context.close();
    }
  });
  if (!process.exitCode) console.log(`done: ${Object.keys(tests).join(", ")}`);
}
