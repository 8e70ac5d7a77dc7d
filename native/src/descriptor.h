#ifndef STANDIN_DESCRIPTOR_H
#define STANDIN_DESCRIPTOR_H

#include <limits.h>
#include <stdbool.h>

#include "vixDiskLib.h"

/* A component of a path. */
#define DESCRIPTOR_NAME_SIZE (NAME_MAX + 1)
#define DESCRIPTOR_KEY_SIZE 64
#define DESCRIPTOR_VALUE_SIZE 256
/* parentCID of a disk that has no parent. */
#define DESCRIPTOR_NO_PARENT 0xffffffffu

typedef enum { EXTENT_FLAT, EXTENT_ZERO, EXTENT_COWD } ExtentKind;

typedef struct {
    ExtentKind kind;
    uint64 sectors;
    /* Where the extent begins in its file, in sectors; 0 but for flat extents. */
    uint64 offset;
    /* A bare file name beside the descriptor; empty for EXTENT_ZERO. */
    char name[DESCRIPTOR_NAME_SIZE];
} DescriptorExtent;

/* An entry `ddb.KEY = "VALUE"` of the disk database; the key is kept without "ddb.". */
typedef struct {
    char key[DESCRIPTOR_KEY_SIZE];
    char value[DESCRIPTOR_VALUE_SIZE];
} DescriptorEntry;

/* A VMDK descriptor: the small text file that names the files of one link of a disk. */
typedef struct {
    uint32 cid;
    uint32 parent_cid;
    /* parentFileNameHint, a bare file name; empty for a base. */
    char parent[DESCRIPTOR_NAME_SIZE];
    DescriptorExtent *extents;
    size_t extent_count;
    DescriptorEntry *entries;
    size_t entry_count;
} Descriptor;

/* Reads a descriptor of at most 1 MiB. It is outside input: file names that lead out of the folder are refused. */
VixError descriptor_read(const char *path, Descriptor *into);
void descriptor_free(Descriptor *descriptor);

/* The value of an entry of the disk database, or NULL. */
const char *descriptor_entry(const Descriptor *descriptor, const char *key);

#endif
