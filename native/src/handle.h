#ifndef STANDIN_HANDLE_H
#define STANDIN_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "connection.h"
#include "disk_chain.h"
#include "request_queue.h"
#include "transport.h"
#include "vixDiskLib.h"

/* Blocking and queued requests must not be mixed on one handle. */
typedef enum { REQUESTS_NONE, REQUESTS_BLOCKING, REQUESTS_QUEUED } RequestKind;

/* What Open makes. It stays known after Close, so that using it then is an error and no crash. */
typedef struct VixDiskLibHandleStruct {
    uint64 id;
    bool is_open;
    bool is_read_only;
    bool is_unbuffered;
    Transport transport;
    Connection *connection;
    DiskChain *disk;
    RequestQueue *queue;
    /* Calls of any kind that are inside now; the registry's lock guards it. */
    unsigned users;
    /* A call that reads or writes is inside. */
    atomic_bool is_busy;
    _Atomic(RequestKind) kind;
    /* Reads since the rules were read, and which reading that was. */
    atomic_ullong reads;
    atomic_ullong generation;
    struct VixDiskLibHandleStruct *next;
} Handle;

/* Makes a handle known. */
void handle_add(Handle *handle);

/* Checks that the library runs and that a handle is one and is open; each success is followed by handle_leave. */
VixError handle_enter(VixDiskLibHandle handle, const char *call);
void handle_leave(VixDiskLibHandle handle);

/* Marks a handle closed; VIX_E_FAIL while calls are inside. Success is followed by handle_release and handle_leave. */
VixError handle_close(VixDiskLibHandle handle);
void handle_release(Handle *handle);

/* How many handles of connections to servers are open. */
unsigned handle_remote_count(void);

/* Waits for calls that are inside, closes what is open, and forgets all handles. @returns how many were open */
unsigned handle_stop(void);

#endif
