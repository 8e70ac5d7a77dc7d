#include <inttypes.h>
#include <stdlib.h>

#include "allocation.h"
#include "handle.h"
#include "rules.h"
#include "stats.h"

void allocation_mark(AllocationMap *map, uint64 sector, uint64 count) {
    uint64 end = map->start + map->count;
    uint64 from = sector > map->start ? sector : map->start;
    uint64 to = sector + count < end ? sector + count : end;
    if (from >= to) return;
    uint64 last = (to - 1 - map->start) / map->chunk;
    for (uint64 chunk = (from - map->start) / map->chunk; chunk <= last; chunk++) map->marks[chunk] = 1;
}

#if VIXDISKLIB_API >= 67

/* All of a query but the rest of the disk that is no whole chunk, which callers take as allocated. */
static VixError check(const Handle *handle, uint64 start, uint64 count, uint64 chunk) {
    if (chunk < VIXDISKLIB_MIN_CHUNK_SIZE || count == 0) return VIX_E_INVALID_ARG;
    if (start % chunk != 0 || count % chunk != 0) return VIX_E_INVALID_ARG;
    if (count / chunk > VIXDISKLIB_MAX_CHUNK_NUMBER) return VIX_E_INVALID_ARG;
    uint64 capacity = disk_chain_capacity(handle->disk);
    return start > capacity || count > capacity - start ? VIX_E_INVALID_ARG : VIX_OK;
}

/* Goes over the runs of marked chunks; writes them when there is a list. @returns how many there are */
static uint32 list_runs(const AllocationMap *map, VixDiskLibBlockList *into) {
    uint32 runs = 0;
    uint64 chunks = map->count / map->chunk;
    for (uint64 at = 0; at < chunks;) {
        if (map->marks[at] == 0) {
            at++;
            continue;
        }
        uint64 first = at;
        while (at < chunks && map->marks[at] != 0) at++;
        if (into != NULL) {
            into->blocks[runs].offset = map->start + first * map->chunk;
            into->blocks[runs].length = (at - first) * map->chunk;
        }
        runs++;
    }
    return runs;
}

static VixDiskLibBlockList *make_list(const AllocationMap *map) {
    uint32 runs = list_runs(map, NULL);
    VixDiskLibBlockList *list = malloc(sizeof *list + runs * sizeof list->blocks[0]);
    if (list == NULL) return NULL;
    list->numBlocks = runs;
    list_runs(map, list);
    return list;
}

static VixError fault(void) {
    Rules *rules = rules_get();
    if (rules == NULL) return VIX_E_DISK_NOINIT;
    VixError error = rules_fault(&rules->fail_query, atomic_fetch_add(&rules->queries, 1) + 1);
    rules_put(rules);
    return error;
}

VixError VixDiskLib_QueryAllocatedBlocks(VixDiskLibHandle handle, VixDiskLibSectorType start,
                                         VixDiskLibSectorType count, VixDiskLibSectorType chunk,
                                         VixDiskLibBlockList **out) {
    if (out == NULL) return VIX_E_INVALID_ARG;
    *out = NULL;
    VixError error = handle_enter(handle, "QueryAllocatedBlocks");
    if (error != VIX_OK) return error;
    stats_event("query %" PRIu64 " %" PRIu64 " %" PRIu64, handle->id, start, count);
    error = check(handle, start, count, chunk);
    if (error == VIX_OK) error = fault();
    if (error == VIX_OK) {
        AllocationMap map = {.start = start, .count = count, .chunk = chunk, .marks = calloc(count / chunk, 1)};
        error = map.marks == NULL ? VIX_E_OUT_OF_MEMORY : disk_chain_mark(handle->disk, &map);
        if (error == VIX_OK) *out = make_list(&map);
        if (error == VIX_OK && *out == NULL) error = VIX_E_OUT_OF_MEMORY;
        free(map.marks);
    }
    handle_leave(handle);
    return error;
}

VixError VixDiskLib_FreeBlockList(VixDiskLibBlockList *list) {
    free(list);
    return VIX_OK;
}

#endif
