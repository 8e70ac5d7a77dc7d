#ifndef STANDIN_LOG_H
#define STANDIN_LOG_H

#include "vixDiskLib.h"

/* Messages go to the functions that InitEx was given, as a format and a va_list; to nowhere when it was given none. */
void log_to(VixDiskLibGenericLogFunc *info, VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic);

void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Calls the panic function and aborts: nothing that it does can keep the process alive. */
_Noreturn void log_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
