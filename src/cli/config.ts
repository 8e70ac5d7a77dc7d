import type { Command } from "commander";
import { addConfigImport } from "./config-import.js";
import { addConfigShow } from "./config-show.js";
import type { ProcessEdge } from "./context.js";

export function addConfig(program: Command, edge: ProcessEdge): void {
  const group = program
    .command("config")
    .summary("look at the configuration, or import one")
    .description("Looks at the configuration, or imports one.");
  addConfigShow(group, edge);
  addConfigImport(group, edge);
}
