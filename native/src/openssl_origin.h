#ifndef STANDIN_OPENSSL_ORIGIN_H
#define STANDIN_OPENSSL_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The real library brings an OpenSSL of its own. A program that exports another one, as node does, takes its place when
 * the library is loaded plainly: symbols are looked up in the program first. The real library then ends the process.
 */

/* What the bundled OpenSSL's start function answers; a real OpenSSL answers 1. */
#define OPENSSL_ORIGIN_BUNDLED 0x5644444b

/*
 * Whether the OpenSSL that the calling file is bound to lies in the same folder as that file and is the bundled one.
 * If not, `found` holds the file that it was bound to.
 */
bool openssl_is_bundled(char *found, size_t found_size);

#endif
