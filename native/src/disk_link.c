#include "disk_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_error.h"
#include "log.h"

/* The path of a file beside another one. */
static bool beside(const char *path, const char *name, char *into, size_t size) {
    const char *slash = strrchr(path, '/');
    int folder = slash == NULL ? 0 : (int)(slash + 1 - path);
    int length = snprintf(into, size, "%.*s%s", folder, path, name);
    return length > 0 && (size_t)length < size;
}

static VixError check_size(const LinkExtent *extent) {
    struct stat stat;
    if (fstat(extent->file, &stat) != 0) return file_error(errno);
    if (!S_ISREG(stat.st_mode)) return VIX_E_INCORRECT_FILE_TYPE;
    uint64 needed = (extent->offset + extent->sectors) * VIXDISKLIB_SECTOR_SIZE;
    return extent->kind == EXTENT_COWD || (uint64)stat.st_size >= needed ? VIX_OK : VIX_E_DISK_INVALIDDISK;
}

static VixError open_extent(const char *path, const DescriptorExtent *from, bool writable, LinkExtent *into) {
    into->kind = from->kind;
    into->sectors = from->sectors;
    into->offset = from->offset;
    if (from->kind == EXTENT_ZERO) return VIX_OK;
    char file_path[PATH_MAX];
    if (!beside(path, from->name, file_path, sizeof file_path)) return VIX_E_FILE_NAME_INVALID;
    into->file = open(file_path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (into->file < 0) {
        VixError error = file_error(errno);
        log_warn("Disk: cannot open %s: %s", file_path, strerror(errno));
        return error;
    }
    VixError error = check_size(into);
    if (error == VIX_OK && into->kind == EXTENT_COWD) {
        error = cowd_open(into->file, &into->cowd);
        if (error == VIX_OK && cowd_capacity(into->cowd) < into->sectors) error = VIX_E_DISK_INVALIDDISK;
    }
    if (error != VIX_OK) log_warn("Disk: %s is not what its descriptor says", file_path);
    return error;
}

VixError link_open(const char *descriptor_path, bool writable, DiskLink *into) {
    memset(into, 0, sizeof *into);
    VixError error = descriptor_read(descriptor_path, &into->descriptor);
    if (error != VIX_OK) return error;
    size_t count = into->descriptor.extent_count;
    into->extents = calloc(count, sizeof *into->extents);
    if (into->extents == NULL) error = VIX_E_OUT_OF_MEMORY;
    while (error == VIX_OK && into->extent_count < count) {
        LinkExtent *extent = &into->extents[into->extent_count];
        extent->file = -1;
        extent->start = into->capacity;
        error = open_extent(descriptor_path, &into->descriptor.extents[into->extent_count++], writable, extent);
        into->capacity += extent->sectors;
    }
    if (error != VIX_OK) link_close(into);
    return error;
}

void link_close(DiskLink *link) {
    for (size_t i = 0; i < link->extent_count; i++) {
        if (link->extents[i].cowd != NULL) cowd_close(link->extents[i].cowd);
        if (link->extents[i].file >= 0) close(link->extents[i].file);
    }
    free(link->extents);
    descriptor_free(&link->descriptor);
    memset(link, 0, sizeof *link);
}

const LinkExtent *link_extent(const DiskLink *link, uint64 sector) {
    for (size_t i = 0; i < link->extent_count; i++) {
        const LinkExtent *extent = &link->extents[i];
        if (sector < extent->start + extent->sectors) return extent;
    }
    return NULL;
}

VixError link_flush(const DiskLink *link) {
    for (size_t i = 0; i < link->extent_count; i++) {
        if (link->extents[i].file >= 0 && fsync(link->extents[i].file) != 0) return file_error(errno);
    }
    return VIX_OK;
}
