/**
 * Read-ahead requests the kernel may have outstanding (its max_background; the default is 12): 64 of 1 MiB cover 20 ms of
 * latency at 3 GB/s, and 64 of the 128 KiB that libfuse takes cover them at 400 MB/s.
 */
export const BACKGROUND_MAX = 64;

/** Above this the kernel holds read-ahead back; three quarters, as its own default. */
export const CONGESTION_THRESHOLD = 48;
