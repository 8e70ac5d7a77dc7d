#include <string.h>

#include "init.h"
#include "log.h"
#include "login.h"
#include "params.h"
#include "stats.h"
#include "vixDiskLib.h"

/* The interface's own limit for the name of who keeps a VM from moving. */
#define IDENTITY_CHARS_MAX 50

static VixError check(const VixDiskLibConnectParams *params, const char *identity) {
    VixError error = init_check();
    if (error == VIX_OK) error = params_check(params);
    if (error != VIX_OK) return error;
    size_t length = identity == NULL ? 0 : strlen(identity);
    if (length == 0 || length > IDENTITY_CHARS_MAX) {
        log_warn("Access: the identity has %zu characters, not 1 to %d", length, IDENTITY_CHARS_MAX);
        return VIX_E_INVALID_ARG;
    }
    return login_is_remote(params) ? login_check(params) : VIX_E_NOT_SUPPORTED;
}

VixError VixDiskLib_PrepareForAccess(const VixDiskLibConnectParams *params, const char *identity) {
    VixError error = check(params, identity);
    if (error != VIX_OK) return error;
    log_info("Access: %s stays where it is for %s", params->vmxSpec, identity);
    stats_event("prepare %s", identity);
    return VIX_OK;
}

/* Also succeeds when this process prepared nothing: it is how a crashed one is cleaned up after. */
VixError VixDiskLib_EndAccess(const VixDiskLibConnectParams *params, const char *identity) {
    VixError error = check(params, identity);
    if (error != VIX_OK) return error;
    log_info("Access: %s may move again as far as %s is concerned", params->vmxSpec, identity);
    stats_event("end %s", identity);
    return VIX_OK;
}

/* The stand-in attaches no disk to a proxy and mounts none: a crash leaves nothing to remove. */
VixError VixDiskLib_Cleanup(const VixDiskLibConnectParams *params, uint32 *numCleanedUp, uint32 *numRemaining) {
    if (numCleanedUp == NULL || numRemaining == NULL) return VIX_E_INVALID_ARG;
    *numCleanedUp = *numRemaining = 0;
    VixError error = init_check();
    return error == VIX_OK ? params_check(params) : error;
}
