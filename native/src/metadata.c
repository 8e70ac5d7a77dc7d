#include <string.h>

#include "handle.h"

/* Both calls are made twice: with no buffer to learn the size, which is VIX_E_BUFFER_TOOSMALL, and then with one. */

static size_t keys_size(const Descriptor *descriptor) {
    size_t size = 1;
    for (size_t i = 0; i < descriptor->entry_count; i++) size += strlen(descriptor->entries[i].key) + 1;
    return size;
}

VixError VixDiskLib_GetMetadataKeys(VixDiskLibHandle handle, char *keys, size_t size, size_t *required) {
    VixError error = handle_enter(handle, "GetMetadataKeys");
    if (error != VIX_OK) return error;
    const Descriptor *descriptor = disk_chain_descriptor(handle->disk);
    size_t needed = keys_size(descriptor);
    if (required != NULL) *required = needed;
    if (keys == NULL || size < needed) {
        error = VIX_E_BUFFER_TOOSMALL;
    } else {
        for (size_t i = 0; i < descriptor->entry_count; i++) keys = stpcpy(keys, descriptor->entries[i].key) + 1;
        *keys = '\0';
    }
    handle_leave(handle);
    return error;
}

VixError VixDiskLib_ReadMetadata(VixDiskLibHandle handle, const char *key, char *buffer, size_t size,
                                 size_t *required) {
    if (key == NULL) return VIX_E_INVALID_ARG;
    VixError error = handle_enter(handle, "ReadMetadata");
    if (error != VIX_OK) return error;
    const char *value = descriptor_entry(disk_chain_descriptor(handle->disk), key);
    if (value == NULL) {
        error = VIX_E_DISK_KEY_NOTFOUND;
    } else {
        size_t needed = strlen(value) + 1;
        if (required != NULL) *required = needed;
        if (buffer == NULL || size < needed) {
            error = VIX_E_BUFFER_TOOSMALL;
        } else {
            memcpy(buffer, value, needed);
        }
    }
    handle_leave(handle);
    return error;
}

VixError VixDiskLib_WriteMetadata(VixDiskLibHandle handle, const char *key, const char *value) {
    if (key == NULL || value == NULL) return VIX_E_INVALID_ARG;
    VixError error = handle_enter(handle, "WriteMetadata");
    if (error != VIX_OK) return error;
    error = handle->is_read_only ? VIX_E_FILE_READ_ONLY : VIX_E_NOT_SUPPORTED;
    handle_leave(handle);
    return error;
}
