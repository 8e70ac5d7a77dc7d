#include "disk_chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_link.h"
#include "flat.h"
#include "log.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE
/* vSphere stops at 32 snapshots: a longer chain is a loop. */
#define LINKS_MAX 33

struct DiskChain {
    /* The youngest first. */
    DiskLink links[LINKS_MAX];
    unsigned length;
};

/* Puts the parent's path into `path`, which holds the child's. */
static bool go_to_parent(char path[PATH_MAX], const char *parent) {
    char *slash = strrchr(path, '/');
    char *name = slash == NULL ? path : slash + 1;
    if ((size_t)(name - path) + strlen(parent) >= PATH_MAX) return false;
    strcpy(name, parent);
    return true;
}

static VixError open_parent(DiskChain *chain, char path[PATH_MAX]) {
    const Descriptor *child = &chain->links[chain->length - 1].descriptor;
    if (chain->length == LINKS_MAX || !go_to_parent(path, child->parent)) return VIX_E_DISK_INVALIDCHAIN;
    DiskLink *parent = &chain->links[chain->length];
    VixError error = link_open(path, false, parent);
    if (error == VIX_E_FILE_NOT_FOUND) error = VIX_E_DISK_PARTIALCHAIN;
    if (error != VIX_OK) return error;
    chain->length++;
    if (parent->descriptor.cid != child->parent_cid) {
        log_warn("Disk: %s has content id %08x and its child expects %08x", path, parent->descriptor.cid,
                 child->parent_cid);
        return VIX_E_DISK_CID_MISMATCH;
    }
    return VIX_OK;
}

VixError disk_chain_open(const char *descriptor_path, bool writable, bool single_link, DiskChain **out) {
    char path[PATH_MAX];
    if (strlen(descriptor_path) >= sizeof path) return VIX_E_FILE_NAME_INVALID;
    strcpy(path, descriptor_path);
    DiskChain *chain = calloc(1, sizeof *chain);
    if (chain == NULL) return VIX_E_OUT_OF_MEMORY;
    VixError error = link_open(path, writable, &chain->links[0]);
    if (error == VIX_OK) chain->length = 1;
    while (error == VIX_OK && !single_link && chain->links[chain->length - 1].descriptor.parent[0] != '\0') {
        error = open_parent(chain, path);
    }
    if (error == VIX_OK) {
        *out = chain;
        return VIX_OK;
    }
    if (error != VIX_E_FILE_NOT_FOUND) log_warn("Disk: the chain of %s ends at %s", descriptor_path, path);
    disk_chain_close(chain);
    return error;
}

void disk_chain_close(DiskChain *chain) {
    for (unsigned i = 0; i < chain->length; i++) link_close(&chain->links[i]);
    free(chain);
}

uint64 disk_chain_capacity(const DiskChain *chain) {
    return chain->links[0].capacity;
}

unsigned disk_chain_length(const DiskChain *chain) {
    return chain->length;
}

const Descriptor *disk_chain_descriptor(const DiskChain *chain) {
    return &chain->links[0].descriptor;
}

static uint64 least(uint64 a, uint64 b) {
    return a < b ? a : b;
}

/* Reads as the links from `depth` on show the disk. */
static VixError read_from(DiskChain *chain, unsigned depth, uint64 sector, uint64 count, uint8 *buffer) {
    VixError error = VIX_OK;
    uint64 step;
    for (uint64 done = 0; done < count && error == VIX_OK; done += step) {
        uint64 at = sector + done;
        uint8 *into = buffer + done * SECTOR;
        const LinkExtent *extent = depth < chain->length ? link_extent(&chain->links[depth], at) : NULL;
        step = extent == NULL ? count - done : least(count - done, extent->start + extent->sectors - at);
        if (extent == NULL || extent->kind == EXTENT_ZERO) {
            memset(into, 0, step * SECTOR);
        } else if (extent->kind == EXTENT_FLAT) {
            error = flat_read(extent->file, extent->offset + at - extent->start, step, into);
        } else {
            CowdRun run;
            error = cowd_run(extent->cowd, at - extent->start, step, &run);
            if (error != VIX_OK) return error;
            step = run.count;
            error = run.source != 0 ? cowd_read(extent->cowd, &run, into)
                                    : read_from(chain, depth + 1, at, step, into);
        }
    }
    return error;
}

VixError disk_chain_read(DiskChain *chain, uint64 sector, uint64 count, uint8 *buffer) {
    return read_from(chain, 0, sector, count, buffer);
}

VixError disk_chain_write(DiskChain *chain, uint64 sector, uint64 count, const uint8 *buffer) {
    VixError error = VIX_OK;
    uint64 step;
    for (uint64 done = 0; done < count && error == VIX_OK; done += step) {
        uint64 at = sector + done;
        const LinkExtent *extent = link_extent(&chain->links[0], at);
        if (extent == NULL) return VIX_E_DISK_OUTOFRANGE;
        uint64 within = at - extent->start;
        const uint8 *from = buffer + done * SECTOR;
        step = least(count - done, extent->sectors - within);
        if (extent->kind == EXTENT_ZERO) return VIX_E_NOT_SUPPORTED;
        error = extent->kind == EXTENT_FLAT ? flat_write(extent->file, extent->offset + within, step, from)
                                            : cowd_write(extent->cowd, within, step, from);
    }
    return error;
}

VixError disk_chain_flush(DiskChain *chain) {
    return link_flush(&chain->links[0]);
}

/* Marks what one link holds between two sectors. */
static VixError mark_link(const DiskLink *link, AllocationMap *map) {
    uint64 end = map->start + map->count;
    for (size_t i = 0; i < link->extent_count; i++) {
        const LinkExtent *extent = &link->extents[i];
        uint64 from = extent->start > map->start ? extent->start : map->start;
        uint64 to = least(extent->start + extent->sectors, end);
        if (from >= to || extent->kind == EXTENT_ZERO) continue;
        if (extent->kind == EXTENT_FLAT) {
            flat_mark(extent->file, extent->offset + from - extent->start, to - from, from, map);
            continue;
        }
        VixError error = cowd_mark(extent->cowd, from - extent->start, to - from, from, map);
        if (error != VIX_OK) return error;
    }
    return VIX_OK;
}

VixError disk_chain_mark(DiskChain *chain, AllocationMap *map) {
    VixError error = VIX_OK;
    for (unsigned i = 0; i < chain->length && error == VIX_OK; i++) error = mark_link(&chain->links[i], map);
    return error;
}
