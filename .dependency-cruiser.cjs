/** The import directions of docs/ARCHITECTURE.md, section "Who may import whom", as a program. */

/** Folders that are leaves of the protocol layer: none of them may know another. */
const PROTOCOLS = ["vsphere", "vddk", "xen", "https", "nbd", "local", "snapshot", "fs"];
/** Protocols below other protocols. */
const CARRIERS = { vsphere: "^src/https/", xen: "^src/(https|nbd)/", vddk: "^src/nbd/" };
const VOCABULARY = "^src/[^/]+\\.ts$";

/** One package, one door: [package, files that may import it, why]. */
const DOORS = [
  ["koffi", "^src/(libc\\.ts|vddk/)", "native calls stay in one place, where a wrong signature can be found"],
  [
    "fuse-native",
    "^src/fs/fuse-native/package\\.ts",
    "an optional package: only one place knows that it may be missing",
  ],
  ["undici", "^src/https/http-client\\.ts", "TLS pinning and time-outs are set once"],
  [
    "fast-xml-parser",
    "^src/vsphere/xml\\.ts|^src/lab/vcenter/xml\\.ts|^src/xen/",
    "XML from a server is hostile; one parser set-up per protocol",
  ],
  ["xmlrpc", "^src/xen/xapi/xmlrpc-message\\.ts", "what it writes and reads is made safe in one place"],
  ["lru-cache", "^src/fs/block/cache\\.ts", "its fetch has traps (see the comment there)"],
  ["commander", "^src/cli/", "only the command line knows its parser"],
  ["cli-progress|cli-table3|pretty-bytes", "^src/cli/", "only the command line prints for people"],
  ["pino", "^src/log\\.ts", "redaction is set up once"],
  ["smol-toml", "^src/config-file\\.ts", "one reader of the configuration"],
];

module.exports = {
  forbidden: [
    {
      name: "no-circular",
      severity: "error",
      comment: "A cycle has no bottom to read first.",
      from: {},
      to: { circular: true },
    },
    {
      name: "no-orphans",
      severity: "error",
      comment: "A file that nothing imports is dead.",
      from: { orphan: true, pathNot: "^src/main\\.ts$|\\.d\\.ts$" },
      to: {},
    },
    {
      name: "vocabulary-is-the-bottom",
      severity: "error",
      comment: "The shared vocabulary knows no folder above it.",
      from: { path: VOCABULARY, pathNot: "^src/main\\.ts$" },
      to: { path: "^src/[^/]+/" },
    },
    {
      name: "main-is-the-top",
      severity: "error",
      comment: "Nothing imports the process edge.",
      from: {},
      to: { path: "^src/main\\.ts$" },
    },
    {
      name: "cli-is-imported-by-main-only",
      severity: "error",
      comment: "Printing and argument parsing sit above everything.",
      from: { pathNot: "^src/(main\\.ts|cli/)" },
      to: { path: "^src/cli/" },
    },
    {
      name: "mount-is-imported-by-compositions",
      severity: "error",
      comment: "src/mount is the composition root.",
      from: { pathNot: "^src/(main\\.ts|cli/|mount/|restore/|check/|gc/)" },
      to: { path: "^src/mount/" },
    },
    {
      name: "restore-is-imported-by-cli-only",
      severity: "error",
      comment: "src/restore composes the way back as src/mount does the way there.",
      from: { pathNot: "^src/(cli/|restore/)" },
      to: { path: "^src/restore/" },
    },
    {
      name: "check-is-imported-by-cli-only",
      severity: "error",
      comment: "src/check asks about all parts; none of them asks it.",
      from: { pathNot: "^src/(cli/|check/)" },
      to: { path: "^src/check/" },
    },
    {
      name: "cli-speaks-no-protocol",
      severity: "error",
      comment: "Commands go through src/mount, which composes the parts.",
      from: { path: "^src/cli/" },
      to: { path: "^src/(vsphere|vddk|xen|https|nbd|local|fs|image)/" },
    },
    ...PROTOCOLS.map((folder) => ({
      name: `${folder}-knows-no-sibling`,
      severity: "error",
      comment: "Siblings do not import each other; src/mount composes them (CARRIERS are below them).",
      from: { path: `^src/${folder}/` },
      to: {
        path: `^src/(${[...PROTOCOLS, "mount", "restore", "lab"].filter((x) => x !== folder).join("|")})/`,
        ...(CARRIERS[folder] === undefined ? {} : { pathNot: CARRIERS[folder] }),
      },
    })),
    {
      name: "image-is-pure",
      severity: "error",
      comment: "Codecs have no I/O policy: they know only the vocabulary.",
      from: { path: "^src/image/" },
      to: { path: "^src/[^/]+/", pathNot: "^src/image/" },
    },
    {
      name: "lab-shares-no-protocol-code",
      severity: "error",
      comment: "A stand-in that shares code with what it tests proves nothing.",
      from: { path: "^src/lab/" },
      to: { path: "^src/(vsphere|vddk|xen|https|local|fs|snapshot|mount|restore|cli)/" },
    },
    {
      name: "block-filters-know-no-fuse",
      severity: "error",
      comment: "The block stack serves any front end.",
      from: { path: "^src/fs/block/" },
      to: { path: "^src/fs/", pathNot: "^src/fs/block/" },
    },
    {
      name: "kernel-driver-knows-no-libfuse",
      severity: "error",
      comment: "What both FUSE drivers need is in src/fs/fuse; what libfuse needs besides is in src/fs/fuse-native.",
      from: { path: "^src/fs/", pathNot: "^src/fs/fuse-native/" },
      to: { path: "^src/fs/fuse-native/" },
    },
    ...DOORS.map(([name, from, why]) => ({
      name: `one-door-${name.split("|")[0]}`,
      severity: "error",
      comment: why,
      from: { pathNot: from },
      to: { path: `node_modules/(${name})/` },
    })),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"] },
  },
};
