#include "login.h"

#include <string.h>
#include <strings.h>

#include "log.h"
#include "rules.h"
#include "sha256.h"

bool login_is_remote(const VixDiskLibConnectParams *params) {
    return params->vmxSpec != NULL || params->serverName != NULL;
}

const char *login_vm(const VixDiskLibConnectParams *params) {
    bool has = params->vmxSpec != NULL && strncmp(params->vmxSpec, "moref=", 6) == 0;
    return has && params->vmxSpec[6] != '\0' ? params->vmxSpec + 6 : NULL;
}

static bool is_filled(const char *text) {
    return text != NULL && text[0] != '\0';
}

/* Where the real library would follow a NULL pointer. */
static VixError check_complete(const VixDiskLibConnectParams *params) {
    const char *missing = NULL;
    if (!is_filled(params->vmxSpec)) missing = "vmxSpec";
    if (!is_filled(params->serverName)) missing = "serverName";
    if (params->credType == VIXDISKLIB_CRED_UID) {
        if (!is_filled(params->creds.uid.userName)) missing = "userName";
        if (params->creds.uid.password == NULL) missing = "password";
    } else if (params->credType == VIXDISKLIB_CRED_SESSIONID) {
        if (!is_filled(params->creds.sessionId.cookie)) missing = "cookie";
    } else {
        log_warn("Connect: credentials of type %d cannot be used", (int)params->credType);
        return VIX_E_NOT_SUPPORTED;
    }
    if (missing == NULL) return VIX_OK;
    log_warn("Connect: %s is missing", missing);
    return VIX_E_INVALID_ARG;
}

static bool has_hash(const char *secret, const char *expected) {
    char hex[SHA256_HEX_SIZE];
    sha256_hex(secret, strlen(secret), hex);
    return strcasecmp(hex, expected) == 0;
}

static bool is_let_in(const VixDiskLibConnectParams *params, const Rules *rules) {
    if (params->credType == VIXDISKLIB_CRED_SESSIONID)
        return rules->cookie_sha256[0] == '\0' || has_hash(params->creds.sessionId.cookie, rules->cookie_sha256);
    if (rules->user[0] != '\0' && strcmp(params->creds.uid.userName, rules->user) != 0) return false;
    return rules->password_sha256[0] == '\0' || has_hash(params->creds.uid.password, rules->password_sha256);
}

VixError login_check(const VixDiskLibConnectParams *params) {
    VixError error = check_complete(params);
    if (error != VIX_OK) return error;
#if VIXDISKLIB_API >= 67
    if (params->specType != VIXDISKLIB_SPEC_VMX) {
        log_warn("Connect: only disks of virtual machines can be opened, not spec type %d", (int)params->specType);
        return VIX_E_NOT_SUPPORTED;
    }
#endif
    if (login_vm(params) == NULL && strstr(params->vmxSpec, "?dcPath=") == NULL) {
        log_warn("Connect: no virtual machine is called %s", params->vmxSpec);
        return VIX_E_VM_NOT_FOUND;
    }
    Rules *rules = rules_get();
    if (rules == NULL) return VIX_E_DISK_NOINIT;
    bool is_in = is_let_in(params, rules);
    rules_put(rules);
    if (is_in) return VIX_OK;
    log_warn("Connect: %s refused the login", params->serverName);
    return VIX_E_INVALID_LOGIN_CREDENTIALS;
}
