#ifndef STANDIN_DISK_LINK_H
#define STANDIN_DISK_LINK_H

#include "cowd.h"
#include "descriptor.h"

/* One part of a link: the sectors [start, start + sectors) of the disk. */
typedef struct {
    ExtentKind kind;
    uint64 start;
    uint64 sectors;
    /* Where a flat extent begins in its file, in sectors. */
    uint64 offset;
    /* -1 for EXTENT_ZERO. */
    int file;
    /* For EXTENT_COWD. */
    Cowd *cowd;
} LinkExtent;

/* One link of a disk's chain with its files open. */
typedef struct {
    Descriptor descriptor;
    LinkExtent *extents;
    size_t extent_count;
    uint64 capacity;
} DiskLink;

/* Opens the descriptor and the files beside it that it names. */
VixError link_open(const char *descriptor_path, bool writable, DiskLink *into);
void link_close(DiskLink *link);

/* The extent of a sector, or NULL beyond the end. */
const LinkExtent *link_extent(const DiskLink *link, uint64 sector);

/* Writes the link's files to disk. */
VixError link_flush(const DiskLink *link);

#endif
