#ifndef STANDIN_ALLOCATION_H
#define STANDIN_ALLOCATION_H

#include "vixDiskLib.h"

/* Which chunks of a range of a disk hold data: one byte per chunk. Sectors outside of the range are ignored. */
typedef struct {
    uint64 start;
    uint64 count;
    uint64 chunk;
    uint8 *marks;
} AllocationMap;

void allocation_mark(AllocationMap *map, uint64 sector, uint64 count);

#endif
