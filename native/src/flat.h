#ifndef STANDIN_FLAT_H
#define STANDIN_FLAT_H

#include "allocation.h"
#include "vixDiskLib.h"

/* Whole sectors of a file that holds the guest's bytes one to one. Short files are VIX_E_FILE_ERROR, never zeros. */
VixError flat_read(int file, uint64 sector, uint64 count, uint8 *buffer);
VixError flat_write(int file, uint64 sector, uint64 count, const uint8 *buffer);

/*
 * Marks what the file system holds (SEEK_DATA, SEEK_HOLE) of `count` sectors of the file, which begin at `sector` there
 * and at `disk_sector` of the disk. Everything, when the file system does not tell.
 */
void flat_mark(int file, uint64 sector, uint64 count, uint64 disk_sector, AllocationMap *map);

#endif
