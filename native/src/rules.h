#ifndef STANDIN_RULES_H
#define STANDIN_RULES_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "sha256.h"
#include "transport.h"
#include "vixDiskLib.h"

/* What one line of a rule file may hold as fault: the Nth call from now fails with a code. */
#define RULES_FAULTS_MAX 16
/* A list of references is one line of a text that people write. */
#define RULES_TEXT_SIZE 4096

typedef struct {
    VixError code;
    uint64 at;
} Fault;

typedef struct {
    Fault fault[RULES_FAULTS_MAX];
    unsigned count;
} Faults;

/*
 * How the server and the host of the tests behave: the file named by VIXDISKLIB_STANDIN_RULES, one `key=value` per
 * line. README.md lists the keys. Each reading of the file makes a new value, so "from now" counts from there.
 */
typedef struct {
    char datastores[PATH_MAX];
    char stats[PATH_MAX];
    char thumbprint[128];
    char user[256];
    char password_sha256[SHA256_HEX_SIZE];
    char cookie_sha256[SHA256_HEX_SIZE];
    /* The SHA-256 of each cookie that the server knows now, one a line. */
    char sessions[PATH_MAX];
    VixError refuse_session;
    bool tells_secrets;
    char running[RULES_TEXT_SIZE];
    char snapshots[RULES_TEXT_SIZE];
    bool has_snapshots;
    bool available[TRANSPORT_COUNT];
    VixError refuse[TRANSPORT_COUNT];
    bool falls_back_to_nbdssl;
    bool any_thread;
    bool needs_library_path;
    /* Calls that never return. */
    bool hangs_init;
    bool hangs_open;
    /* What Cleanup finds. */
    unsigned left_cleaned;
    unsigned left_remaining;
    unsigned latency_us;
    unsigned parallel;
    /* 0 = no limit. */
    unsigned connections;
    /* 0 = off, for this and the three below. */
    uint64 session_expired_after;
    uint64 panic_read;
    uint64 panic_write;
    unsigned log_thread_ms;
    Faults fail_read;
    Faults fail_write;
    Faults fail_flush;
    Faults fail_open;
    Faults fail_query;
    /* Tells one reading of the file from another. */
    uint64 generation;
    /* Calls since the file was read. */
    atomic_ullong reads;
    atomic_ullong writes;
    atomic_ullong flushes;
    atomic_ullong opens;
    atomic_ullong queries;
    unsigned references;
} Rules;

/* Reads the file for the first time. A missing or wrong file is VIX_E_FAIL and a log line. */
VixError rules_start(void);
void rules_stop(void);

/* The rules as they are now: the file is read again when it has changed. Give them back with rules_put. */
Rules *rules_get(void);
void rules_put(Rules *rules);

/* The code of the fault for the Nth call, or VIX_OK. */
VixError rules_fault(const Faults *faults, uint64 call);

/* Where the real library waits for somebody who never answers. */
_Noreturn void rules_hang(void);

/* Whether a list such as `vm-42,vm-43` holds a word. */
bool rules_list_holds(const char *list, const char *word);

#endif
