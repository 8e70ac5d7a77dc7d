#include <string.h>

#include "init.h"
#include "log.h"
#include "login.h"
#include "params.h"
#include "rules.h"
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

/* The stand-in attaches no disk to a proxy: what a crash left is what the rules say. */
VixError VixDiskLib_Cleanup(const VixDiskLibConnectParams *params, uint32 *numCleanedUp, uint32 *numRemaining) {
    if (numCleanedUp == NULL || numRemaining == NULL) return VIX_E_INVALID_ARG;
    *numCleanedUp = *numRemaining = 0;
    VixError error = init_check();
    if (error == VIX_OK) error = params_check(params);
    if (error != VIX_OK) return error;
    if (params->vmxSpec != NULL) {
        log_warn("PARAMS RULE: Cleanup is for all VMs, and vmxSpec names %s", params->vmxSpec);
        return VIX_E_INVALID_ARG;
    }
    Rules *rules = rules_get();
    if (rules == NULL) return VIX_E_DISK_NOINIT;
    *numCleanedUp = rules->left_cleaned;
    *numRemaining = rules->left_remaining;
    rules_put(rules);
    stats_event("cleanup");
    return VIX_OK;
}
