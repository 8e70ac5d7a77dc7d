#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "handle.h"

static uint32 number_of(const Descriptor *descriptor, const char *key) {
    const char *value = descriptor_entry(descriptor, key);
    return value == NULL ? 0 : (uint32)strtoul(value, NULL, 10);
}

static VixDiskLibAdapterType adapter_of(const Descriptor *descriptor) {
    const char *word = descriptor_entry(descriptor, "adapterType");
    if (word == NULL) return VIXDISKLIB_ADAPTER_UNKNOWN;
    if (strcasecmp(word, "ide") == 0) return VIXDISKLIB_ADAPTER_IDE;
    if (strcasecmp(word, "buslogic") == 0) return VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC;
    return strcasecmp(word, "lsilogic") == 0 ? VIXDISKLIB_ADAPTER_SCSI_LSILOGIC : VIXDISKLIB_ADAPTER_UNKNOWN;
}

static VixError fill(VixDiskLibInfo *info, const Handle *handle) {
    const Descriptor *descriptor = disk_chain_descriptor(handle->disk);
    info->biosGeo.cylinders = number_of(descriptor, "geometry.biosCylinders");
    info->biosGeo.heads = number_of(descriptor, "geometry.biosHeads");
    info->biosGeo.sectors = number_of(descriptor, "geometry.biosSectors");
    info->physGeo.cylinders = number_of(descriptor, "geometry.cylinders");
    info->physGeo.heads = number_of(descriptor, "geometry.heads");
    info->physGeo.sectors = number_of(descriptor, "geometry.sectors");
    info->capacity = disk_chain_capacity(handle->disk);
    info->adapterType = adapter_of(descriptor);
    info->numLinks = (int)disk_chain_length(handle->disk);
#if VIXDISKLIB_API >= 70
    info->logicalSectorSize = info->physicalSectorSize = VIXDISKLIB_SECTOR_SIZE;
#endif
    if (descriptor->parent[0] != '\0') {
        info->parentFileNameHint = strdup(descriptor->parent);
        if (info->parentFileNameHint == NULL) return VIX_E_OUT_OF_MEMORY;
    }
    const char *uuid = descriptor_entry(descriptor, "uuid");
    if (uuid != NULL) {
        info->uuid = strdup(uuid);
        if (info->uuid == NULL) return VIX_E_OUT_OF_MEMORY;
    }
    return VIX_OK;
}

VixError VixDiskLib_GetInfo(VixDiskLibHandle handle, VixDiskLibInfo **out) {
    if (out == NULL) return VIX_E_INVALID_ARG;
    *out = NULL;
    VixError error = handle_enter(handle, "GetInfo");
    if (error != VIX_OK) return error;
    VixDiskLibInfo *info = calloc(1, sizeof *info);
    error = info == NULL ? VIX_E_OUT_OF_MEMORY : fill(info, handle);
    handle_leave(handle);
    if (error == VIX_OK) {
        *out = info;
    } else {
        VixDiskLib_FreeInfo(info);
    }
    return error;
}

void VixDiskLib_FreeInfo(VixDiskLibInfo *info) {
    if (info == NULL) return;
    free(info->parentFileNameHint);
    free(info->uuid);
    free(info);
}

const char *VixDiskLib_GetTransportMode(VixDiskLibHandle handle) {
    if (handle_enter(handle, "GetTransportMode") != VIX_OK) return NULL;
    const char *name = transport_name(handle->transport);
    handle_leave(handle);
    return name;
}
