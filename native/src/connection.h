#ifndef STANDIN_CONNECTION_H
#define STANDIN_CONNECTION_H

#include <stdbool.h>

#include "vixDiskLib.h"

/* What ConnectEx makes. It stays known after Disconnect, so that using it then is an error and no crash. */
typedef struct VixDiskLibConnectionStruct {
    uint64 id;
    bool is_open;
    bool is_remote;
    bool is_read_only;
    unsigned handles;
    /* The caller's, which must stay as they are until Disconnect, and our copy of them. */
    const VixDiskLibConnectParams *params;
    VixDiskLibConnectParams *copy;
    /* NULL = none. */
    char *snapshot;
    char *transports;
    struct VixDiskLibConnectionStruct *next;
} Connection;

/* Checks that a connection is one and is open, and counts a handle in. */
VixError connection_enter(VixDiskLibConnection connection);
void connection_leave(VixDiskLibConnection connection);

/* Ends what is open, and forgets all connections. @returns how many were open */
unsigned connection_stop(void);

#endif
