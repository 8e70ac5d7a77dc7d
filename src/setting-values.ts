import { z } from "zod";
import { closeNames } from "./close-names.js";
import { parseBytes, parseDurationMs } from "./units.js";

/** Text from the environment or a flag, text or a number from TOML; what `parse` throws is the message. */
export const parsed = <T>(example: string, parse: (text: string) => T): z.ZodType<T> =>
  z.union([z.string(), z.number()], example).transform((value, context) => {
    try {
      return parse(String(value));
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  });

export const size = parsed('Write a size such as "256MiB"', parseBytes);
export const durationMs = parsed('Write a duration such as "30s"', parseDurationMs);

/** A limit of nothing would end the work before it begins. */
export const timeoutMs = durationMs.refine((value) => value > 0, "Cannot use a limit of no time at all");

export const integer = (min: number, max: number): z.ZodType<number> =>
  parsed(`Write an integer from ${min} to ${max}`, (text) => {
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw new RangeError(`Cannot use "${text}" as a number: write an integer from ${min} to ${max}`);
  });

/** One of a few words; the message for another one names them. */
export const oneOf = <const Words extends readonly [string, ...string[]]>(words: Words): z.ZodType<Words[number]> =>
  z.enum(words, {
    error: ({ input }) => {
      const [close] = typeof input === "string" ? closeNames(input, words, 1) : [];
      const all = words.map((word) => JSON.stringify(word)).join(", ");
      return `${JSON.stringify(input)} is none of ${all}${close === undefined ? "" : `; did you mean "${close}"?`}`;
    },
  });

export const absolutePath = z.string().startsWith("/", 'Write an absolute path, such as "/var/lib/vmmount"');

export const flag = z.union(
  [
    z.boolean(),
    z.enum(["true", "false", "yes", "no", "1", "0"]).transform((text) => ["true", "yes", "1"].includes(text)),
  ],
  'Write "true" or "false"',
);

export interface Setting<T> {
  readonly schema: z.ZodType<T>;
  /** As it would be written in the file. */
  readonly fallback: string | number | boolean;
  readonly env: string;
  readonly meaning: string;
}

export function setting<T>(
  schema: z.ZodType<T>,
  fallback: string | number | boolean,
  env: string,
  meaning: string,
): Setting<T> {
  return { schema, fallback, env, meaning };
}
