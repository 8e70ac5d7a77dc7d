#include "rules.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "log.h"
#include "rule_lines.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Rules *current;
static char rules_path[PATH_MAX];
static struct stat seen;
static uint64 generations;

/* Caller holds the lock. */
static void release(Rules *rules) {
    if (rules != NULL && --rules->references == 0) free(rules);
}

static bool is_same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Caller holds the lock. On failure the rules stay as they were. */
static VixError load(char *why, size_t why_size) {
    FILE *file = fopen(rules_path, "re");
    if (file == NULL || fstat(fileno(file), &seen) != 0) {
        snprintf(why, why_size, "%s", strerror(errno));
        if (file != NULL) fclose(file);
        return VIX_E_FAIL;
    }
    Rules *rules = rule_lines_read(file, why, why_size);
    fclose(file);
    if (rules == NULL) return VIX_E_FAIL;
    rules->generation = ++generations;
    rules->references = 1;
    release(current);
    current = rules;
    return VIX_OK;
}

VixError rules_start(void) {
    const char *path = getenv("VIXDISKLIB_STANDIN_RULES");
    if (path == NULL || strlen(path) >= sizeof rules_path) {
        log_warn("Stand-in: VIXDISKLIB_STANDIN_RULES does not name a rule file");
        return VIX_E_FAIL;
    }
    char why[256] = "";
    pthread_mutex_lock(&lock);
    snprintf(rules_path, sizeof rules_path, "%s", path);
    VixError error = load(why, sizeof why);
    pthread_mutex_unlock(&lock);
    if (error != VIX_OK) log_warn("Stand-in: cannot use the rule file %s: %s", path, why);
    return error;
}

void rules_stop(void) {
    pthread_mutex_lock(&lock);
    release(current);
    current = NULL;
    pthread_mutex_unlock(&lock);
}

Rules *rules_get(void) {
    char why[256] = "";
    VixError error = VIX_OK;
    pthread_mutex_lock(&lock);
    struct stat now;
    /* A file that is being replaced may be absent for a moment: what was read last stays valid. */
    if (stat(rules_path, &now) == 0 && !is_same_file(&now, &seen)) error = load(why, sizeof why);
    Rules *rules = current;
    if (rules != NULL) rules->references++;
    pthread_mutex_unlock(&lock);
    if (error != VIX_OK) log_warn("Stand-in: the rule file changed and cannot be used: %s", why);
    return rules;
}

void rules_put(Rules *rules) {
    pthread_mutex_lock(&lock);
    release(rules);
    pthread_mutex_unlock(&lock);
}

VixError rules_fault(const Faults *faults, uint64 call) {
    for (unsigned i = 0; i < faults->count; i++) {
        if (faults->fault[i].at == call) return faults->fault[i].code;
    }
    return VIX_OK;
}

bool rules_list_holds(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *at = list; *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (size == length && strncmp(at, word, length) == 0) return true;
        at += size;
        if (*at == ',') at++;
    }
    return false;
}

void rules_hang(void) {
    for (;;) pause();
}
