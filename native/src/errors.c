#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vixDiskLib.h"

/* Bits 0-15 of an error. */
#define CODE_MASK 0xffff

static const struct {
    unsigned code;
    const char *text;
} TEXTS[] = {
    {VIX_OK, "No error"},
    {VIX_E_FAIL, "Unknown error"},
    {VIX_E_OUT_OF_MEMORY, "There is not enough memory"},
    {VIX_E_INVALID_ARG, "A parameter is not valid"},
    {VIX_E_FILE_NOT_FOUND, "A file does not exist"},
    {VIX_E_OBJECT_IS_BUSY, "The object is in use"},
    {VIX_E_NOT_SUPPORTED, "The operation is not supported"},
    {VIX_E_FILE_ERROR, "A file could not be read or written"},
    {VIX_E_DISK_FULL, "The file system is full"},
    {VIX_E_INCORRECT_FILE_TYPE, "The file has another type"},
    {VIX_E_FILE_READ_ONLY, "The file is read-only"},
    {VIX_E_FILE_ACCESS_ERROR, "Access to the file is refused"},
    {VIX_E_FILE_ALREADY_LOCKED, "The file is locked"},
    {VIX_E_FILE_NAME_INVALID, "The name of the file is not valid"},
    {VIX_E_BUFFER_TOOSMALL, "The buffer is too small"},
    {VIX_E_AUTHENTICATION_FAIL, "The session is not authenticated"},
    {VIX_E_HOST_CONNECTION_LOST, "The connection to the host was lost"},
    {VIX_E_INVALID_LOGIN_CREDENTIALS, "The user name or the password is wrong"},
    {VIX_E_VM_NOT_FOUND, "The virtual machine does not exist"},
    {VIX_E_SNAPSHOT_NOTFOUND, "The snapshot does not exist"},
    {VIX_E_HOST_NETWORK_CONN_REFUSED, "The host refused the connection"},
    {VIX_E_HOST_TCP_CONN_LOST, "The TCP connection to the host was lost"},
    {VIX_E_DISK_INVAL, "A parameter of a disk call is not valid"},
    {VIX_E_DISK_NOINIT, "The disk library is not initialised"},
    {VIX_E_DISK_PARTIALCHAIN, "A link of the disk's chain is missing"},
    {VIX_E_DISK_OUTOFRANGE, "The request goes beyond the end of the disk"},
    {VIX_E_DISK_CID_MISMATCH, "A parent was changed after its child was made"},
    {VIX_E_DISK_NOTSUPPORTED, "The disk has a layout that is not supported"},
    {VIX_E_DISK_INVALIDCHAIN, "The disk's chain is not valid"},
    {VIX_E_DISK_KEY_NOTFOUND, "The disk database has no such key"},
    {VIX_E_DISK_SUBSYSTEM_INIT_FAIL, "A part of the disk library could not be started"},
    {VIX_E_DISK_INVALID_CONNECTION, "The connection is not valid"},
    {VIX_E_DISK_INVALIDDISK, "The file is no disk or is damaged"},
    {VIX_E_CANNOT_CONNECT_TO_HOST, "The host cannot be reached"},
    {VIX_ASYNC, "The request is queued"},
    {VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED, "A handle takes either blocking or queued requests"},
};

static const char *text_of(unsigned code) {
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        if (TEXTS[i].code == code) return TEXTS[i].text;
    }
    return "An error without a text";
}

/* English only, as the real one: the locale must be NULL. */
char *VixDiskLib_GetErrorText(VixError error, const char *locale) {
    if (locale != NULL) return NULL;
    char *text = NULL;
    const char *words = text_of((unsigned)(error & CODE_MASK));
    int length = error <= CODE_MASK ? asprintf(&text, "%s", words)
                                    : asprintf(&text, "%s [code 0x%" PRIx64 "]", words, error);
    return length < 0 ? NULL : text;
}

void VixDiskLib_FreeErrorText(char *text) {
    free(text);
}
