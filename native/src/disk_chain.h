#ifndef STANDIN_DISK_CHAIN_H
#define STANDIN_DISK_CHAIN_H

#include "allocation.h"
#include "descriptor.h"
#include "vixDiskLib.h"

/* A disk as one of its links shows it: what that link does not hold comes from its parent, and so on to the base. */
typedef struct DiskChain DiskChain;

/*
 * Opens the link of a descriptor and, unless only that link is wanted, all of its parents. Only the link itself is ever
 * written. Safe for several threads at once but for disk_chain_close.
 */
VixError disk_chain_open(const char *descriptor_path, bool writable, bool single_link, DiskChain **out);
void disk_chain_close(DiskChain *chain);

/* In sectors. */
uint64 disk_chain_capacity(const DiskChain *chain);
/* How many links are open: 1 = a base. */
unsigned disk_chain_length(const DiskChain *chain);
/* The descriptor of the link that was asked for. */
const Descriptor *disk_chain_descriptor(const DiskChain *chain);

/* What no open link holds reads as zeros. The caller has checked the range. */
VixError disk_chain_read(DiskChain *chain, uint64 sector, uint64 count, uint8 *buffer);
VixError disk_chain_write(DiskChain *chain, uint64 sector, uint64 count, const uint8 *buffer);
VixError disk_chain_flush(DiskChain *chain);

/* Marks what any of the open links holds in the map's range. */
VixError disk_chain_mark(DiskChain *chain, AllocationMap *map);

#endif
