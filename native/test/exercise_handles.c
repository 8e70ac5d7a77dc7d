#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "exercise.h"
#include "harness.h"
#include "sample_disk.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE

static uint8 buffer[256 * SECTOR] __attribute__((aligned(4096)));

static uint64 now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64)now.tv_sec * 1000 + (uint64)now.tv_nsec / 1000000;
}

static void *read_first_sector(void *handle) {
    static uint8 sector[SECTOR] __attribute__((aligned(4096)));
    return (void *)(uintptr_t)vix.Read(handle, 0, 1, sector);
}

static void check_arguments(VixDiskLibHandle handle) {
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.Read(handle, 0, 0, buffer));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.Read(handle, 0, 1, NULL));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.Read(NULL, 0, 1, buffer));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.GetInfo(handle, NULL));
    CHECK_ERROR(VIX_OK, vix.Read(handle, SAMPLE_SECTORS - 1, 1, buffer));
    CHECK_ERROR(VIX_E_DISK_OUTOFRANGE, vix.Read(handle, SAMPLE_SECTORS - 1, 2, buffer));
    CHECK_ERROR(VIX_E_DISK_OUTOFRANGE, vix.Read(handle, SAMPLE_SECTORS, 1, buffer));
    CHECK_ERROR(VIX_E_DISK_OUTOFRANGE, vix.Read(handle, UINT64_MAX, 2, buffer));
    CHECK_ERROR(VIX_E_DISK_OUTOFRANGE, vix.Read(handle, 2, UINT64_MAX - 1, buffer));
}

static void check_two_at_once(VixDiskLibHandle handle) {
    harness_rules("latency_us=1500000\n");
    pthread_t thread;
    void *other = NULL;
    CHECK(pthread_create(&thread, NULL, read_first_sector, handle) == 0);
    usleep(300000);
    CHECK_ERROR(VIX_E_FAIL, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_E_FAIL, vix.Close(handle));
    CHECK(pthread_join(thread, &other) == 0 && other == NULL);
    CHECK(harness_logged("while another call reads or writes") == 1);
    CHECK(harness_logged("Close while 1 calls are inside") == 1);
    harness_rules("");
}

static void ignore(void *data, VixError result) {
    *(VixError *)data = result;
}

void test_handles(const char *library_folder) {
    harness_rules("modes=hotadd:nbd\n");
    harness_init(library_folder);
    CHECK_ERROR(VIX_E_INVALID_ARG, harness_init_ex(6, library_folder));
    VixDiskLibConnection connection = harness_connect(harness_params(), NULL);
    VixDiskLibHandle handle = harness_open(connection, SAMPLE_TOP, VIXDISKLIB_FLAG_OPEN_UNBUFFERED);
    CHECK(strcmp(vix.GetTransportMode(handle), "hotadd") == 0);
    CHECK_ERROR(VIX_OK, vix.Read(handle, 0, 1, buffer + SECTOR));
    CHECK_ERROR(VIX_E_DISK_INVAL, vix.Read(handle, 0, 1, buffer + 8));
    VixError result = VIX_OK;
    CHECK_ERROR(VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED, vix.ReadAsync(handle, 0, 1, buffer, ignore, &result));
    check_arguments(handle);
    check_two_at_once(handle);
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.Disconnect(connection));
    CHECK(harness_logged("Disconnect with 1 open handles") == 1);
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    CHECK_ERROR(VIX_E_DISK_INVAL, vix.Close(handle));
    CHECK_ERROR(VIX_E_DISK_INVAL, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_E_DISK_INVAL, vix.Wait(handle));
    CHECK_ERROR(VIX_E_DISK_INVAL, vix.Read((VixDiskLibHandle)buffer, 0, 1, buffer));
    CHECK(vix.GetTransportMode(handle) == NULL);
    CHECK(harness_logged("on a closed handle, or on none") >= 4);

    handle = harness_open(connection, SAMPLE_TOP, 0);
    CHECK_ERROR(VIX_ASYNC, vix.ReadAsync(handle, 0, 1, buffer, ignore, &result));
    CHECK_ERROR(VIX_OK, vix.Wait(handle));
    CHECK_ERROR(VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.ReadAsync(handle, 0, 1, buffer, NULL, NULL));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.ReadAsync(handle, 0, 0, buffer, ignore, &result));
    CHECK_ERROR(VIX_E_DISK_OUTOFRANGE, vix.ReadAsync(handle, SAMPLE_SECTORS, 1, buffer, ignore, &result));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
    CHECK_ERROR(VIX_E_DISK_INVALID_CONNECTION, vix.Disconnect(connection));
    CHECK_ERROR(VIX_E_DISK_INVALID_CONNECTION, vix.Open(connection, SAMPLE_TOP, 0, &handle));

    connection = harness_connect(harness_params(), NULL);
    harness_open(connection, SAMPLE_TOP, 0);
    vix.Exit();
    CHECK(harness_logged("Exit with 1 open handles and 1 connections") == 1);
}

