#ifndef STANDIN_TEST_HARNESS_H
#define STANDIN_TEST_HARNESS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "vixDiskLib.h"

#define OLD_FUNCTIONS(X)                                                                                              \
    X(InitEx) X(Init) X(Exit) X(ListTransportModes) X(Cleanup) X(GetErrorText) X(FreeErrorText)                        \
    X(FreeConnectParams) X(GetConnectParams) X(Connect) X(ConnectEx) X(Disconnect) X(PrepareForAccess) X(EndAccess)    \
    X(Open) X(Close) X(GetInfo) X(FreeInfo) X(GetTransportMode) X(Read) X(Write) X(ReadAsync) X(WriteAsync) X(Flush)   \
    X(Wait) X(GetMetadataKeys) X(ReadMetadata) X(WriteMetadata) X(CheckRepair) X(Create) X(Grow) X(Rename)
#if VIXDISKLIB_API >= 67
#define FUNCTIONS(X) OLD_FUNCTIONS(X) X(AllocateConnectParams) X(QueryAllocatedBlocks) X(FreeBlockList)
#else
#define FUNCTIONS(X) OLD_FUNCTIONS(X)
#endif

/* The library as a program finds it: by dlopen and dlsym. */
#define MEMBER(name) __typeof__(VixDiskLib_##name) *name;
typedef struct {
    FUNCTIONS(MEMBER)
} Library;
#undef MEMBER

extern Library vix;

/* Ends the program when something is not as it must be. */
#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) harness_fail(__FILE__, __LINE__, #condition);                                               \
    } while (0)
/* Both sides are error codes. */
#define CHECK_ERROR(expected, call) harness_check_error(expected, call, __FILE__, __LINE__, #call)

_Noreturn void harness_fail(const char *file, int line, const char *what);
void harness_check_error(VixError expected, VixError got, const char *file, int line, const char *what);

/* Loads LIBDIR/lib64/libvixDiskLib.so.N. The flags are those of dlopen. */
void harness_load(const char *library_folder, int flags);

/* A folder for this process, removed when it ends well; datastores are folders below it. */
const char *harness_folder(void);

/* Replaces the rule file: `datastores` and `stats` of the harness's folder, and these lines. */
void harness_rules(const char *lines);

/* InitEx with log functions that collect what is logged. */
VixError harness_init_ex(uint32 major, const char *library_folder);
void harness_init(const char *library_folder);

/* How many messages with this text have been logged so far. */
unsigned harness_logged(const char *text);

/* How many lines of the stats file begin so. */
unsigned harness_counted(const char *start);

/* The hash of the password in these parameters. */
#define SAMPLE_PASSWORD_SHA256 "6556e59b7e927cefda7b33da179faa0761cd88173fef6849af24076e0fd79461"

/* Parameters for vm-42 of the server, as user with password. */
VixDiskLibConnectParams *harness_params(void);

/* Connects with these parameters and by snapshot-33, or fails the test. */
VixDiskLibConnection harness_connect(const VixDiskLibConnectParams *params, const char *transports);
VixDiskLibHandle harness_open(VixDiskLibConnection connection, const char *path, uint32 flags);

#endif
