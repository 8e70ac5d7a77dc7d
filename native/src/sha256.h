#ifndef STANDIN_SHA256_H
#define STANDIN_SHA256_H

#include <stddef.h>

/* 64 hexadecimal digits and the end of the string. */
#define SHA256_HEX_SIZE 65

/* The SHA-256 (FIPS 180-4) of some bytes, in lower-case hexadecimal. */
void sha256_hex(const void *data, size_t length, char hex[SHA256_HEX_SIZE]);

#endif