static VixDiskLibConnection shared;

static void *open_elsewhere(void *expected) {
    VixDiskLibHandle handle = NULL;
    CHECK_ERROR((VixError)(uintptr_t)expected, vix.Open(shared, SAMPLE_TOP, 0, &handle));
    if (handle != NULL) CHECK_ERROR(VIX_OK, vix.Close(handle));
    return NULL;
}

static void in_thread(void *(*run)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, argument) == 0 && pthread_join(thread, NULL) == 0);
}

static void *close_elsewhere(void *handle) {
    CHECK_ERROR(VIX_E_FAIL, vix.Close(handle));
    return NULL;
}

void test_threads(const char *library_folder) {
    harness_init(library_folder);
    shared = harness_connect(harness_params(), NULL);
    in_thread(open_elsewhere, (void *)VIX_E_FAIL);
    CHECK(harness_logged("THREAD RULE: Open") == 1);
    VixDiskLibHandle handle = harness_open(shared, SAMPLE_TOP, 0);
    in_thread(close_elsewhere, handle);
    CHECK(harness_logged("THREAD RULE: Close") == 1);
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    harness_rules("threads=any\nlog_thread_ms=5\n");
    in_thread(open_elsewhere, (void *)VIX_OK);
    uint64 before = now_ms();
    while (harness_logged("of every 5 ms") < 10 && now_ms() - before < 20000) usleep(10000);
    CHECK(harness_logged("of every 5 ms") >= 10);
    CHECK_ERROR(VIX_OK, vix.Disconnect(shared));
    vix.Exit();
}

#define REQUESTS 32

typedef struct {
    uint64 sector;
    VixError result;
    pid_t thread;
    uint8 data[SECTOR];
} Answer;

static Answer answers[REQUESTS];
static atomic_uint answered, serving, most;

static void answer(void *data, VixError result) {
    Answer *into = data;
    into->result = result;
    into->thread = (pid_t)syscall(SYS_gettid);
    unsigned inside = atomic_fetch_add(&serving, 1) + 1;
    unsigned before = atomic_load(&most);
    while (inside > before && !atomic_compare_exchange_weak(&most, &before, inside)) continue;
    /* Long enough to meet the callbacks that run at the same time. */
    usleep(20000);
    atomic_fetch_sub(&serving, 1);
    atomic_fetch_add(&answered, 1);
}

/* Reads REQUESTS sectors at once. @returns how long the answers took, in milliseconds */
static uint64 read_many(VixDiskLibHandle handle) {
    atomic_store(&answered, 0);
    atomic_store(&most, 0);
    uint64 before = now_ms();
    for (uint64 i = 0; i < REQUESTS; i++) {
        answers[i] = (Answer){.sector = i * 7, .result = 99};
        CHECK_ERROR(VIX_ASYNC, vix.ReadAsync(handle, i * 7, 1, answers[i].data, answer, &answers[i]));
    }
    /* Far less than serving them would take. */
    CHECK(now_ms() - before < REQUESTS * 25);
    CHECK_ERROR(VIX_OK, vix.Wait(handle));
    CHECK(atomic_load(&answered) == REQUESTS);
    for (uint64 i = 0; i < REQUESTS; i++) {
        CHECK(answers[i].result == VIX_OK && answers[i].thread != getpid());
        CHECK(sample_holds(answers[i].data, answers[i].sector, 1, 'b'));
    }
    return now_ms() - before;
}

