#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "connection.h"
#include "datastore.h"
#include "handle.h"
#include "init.h"
#include "log.h"
#include "login.h"
#include "params.h"
#include "rules.h"
#include "stats.h"

/* Hexadecimal digits of a SHA-1. Colons and case do not count, as callers write both. */
static bool is_same_thumbprint(const char *a, const char *b) {
    for (;; a++, b++) {
        while (*a == ':') a++;
        while (*b == ':') b++;
        if (*a == '\0' || *b == '\0') return *a == *b;
        if (strncasecmp(a, b, 1) != 0) return false;
    }
}

/* What a server says to an Open, in the order in which a real connection would fail. */
static VixError check_server(const Connection *connection, const Rules *rules) {
    const VixDiskLibConnectParams *params = connection->copy;
    if (!params_are_unchanged(connection->params, params)) {
        log_warn("PARAMS RULE: the connection's parameters were changed or freed before Disconnect");
        return VIX_E_FAIL;
    }
    if (rules->thumbprint[0] != '\0' &&
        (params->thumbPrint == NULL || !is_same_thumbprint(params->thumbPrint, rules->thumbprint))) {
        log_warn("Open: the thumbprint of %s is %s and not %s", params->serverName, rules->thumbprint,
                 params->thumbPrint == NULL ? "absent" : params->thumbPrint);
        return VIX_E_FAIL;
    }
    const char *vm = login_vm(params);
    if (connection->snapshot == NULL && vm != NULL && rules_list_holds(rules->running, vm)) {
        log_warn("Open: %s is running: its disks can be opened by a snapshot only", vm);
        return VIX_E_FILE_ACCESS_ERROR;
    }
    if (rules->connections > 0 && handle_remote_count() >= rules->connections) {
        log_warn("Open: the host takes no more than %u connections", rules->connections);
        return VIX_E_HOST_NETWORK_CONN_REFUSED;
    }
    return VIX_OK;
}

static VixError choose_transport(const Connection *connection, const Rules *rules, Transport *chosen) {
    bool usable[TRANSPORT_COUNT];
    for (int i = 0; i < TRANSPORT_COUNT; i++) usable[i] = connection->is_remote && rules->available[i];
    usable[TRANSPORT_FILE] = !connection->is_remote;
    if (init_is_basic()) usable[TRANSPORT_SAN] = usable[TRANSPORT_HOTADD] = usable[TRANSPORT_NBDSSL] = false;
    *chosen = transport_first(connection->transports, usable);
    if (*chosen == TRANSPORT_NONE && connection->is_remote && rules->falls_back_to_nbdssl) *chosen = TRANSPORT_NBDSSL;
    if (*chosen == TRANSPORT_NONE) {
        log_warn("Open: none of the transports %s can be used", connection->transports);
        return VIX_E_FILE_NOT_FOUND;
    }
    VixError error = rules->refuse[*chosen];
    if (error != VIX_OK) log_warn("Open: the transport %s failed", transport_name(*chosen));
    return error;
}

static VixError find_file(const Connection *connection, const Rules *rules, const char *path, char into[PATH_MAX]) {
    if (connection->is_remote) return datastore_resolve(rules->datastores, path, into);
    int length = snprintf(into, PATH_MAX, "%s", path);
    return path[0] == '/' && length < PATH_MAX ? VIX_OK : VIX_E_FILE_NAME_INVALID;
}

static VixError fill(Handle *handle, Rules *rules, const char *path, uint32 flags) {
    const Connection *connection = handle->connection;
    if (rules->hangs_open) rules_hang();
    VixError error = rules_fault(&rules->fail_open, atomic_fetch_add(&rules->opens, 1) + 1);
    if (error == VIX_OK && connection->is_remote) error = check_server(connection, rules);
    if (error == VIX_OK) error = choose_transport(connection, rules, &handle->transport);
    char file[PATH_MAX];
    if (error == VIX_OK) error = find_file(connection, rules, path, file);
    if (error != VIX_OK) return error;
    handle->is_read_only = connection->is_read_only || (flags & VIXDISKLIB_FLAG_OPEN_READ_ONLY) != 0;
    handle->is_unbuffered = (flags & VIXDISKLIB_FLAG_OPEN_UNBUFFERED) != 0;
    bool is_single_link = (flags & VIXDISKLIB_FLAG_OPEN_SINGLE_LINK) != 0;
    error = disk_chain_open(file, !handle->is_read_only, is_single_link, &handle->disk);
    if (error != VIX_OK) return error;
    handle->queue = request_queue_open();
    return handle->queue == NULL ? VIX_E_OUT_OF_MEMORY : VIX_OK;
}

static VixError check_call(const char *call) {
    VixError error = init_check();
    if (error != VIX_OK) return error;
    Rules *rules = rules_get();
    if (rules == NULL) return VIX_E_DISK_NOINIT;
    bool is_right = rules->any_thread || init_is_designated_thread();
    rules_put(rules);
    if (is_right) return VIX_OK;
    log_warn("THREAD RULE: %s in another thread than InitEx", call);
    return VIX_E_FAIL;
}

VixError VixDiskLib_Open(VixDiskLibConnection connection, const char *path, uint32 flags, VixDiskLibHandle *out) {
    if (path == NULL || out == NULL) return VIX_E_INVALID_ARG;
    *out = NULL;
    VixError error = check_call("Open");
    if (error == VIX_OK) error = connection_enter(connection);
    if (error != VIX_OK) return error;
    Handle *handle = calloc(1, sizeof *handle);
    Rules *rules = rules_get();
    if (handle == NULL || rules == NULL) {
        error = VIX_E_OUT_OF_MEMORY;
    } else {
        handle->connection = connection;
        error = fill(handle, rules, path, flags);
    }
    if (rules != NULL) rules_put(rules);
    if (error != VIX_OK) {
        log_warn("Open: %s failed with %" PRIu64, path, error);
        if (handle != NULL) handle_release(handle);
        free(handle);
        connection_leave(connection);
        return error;
    }
    handle_add(handle);
    log_info("Open: %s by %s, %u links", path, transport_name(handle->transport), disk_chain_length(handle->disk));
    stats_event("open %" PRIu64 " %s %s", handle->id, transport_name(handle->transport), path);
    *out = handle;
    return VIX_OK;
}

/* A request that is under way uses the caller's buffer and calls back: it ends before Close returns. */
static VixError wait_for_requests(VixDiskLibHandle handle) {
    VixError error = handle_enter(handle, "Close");
    if (error != VIX_OK) return error;
    error = request_queue_wait(handle->queue);
    if (error != VIX_OK) log_warn("HANDLE RULE: Close in a completion callback would wait for itself");
    handle_leave(handle);
    return error;
}

VixError VixDiskLib_Close(VixDiskLibHandle handle) {
    VixError error = check_call("Close");
    if (error == VIX_OK) error = wait_for_requests(handle);
    if (error == VIX_OK) error = handle_close(handle);
    if (error != VIX_OK) return error;
    unsigned most = request_queue_most(handle->queue);
    handle_release(handle);
    connection_leave(handle->connection);
    if (most > 0) stats_event("most %" PRIu64 " %u", handle->id, most);
    log_info("Close: handle %" PRIu64, handle->id);
    stats_event("close %" PRIu64, handle->id);
    handle_leave(handle);
    return VIX_OK;
}
