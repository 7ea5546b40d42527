// Takes the addresses for donations out of package-lock.json: npm needs none of them.

import { readFileSync, writeFileSync } from "node:fs";

const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
for (const installed of Object.values(lock.packages)) delete installed.funding;
writeFileSync("package-lock.json", `${JSON.stringify(lock, null, 2)}\n`);
