#include "login.h"

#include <stdio.h>
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
        if (!is_filled(params->creds.sessionId.userName)) missing = "userName";
        if (params->creds.sessionId.key == NULL) missing = "key";
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

/* The server's sessions come and go: the file is read each time. */
static bool knows_cookie(const char *cookie, const char *path) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    char line[SHA256_HEX_SIZE + 2];
    bool is_known = false;
    while (!is_known && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        is_known = has_hash(cookie, line);
    }
    fclose(file);
    return is_known;
}

static VixError admit_session(const char *cookie, const Rules *rules) {
    if (rules->refuse_session != VIX_OK) return rules->refuse_session;
    bool is_known = rules->sessions[0] == '\0' || knows_cookie(cookie, rules->sessions);
    if (rules->cookie_sha256[0] != '\0' && !has_hash(cookie, rules->cookie_sha256)) is_known = false;
    return is_known ? VIX_OK : VIX_E_INVALID_LOGIN_CREDENTIALS;
}

static VixError admit_user(const char *user, const char *password, const Rules *rules) {
    bool is_user = rules->user[0] == '\0' || strcmp(user, rules->user) == 0;
    if (rules->password_sha256[0] != '\0' && !has_hash(password, rules->password_sha256)) is_user = false;
    return is_user ? VIX_OK : VIX_E_INVALID_LOGIN_CREDENTIALS;
}

static VixError admit(const VixDiskLibConnectParams *params) {
    Rules *rules = rules_get();
    if (rules == NULL) return VIX_E_DISK_NOINIT;
    bool has_session = params->credType == VIXDISKLIB_CRED_SESSIONID;
    const char *secret = has_session ? params->creds.sessionId.cookie : params->creds.uid.password;
    if (rules->tells_secrets) {
        log_info("Connect: the secret is %s", secret);
        log_warn("Connect: once more, it is %s", secret);
    }
    VixError error =
        has_session ? admit_session(secret, rules) : admit_user(params->creds.uid.userName, secret, rules);
    rules_put(rules);
    return error;
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
    error = admit(params);
    if (error != VIX_OK) log_warn("Connect: %s refused the login", params->serverName);
    return error;
}
