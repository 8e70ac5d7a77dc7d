#include "handle.h"
#include "log.h"
#include "rules.h"
#include "stack.h"
#include "stats.h"

static VixError check_range(const Handle *handle, uint64 start, uint64 count, const uint8 *buffer) {
    if (count == 0 || buffer == NULL) return VIX_E_INVALID_ARG;
    uint64 capacity = disk_chain_capacity(handle->disk);
    if (start > capacity || count > capacity - start) return VIX_E_DISK_OUTOFRANGE;
    bool must_align = handle->is_unbuffered && handle->transport == TRANSPORT_HOTADD;
    return must_align && (uintptr_t)buffer % VIXDISKLIB_SECTOR_SIZE != 0 ? VIX_E_DISK_INVAL : VIX_OK;
}

static VixError check_kind(Handle *handle, RequestKind kind) {
    RequestKind before = REQUESTS_NONE;
    if (atomic_compare_exchange_strong(&handle->kind, &before, kind)) {
        /* Once for each handle: page after page costs more than a read. */
        log_info("Request: the first of handle %llu, checksum %u", (unsigned long long)handle->id, stack_use());
        return VIX_OK;
    }
    if (before == kind) return VIX_OK;
    log_warn("HANDLE RULE: blocking and queued requests on handle %llu", (unsigned long long)handle->id);
    return VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED;
}

/* What the rules have in store for a read: it is counted for the library and for the handle. */
static void apply_read_rules(Handle *handle, Rules *rules, Request *request) {
    uint64 number = atomic_fetch_add(&rules->reads, 1) + 1;
    if (atomic_exchange(&handle->generation, rules->generation) != rules->generation) atomic_store(&handle->reads, 0);
    uint64 of_handle = atomic_fetch_add(&handle->reads, 1) + 1;
    request->is_panic = rules->panic_read != 0 && rules->panic_read == number;
    request->fault = rules_fault(&rules->fail_read, number);
    if (rules->session_expired_after != 0 && of_handle > rules->session_expired_after) {
        request->fault = VIX_E_AUTHENTICATION_FAIL;
    }
}

static void apply_write_rules(Rules *rules, Request *request) {
    uint64 number = atomic_fetch_add(&rules->writes, 1) + 1;
    request->is_panic = rules->panic_write != 0 && rules->panic_write == number;
    request->fault = rules_fault(&rules->fail_write, number);
}

/* Caller is the only one inside. Fills in everything that a request needs. */
static VixError prepare(Handle *handle, RequestKind kind, Request *request, unsigned *parallel) {
    if (request->is_write && handle->is_read_only) return VIX_E_FILE_READ_ONLY;
    VixError error = check_range(handle, request->start, request->count, request->buffer);
    if (error == VIX_OK) error = check_kind(handle, kind);
    if (error != VIX_OK) return error;
    Rules *rules = rules_get();
    if (rules == NULL) return VIX_E_DISK_NOINIT;
    request->disk = handle->disk;
    request->handle_id = handle->id;
    request->latency_us = rules->latency_us;
    *parallel = rules->parallel;
    if (request->is_write) apply_write_rules(rules, request);
    else apply_read_rules(handle, rules, request);
    rules_put(rules);
    return VIX_OK;
}

/* Counts a call in; a second reading or writing call on the same handle is refused. */
static VixError enter(VixDiskLibHandle handle, const char *call) {
    VixError error = handle_enter(handle, call);
    if (error != VIX_OK || !atomic_exchange(&handle->is_busy, true)) return error;
    log_warn("HANDLE RULE: %s on handle %llu while another call reads or writes", call, (unsigned long long)handle->id);
    handle_leave(handle);
    return VIX_E_FAIL;
}

static void leave(VixDiskLibHandle handle) {
    atomic_store(&handle->is_busy, false);
    handle_leave(handle);
}

static VixError run_blocking(VixDiskLibHandle handle, Request request, const char *call) {
    VixError error = enter(handle, call);
    if (error != VIX_OK) return error;
    unsigned parallel;
    error = prepare(handle, REQUESTS_BLOCKING, &request, &parallel);
    if (error == VIX_OK) error = request_serve(&request);
    leave(handle);
    return error;
}

static VixError run_queued(VixDiskLibHandle handle, Request request, VixDiskLibCompletionCB *done, void *data,
                           const char *call) {
    VixError error = enter(handle, call);
    if (error != VIX_OK) return error;
    unsigned parallel;
    error = done == NULL ? VIX_E_INVALID_ARG : prepare(handle, REQUESTS_QUEUED, &request, &parallel);
    if (error == VIX_OK && transport_is_asynchronous(handle->transport)) {
        error = request_queue_add(handle->queue, &request, parallel, done, data);
        leave(handle);
        return error == VIX_OK ? VIX_ASYNC : error;
    }
    VixError result = error == VIX_OK ? request_serve(&request) : VIX_OK;
    leave(handle);
    if (error != VIX_OK) return error;
    done(data, result);
    return VIX_ASYNC;
}

VixError VixDiskLib_Read(VixDiskLibHandle handle, VixDiskLibSectorType start, VixDiskLibSectorType count,
                         uint8 *buffer) {
    return run_blocking(handle, (Request){.start = start, .count = count, .buffer = buffer}, "Read");
}

VixError VixDiskLib_Write(VixDiskLibHandle handle, VixDiskLibSectorType start, VixDiskLibSectorType count,
                          const uint8 *buffer) {
    Request request = {.is_write = true, .start = start, .count = count, .buffer = (uint8 *)buffer};
    return run_blocking(handle, request, "Write");
}

VixError VixDiskLib_ReadAsync(VixDiskLibHandle handle, VixDiskLibSectorType start, VixDiskLibSectorType count,
                              uint8 *buffer, VixDiskLibCompletionCB *done, void *data) {
    Request request = {.start = start, .count = count, .buffer = buffer};
    return run_queued(handle, request, done, data, "ReadAsync");
}

VixError VixDiskLib_WriteAsync(VixDiskLibHandle handle, VixDiskLibSectorType start, VixDiskLibSectorType count,
                               const uint8 *buffer, VixDiskLibCompletionCB *done, void *data) {
    Request request = {.is_write = true, .start = start, .count = count, .buffer = (uint8 *)buffer};
    return run_queued(handle, request, done, data, "WriteAsync");
}

static VixError flush(Handle *handle) {
    if (request_queue_is_busy(handle->queue)) {
        log_warn("HANDLE RULE: Flush on handle %llu before Wait", (unsigned long long)handle->id);
        return VIX_E_FAIL;
    }
    Rules *rules = rules_get();
    if (rules == NULL) return VIX_E_DISK_NOINIT;
    VixError error = rules_fault(&rules->fail_flush, atomic_fetch_add(&rules->flushes, 1) + 1);
    rules_put(rules);
    if (error == VIX_OK && !handle->is_read_only) error = disk_chain_flush(handle->disk);
    if (error == VIX_OK) stats_event("flush %llu", (unsigned long long)handle->id);
    return error;
}

VixError VixDiskLib_Flush(VixDiskLibHandle handle) {
    VixError error = enter(handle, "Flush");
    if (error != VIX_OK) return error;
    error = flush(handle);
    leave(handle);
    return error;
}

VixError VixDiskLib_Wait(VixDiskLibHandle handle) {
    VixError error = handle_enter(handle, "Wait");
    if (error != VIX_OK) return error;
    error = request_queue_wait(handle->queue);
    if (error != VIX_OK) log_warn("HANDLE RULE: Wait in a completion callback would wait for itself");
    handle_leave(handle);
    return error;
}
