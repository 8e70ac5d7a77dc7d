#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "disk_chain.h"
#include "init.h"
#include "vixDiskLib.h"

/*
 * Making, copying, resizing and chaining disks: VDDK does it with hosted disks of the local host only, and nothing here
 * needs it. What can be said about a local chain without changing it is said by CheckRepair.
 */
#define UNUSED __attribute__((unused))

static VixError refuse(void) {
    VixError error = init_check();
    return error == VIX_OK ? VIX_E_NOT_SUPPORTED : error;
}

VixError VixDiskLib_CheckRepair(VixDiskLibConnection connection, const char *path, Bool repair) {
    if (path == NULL) return VIX_E_INVALID_ARG;
    VixError error = init_check();
    if (error == VIX_OK) error = connection_enter(connection);
    if (error != VIX_OK) return error;
    DiskChain *chain = NULL;
    error = connection->is_remote || repair || path[0] != '/' ? VIX_E_NOT_SUPPORTED
                                                              : disk_chain_open(path, false, false, &chain);
    if (chain != NULL) disk_chain_close(chain);
    connection_leave(connection);
    return error;
}

VixError VixDiskLib_Create(UNUSED VixDiskLibConnection connection, UNUSED const char *path,
                           UNUSED const VixDiskLibCreateParams *params, UNUSED VixDiskLibProgressFunc *progress,
                           UNUSED void *data) {
    return refuse();
}

VixError VixDiskLib_CreateChild(UNUSED VixDiskLibHandle parent, UNUSED const char *path,
                                UNUSED VixDiskLibDiskType type, UNUSED VixDiskLibProgressFunc *progress,
                                UNUSED void *data) {
    return refuse();
}

VixError VixDiskLib_Clone(UNUSED VixDiskLibConnection target, UNUSED const char *targetPath,
                          UNUSED VixDiskLibConnection source, UNUSED const char *sourcePath,
                          UNUSED const VixDiskLibCreateParams *params, UNUSED VixDiskLibProgressFunc *progress,
                          UNUSED void *data, UNUSED Bool overwrite) {
    return refuse();
}

VixError VixDiskLib_Grow(UNUSED VixDiskLibConnection connection, UNUSED const char *path,
                         UNUSED VixDiskLibSectorType capacity, UNUSED Bool updateGeometry,
                         UNUSED VixDiskLibProgressFunc *progress, UNUSED void *data) {
    return refuse();
}

VixError VixDiskLib_Shrink(UNUSED VixDiskLibHandle handle, UNUSED VixDiskLibProgressFunc *progress,
                           UNUSED void *data) {
    return refuse();
}

VixError VixDiskLib_Defragment(UNUSED VixDiskLibHandle handle, UNUSED VixDiskLibProgressFunc *progress,
                               UNUSED void *data) {
    return refuse();
}

VixError VixDiskLib_SpaceNeededForClone(UNUSED VixDiskLibHandle handle, UNUSED VixDiskLibDiskType type,
                                        UNUSED uint64 *bytes) {
    return refuse();
}

VixError VixDiskLib_Attach(UNUSED VixDiskLibHandle parent, UNUSED VixDiskLibHandle child) {
    return refuse();
}

VixError VixDiskLib_IsAttachPossible(UNUSED VixDiskLibHandle parent, UNUSED VixDiskLibHandle child) {
    return refuse();
}

VixError VixDiskLib_Unlink(UNUSED VixDiskLibConnection connection, UNUSED const char *path) {
    return refuse();
}

VixError VixDiskLib_Rename(UNUSED const char *from, UNUSED const char *to) {
    return refuse();
}
