#ifndef STANDIN_INIT_H
#define STANDIN_INIT_H

#include <stdbool.h>

#include "vixDiskLib.h"

/*
 * VIX_OK between InitEx and Exit, else VIX_E_DISK_NOINIT. In a child that forked after InitEx, where the library's
 * threads do not exist, VIX_E_FAIL and a log line.
 */
VixError init_check(void);

/* Whether the caller is the thread that called InitEx: the one that may open and close disks. */
bool init_is_designated_thread(void);

/* Whether the library was started without the plug-in: then it has only the transports `file` and `nbd`. */
bool init_is_basic(void);

#endif
