#include <dlfcn.h>

#include "exercise.h"
#include "harness.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE

void dump(const char *library_folder, const char *root, const char *path, const char *flags) {
    char rules[4200];
    snprintf(rules, sizeof rules, "datastores=%s\n", root);
    harness_load(library_folder, RTLD_NOW | RTLD_LOCAL);
    harness_rules(rules);
    harness_init(library_folder);
    VixDiskLibConnection connection = harness_connect(harness_params(), NULL);
    VixDiskLibHandle handle = harness_open(connection, path, (uint32)atoi(flags));
    static uint8 buffer[1024 * SECTOR];
    VixDiskLibInfo *info = NULL;
    CHECK_ERROR(VIX_OK, vix.GetInfo(handle, &info));
    uint64 capacity = info->capacity, step;
    vix.FreeInfo(info);
    for (uint64 at = 0; at < capacity; at += step) {
        step = capacity - at < 1024 ? capacity - at : 1024;
        CHECK_ERROR(VIX_OK, vix.Read(handle, at, step, buffer));
        CHECK(fwrite(buffer, SECTOR, step, stdout) == step);
    }
    CHECK(fflush(stdout) == 0);
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
    vix.Exit();
}
