#include "openssl_origin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int OPENSSL_init_ssl(uint64_t options, const void *settings);

/* The folder of the file that holds an address. */
static bool folder_of(const void *address, char folder[PATH_MAX], const char **file) {
    Dl_info info;
    if (dladdr(address, &info) == 0 || realpath(info.dli_fname, folder) == NULL) return false;
    *file = info.dli_fname;
    char *slash = strrchr(folder, '/');
    if (slash != NULL) *slash = '\0';
    return true;
}

bool openssl_is_bundled(char *found, size_t found_size) {
    char own[PATH_MAX], other[PATH_MAX];
    const char *own_file = "an unknown file", *other_file = "an unknown file";
    bool is_beside = folder_of((const void *)(uintptr_t)openssl_is_bundled, own, &own_file) &&
                     folder_of((const void *)(uintptr_t)OPENSSL_init_ssl, other, &other_file) &&
                     strcmp(own, other) == 0;
    snprintf(found, found_size, "%s", other_file);
    return is_beside && OPENSSL_init_ssl(0, NULL) == OPENSSL_ORIGIN_BUNDLED;
}
