#ifndef STANDIN_PARAMS_H
#define STANDIN_PARAMS_H

#include <stdbool.h>

#include "vixDiskLib.h"

/*
 * Whether connection parameters can be used: since 6.7 they must come from AllocateConnectParams, because the library
 * uses fields that an older header does not have. VIX_E_INVALID_ARG and a log line otherwise.
 */
VixError params_check(const VixDiskLibConnectParams *params);

/* A copy with strings of its own, or NULL when memory is short. */
VixDiskLibConnectParams *params_copy(const VixDiskLibConnectParams *params);
void params_free_copy(VixDiskLibConnectParams *copy);

/* The same for callers, who free it with FreeConnectParams. */
VixDiskLibConnectParams *params_give_copy(const VixDiskLibConnectParams *params);

/* Whether the parameters still say what they said when the copy was made: they must stay alive until Disconnect. */
bool params_are_unchanged(const VixDiskLibConnectParams *params, const VixDiskLibConnectParams *copy);

#endif
