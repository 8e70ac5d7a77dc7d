#include "datastore.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file_error.h"

/* A name that stays in its folder. */
static bool is_plain(const char *name, size_t length) {
    if (length == 0 || length > NAME_MAX || memchr(name, '/', length) != NULL) return false;
    return strncmp(name, ".", length) != 0 && strncmp(name, "..", length) != 0;
}

static bool is_plain_path(const char *path) {
    for (const char *part = path;; part++) {
        size_t length = strcspn(part, "/");
        if (!is_plain(part, length)) return false;
        part += length;
        if (*part == '\0') return true;
    }
}

/* Symbolic links may not lead out either. */
static VixError check_inside(const char *root, const char *path, size_t datastore_length) {
    char folder[PATH_MAX], real_folder[PATH_MAX], real_path[PATH_MAX];
    int length = snprintf(folder, sizeof folder, "%s/%.*s", root, (int)datastore_length, path + strlen(root) + 1);
    if (length < 0 || (size_t)length >= sizeof folder) return VIX_E_FILE_NAME_INVALID;
    if (realpath(folder, real_folder) == NULL || realpath(path, real_path) == NULL) return file_error(errno);
    size_t size = strlen(real_folder);
    bool is_inside = strncmp(real_path, real_folder, size) == 0 && real_path[size] == '/';
    return is_inside ? VIX_OK : VIX_E_FILE_NAME_INVALID;
}

VixError datastore_resolve(const char *root, const char *path, char into[PATH_MAX]) {
    const char *end = strchr(path, ']');
    if (root[0] == '\0' || path[0] != '[' || end == NULL || end[1] != ' ') return VIX_E_FILE_NAME_INVALID;
    size_t name_length = (size_t)(end - path - 1);
    const char *file = end + 2;
    if (!is_plain(path + 1, name_length) || !is_plain_path(file)) return VIX_E_FILE_NAME_INVALID;
    int length = snprintf(into, PATH_MAX, "%s/%.*s/%s", root, (int)name_length, path + 1, file);
    if (length < 0 || length >= PATH_MAX) return VIX_E_FILE_NAME_INVALID;
    return check_inside(root, into, name_length);
}
