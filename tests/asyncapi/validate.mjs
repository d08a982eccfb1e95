// Takes the path of an AsyncAPI document, gives exit status 0 when its official parser finds nothing wrong with it.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [modules, path] = process.argv.slice(2);
const { Parser } = createRequire(`${modules}/`)("@asyncapi/parser");
const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"));
const errors = diagnostics.filter((one) => one.severity === 0);
for (const one of errors) {
  console.error(`${one.path.join("/")}: ${one.message}`);
}
if (document === undefined || errors.length > 0) {
  process.exit(1);
}
console.log(`${document.channels().all().length} channels, ${document.operations().all().length} operations`);
