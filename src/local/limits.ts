import { MIB } from "../units.js";

/** Levels of folders below the root that are searched; data centers nest VMs two or three deep. */
export const DEPTH_MAX = 8;
/** Entries of one folder; a folder of VMs has some hundred. */
export const FOLDER_ENTRIES_MAX = 20_000;
/** Folders visited by one search; an NFS datastore holds at most some thousand VMs. */
export const FOLDERS_MAX = 20_000;
/** Disks of one VM: 4 x 64 SCSI, 4 x 30 SATA, 4 x 15 NVMe and 4 IDE are 440. */
export const DISKS_MAX = 512;
/** A descriptor has some hundred bytes; 4096 extents need about half a MiB. */
export const DESCRIPTOR_BYTES_MAX = MIB;
/** Where the descriptor of an image with its data inside stands: behind one sector, and it has some KiB. */
export const HEAD_BYTES = 64 * 1024;
/** UEFI variable stores have 64 to 528 KiB. */
export const NVRAM_BYTES_MAX = 4 * MIB;
/** A disk file that was written less long ago counts as in use: an idle guest writes its logs every few minutes. */
export const RECENT_WRITE_MS = 5 * 60_000;
/** Ranges asked of the file system per disk; some 20 µs each, and as many as the block stack keeps. */
export const RANGES_MAX = 262_144;
/** How long asking for them may take, while the mount waits: over NFS each is a call to the server. */
export const RANGES_MS_MAX = 60_000;
/** Signs that are listed in a message. */
export const SIGNS_SHOWN = 5;
