/*
 * Stands for the OpenSSL that is bundled with the real library. It does nothing but tell who it is.
 */
#include <stdint.h>

#include "openssl_origin.h"

__attribute__((visibility("default"))) int OPENSSL_init_ssl(uint64_t options, const void *settings);

int OPENSSL_init_ssl(__attribute__((unused)) uint64_t options, __attribute__((unused)) const void *settings) {
    return OPENSSL_ORIGIN_BUNDLED;
}
