#include "stats.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "rules.h"

/* A path and a few words. */
#define LINE_SIZE (PATH_MAX + 256)

void stats_event(const char *format, ...) {
    Rules *rules = rules_get();
    if (rules == NULL) return;
    char path[PATH_MAX];
    memcpy(path, rules->stats, sizeof path);
    rules_put(rules);
    if (path[0] == '\0') return;

    char line[LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    size_t size = (size_t)length < sizeof line - 1 ? (size_t)length : sizeof line - 2;
    line[size++] = '\n';
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    /* One write, so that lines of several processes do not mix. */
    if (file < 0 || write(file, line, size) != (ssize_t)size) log_warn("Stand-in: cannot write to %s", path);
    if (file >= 0) close(file);
}
