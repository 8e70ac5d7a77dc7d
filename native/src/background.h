#ifndef STANDIN_BACKGROUND_H
#define STANDIN_BACKGROUND_H

#include "vixDiskLib.h"

/*
 * Starts the library's own thread and waits until it has logged its first line, as VDDK waits for its threads in
 * InitEx: a log function that needs the waiting thread would hang.
 */
VixError background_start(void);

/* Has the thread log a last line and waits for its end. */
void background_stop(void);

#endif
