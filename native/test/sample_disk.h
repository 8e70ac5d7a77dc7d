#ifndef STANDIN_TEST_SAMPLE_DISK_H
#define STANDIN_TEST_SAMPLE_DISK_H

#include "vixDiskLib.h"

/* Sectors of the sample disk: 8 MiB, so that its deltas have several grain tables. */
#define SAMPLE_SECTORS 16384

/* Paths of the sample disk's links as a server names them. */
#define SAMPLE_BASE "[ds1] vm/disk.vmdk"
#define SAMPLE_MIDDLE "[ds1] vm/disk-000001.vmdk"
#define SAMPLE_TOP "[ds1] vm/disk-000002.vmdk"
/* 2 TiB less one sector, of which one MiB in the middle is written. */
#define SAMPLE_HUGE "[ds1] vm/huge.vmdk"
#define SAMPLE_HUGE_SECTORS 0xffffffffull
#define SAMPLE_HUGE_DATA (1ull << 31)

/*
 * Makes these disks in ds1 below the harness's folder: a base with data in [0, 256) and [8192, 8448), and two empty
 * deltas on top of each other.
 */
void sample_disks_make(void);

/* What the tests write into a sector: its number and who wrote it, over and over. */
void sample_fill(uint8 *buffer, uint64 sector, uint64 count, char writer);

/* Whether sectors hold what a writer wrote there; writer 0 = zeros. */
int sample_holds(const uint8 *buffer, uint64 sector, uint64 count, char writer);

#endif
