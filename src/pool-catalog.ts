import { z } from "zod";

/** The manifest of a pool source: what was fetched from where, and by what each file can be told to be whole. */
const poolCatalogSchema = z.object({
  version: z.literal(1),
  /** Such as "vmmount 1.0.0". */
  writtenBy: z.string(),
  server: z.object({
    kind: z.literal("xen"),
    url: z.string(),
    product: z.string(),
    version: z.string(),
    instanceUuid: z.string(),
  }),
  source: z.enum(["meta-data", "host-backup"]),
  /** ISO 8601, UTC: when fetching began. */
  createdAt: z.iso.datetime(),
  files: z.array(
    z.object({ file: z.string(), about: z.string(), bytes: z.int().nonnegative(), sha256: z.string().length(64) }),
  ),
});

export type PoolCatalog = z.infer<typeof poolCatalogSchema>;

export function formatPoolCatalog(catalog: PoolCatalog): string {
  return `${JSON.stringify(poolCatalogSchema.parse(catalog), null, 2)}\n`;
}
