#include "file_error.h"

#include <errno.h>

VixError file_error(int number) {
    switch (number) {
        case ENOENT:
        case ENOTDIR:
            return VIX_E_FILE_NOT_FOUND;
        case EACCES:
        case EPERM:
            return VIX_E_FILE_ACCESS_ERROR;
        case EROFS:
            return VIX_E_FILE_READ_ONLY;
        case ENOMEM:
            return VIX_E_OUT_OF_MEMORY;
        case ENOSPC:
        case EDQUOT:
            return VIX_E_DISK_FULL;
        case ELOOP:
        case ENAMETOOLONG:
            return VIX_E_FILE_NAME_INVALID;
        default:
            return VIX_E_FILE_ERROR;
    }
}
