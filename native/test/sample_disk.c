#include "sample_disk.h"

#include <endian.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE

static void path_of(char path[PATH_MAX], const char *name) {
    snprintf(path, PATH_MAX, "%s/ds1/vm/%s", harness_folder(), name);
}

static void put(const char *name, uint64 at, const void *bytes, size_t length, uint64 file_size) {
    char path[PATH_MAX];
    path_of(path, name);
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    CHECK(file >= 0 && pwrite(file, bytes, length, (off_t)at) == (ssize_t)length);
    if (file_size > 0) CHECK(ftruncate(file, (off_t)file_size) == 0);
    CHECK(close(file) == 0);
}

static void make_base(const char *name, uint64 sectors, uint32 cid) {
    char text[1024], file[64];
    snprintf(text, sizeof text,
             "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=ffffffff\ncreateType=\"vmfs\"\n\n"
             "# Extent description\nRW %llu VMFS \"%s-flat.vmdk\"\n\n# The Disk Data Base\n#DDB\n\n"
             "ddb.adapterType = \"lsilogic\"\nddb.geometry.cylinders = \"8\"\nddb.geometry.heads = \"64\"\n"
             "ddb.geometry.sectors = \"32\"\nddb.uuid = \"60 00 C2 9a\"\nddb.virtualHWVersion = \"13\"\n",
             cid, (unsigned long long)sectors, name);
    snprintf(file, sizeof file, "%s.vmdk", name);
    put(file, 0, text, strlen(text), 0);
}

static void make_delta(const char *name, const char *parent, uint32 cid, uint32 parent_cid) {
    char text[1024], file[64];
    snprintf(text, sizeof text,
             "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\ncreateType=\"vmfsSparse\"\n"
             "parentFileNameHint=\"%s\"\n# Extent description\nRW %u VMFSSPARSE \"%s-delta.vmdk\"\n",
             cid, parent_cid, parent, SAMPLE_SECTORS, name);
    snprintf(file, sizeof file, "%s.vmdk", name);
    put(file, 0, text, strlen(text), 0);
    /* magic, version, flags, capacity, grain, directory, tables, free */
    uint32 header[512] = {0x44574f43, 1, 3, SAMPLE_SECTORS, 1, 4, SAMPLE_SECTORS / 4096, 5};
    for (size_t i = 0; i < 8; i++) header[i] = htole32(header[i]);
    snprintf(file, sizeof file, "%s-delta.vmdk", name);
    put(file, 0, header, sizeof header, 5 * SECTOR);
}

void sample_disks_make(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/ds1", harness_folder());
    CHECK(mkdir(path, 0700) == 0);
    snprintf(path, sizeof path, "%s/ds1/vm", harness_folder());
    CHECK(mkdir(path, 0700) == 0);
    static uint8 data[256 * SECTOR];
    make_base("disk", SAMPLE_SECTORS, 0x11);
    sample_fill(data, 0, 256, 'b');
    put("disk-flat.vmdk", 0, data, sizeof data, SAMPLE_SECTORS * SECTOR);
    sample_fill(data, 8192, 256, 'b');
    put("disk-flat.vmdk", 8192 * SECTOR, data, sizeof data, 0);
    make_delta("disk-000001", "disk.vmdk", 0x22, 0x11);
    make_delta("disk-000002", "disk-000001.vmdk", 0x33, 0x22);
    make_base("huge", SAMPLE_HUGE_SECTORS, 0x44);
    sample_fill(data, SAMPLE_HUGE_DATA, 256, 'h');
    put("huge-flat.vmdk", SAMPLE_HUGE_DATA * SECTOR, data, sizeof data, SAMPLE_HUGE_SECTORS * SECTOR);
}

void sample_fill(uint8 *buffer, uint64 sector, uint64 count, char writer) {
    for (uint64 i = 0; i < count; i++) {
        for (size_t at = 0; at < SECTOR; at += 16) {
            char text[17];
            snprintf(text, sizeof text, "%c%015llu", writer, (unsigned long long)(sector + i));
            memcpy(buffer + i * SECTOR + at, text, 16);
        }
    }
}

int sample_holds(const uint8 *buffer, uint64 sector, uint64 count, char writer) {
    uint8 expected[SECTOR];
    for (uint64 i = 0; i < count; i++) {
        memset(expected, 0, sizeof expected);
        if (writer != 0) sample_fill(expected, sector + i, 1, writer);
        if (memcmp(buffer + i * SECTOR, expected, SECTOR) != 0) return 0;
    }
    return 1;
}
