import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist/", "node_modules/", ".tap/", ".cache/", "**/*.cjs"] },
  {
    files: ["src/**/*.ts", "test/**/*.ts"],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "no-restricted-globals": [
        "error",
        { name: "AsyncDisposableStack", message: "Absent from Node 20: use CleanupStack (src/cleanup.ts)." },
        { name: "DisposableStack", message: "Absent from Node 20: use CleanupStack (src/cleanup.ts)." },
        { name: "SuppressedError", message: "Absent from Node 20: compare error.name instead." },
      ],
      "no-restricted-properties": [
        "error",
        { object: "Promise", property: "withResolvers", message: "Absent from Node 20." },
        { object: "Array", property: "fromAsync", message: "Absent from Node 20." },
        {
          object: "process",
          property: "exit",
          message: "Set process.exitCode in main.ts; exit() hangs while a device read blocks.",
        },
      ],
      "no-console": "error",
      "no-empty": ["error", { allowEmptyCatch: false }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/prefer-readonly": "error",
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/no-invalid-void-type": "off",
      "@typescript-eslint/unified-signatures": "off",
    },
  },
  {
    files: ["test/**/*.ts"],
    rules: {
      "@typescript-eslint/explicit-module-boundary-types": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
);
