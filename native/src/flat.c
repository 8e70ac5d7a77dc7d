#include "flat.h"

#include <errno.h>
#include <unistd.h>

#include "file_error.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE

VixError flat_read(int file, uint64 sector, uint64 count, uint8 *buffer) {
    size_t length = count * SECTOR;
    off_t at = (off_t)(sector * SECTOR);
    for (size_t done = 0; done < length;) {
        ssize_t got = pread(file, buffer + done, length - done, at + (off_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return file_error(errno);
        if (got == 0) return VIX_E_FILE_ERROR;
        done += (size_t)got;
    }
    return VIX_OK;
}

VixError flat_write(int file, uint64 sector, uint64 count, const uint8 *buffer) {
    size_t length = count * SECTOR;
    off_t at = (off_t)(sector * SECTOR);
    for (size_t done = 0; done < length;) {
        ssize_t put = pwrite(file, buffer + done, length - done, at + (off_t)done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return file_error(errno);
        done += (size_t)put;
    }
    return VIX_OK;
}

void flat_mark(int file, uint64 sector, uint64 count, uint64 disk_sector, AllocationMap *map) {
    off_t first = (off_t)(sector * SECTOR);
    off_t end = (off_t)((sector + count) * SECTOR);
    for (off_t at = first; at < end;) {
        off_t data = lseek(file, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) return;
        off_t hole = data < 0 ? end : lseek(file, data, SEEK_HOLE);
        if (data < 0) data = at;
        if (data >= end) return;
        if (hole < 0 || hole > end) hole = end;
        uint64 from = (uint64)(data - first) / SECTOR;
        uint64 to = ((uint64)(hole - first) + SECTOR - 1) / SECTOR;
        allocation_mark(map, disk_sector + from, to - from);
        at = hole;
    }
}
