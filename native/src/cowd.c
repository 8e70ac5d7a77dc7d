#include "cowd.h"

#include <endian.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "flat.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE
#define HEADER_SECTORS 4
#define TABLE_ENTRIES 4096u
#define TABLE_SECTORS (TABLE_ENTRIES * 4 / SECTOR)
#define ENTRIES_PER_SECTOR (SECTOR / 4)
#define GRAIN_SECTORS_MAX 2048u
/* "COWD" as a little-endian number. */
#define MAGIC 0x44574f43u

/* The fields of the header that count, as indexes of 32-bit numbers. */
enum { AT_MAGIC, AT_VERSION, AT_FLAGS, AT_CAPACITY, AT_GRAIN, AT_DIRECTORY, AT_TABLES, AT_FREE };

struct Cowd {
    int file;
    uint32 header[HEADER_SECTORS * ENTRIES_PER_SECTOR];
    uint32 capacity;
    uint32 grain;
    uint32 directory_at;
    uint32 tables_count;
    uint32 *directory;
    /* Read when first needed: a 2 TiB disk has a million tables. */
    uint32 **tables;
    pthread_mutex_t lock;
};

static uint64 directory_sectors(const Cowd *cowd) {
    return (cowd->tables_count + ENTRIES_PER_SECTOR - 1) / ENTRIES_PER_SECTOR;
}

static VixError read_header(Cowd *cowd) {
    VixError error = flat_read(cowd->file, 0, HEADER_SECTORS, (uint8 *)cowd->header);
    if (error != VIX_OK) return error;
    const uint32 *header = cowd->header;
    if (le32toh(header[AT_MAGIC]) != MAGIC || le32toh(header[AT_VERSION]) != 1) return VIX_E_DISK_INVALIDDISK;
    cowd->capacity = le32toh(header[AT_CAPACITY]);
    cowd->grain = le32toh(header[AT_GRAIN]);
    cowd->directory_at = le32toh(header[AT_DIRECTORY]);
    cowd->tables_count = le32toh(header[AT_TABLES]);
    if (le32toh(header[AT_FREE]) < cowd->directory_at + directory_sectors(cowd)) return VIX_E_DISK_INVALIDDISK;
    uint32 grain = cowd->grain;
    if (grain == 0 || grain > GRAIN_SECTORS_MAX || (grain & (grain - 1)) != 0) return VIX_E_DISK_INVALIDDISK;
    uint64 covered = (uint64)TABLE_ENTRIES * grain;
    if (cowd->capacity == 0 || cowd->tables_count != (cowd->capacity + covered - 1) / covered ||
        cowd->directory_at < HEADER_SECTORS)
        return VIX_E_DISK_INVALIDDISK;
    return VIX_OK;
}

static VixError read_directory(Cowd *cowd) {
    cowd->directory = calloc(directory_sectors(cowd), SECTOR);
    cowd->tables = calloc(cowd->tables_count, sizeof *cowd->tables);
    if (cowd->directory == NULL || cowd->tables == NULL) return VIX_E_OUT_OF_MEMORY;
    return flat_read(cowd->file, cowd->directory_at, directory_sectors(cowd), (uint8 *)cowd->directory);
}

VixError cowd_open(int file, Cowd **out) {
    Cowd *cowd = calloc(1, sizeof *cowd);
    if (cowd == NULL) return VIX_E_OUT_OF_MEMORY;
    cowd->file = file;
    pthread_mutex_init(&cowd->lock, NULL);
    VixError error = read_header(cowd);
    if (error == VIX_OK) error = read_directory(cowd);
    if (error == VIX_OK) {
        *out = cowd;
    } else {
        cowd_close(cowd);
    }
    return error;
}

void cowd_close(Cowd *cowd) {
    if (cowd->tables != NULL) {
        for (uint32 i = 0; i < cowd->tables_count; i++) free(cowd->tables[i]);
    }
    free(cowd->tables);
    free(cowd->directory);
    pthread_mutex_destroy(&cowd->lock);
    free(cowd);
}

uint64 cowd_capacity(const Cowd *cowd) {
    return cowd->capacity;
}

/* The entries of a table, or NULL when the delta has none there. Caller holds the lock. */
static VixError find_table(Cowd *cowd, uint64 index, uint32 **entries) {
    uint32 at = le32toh(cowd->directory[index]);
    *entries = cowd->tables[index];
    if (at == 0 || *entries != NULL) return VIX_OK;
    if (at < cowd->directory_at + directory_sectors(cowd)) return VIX_E_DISK_INVALIDDISK;
    uint32 *table = malloc(TABLE_ENTRIES * sizeof *table);
    if (table == NULL) return VIX_E_OUT_OF_MEMORY;
    VixError error = flat_read(cowd->file, at, TABLE_SECTORS, (uint8 *)table);
    if (error != VIX_OK) {
        free(table);
        return error;
    }
    *entries = cowd->tables[index] = table;
    return VIX_OK;
}

