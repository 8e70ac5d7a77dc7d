/** Where the value of a setting comes from. */
export type SettingOrigin =
  | { readonly kind: "default" }
  | { readonly kind: "file"; readonly path: string; readonly line: number | undefined }
  | { readonly kind: "env"; readonly name: string }
  | { readonly kind: "flag"; readonly name: string };

/** For messages: `/etc/vmmount/config.toml:12`, `VMMOUNT_UID`, `--uid`. */
export function originText(origin: SettingOrigin): string {
  switch (origin.kind) {
    case "default":
      return "default";
    case "file":
      return origin.line === undefined ? origin.path : `${origin.path}:${origin.line}`;
    case "env":
    case "flag":
      return origin.name;
  }
}
