#ifndef STANDIN_COWD_H
#define STANDIN_COWD_H

#include <stdbool.h>

#include "allocation.h"
#include "vixDiskLib.h"

/*
 * A snapshot's delta in the layout of VMFS ("COWD", VMware's Virtual Disk Format 5.0): a header of four sectors, a
 * grain directory with the sector of each grain table, grain tables with the sector of each of their 4096 grains.
 * 0 means "not in this delta". All numbers are little-endian and 32 bits wide.
 */
typedef struct Cowd Cowd;

/* Opens a delta over a file that stays the caller's; checks header and directory. */
VixError cowd_open(int file, Cowd **out);
void cowd_close(Cowd *cowd);
uint64 cowd_capacity(const Cowd *cowd);

/* `count` sectors of the disk that lie one after the other in the file at `source`, or that the delta does not hold. */
typedef struct {
    uint64 count;
    /* 0 = not in the delta. */
    uint64 source;
} CowdRun;

/* The run that begins at a sector, at most `max` sectors long. */
VixError cowd_run(Cowd *cowd, uint64 sector, uint64 max, CowdRun *run);

VixError cowd_read(Cowd *cowd, const CowdRun *run, uint8 *buffer);

/* Puts sectors into the delta, data before the tables that show it. Only for grains of one sector, as hosts have. */
VixError cowd_write(Cowd *cowd, uint64 sector, uint64 count, const uint8 *buffer);

/* Marks what the delta holds of `count` sectors from `sector`, which stand at `disk_sector` of the disk. */
VixError cowd_mark(Cowd *cowd, uint64 sector, uint64 count, uint64 disk_sector, AllocationMap *map);

#endif
