#ifndef STANDIN_TRANSPORT_H
#define STANDIN_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    TRANSPORT_FILE,
    TRANSPORT_SAN,
    TRANSPORT_HOTADD,
    TRANSPORT_NBDSSL,
    TRANSPORT_NBD,
    TRANSPORT_COUNT,
    TRANSPORT_NONE = TRANSPORT_COUNT
} Transport;

/* The list that the library uses when it is given none. */
#define TRANSPORTS_ALL "file:san:hotadd:nbdssl:nbd"

/* The word of a transport: a static string. */
const char *transport_name(Transport transport);

/* TRANSPORT_NONE for a word that is no transport; the word ends after `length` characters. */
Transport transport_of(const char *word, size_t length);

/* The first transport of a `:`-separated list for which usable[] is true, or TRANSPORT_NONE. */
Transport transport_first(const char *list, const bool usable[TRANSPORT_COUNT]);

/*
 * Whether requests are served by threads of their own. In the other transports ReadAsync does the work and calls its
 * callback before it returns, as VDDK does with local files, SAN and HotAdd.
 */
bool transport_is_asynchronous(Transport transport);

#endif
