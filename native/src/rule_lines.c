#include "rule_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Async requests of one handle that are served at once, as NFC does by default. */
#define PARALLEL_DEFAULT 4
#define PARALLEL_MAX 64
/* An hour, and more than any test waits. */
#define MICROSECONDS_MAX 3600000000u

static bool take_text(char *into, size_t size, const char *value) {
    if (strlen(value) >= size) return false;
    strcpy(into, value);
    return true;
}

/* Decimal or 0x…; nothing may follow. */
static bool take_number(uint64 *into, const char *value, uint64 max) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 0);
    if (end == value || *end != '\0' || errno != 0 || *value == '-' || number > max) return false;
    *into = number;
    return true;
}

static bool take_unsigned(unsigned *into, const char *value, unsigned min, unsigned max) {
    uint64 number;
    if (!take_number(&number, value, max) || number < min) return false;
    *into = (unsigned)number;
    return true;
}

/* CODE@N */
static bool take_fault(Faults *faults, char *value) {
    char *at = strchr(value, '@');
    if (at == NULL || faults->count == RULES_FAULTS_MAX) return false;
    *at = '\0';
    Fault fault;
    if (!take_number(&fault.code, value, UINT64_MAX) || fault.code == VIX_OK) return false;
    if (!take_number(&fault.at, at + 1, UINT64_MAX) || fault.at == 0) return false;
    faults->fault[faults->count++] = fault;
    return true;
}

static bool take_modes(Rules *rules, const char *value) {
    memset(rules->available, 0, sizeof rules->available);
    for (const char *word = value; *word != '\0';) {
        size_t length = strcspn(word, ":");
        Transport transport = transport_of(word, length);
        if (transport == TRANSPORT_NONE) return false;
        rules->available[transport] = true;
        word += length;
        if (*word == ':') word++;
    }
    return true;
}

static bool take_refusal(Rules *rules, const char *mode, const char *value) {
    Transport transport = transport_of(mode, strlen(mode));
    return transport != TRANSPORT_NONE && take_number(&rules->refuse[transport], value, UINT64_MAX);
}

static bool take_line(Rules *rules, const char *key, char *value) {
#define IS(name) (strcmp(key, name) == 0)
    if (IS("datastores")) return *value == '/' && take_text(rules->datastores, sizeof rules->datastores, value);
    if (IS("stats")) return *value == '/' && take_text(rules->stats, sizeof rules->stats, value);
    if (IS("thumbprint")) return take_text(rules->thumbprint, sizeof rules->thumbprint, value);
    if (IS("user")) return take_text(rules->user, sizeof rules->user, value);
    if (IS("password_sha256")) return take_text(rules->password_sha256, sizeof rules->password_sha256, value);
    if (IS("cookie_sha256")) return take_text(rules->cookie_sha256, sizeof rules->cookie_sha256, value);
    if (IS("sessions")) return *value == '/' && take_text(rules->sessions, sizeof rules->sessions, value);
    if (IS("refuse_session")) return take_number(&rules->refuse_session, value, UINT64_MAX);
    if (IS("secrets")) return rules->tells_secrets = strcmp(value, "logged") == 0;
    if (IS("running")) return take_text(rules->running, sizeof rules->running, value);
    if (IS("snapshots")) {
        rules->has_snapshots = true;
        return take_text(rules->snapshots, sizeof rules->snapshots, value);
    }
    if (IS("modes")) return take_modes(rules, value);
    if (strncmp(key, "refuse_", 7) == 0) return take_refusal(rules, key + 7, value);
    if (IS("fallback")) return rules->falls_back_to_nbdssl = strcmp(value, "nbdssl") == 0;
    if (IS("threads")) {
        rules->any_thread = strcmp(value, "any") == 0;
        return rules->any_thread || strcmp(value, "one") == 0;
    }
    if (IS("hang")) {
        rules->hangs_init = strcmp(value, "init") == 0;
        rules->hangs_open = strcmp(value, "open") == 0;
        return rules->hangs_init || rules->hangs_open;
    }
    if (IS("left_cleaned")) return take_unsigned(&rules->left_cleaned, value, 0, UINT_MAX);
    if (IS("left_remaining")) return take_unsigned(&rules->left_remaining, value, 0, UINT_MAX);
    if (IS("library_path")) return rules->needs_library_path = strcmp(value, "required") == 0;
    if (IS("latency_us")) return take_unsigned(&rules->latency_us, value, 0, MICROSECONDS_MAX);
    if (IS("parallel")) return take_unsigned(&rules->parallel, value, 1, PARALLEL_MAX);
    if (IS("connections")) return take_unsigned(&rules->connections, value, 1, UINT_MAX);
    if (IS("session_expired_after")) return take_number(&rules->session_expired_after, value, UINT64_MAX);
    if (IS("panic_read")) return take_number(&rules->panic_read, value, UINT64_MAX);
    if (IS("panic_write")) return take_number(&rules->panic_write, value, UINT64_MAX);
    if (IS("log_thread_ms")) return take_unsigned(&rules->log_thread_ms, value, 1, UINT_MAX / 1000);
    if (IS("fail_read")) return take_fault(&rules->fail_read, value);
    if (IS("fail_write")) return take_fault(&rules->fail_write, value);
    if (IS("fail_flush")) return take_fault(&rules->fail_flush, value);
    if (IS("fail_open")) return take_fault(&rules->fail_open, value);
    if (IS("fail_query")) return take_fault(&rules->fail_query, value);
#undef IS
    return false;
}

Rules *rule_lines_read(FILE *file, char *why, size_t why_size) {
    Rules *rules = calloc(1, sizeof *rules);
    char *line = malloc(RULES_TEXT_SIZE);
    if (rules == NULL || line == NULL) {
        snprintf(why, why_size, "out of memory");
        free(rules);
        free(line);
        return NULL;
    }
    rules->parallel = PARALLEL_DEFAULT;
    rules->available[TRANSPORT_NBDSSL] = rules->available[TRANSPORT_NBD] = true;
    unsigned number = 0;
    bool is_good = true;
    while (is_good && fgets(line, RULES_TEXT_SIZE, file) != NULL) {
        number++;
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0' || line[0] == '#') continue;
        char *equals = strchr(line, '=');
        if (equals != NULL) *equals = '\0';
        is_good = equals != NULL && take_line(rules, line, equals + 1);
        if (!is_good) snprintf(why, why_size, "line %u (%.40s) is not understood", number, line);
    }
    free(line);
    if (is_good) return rules;
    free(rules);
    return NULL;
}
