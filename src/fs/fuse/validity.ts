/** The tree never changes while mounted, so the kernel may keep names and attributes: a day, in seconds. */
export const VALID_SECONDS = 24 * 3600;
