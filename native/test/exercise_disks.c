#include <string.h>
#include <time.h>

#include "exercise.h"
#include "harness.h"
#include "sample_disk.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE

static uint8 buffer[1024 * SECTOR];

/* Whether a range of an open disk holds what a writer wrote. */
static bool reads(VixDiskLibHandle handle, uint64 sector, uint64 count, char writer) {
    memset(buffer, 0xaa, sizeof buffer);
    CHECK_ERROR(VIX_OK, vix.Read(handle, sector, count, buffer));
    return sample_holds(buffer, sector, count, writer);
}

static void write_as(VixDiskLibHandle handle, uint64 sector, uint64 count, char writer) {
    sample_fill(buffer, sector, count, writer);
    CHECK_ERROR(VIX_OK, vix.Write(handle, sector, count, buffer));
}

static void close_all(VixDiskLibConnection connection, VixDiskLibHandle handle) {
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
}

void test_life(const char *library_folder) {
    harness_rules("modes=san:hotadd:nbdssl:nbd\nthumbprint=aabbcc\nuser=backup\n"
                  "password_sha256=00\n");
    harness_init(library_folder);
    CHECK(harness_logged("the thread of the library runs") == 1);
    CHECK(strcmp(vix.ListTransportModes(), "file:san:hotadd:nbdssl:nbd") == 0);
    VixDiskLibConnectParams *params = harness_params();
    VixDiskLibConnection connection = NULL;
    CHECK_ERROR(VIX_E_INVALID_LOGIN_CREDENTIALS, vix.ConnectEx(params, 1, "snapshot-33", NULL, &connection));
    harness_rules("modes=san:hotadd:nbdssl:nbd\nthumbprint=aabbcc\nuser=backup\n"
                  "password_sha256=" SAMPLE_PASSWORD_SHA256 "\n");
    CHECK_ERROR(VIX_OK, vix.PrepareForAccess(params, "vmmount-1"));
    CHECK_ERROR(VIX_OK, vix.ConnectEx(params, 1, "snapshot-33", "file:nbdssl:nbd", &connection));
    VixDiskLibConnectParams *again = NULL;
    CHECK_ERROR(VIX_OK, vix.GetConnectParams(connection, &again));
    CHECK(strcmp(again->serverName, "vcenter.example") == 0 && again->serverName != params->serverName);
    vix.FreeConnectParams(again);
    VixDiskLibHandle handle = harness_open(connection, SAMPLE_TOP, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    CHECK(strcmp(vix.GetTransportMode(handle), "nbdssl") == 0);
    VixDiskLibInfo *info = NULL;
    CHECK_ERROR(VIX_OK, vix.GetInfo(handle, &info));
    CHECK(info->capacity == SAMPLE_SECTORS && info->numLinks == 3);
    CHECK(strcmp(info->parentFileNameHint, "disk-000001.vmdk") == 0);
    vix.FreeInfo(info);
    CHECK(reads(handle, 0, 256, 'b') && reads(handle, 256, 512, 0));
    CHECK_ERROR(VIX_OK, vix.Flush(handle));
    close_all(connection, handle);
    uint32 cleaned = 9, remaining = 9;
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.Cleanup(params, &cleaned, &remaining));
    CHECK(cleaned == 0 && remaining == 0);
    char *spec = params->vmxSpec;
    params->vmxSpec = NULL;
    CHECK_ERROR(VIX_OK, vix.Cleanup(params, &cleaned, &remaining));
    CHECK(cleaned == 0 && remaining == 0);
    params->vmxSpec = spec;
    CHECK_ERROR(VIX_OK, vix.EndAccess(params, "vmmount-1"));
#if VIXDISKLIB_API >= 67
    vix.FreeConnectParams(params);
#endif
    char *text = vix.GetErrorText(VIX_E_DISK_OUTOFRANGE, NULL);
    CHECK(text != NULL && strstr(text, "end of the disk") != NULL);
    vix.FreeErrorText(text);
    CHECK(vix.GetErrorText(1, "de") == NULL);
    vix.Exit();
    CHECK(harness_logged("the thread of the library ends") == 1);
    CHECK(harness_logged("s3cret-word") == 0);
    CHECK(harness_counted("open 1 nbdssl " SAMPLE_TOP) == 1 && harness_counted("close 1") == 1);
    CHECK(harness_counted("connect ") == 1 && harness_counted("disconnect ") == 1);
    CHECK(harness_counted("prepare vmmount-1") == 1 && harness_counted("end vmmount-1") == 1);
    CHECK(harness_counted("exit") == 1);
    CHECK_ERROR(VIX_E_DISK_NOINIT, vix.Close(handle));
    CHECK_ERROR(VIX_E_INVALID_ARG, harness_init_ex(6, library_folder));
}

