#include "log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

typedef VixDiskLibGenericLogFunc *LogFunction;

static _Atomic(LogFunction) on_info;
static _Atomic(LogFunction) on_warn;
static _Atomic(LogFunction) on_panic;

void log_to(LogFunction info, LogFunction warn, LogFunction panic) {
    atomic_store(&on_info, info);
    atomic_store(&on_warn, warn);
    atomic_store(&on_panic, panic);
}

void log_info(const char *format, ...) {
    LogFunction function = atomic_load(&on_info);
    if (function == NULL) return;
    va_list arguments;
    va_start(arguments, format);
    function(format, arguments);
    va_end(arguments);
}

void log_warn(const char *format, ...) {
    LogFunction function = atomic_load(&on_warn);
    if (function == NULL) return;
    va_list arguments;
    va_start(arguments, format);
    function(format, arguments);
    va_end(arguments);
}

void log_panic(const char *format, ...) {
    LogFunction function = atomic_load(&on_panic);
    va_list arguments;
    va_start(arguments, format);
    if (function != NULL) {
        function(format, arguments);
    } else {
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
    }
    va_end(arguments);
    abort();
}
