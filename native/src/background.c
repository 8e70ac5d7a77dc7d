#include "background.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "log.h"
#include "rules.h"

/* How often the thread looks for the rule log_thread_ms while it is not set. */
#define LOOK_MS 500
/* A log function that has not returned by then never will; waiting on would hang the tests. */
#define FIRST_LINE_SECONDS 20

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_t thread;
static bool has_logged;
static bool must_end;

static struct timespec after(uint64 milliseconds) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    uint64 nanoseconds = (uint64)at.tv_nsec + milliseconds % 1000 * 1000000;
    at.tv_sec += (time_t)(milliseconds / 1000 + nanoseconds / 1000000000);
    at.tv_nsec = (long)(nanoseconds % 1000000000);
    return at;
}

static unsigned interval(void) {
    Rules *rules = rules_get();
    if (rules == NULL) return 0;
    unsigned milliseconds = rules->log_thread_ms;
    rules_put(rules);
    return milliseconds;
}

/* Waits for a time or for the order to end. @returns whether to go on */
static bool pause_for(unsigned milliseconds) {
    struct timespec until = after(milliseconds);
    pthread_mutex_lock(&lock);
    while (!must_end && pthread_cond_timedwait(&changed, &lock, &until) != ETIMEDOUT) continue;
    bool goes_on = !must_end;
    pthread_mutex_unlock(&lock);
    return goes_on;
}

static void *run(__attribute__((unused)) void *argument) {
    log_info("Background: the thread of the library runs\n");
    pthread_mutex_lock(&lock);
    has_logged = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    unsigned every = interval();
    uint64 lines = 0;
    while (pause_for(every == 0 ? LOOK_MS : every)) {
        if (every != 0) log_info("Background: line %llu of every %u ms\n", (unsigned long long)++lines, every);
        every = interval();
    }
    log_info("Background: the thread of the library ends\n");
    return NULL;
}

VixError background_start(void) {
    must_end = has_logged = false;
    if (pthread_create(&thread, NULL, run, NULL) != 0) return VIX_E_OUT_OF_MEMORY;
    struct timespec until = after(FIRST_LINE_SECONDS * 1000);
    bool is_late = false;
    pthread_mutex_lock(&lock);
    while (!has_logged && !is_late) is_late = pthread_cond_timedwait(&changed, &lock, &until) == ETIMEDOUT;
    pthread_mutex_unlock(&lock);
    if (is_late) log_panic("LOG RULE: the log function did not return in another thread during InitEx");
    return VIX_OK;
}

void background_stop(void) {
    pthread_mutex_lock(&lock);
    must_end = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
}
