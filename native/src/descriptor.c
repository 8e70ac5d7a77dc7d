#include "descriptor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "file_error.h"
#include "log.h"

#define BYTES_MAX (1024 * 1024)
#define EXTENTS_MAX 4096
#define ENTRIES_MAX 256
/* 64 TiB: the largest virtual disk of vSphere has 62. */
#define SECTORS_MAX (1ull << 37)

static bool is_bare(const char *name) {
    return name[0] != '\0' && strpbrk(name, "/\\") == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static VixError take_extent(Descriptor *into, const char *line) {
    char access[16], type[40];
    unsigned long long sectors;
    int used = 0;
    if (sscanf(line, "%15s %llu %39s%n", access, &sectors, type, &used) != 3) return VIX_E_DISK_INVALIDDISK;
    if (sectors == 0 || sectors > SECTORS_MAX || into->extent_count == EXTENTS_MAX) return VIX_E_DISK_INVALIDDISK;
    DescriptorExtent *grown = realloc(into->extents, (into->extent_count + 1) * sizeof *grown);
    if (grown == NULL) return VIX_E_OUT_OF_MEMORY;
    into->extents = grown;
    DescriptorExtent *extent = &grown[into->extent_count++];
    memset(extent, 0, sizeof *extent);
    extent->sectors = sectors;
    if (strcasecmp(type, "ZERO") == 0) {
        extent->kind = EXTENT_ZERO;
        return VIX_OK;
    }
    if (strcasecmp(type, "FLAT") == 0 || strcasecmp(type, "VMFS") == 0) {
        extent->kind = EXTENT_FLAT;
    } else if (strcasecmp(type, "VMFSSPARSE") == 0) {
        extent->kind = EXTENT_COWD;
    } else {
        log_warn("Disk: extents of type %s are not supported", type);
        return VIX_E_DISK_NOTSUPPORTED;
    }
    const char *open = strchr(line + used, '"');
    const char *close = open == NULL ? NULL : strrchr(open + 1, '"');
    if (close == NULL || (size_t)(close - open) > sizeof extent->name) return VIX_E_DISK_INVALIDDISK;
    memcpy(extent->name, open + 1, (size_t)(close - open - 1));
    unsigned long long offset = 0;
    if (sscanf(close + 1, "%llu", &offset) == 1 && extent->kind == EXTENT_FLAT) extent->offset = offset;
    return is_bare(extent->name) && extent->offset <= SECTORS_MAX ? VIX_OK : VIX_E_DISK_INVALIDDISK;
}

static VixError take_entry(Descriptor *into, const char *key, const char *value) {
    if (strlen(key) >= DESCRIPTOR_KEY_SIZE || strlen(value) >= DESCRIPTOR_VALUE_SIZE) return VIX_E_DISK_INVALIDDISK;
    if (into->entry_count == ENTRIES_MAX) return VIX_E_DISK_INVALIDDISK;
    DescriptorEntry *grown = realloc(into->entries, (into->entry_count + 1) * sizeof *grown);
    if (grown == NULL) return VIX_E_OUT_OF_MEMORY;
    into->entries = grown;
    DescriptorEntry *entry = &grown[into->entry_count++];
    strcpy(entry->key, key);
    strcpy(entry->value, value);
    return VIX_OK;
}

/* `key = "value"`, in which blanks around the sign and the quotes may be absent. Changes the line. */
static VixError take_field(Descriptor *into, char *line) {
    char *equals = strchr(line, '=');
    if (equals == NULL) return VIX_E_DISK_INVALIDDISK;
    char *value = equals + 1 + strspn(equals + 1, " \t");
    while (equals > line && (equals[-1] == ' ' || equals[-1] == '\t')) equals--;
    *equals = '\0';
    size_t length = strlen(value);
    if (length >= 2 && value[0] == '"' && value[length - 1] == '"') {
        value[length - 1] = '\0';
        value++;
    }
    if (strncasecmp(line, "ddb.", 4) == 0) return take_entry(into, line + 4, value);
    if (strcasecmp(line, "CID") == 0) into->cid = (uint32)strtoul(value, NULL, 16);
    if (strcasecmp(line, "parentCID") == 0) into->parent_cid = (uint32)strtoul(value, NULL, 16);
    if (strcasecmp(line, "parentFileNameHint") == 0) {
        if (!is_bare(value) || strlen(value) >= sizeof into->parent) return VIX_E_DISK_INVALIDCHAIN;
        strcpy(into->parent, value);
    }
    return VIX_OK;
}

static VixError take_line(Descriptor *into, char *line) {
    line += strspn(line, " \t");
    size_t length = strlen(line);
    while (length > 0 && strchr(" \t\r\n", line[length - 1]) != NULL) line[--length] = '\0';
    if (length == 0 || line[0] == '#') return VIX_OK;
    bool is_extent = strncasecmp(line, "RW ", 3) == 0 || strncasecmp(line, "RDONLY ", 7) == 0;
    return is_extent ? take_extent(into, line) : take_field(into, line);
}

static VixError take_text(Descriptor *into, char *text) {
    if (strncmp(text, "# Disk DescriptorFile", 21) != 0) return VIX_E_INCORRECT_FILE_TYPE;
    VixError error = VIX_OK;
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL && error == VIX_OK; line = strsep(&rest, "\n")) {
        error = take_line(into, line);
    }
    if (error != VIX_OK) return error;
    bool has_parent = into->parent_cid != DESCRIPTOR_NO_PARENT;
    if (has_parent != (into->parent[0] != '\0')) return VIX_E_DISK_INVALIDCHAIN;
    return into->extent_count > 0 ? VIX_OK : VIX_E_DISK_INVALIDDISK;
}

VixError descriptor_read(const char *path, Descriptor *into) {
    memset(into, 0, sizeof *into);
    into->parent_cid = DESCRIPTOR_NO_PARENT;
    FILE *file = fopen(path, "re");
    if (file == NULL) return file_error(errno);
    char *text = malloc(BYTES_MAX + 1);
    size_t length = text == NULL ? 0 : fread(text, 1, BYTES_MAX, file);
    VixError error = text == NULL ? VIX_E_OUT_OF_MEMORY : ferror(file) ? VIX_E_FILE_ERROR : VIX_OK;
    fclose(file);
    if (error == VIX_OK) {
        text[length] = '\0';
        error = take_text(into, text);
    }
    free(text);
    if (error != VIX_OK) descriptor_free(into);
    return error;
}

void descriptor_free(Descriptor *descriptor) {
    free(descriptor->extents);
    free(descriptor->entries);
    memset(descriptor, 0, sizeof *descriptor);
}

const char *descriptor_entry(const Descriptor *descriptor, const char *key) {
    for (size_t i = 0; i < descriptor->entry_count; i++) {
        if (strcmp(descriptor->entries[i].key, key) == 0) return descriptor->entries[i].value;
    }
    return NULL;
}
