import type { Command } from "commander";
import { addConfigShow } from "./config-show.js";
import type { ProcessEdge } from "./context.js";

export function addConfig(program: Command, edge: ProcessEdge): void {
  const group = program
    .command("config")
    .summary("look at the configuration")
    .description("Looks at the configuration.");
  addConfigShow(group, edge);
}