/* The part of a run that one grain, or one absent table, answers. Caller holds the lock. */
static VixError find_step(Cowd *cowd, uint64 sector, uint64 max, CowdRun *step) {
    uint64 grain = sector / cowd->grain;
    uint64 within = sector % cowd->grain;
    uint32 *entries;
    VixError error = find_table(cowd, grain / TABLE_ENTRIES, &entries);
    if (error != VIX_OK) return error;
    uint64 covered = (uint64)TABLE_ENTRIES * cowd->grain;
    uint64 rest = entries == NULL ? covered - sector % covered : cowd->grain - within;
    uint64 source = entries == NULL ? 0 : le32toh(entries[grain % TABLE_ENTRIES]);
    if (source != 0 && source < cowd->directory_at + directory_sectors(cowd)) return VIX_E_DISK_INVALIDDISK;
    step->count = rest < max ? rest : max;
    step->source = source == 0 ? 0 : source + within;
    return VIX_OK;
}

static VixError find_run(Cowd *cowd, uint64 sector, uint64 max, CowdRun *run) {
    VixError error = find_step(cowd, sector, max, run);
    while (error == VIX_OK && run->count < max) {
        CowdRun next;
        error = find_step(cowd, sector + run->count, max - run->count, &next);
        if (error != VIX_OK || next.source != (run->source == 0 ? 0 : run->source + run->count)) break;
        run->count += next.count;
    }
    return error;
}

VixError cowd_run(Cowd *cowd, uint64 sector, uint64 max, CowdRun *run) {
    pthread_mutex_lock(&cowd->lock);
    VixError error = find_run(cowd, sector, max, run);
    pthread_mutex_unlock(&cowd->lock);
    return error;
}

VixError cowd_read(Cowd *cowd, const CowdRun *run, uint8 *buffer) {
    return flat_read(cowd->file, run->source, run->count, buffer);
}

VixError cowd_mark(Cowd *cowd, uint64 sector, uint64 count, uint64 disk_sector, AllocationMap *map) {
    VixError error = VIX_OK;
    CowdRun run;
    for (uint64 done = 0; done < count && error == VIX_OK; done += run.count) {
        error = cowd_run(cowd, sector + done, count - done, &run);
        if (error == VIX_OK && run.source != 0) allocation_mark(map, disk_sector + done, run.count);
    }
    return error;
}

/* Gives a sector a place behind the last used one, with a table when it needs one. Caller holds the lock. */
static VixError place(Cowd *cowd, uint64 sector, uint32 *free_at) {
    uint64 index = sector / TABLE_ENTRIES;
    uint32 *entries;
    VixError error = find_table(cowd, index, &entries);
    if (error != VIX_OK) return error;
    /* Room for a table and a grain within the 32 bits of an entry. */
    if (*free_at > UINT32_MAX - TABLE_SECTORS - 1) return VIX_E_DISK_FULL;
    if (entries == NULL) {
        entries = calloc(TABLE_ENTRIES, sizeof *entries);
        if (entries == NULL) return VIX_E_OUT_OF_MEMORY;
        cowd->tables[index] = entries;
        cowd->directory[index] = htole32(*free_at);
        *free_at += TABLE_SECTORS;
    }
    if (entries[sector % TABLE_ENTRIES] == 0) entries[sector % TABLE_ENTRIES] = htole32((*free_at)++);
    return VIX_OK;
}

static VixError write_tables(Cowd *cowd, uint64 sector, uint64 count) {
    VixError error = VIX_OK;
    uint64 last = (sector + count - 1) / TABLE_ENTRIES;
    for (uint64 index = sector / TABLE_ENTRIES; index <= last && error == VIX_OK; index++) {
        error = flat_write(cowd->file, le32toh(cowd->directory[index]), TABLE_SECTORS, (uint8 *)cowd->tables[index]);
    }
    if (error == VIX_OK)
        error = flat_write(cowd->file, cowd->directory_at, directory_sectors(cowd), (uint8 *)cowd->directory);
    if (error == VIX_OK) error = flat_write(cowd->file, 0, HEADER_SECTORS, (uint8 *)cowd->header);
    return error;
}

VixError cowd_write(Cowd *cowd, uint64 sector, uint64 count, const uint8 *buffer) {
    if (cowd->grain != 1) return VIX_E_NOT_SUPPORTED;
    VixError error = VIX_OK;
    pthread_mutex_lock(&cowd->lock);
    uint32 free_at = le32toh(cowd->header[AT_FREE]);
    uint32 free_before = free_at;
    for (uint64 i = 0; i < count && error == VIX_OK; i++) error = place(cowd, sector + i, &free_at);
    cowd->header[AT_FREE] = htole32(free_at);
    CowdRun run;
    for (uint64 done = 0; done < count && error == VIX_OK; done += run.count) {
        error = find_run(cowd, sector + done, count - done, &run);
        if (error == VIX_OK) error = flat_write(cowd->file, run.source, run.count, buffer + done * SECTOR);
    }
    if (error == VIX_OK && free_at != free_before) error = write_tables(cowd, sector, count);
    pthread_mutex_unlock(&cowd->lock);
    return error;
}
