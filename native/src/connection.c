#include "connection.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "init.h"
#include "log.h"
#include "login.h"
#include "params.h"
#include "rules.h"
#include "stats.h"
#include "transport.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Connection *known;
static uint64 ids;

/* Caller holds the lock. */
static bool is_known(const Connection *connection) {
    const Connection *at = known;
    while (at != NULL && at != connection) at = at->next;
    return at != NULL;
}

static VixError check(const Connection *connection) {
    if (connection == NULL) return VIX_E_INVALID_ARG;
    return is_known(connection) && connection->is_open ? VIX_OK : VIX_E_DISK_INVALID_CONNECTION;
}

VixError connection_enter(VixDiskLibConnection connection) {
    pthread_mutex_lock(&lock);
    VixError error = check(connection);
    if (error == VIX_OK) connection->handles++;
    pthread_mutex_unlock(&lock);
    if (error == VIX_E_DISK_INVALID_CONNECTION) log_warn("CONNECTION RULE: used after Disconnect, or no connection");
    return error;
}

void connection_leave(VixDiskLibConnection connection) {
    pthread_mutex_lock(&lock);
    connection->handles--;
    pthread_mutex_unlock(&lock);
}

static void release(Connection *connection) {
    if (connection->copy != NULL) params_free_copy(connection->copy);
    free(connection->snapshot);
    free(connection->transports);
    connection->copy = NULL;
    connection->snapshot = connection->transports = NULL;
}

static VixError check_snapshot(const char *snapshot) {
    if (snapshot == NULL) return VIX_OK;
    Rules *rules = rules_get();
    if (rules == NULL) return VIX_E_DISK_NOINIT;
    bool is_there = !rules->has_snapshots || rules_list_holds(rules->snapshots, snapshot);
    rules_put(rules);
    if (is_there) return VIX_OK;
    log_warn("Connect: there is no snapshot %s", snapshot);
    return VIX_E_SNAPSHOT_NOTFOUND;
}

static VixError fill(Connection *connection, const VixDiskLibConnectParams *params, const char *snapshot,
                     const char *transports) {
    connection->is_remote = login_is_remote(params);
    VixError error = connection->is_remote ? login_check(params) : VIX_OK;
    if (error == VIX_OK && connection->is_remote) error = check_snapshot(snapshot);
    if (error != VIX_OK) return error;
    connection->params = params;
    connection->copy = params_copy(params);
    connection->snapshot = snapshot == NULL ? NULL : strdup(snapshot);
    connection->transports = strdup(transports == NULL ? TRANSPORTS_ALL : transports);
    bool is_whole = connection->copy != NULL && connection->transports != NULL;
    return is_whole && (snapshot == NULL || connection->snapshot != NULL) ? VIX_OK : VIX_E_OUT_OF_MEMORY;
}

VixError VixDiskLib_ConnectEx(const VixDiskLibConnectParams *params, Bool readOnly, const char *snapshotRef,
                              const char *transportModes, VixDiskLibConnection *out) {
    if (out == NULL) return VIX_E_INVALID_ARG;
    *out = NULL;
    VixError error = init_check();
    if (error == VIX_OK) error = params_check(params);
    if (error != VIX_OK) return error;
    Connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) return VIX_E_OUT_OF_MEMORY;
    error = fill(connection, params, snapshotRef, transportModes);
    if (error != VIX_OK) {
        release(connection);
        free(connection);
        return error;
    }
    connection->is_read_only = readOnly != 0;
    connection->is_open = true;
    pthread_mutex_lock(&lock);
    connection->id = ++ids;
    connection->next = known;
    known = connection;
    pthread_mutex_unlock(&lock);
    log_info("Connect: %s, %s, snapshot %s, transports %s", connection->is_remote ? params->serverName : "this host",
             readOnly ? "read-only" : "read-write", snapshotRef == NULL ? "none" : snapshotRef, connection->transports);
    bool is_session = connection->is_remote && params->credType == VIXDISKLIB_CRED_SESSIONID;
    stats_event("connect %" PRIu64 " %s", connection->id, is_session ? "session" : "password");
    *out = connection;
    return VIX_OK;
}

VixError VixDiskLib_Connect(const VixDiskLibConnectParams *params, VixDiskLibConnection *out) {
    return VixDiskLib_ConnectEx(params, 0, NULL, NULL, out);
}

VixError VixDiskLib_Disconnect(VixDiskLibConnection connection) {
    VixError error = init_check();
    if (error != VIX_OK) return error;
    unsigned handles = 0;
    uint64 id = 0;
    pthread_mutex_lock(&lock);
    error = check(connection);
    if (error == VIX_OK) {
        id = connection->id;
        handles = connection->handles;
        if (handles == 0) {
            connection->is_open = false;
            release(connection);
        }
    }
    pthread_mutex_unlock(&lock);
    if (error == VIX_E_DISK_INVALID_CONNECTION) log_warn("CONNECTION RULE: Disconnect of what is not connected");
    if (error != VIX_OK) return error;
    if (handles > 0) {
        log_warn("CONNECTION RULE: Disconnect with %u open handles", handles);
        return VIX_E_INVALID_ARG;
    }
    log_info("Disconnect: connection %" PRIu64, id);
    stats_event("disconnect %" PRIu64, id);
    return VIX_OK;
}

VixError VixDiskLib_GetConnectParams(VixDiskLibConnection connection, VixDiskLibConnectParams **out) {
    if (out == NULL) return VIX_E_INVALID_ARG;
    *out = NULL;
    VixError error = init_check();
    if (error == VIX_OK) error = connection_enter(connection);
    if (error != VIX_OK) return error;
    *out = params_give_copy(connection->copy);
    connection_leave(connection);
    return *out == NULL ? VIX_E_OUT_OF_MEMORY : VIX_OK;
}

unsigned connection_stop(void) {
    unsigned open = 0;
    pthread_mutex_lock(&lock);
    while (known != NULL) {
        Connection *next = known->next;
        if (known->is_open) open++;
        release(known);
        free(known);
        known = next;
    }
    pthread_mutex_unlock(&lock);
    return open;
}
