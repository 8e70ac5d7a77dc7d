#include <stdlib.h>
#include <string.h>

#include "exercise.h"
#include "harness.h"
#include "sample_disk.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE

static void close_all(VixDiskLibConnection connection, VixDiskLibHandle handle) {
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
}

void test_metadata(const char *library_folder) {
    harness_init(library_folder);
    VixDiskLibConnection connection = harness_connect(harness_params(), NULL);
    VixDiskLibHandle handle = harness_open(connection, SAMPLE_BASE, 0);
    size_t size = 0, value_size = 0;
    CHECK_ERROR(VIX_E_BUFFER_TOOSMALL, vix.GetMetadataKeys(handle, NULL, 0, &size));
    char *keys = malloc(size), value[64];
    CHECK_ERROR(VIX_E_BUFFER_TOOSMALL, vix.GetMetadataKeys(handle, keys, size - 1, &size));
    CHECK_ERROR(VIX_OK, vix.GetMetadataKeys(handle, keys, size, &size));
    unsigned count = 0;
    for (const char *key = keys; *key != '\0'; key += strlen(key) + 1) count++;
    CHECK(count == 6 && strcmp(keys, "adapterType") == 0);
    free(keys);
    CHECK_ERROR(VIX_E_BUFFER_TOOSMALL, vix.ReadMetadata(handle, "uuid", NULL, 0, &value_size));
    CHECK(value_size == strlen("60 00 C2 9a") + 1);
    CHECK_ERROR(VIX_OK, vix.ReadMetadata(handle, "uuid", value, sizeof value, &value_size));
    CHECK(strcmp(value, "60 00 C2 9a") == 0);
    CHECK_ERROR(VIX_E_DISK_KEY_NOTFOUND, vix.ReadMetadata(handle, "absent", value, sizeof value, &value_size));
    CHECK_ERROR(VIX_E_NOT_SUPPORTED, vix.WriteMetadata(handle, "uuid", "x"));
    VixDiskLibInfo *info = NULL;
    CHECK_ERROR(VIX_OK, vix.GetInfo(handle, &info));
    CHECK(info->physGeo.cylinders == 8 && info->physGeo.heads == 64 && info->physGeo.sectors == 32);
    CHECK(info->adapterType == VIXDISKLIB_ADAPTER_SCSI_LSILOGIC && info->numLinks == 1);
    CHECK(info->parentFileNameHint == NULL && strcmp(info->uuid, "60 00 C2 9a") == 0);
#if VIXDISKLIB_API >= 70
    CHECK(info->logicalSectorSize == 512 && info->physicalSectorSize == 512);
#endif
    vix.FreeInfo(info);
    close_all(connection, handle);
    vix.Exit();
}

/* Runs sed on a file of the sample disk. */
static void edit(const char *script, const char *name) {
    char command[8192];
    snprintf(command, sizeof command, "cd '%s/ds1/vm' && cp %s %s.kept && sed -i '%s' %s", harness_folder(), name, name,
             script, name);
    CHECK(system(command) == 0);
}

static void restore(const char *name) {
    char command[8192];
    snprintf(command, sizeof command, "cd '%s/ds1/vm' && mv %s.kept %s", harness_folder(), name, name);
    CHECK(system(command) == 0);
}

static void expect(VixDiskLibConnection connection, VixError error, const char *script, const char *name) {
    VixDiskLibHandle handle = NULL;
    edit(script, name);
    CHECK_ERROR(error, vix.Open(connection, SAMPLE_TOP, VIXDISKLIB_FLAG_OPEN_READ_ONLY, &handle));
    CHECK(handle == NULL);
    restore(name);
}

void test_damaged(const char *library_folder) {
    harness_init(library_folder);
    VixDiskLibConnection connection = harness_connect(harness_params(), NULL);
    expect(connection, VIX_E_DISK_CID_MISMATCH, "s/^CID=.*/CID=99/", "disk.vmdk");
    expect(connection, VIX_E_DISK_PARTIALCHAIN, "s/disk.vmdk/gone.vmdk/", "disk-000001.vmdk");
    expect(connection, VIX_E_DISK_INVALIDCHAIN, "s/\"disk.vmdk/\"..\\/disk.vmdk/", "disk-000001.vmdk");
    expect(connection, VIX_E_DISK_INVALIDDISK, "s/disk-000001-delta/..\\/x/", "disk-000001.vmdk");
    expect(connection, VIX_E_DISK_NOTSUPPORTED, "s/VMFSSPARSE/SESPARSE/", "disk-000001.vmdk");
    expect(connection, VIX_E_DISK_INVALIDDISK, "s/RW 16384 VMFS /RW 99999 VMFS /", "disk.vmdk");
    expect(connection, VIX_E_INCORRECT_FILE_TYPE, "1d", "disk.vmdk");
    expect(connection, VIX_E_DISK_INVALIDDISK, "s/COWD/DOWC/", "disk-000001-delta.vmdk");
    /* A chain that comes back to itself. */
    expect(connection, VIX_E_DISK_INVALIDCHAIN, "s/disk.vmdk/disk-000001.vmdk/;s/^CID=.*/CID=22/;s/ntCID=.*/ntCID=22/",
           "disk-000001.vmdk");
    CHECK_ERROR(VIX_OK, vix.Close(harness_open(connection, SAMPLE_TOP, 0)));
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
    vix.Exit();
}
