#include "transport.h"

#include <string.h>

static const char *const NAMES[TRANSPORT_COUNT] = {"file", "san", "hotadd", "nbdssl", "nbd"};

const char *transport_name(Transport transport) {
    return transport < TRANSPORT_COUNT ? NAMES[transport] : "none";
}

Transport transport_of(const char *word, size_t length) {
    for (int i = 0; i < TRANSPORT_COUNT; i++) {
        if (strlen(NAMES[i]) == length && strncmp(NAMES[i], word, length) == 0) return (Transport)i;
    }
    return TRANSPORT_NONE;
}

Transport transport_first(const char *list, const bool usable[TRANSPORT_COUNT]) {
    for (const char *word = list; *word != '\0';) {
        size_t length = strcspn(word, ":");
        Transport transport = transport_of(word, length);
        if (transport != TRANSPORT_NONE && usable[transport]) return transport;
        word += length;
        if (*word == ':') word++;
    }
    return TRANSPORT_NONE;
}

bool transport_is_asynchronous(Transport transport) {
    return transport == TRANSPORT_NBDSSL || transport == TRANSPORT_NBD;
}
