/** The releases whose behaviour the lab can show, oldest first. */
export const PROFILES = ["7.1", "8.2", "8.3"] as const;
export type ProfileName = (typeof PROFILES)[number];

export const PROFILE_DEFAULT: ProfileName = "8.3";

/** What one release says of itself, and what its XAPI can do. */
export interface Profile {
  readonly name: ProfileName;
  readonly softwareVersion: Readonly<Record<string, string>>;
  readonly apiVersion: readonly [major: number, minor: number];
  /** Schema of the database, as the dump of it says. */
  readonly schema: readonly [major: number, minor: number];
  /** The pair that an archive carries and that import compares. */
  readonly xapi: readonly [major: number, minor: number];
  /** Digest files of an XVA. */
  readonly chunkDigest: "checksum" | "xxhash";
  /** Code for a mac_seed that is in use: its parameter is the seed, or the uuid of the other VM. */
  readonly duplicateSeed: "DUPLICATE_VM" | "DUPLICATE_MAC_SEED";
  /** Whether `/export_metadata` takes a snapshot. */
  readonly snapshotMetadata: boolean;
}

const SHARED = { hostname: "localhost", platform_name: "XCP", date: "2024-09-01" };

const ALL: Readonly<Record<ProfileName, Profile>> = {
  "7.1": {
    name: "7.1",
    softwareVersion: {
      ...SHARED,
      product_version: "7.1.0",
      product_version_text: "7.1",
      product_version_text_short: "7.1",
      platform_version: "2.2.0",
      product_brand: "XenServer",
      build_number: "137272c",
      xapi: "1.9",
      git_id: "0",
    },
    apiVersion: [2, 6],
    schema: [5, 108],
    xapi: [1, 9],
    chunkDigest: "checksum",
    duplicateSeed: "DUPLICATE_VM",
    snapshotMetadata: false,
  },
  "8.2": {
    name: "8.2",
    softwareVersion: {
      ...SHARED,
      product_version: "8.2.1",
      product_version_text: "8.2",
      product_version_text_short: "8.2",
      platform_version: "3.2.1",
      product_brand: "XCP-ng",
      build_number: "release/yangtze/master/58",
      xapi: "1.20",
      git_id: "0",
    },
    apiVersion: [2, 15],
    schema: [5, 603],
    xapi: [1, 20],
    chunkDigest: "xxhash",
    duplicateSeed: "DUPLICATE_VM",
    snapshotMetadata: false,
  },
  "8.3": {
    name: "8.3",
    softwareVersion: {
      ...SHARED,
      product_version: "8.3.0",
      product_version_text: "8.3",
      product_version_text_short: "8.3",
      platform_version: "3.4.0",
      product_brand: "XCP-ng",
      build_number: "cloud",
      xapi: "24.39",
      git_id: "0",
    },
    apiVersion: [2, 21],
    schema: [5, 786],
    xapi: [24, 39],
    chunkDigest: "xxhash",
    duplicateSeed: "DUPLICATE_MAC_SEED",
    snapshotMetadata: true,
  },
};

export function profileOf(name: ProfileName): Profile {
  return ALL[name];
}

/** Whether a release has what appeared with another one. */
export function isSince(profile: ProfileName, since: ProfileName | undefined): boolean {
  return since === undefined || PROFILES.indexOf(profile) >= PROFILES.indexOf(since);
}
