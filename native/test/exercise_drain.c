#include <dlfcn.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

#include "exercise.h"
#include "harness.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE
/* As many requests as a session of the real library has buffers for, each of the usual size. */
#define DEPTH 4
#define REQUEST_SECTORS 2048

typedef struct {
    sem_t *done;
    atomic_bool is_free;
    VixError result;
    uint8 *buffer;
} Slot;

static void completed(void *data, VixError result) {
    Slot *slot = data;
    slot->result = result;
    atomic_store(&slot->is_free, true);
    sem_post(slot->done);
}

/* Waits for a slot whose request is done. */
static Slot *next_slot(Slot *slots, sem_t *done) {
    while (sem_wait(done) != 0) continue;
    for (unsigned i = 0;; i = (i + 1) % DEPTH) {
        if (!atomic_exchange(&slots[i].is_free, false)) continue;
        CHECK_ERROR(VIX_OK, slots[i].result);
        return &slots[i];
    }
}

static void read_all(VixDiskLibHandle handle, uint64 capacity) {
    static Slot slots[DEPTH];
    sem_t done;
    CHECK(sem_init(&done, 0, DEPTH) == 0);
    for (unsigned i = 0; i < DEPTH; i++) {
        slots[i].done = &done;
        atomic_store(&slots[i].is_free, true);
        CHECK((slots[i].buffer = malloc(REQUEST_SECTORS * SECTOR)) != NULL);
    }
    for (uint64 at = 0, step; at < capacity; at += step) {
        step = capacity - at < REQUEST_SECTORS ? capacity - at : REQUEST_SECTORS;
        Slot *slot = next_slot(slots, &done);
        CHECK_ERROR(VIX_ASYNC, vix.ReadAsync(handle, at, step, slot->buffer, completed, slot));
    }
    for (unsigned i = 0; i < DEPTH; i++) next_slot(slots, &done);
    CHECK_ERROR(VIX_OK, vix.Wait(handle));
    for (unsigned i = 0; i < DEPTH; i++) free(slots[i].buffer);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double processor_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void drain(const char *library_folder, const char *root, const char *path, const char *latency_us) {
    char rules[4200];
    snprintf(rules, sizeof rules, "datastores=%s\nlatency_us=%s\n", root, latency_us);
    harness_load(library_folder, RTLD_NOW | RTLD_LOCAL);
    harness_rules(rules);
    harness_init(library_folder);
    VixDiskLibConnection connection = harness_connect(harness_params(), "nbdssl");
    VixDiskLibHandle handle = harness_open(connection, path, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    VixDiskLibInfo *info = NULL;
    CHECK_ERROR(VIX_OK, vix.GetInfo(handle, &info));
    uint64 capacity = info->capacity;
    vix.FreeInfo(info);
    double cpu = processor_seconds(), began = now();
    read_all(handle, capacity);
    double seconds = now() - began;
    printf("{\"bytes\":%" PRIu64 ",\"seconds\":%.6f,\"cpuSeconds\":%.6f}\n", capacity * SECTOR, seconds,
           processor_seconds() - cpu);
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
    vix.Exit();
}
