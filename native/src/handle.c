#include "handle.h"

#include <pthread.h>
#include <stdlib.h>

#include "init.h"
#include "log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* A call has left a handle. */
static pthread_cond_t left = PTHREAD_COND_INITIALIZER;
static Handle *known;
static uint64 ids;

/* Caller holds the lock. */
static VixError check(const Handle *handle) {
    if (handle == NULL) return VIX_E_INVALID_ARG;
    const Handle *at = known;
    while (at != NULL && at != handle) at = at->next;
    return at != NULL && at->is_open ? VIX_OK : VIX_E_DISK_INVAL;
}

void handle_add(Handle *handle) {
    pthread_mutex_lock(&lock);
    handle->id = ++ids;
    handle->is_open = true;
    handle->next = known;
    known = handle;
    pthread_mutex_unlock(&lock);
}

VixError handle_enter(VixDiskLibHandle handle, const char *call) {
    VixError error = init_check();
    if (error != VIX_OK) return error;
    pthread_mutex_lock(&lock);
    error = check(handle);
    if (error == VIX_OK) handle->users++;
    pthread_mutex_unlock(&lock);
    if (error == VIX_E_DISK_INVAL) log_warn("HANDLE RULE: %s on a closed handle, or on none", call);
    return error;
}

void handle_leave(VixDiskLibHandle handle) {
    pthread_mutex_lock(&lock);
    handle->users--;
    pthread_cond_broadcast(&left);
    pthread_mutex_unlock(&lock);
}

VixError handle_close(VixDiskLibHandle handle) {
    unsigned users = 0;
    pthread_mutex_lock(&lock);
    VixError error = check(handle);
    if (error == VIX_OK) {
        users = handle->users;
        if (users == 0) {
            handle->is_open = false;
            handle->users = 1;
        }
    }
    pthread_mutex_unlock(&lock);
    if (error == VIX_E_DISK_INVAL) log_warn("HANDLE RULE: Close of a closed handle, or of none");
    if (users == 0) return error;
    log_warn("HANDLE RULE: Close while %u calls are inside", users);
    return VIX_E_FAIL;
}

void handle_release(Handle *handle) {
    if (handle->queue != NULL) request_queue_close(handle->queue);
    if (handle->disk != NULL) disk_chain_close(handle->disk);
    handle->queue = NULL;
    handle->disk = NULL;
}

unsigned handle_remote_count(void) {
    unsigned count = 0;
    pthread_mutex_lock(&lock);
    for (const Handle *at = known; at != NULL; at = at->next) {
        if (at->is_open && at->connection->is_remote) count++;
    }
    pthread_mutex_unlock(&lock);
    return count;
}

unsigned handle_stop(void) {
    unsigned open = 0;
    pthread_mutex_lock(&lock);
    Handle *all = known;
    known = NULL;
    for (Handle *at = all; at != NULL; at = at->next) {
        if (at->is_open) open++;
        at->is_open = false;
        /* What was called before Exit still uses it. */
        while (at->users > 0) pthread_cond_wait(&left, &lock);
    }
    pthread_mutex_unlock(&lock);
    while (all != NULL) {
        Handle *next = all->next;
        handle_release(all);
        free(all);
        all = next;
    }
    return open;
}