static VixDiskLibHandle waiting_handle;
static atomic_ullong waited;

static void wait_inside(__attribute__((unused)) void *data, __attribute__((unused)) VixError result) {
    atomic_store(&waited, vix.Wait(waiting_handle));
}

static void check_flush(VixDiskLibHandle handle) {
    VixError written = 99;
    harness_rules("latency_us=100000\nfail_write=8@2\nfail_flush=14011@2\n");
    CHECK_ERROR(VIX_ASYNC, vix.WriteAsync(handle, 300, 100, buffer, ignore, &written));
    CHECK_ERROR(VIX_E_FAIL, vix.Flush(handle));
    CHECK(harness_logged("before Wait") == 1);
    CHECK_ERROR(VIX_OK, vix.Wait(handle));
    CHECK_ERROR(VIX_OK, vix.Flush(handle));
    CHECK_ERROR(VIX_E_HOST_TCP_CONN_LOST, vix.Flush(handle));
    CHECK(harness_counted("flush") == 1 && harness_counted("write") == 2);
    CHECK_ERROR(VIX_ASYNC, vix.WriteAsync(handle, 300, 100, buffer, ignore, &written));
    CHECK_ERROR(VIX_OK, vix.Wait(handle));
    CHECK_ERROR(VIX_E_DISK_FULL, written);
    CHECK(harness_counted("write") == 2);
    CHECK_ERROR(VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED, vix.Write(handle, 0, 1, buffer));
}

void test_queue(const char *library_folder) {
    harness_rules("latency_us=30000\n");
    harness_init(library_folder);
    VixDiskLibConnection connection = harness_connect(harness_params(), "nbdssl");
    VixDiskLibHandle handle = harness_open(connection, SAMPLE_TOP, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    read_many(handle);
    CHECK(atomic_load(&most) <= 4 && atomic_load(&most) >= 2);
    harness_rules("latency_us=30000\nparallel=1\n");
    CHECK(read_many(handle) >= REQUESTS * 50 && atomic_load(&most) == 1);
    harness_rules("parallel=16\n");
    read_many(handle);
    waiting_handle = handle;
    CHECK_ERROR(VIX_ASYNC, vix.ReadAsync(handle, 0, 1, buffer, wait_inside, NULL));
    CHECK_ERROR(VIX_OK, vix.Wait(handle));
    CHECK(atomic_load(&waited) == VIX_E_FAIL && harness_logged("would wait for itself") == 1);
    /* Close waits for what is under way. */
    harness_rules("latency_us=100000\n");
    answers[0].result = 99;
    CHECK_ERROR(VIX_ASYNC, vix.ReadAsync(handle, 0, 1, answers[0].data, answer, &answers[0]));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    CHECK(answers[0].result == VIX_OK);
    harness_rules("fail_read=14011@1\n");
    handle = harness_open(connection, SAMPLE_TOP, 0);
    CHECK_ERROR(VIX_ASYNC, vix.ReadAsync(handle, 0, 1, answers[0].data, answer, &answers[0]));
    CHECK_ERROR(VIX_OK, vix.Wait(handle));
    CHECK(answers[0].result == VIX_E_HOST_TCP_CONN_LOST);
    sample_fill(buffer, 300, 100, 'q');
    VixError written = 99;
    CHECK_ERROR(VIX_ASYNC, vix.WriteAsync(handle, 300, 100, buffer, ignore, &written));
    CHECK_ERROR(VIX_OK, vix.Wait(handle));
    CHECK_ERROR(VIX_OK, written);
    check_flush(handle);
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    handle = harness_open(connection, SAMPLE_TOP, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    memset(buffer, 0, sizeof buffer);
    CHECK_ERROR(VIX_OK, vix.Read(handle, 300, 100, buffer));
    CHECK(sample_holds(buffer, 300, 100, 'q'));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
    vix.Exit();
}

void test_fork(const char *library_folder) {
    harness_init(library_folder);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        VixDiskLibConnection connection = NULL;
        VixError error = vix.ConnectEx(harness_params(), 1, NULL, NULL, &connection);
        _exit(error == VIX_E_FAIL && harness_logged("FORK RULE") == 1 ? 0 : 1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    vix.Exit();
}