void test_reads(const char *library_folder) {
    harness_init(library_folder);
    VixDiskLibConnection connection = harness_connect(harness_params(), NULL);
    VixDiskLibHandle top = harness_open(connection, SAMPLE_TOP, 0);
    write_as(top, 4090, 20, 't');
    CHECK_ERROR(VIX_OK, vix.Close(top));
    VixDiskLibHandle middle = harness_open(connection, SAMPLE_MIDDLE, 0);
    write_as(middle, 100, 10, 'm');
    write_as(middle, 4100, 20, 'm');
    CHECK_ERROR(VIX_OK, vix.Close(middle));

    VixDiskLibHandle handle = harness_open(connection, SAMPLE_TOP, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    CHECK(reads(handle, 0, 100, 'b') && reads(handle, 100, 10, 'm') && reads(handle, 110, 146, 'b'));
    CHECK(reads(handle, 4000, 90, 0) && reads(handle, 4090, 20, 't') && reads(handle, 4110, 10, 'm'));
    CHECK(reads(handle, 4120, 100, 0) && reads(handle, 8192, 256, 'b'));
    CHECK_ERROR(VIX_OK, vix.Read(handle, 90, 30, buffer));
    CHECK(sample_holds(buffer, 90, 10, 'b') && sample_holds(buffer + 10 * SECTOR, 100, 10, 'm'));
    CHECK(sample_holds(buffer + 20 * SECTOR, 110, 10, 'b'));
    CHECK_ERROR(VIX_OK, vix.Close(handle));

    handle = harness_open(connection, SAMPLE_MIDDLE, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    CHECK(reads(handle, 4090, 10, 0) && reads(handle, 4100, 20, 'm') && reads(handle, 110, 10, 'b'));
    CHECK_ERROR(VIX_OK, vix.Close(handle));

    handle = harness_open(connection, SAMPLE_BASE, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    CHECK(reads(handle, 100, 10, 'b') && reads(handle, 4100, 20, 0));
    CHECK_ERROR(VIX_OK, vix.Close(handle));

    handle = harness_open(connection, SAMPLE_TOP, VIXDISKLIB_FLAG_OPEN_READ_ONLY | VIXDISKLIB_FLAG_OPEN_SINGLE_LINK);
    CHECK(reads(handle, 0, 256, 0) && reads(handle, 4090, 20, 't') && reads(handle, 4110, 10, 0));
    close_all(connection, handle);
    vix.Exit();
}

void test_writes(const char *library_folder) {
    harness_init(library_folder);
    VixDiskLibConnection connection = harness_connect(harness_params(), NULL);
    VixDiskLibHandle handle = harness_open(connection, SAMPLE_TOP, 0);
    write_as(handle, 0, 1024, 'w');
    write_as(handle, 8000, 1000, 'w');
    write_as(handle, 8500, 10, 'x');
    write_as(handle, SAMPLE_SECTORS - 1, 1, 'w');
    /* Neighbours whose grains lie in another order. */
    write_as(handle, 3000, 1, 'w');
    write_as(handle, 3002, 1, 'w');
    write_as(handle, 3001, 1, 'w');
    CHECK_ERROR(VIX_OK, vix.Flush(handle));
    CHECK(reads(handle, 0, 1024, 'w') && reads(handle, 3000, 3, 'w'));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    /* What another opening finds comes from the files. */
    handle = harness_open(connection, SAMPLE_TOP, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    CHECK(reads(handle, 0, 1024, 'w') && reads(handle, 8000, 500, 'w') && reads(handle, 8500, 10, 'x'));
    CHECK(reads(handle, 8510, 490, 'w') && reads(handle, 9000, 100, 0) && reads(handle, SAMPLE_SECTORS - 1, 1, 'w'));
    CHECK_ERROR(VIX_E_FILE_READ_ONLY, vix.Write(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    handle = harness_open(connection, SAMPLE_BASE, 0);
    CHECK(reads(handle, 0, 256, 'b'));
    write_as(handle, 0, 1, 'w');
    CHECK(reads(handle, 0, 1, 'w') && reads(handle, 1, 255, 'b'));
    close_all(connection, handle);

    CHECK_ERROR(VIX_OK, vix.ConnectEx(harness_params(), 1, NULL, NULL, &connection));
    handle = harness_open(connection, SAMPLE_BASE, 0);
    CHECK_ERROR(VIX_E_FILE_READ_ONLY, vix.Write(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_E_NOT_SUPPORTED, vix.Create(connection, "x", NULL, NULL, NULL));
    CHECK_ERROR(VIX_E_NOT_SUPPORTED, vix.Grow(connection, "x", 1, 0, NULL, NULL));
    CHECK_ERROR(VIX_E_NOT_SUPPORTED, vix.Rename("x", "y"));
    close_all(connection, handle);
    vix.Exit();
}

#if VIXDISKLIB_API >= 67

static VixDiskLibBlockList *allocated(VixDiskLibHandle handle, uint64 start, uint64 count, uint64 chunk) {
    VixDiskLibBlockList *list = NULL;
    CHECK_ERROR(VIX_OK, vix.QueryAllocatedBlocks(handle, start, count, chunk, &list));
    return list;
}

static bool is_block(const VixDiskLibBlockList *list, uint32 index, uint64 offset, uint64 length) {
    return index < list->numBlocks && list->blocks[index].offset == offset && list->blocks[index].length == length;
}

static void check_huge(VixDiskLibConnection connection) {
    VixDiskLibHandle handle = harness_open(connection, SAMPLE_HUGE, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    uint64 step = 128ull * VIXDISKLIB_MAX_CHUNK_NUMBER, found = 0, at = 0;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (uint64 start = 0; start < SAMPLE_HUGE_SECTORS / 128 * 128; start += step) {
        uint64 rest = SAMPLE_HUGE_SECTORS / 128 * 128 - start;
        VixDiskLibBlockList *list = allocated(handle, start, rest < step ? rest : step, 128);
        for (uint32 i = 0; i < list->numBlocks; i++) {
            at = list->blocks[i].offset;
            found += list->blocks[i].length;
        }
        CHECK_ERROR(VIX_OK, vix.FreeBlockList(list));
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(found == 256 && at == SAMPLE_HUGE_DATA);
    CHECK(after.tv_sec - before.tv_sec < 10);
    CHECK(reads(handle, SAMPLE_HUGE_DATA, 256, 'h') && reads(handle, SAMPLE_HUGE_SECTORS - 1, 1, 0));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
}

void test_allocated(const char *library_folder) {
    harness_init(library_folder);
    VixDiskLibConnection connection = harness_connect(harness_params(), NULL);
    VixDiskLibHandle handle = harness_open(connection, SAMPLE_TOP, 0);
    write_as(handle, 5000, 2, 't');
    write_as(handle, 12287, 2, 't');
    VixDiskLibBlockList *list = allocated(handle, 0, SAMPLE_SECTORS, 128);
    CHECK(list->numBlocks == 4 && is_block(list, 0, 0, 256) && is_block(list, 1, 4992, 128));
    CHECK(is_block(list, 2, 8192, 256) && is_block(list, 3, 12160, 256));
    CHECK_ERROR(VIX_OK, vix.FreeBlockList(list));
    list = allocated(handle, 128, 128, 128);
    CHECK(list->numBlocks == 1 && is_block(list, 0, 128, 128));
    CHECK_ERROR(VIX_OK, vix.FreeBlockList(list));
    list = allocated(handle, 512, 1024, 512);
    CHECK(list->numBlocks == 0);
    CHECK_ERROR(VIX_OK, vix.FreeBlockList(list));
    VixDiskLibBlockList *none = NULL;
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.QueryAllocatedBlocks(handle, 0, 64, 64, &none));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.QueryAllocatedBlocks(handle, 64, 128, 128, &none));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.QueryAllocatedBlocks(handle, 0, 130, 128, &none));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.QueryAllocatedBlocks(handle, 0, 0, 128, &none));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.QueryAllocatedBlocks(handle, SAMPLE_SECTORS, 128, 128, &none));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.QueryAllocatedBlocks(handle, 0, 128, 128, NULL));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    uint32 single = VIXDISKLIB_FLAG_OPEN_SINGLE_LINK | VIXDISKLIB_FLAG_OPEN_READ_ONLY;
    handle = harness_open(connection, SAMPLE_TOP, single);
    list = allocated(handle, 0, SAMPLE_SECTORS, 128);
    CHECK(list->numBlocks == 2 && is_block(list, 0, 4992, 128) && is_block(list, 1, 12160, 256));
    CHECK_ERROR(VIX_OK, vix.FreeBlockList(list));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    check_huge(connection);
    handle = harness_open(connection, SAMPLE_HUGE, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    uint64 too_many = 128ull * (VIXDISKLIB_MAX_CHUNK_NUMBER + 1);
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.QueryAllocatedBlocks(handle, 0, too_many, 128, &none));
    close_all(connection, handle);
    vix.Exit();
}

#endif
