#include "params.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

/* vmxSpec, server, thumbprint, API version and three of the credentials. */
#define STRINGS_MAX 7

/* Parameters that the library gave out, by AllocateConnectParams or GetConnectParams. */
typedef struct Given {
    VixDiskLibConnectParams *params;
    bool owns_strings;
    struct Given *next;
} Given;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Given *given;

/* The strings of a set of parameters; which ones there are depends on the credentials. */
static unsigned strings_of(VixDiskLibConnectParams *params, char **into[STRINGS_MAX]) {
    unsigned count = 0;
    into[count++] = &params->vmxSpec;
    into[count++] = &params->serverName;
    into[count++] = &params->thumbPrint;
    into[count++] = &params->vimApiVer;
    if (params->credType == VIXDISKLIB_CRED_UID) {
        into[count++] = &params->creds.uid.userName;
        into[count++] = &params->creds.uid.password;
    } else if (params->credType == VIXDISKLIB_CRED_SESSIONID) {
        into[count++] = &params->creds.sessionId.cookie;
        into[count++] = &params->creds.sessionId.userName;
        into[count++] = &params->creds.sessionId.key;
    }
    return count;
}

static void free_strings(VixDiskLibConnectParams *params) {
    char **strings[STRINGS_MAX];
    unsigned count = strings_of(params, strings);
    for (unsigned i = 0; i < count; i++) {
        if (*strings[i] != NULL) explicit_bzero(*strings[i], strlen(*strings[i]));
        free(*strings[i]);
    }
}

VixDiskLibConnectParams *params_copy(const VixDiskLibConnectParams *params) {
    VixDiskLibConnectParams *copy = malloc(sizeof *copy);
    if (copy == NULL) return NULL;
    *copy = *params;
    char **strings[STRINGS_MAX];
    unsigned count = strings_of(copy, strings);
    bool is_whole = true;
    for (unsigned i = 0; i < count; i++) {
        if (*strings[i] == NULL) continue;
        *strings[i] = strdup(*strings[i]);
        is_whole = is_whole && *strings[i] != NULL;
    }
    if (is_whole) return copy;
    params_free_copy(copy);
    return NULL;
}

void params_free_copy(VixDiskLibConnectParams *copy) {
    free_strings(copy);
    free(copy);
}

static bool remember(VixDiskLibConnectParams *params, bool owns_strings) {
    Given *entry = malloc(sizeof *entry);
    if (entry == NULL) return false;
    pthread_mutex_lock(&lock);
    *entry = (Given){.params = params, .owns_strings = owns_strings, .next = given};
    given = entry;
    pthread_mutex_unlock(&lock);
    return true;
}

static void forget(Given *entry) {
    if (entry->owns_strings) free_strings(entry->params);
    free(entry->params);
    free(entry);
}

#if VIXDISKLIB_API >= 67
VixDiskLibConnectParams *VixDiskLib_AllocateConnectParams(void) {
    VixDiskLibConnectParams *params = calloc(1, sizeof *params);
    if (params != NULL && remember(params, false)) return params;
    free(params);
    return NULL;
}
#endif

void VixDiskLib_FreeConnectParams(VixDiskLibConnectParams *params) {
    if (params == NULL) return;
    pthread_mutex_lock(&lock);
    Given **at = &given;
    while (*at != NULL && (*at)->params != params) at = &(*at)->next;
    Given *found = *at;
    if (found != NULL) *at = found->next;
    pthread_mutex_unlock(&lock);
    if (found == NULL) {
        log_warn("PARAMS RULE: FreeConnectParams of something that the library did not allocate, or freed before");
        return;
    }
    forget(found);
}

VixDiskLibConnectParams *params_give_copy(const VixDiskLibConnectParams *params) {
    VixDiskLibConnectParams *copy = params_copy(params);
    if (copy == NULL || remember(copy, true)) return copy;
    params_free_copy(copy);
    return NULL;
}

static bool is_given(const VixDiskLibConnectParams *params) {
    pthread_mutex_lock(&lock);
    const Given *entry = given;
    while (entry != NULL && entry->params != params) entry = entry->next;
    pthread_mutex_unlock(&lock);
    return entry != NULL;
}

VixError params_check(const VixDiskLibConnectParams *params) {
    if (params == NULL) return VIX_E_INVALID_ARG;
    if (VIXDISKLIB_API < 67 || is_given(params)) return VIX_OK;
    log_warn("PARAMS RULE: the parameters do not come from AllocateConnectParams, or were freed");
    return VIX_E_INVALID_ARG;
}

bool params_are_unchanged(const VixDiskLibConnectParams *params, const VixDiskLibConnectParams *copy) {
    if (VIXDISKLIB_API >= 67 && !is_given(params)) return false;
    VixDiskLibConnectParams now = *params, then = *copy;
    if (now.credType != then.credType) return false;
    char **strings[STRINGS_MAX], **before[STRINGS_MAX];
    unsigned count = strings_of(&now, strings);
    strings_of(&then, before);
    for (unsigned i = 0; i < count; i++) {
        const char *a = *strings[i], *b = *before[i];
        if ((a == NULL) != (b == NULL) || (a != NULL && strncmp(a, b, strlen(b) + 1) != 0)) return false;
    }
    return true;
}
