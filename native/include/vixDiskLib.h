/*
 * The C interface of VMware's Virtual Disk Development Kit, as far as vmmount and the tools that its tests run use it.
 *
 * Written for this repository from the documented interface: names, numbers and layouts are facts that a program has
 * to agree on with the library; nothing here is copied from VMware's header. x86-64 Linux, natural alignment.
 *
 * VIXDISKLIB_API selects the generation whose struct sizes are used: 80 (default) or 65.
 */
#ifndef VIX_DISK_LIB_H
#define VIX_DISK_LIB_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifndef VIXDISKLIB_API
#define VIXDISKLIB_API 80
#endif

#define VIXDISKLIB_EXPORT __attribute__((visibility("default")))

typedef uint64_t uint64;
typedef uint32_t uint32;
typedef uint16_t uint16;
typedef uint8_t uint8;
typedef signed char Bool;

/* Bits 0-15 code, 16-23 flags, 24-31 kind of the extra error, 32-63 extra error. 0 = success. */
typedef uint64 VixError;
/* Disk addresses and lengths in units of 512 bytes, whatever the disk's own sector size is. */
typedef uint64 VixDiskLibSectorType;

#define VIXDISKLIB_SECTOR_SIZE 512
/* QueryAllocatedBlocks: least sectors per chunk, most chunks per call. */
#define VIXDISKLIB_MIN_CHUNK_SIZE 128
#define VIXDISKLIB_MAX_CHUNK_NUMBER (512 * 1024)

enum {
    VIX_OK = 0,
    VIX_E_FAIL = 1,
    VIX_E_OUT_OF_MEMORY = 2,
    VIX_E_INVALID_ARG = 3,
    VIX_E_FILE_NOT_FOUND = 4,
    VIX_E_OBJECT_IS_BUSY = 5,
    VIX_E_NOT_SUPPORTED = 6,
    VIX_E_FILE_ERROR = 7,
    VIX_E_DISK_FULL = 8,
    VIX_E_INCORRECT_FILE_TYPE = 9,
    VIX_E_FILE_READ_ONLY = 11,
    VIX_E_FILE_ACCESS_ERROR = 13,
    VIX_E_FILE_ALREADY_LOCKED = 15,
    VIX_E_FILE_NAME_INVALID = 22,
    VIX_E_BUFFER_TOOSMALL = 24,
    VIX_E_AUTHENTICATION_FAIL = 35,
    VIX_E_HOST_CONNECTION_LOST = 36,
    VIX_E_INVALID_LOGIN_CREDENTIALS = 3050,
    VIX_E_VM_NOT_FOUND = 4000,
    VIX_E_SNAPSHOT_NOTFOUND = 13003,
    VIX_E_HOST_NETWORK_CONN_REFUSED = 14009,
    VIX_E_HOST_TCP_CONN_LOST = 14011,
    VIX_E_DISK_INVAL = 16000,
    VIX_E_DISK_NOINIT = 16001,
    VIX_E_DISK_PARTIALCHAIN = 16003,
    VIX_E_DISK_OUTOFRANGE = 16007,
    VIX_E_DISK_CID_MISMATCH = 16008,
    VIX_E_DISK_NOTSUPPORTED = 16013,
    VIX_E_DISK_INVALIDCHAIN = 16030,
    VIX_E_DISK_KEY_NOTFOUND = 16052,
    VIX_E_DISK_SUBSYSTEM_INIT_FAIL = 16053,
    VIX_E_DISK_INVALID_CONNECTION = 16054,
    VIX_E_DISK_INVALIDDISK = 16063,
    VIX_E_CANNOT_CONNECT_TO_HOST = 18000,
    /* No error: the request is queued and its callback will be called. */
    VIX_ASYNC = 25000,
    VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED = 26000
};

/* Flags of Open. */
#define VIXDISKLIB_FLAG_OPEN_UNBUFFERED (1 << 0)
#define VIXDISKLIB_FLAG_OPEN_SINGLE_LINK (1 << 1)
#define VIXDISKLIB_FLAG_OPEN_READ_ONLY (1 << 2)
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB (1 << 4)
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_FASTLZ (1 << 5)
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ (1 << 6)
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_MASK 0x3f0

typedef enum {
    VIXDISKLIB_CRED_UID = 1,
    VIXDISKLIB_CRED_SESSIONID = 2,
    VIXDISKLIB_CRED_TICKETID = 3,
    VIXDISKLIB_CRED_SSPI = 4,
    VIXDISKLIB_CRED_UNKNOWN = 256
} VixDiskLibCredType;

typedef enum {
    VIXDISKLIB_SPEC_VMX = 0,
    VIXDISKLIB_SPEC_VSTORAGE_OBJECT = 1,
    VIXDISKLIB_SPEC_DATASTORE = 2
} VixDiskLibSpecType;

typedef enum {
    VIXDISKLIB_DISK_MONOLITHIC_SPARSE = 1,
    VIXDISKLIB_DISK_MONOLITHIC_FLAT = 2,
    VIXDISKLIB_DISK_SPLIT_SPARSE = 3,
    VIXDISKLIB_DISK_SPLIT_FLAT = 4,
    VIXDISKLIB_DISK_VMFS_FLAT = 5,
    VIXDISKLIB_DISK_STREAM_OPTIMIZED = 6,
    VIXDISKLIB_DISK_VMFS_THIN = 7,
    VIXDISKLIB_DISK_VMFS_SPARSE = 8,
    VIXDISKLIB_DISK_UNKNOWN = 256
} VixDiskLibDiskType;

typedef enum {
    VIXDISKLIB_ADAPTER_IDE = 1,
    VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC = 2,
    VIXDISKLIB_ADAPTER_SCSI_LSILOGIC = 3,
    VIXDISKLIB_ADAPTER_UNKNOWN = 256
} VixDiskLibAdapterType;

typedef struct {
    char *id;
    char *datastoreMoRef;
    char *ssId;
} VixDiskLibVStorageObjectSpec;

typedef struct {
    char *datastoreMoRef;
    char *diskFolder;
} VixDiskLibDatastoreSpec;

typedef struct {
    char *vmxSpec;
    char *serverName;
    char *thumbPrint;
    long privateUse;
    VixDiskLibCredType credType;
    union {
        struct {
            char *userName;
            char *password;
        } uid;
        struct {
            char *cookie;
            char *userName;
            char *key;
        } sessionId;
        void *ticketId;
    } creds;
    uint32 port;
    uint32 nfcHostPort;
    char *vimApiVer;
#if VIXDISKLIB_API >= 67
    char reserved[8];
    void *state;
    union {
        VixDiskLibVStorageObjectSpec vStorageObjSpec;
        VixDiskLibDatastoreSpec dsSpec;
    } spec;
    VixDiskLibSpecType specType;
#endif
} VixDiskLibConnectParams;

typedef struct {
    uint32 cylinders;
    uint32 heads;
    uint32 sectors;
} VixDiskLibGeometry;

typedef struct {
    VixDiskLibGeometry biosGeo;
    VixDiskLibGeometry physGeo;
    VixDiskLibSectorType capacity;
    VixDiskLibAdapterType adapterType;
    int numLinks;
    char *parentFileNameHint;
    char *uuid;
#if VIXDISKLIB_API >= 70
    uint32 logicalSectorSize;
    uint32 physicalSectorSize;
#endif
} VixDiskLibInfo;

typedef struct {
    VixDiskLibDiskType diskType;
    VixDiskLibAdapterType adapterType;
    uint16 hwVersion;
    VixDiskLibSectorType capacity;
#if VIXDISKLIB_API >= 70
    uint32 logicalSectorSize;
    uint32 physicalSectorSize;
#endif
} VixDiskLibCreateParams;

typedef struct {
    VixDiskLibSectorType offset;
    VixDiskLibSectorType length;
} VixDiskLibBlock;

typedef struct {
    uint32 numBlocks;
    VixDiskLibBlock blocks[];
} VixDiskLibBlockList;

typedef struct VixDiskLibConnectionStruct *VixDiskLibConnection;
typedef struct VixDiskLibHandleStruct *VixDiskLibHandle;

typedef void VixDiskLibGenericLogFunc(const char *format, va_list arguments);
typedef Bool VixDiskLibProgressFunc(void *data, int percent);
/* Called in a thread of the library, or before ReadAsync or WriteAsync returns. */
typedef void VixDiskLibCompletionCB(void *data, VixError result);

/* The library. */
VIXDISKLIB_EXPORT VixError VixDiskLib_InitEx(uint32 majorVersion, uint32 minorVersion, VixDiskLibGenericLogFunc *log,
                                             VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic,
                                             const char *libDir, const char *configFile);
VIXDISKLIB_EXPORT VixError VixDiskLib_Init(uint32 majorVersion, uint32 minorVersion, VixDiskLibGenericLogFunc *log,
                                           VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic,
                                           const char *libDir);
VIXDISKLIB_EXPORT void VixDiskLib_Exit(void);
VIXDISKLIB_EXPORT const char *VixDiskLib_ListTransportModes(void);
VIXDISKLIB_EXPORT VixError VixDiskLib_Cleanup(const VixDiskLibConnectParams *params, uint32 *numCleanedUp,
                                              uint32 *numRemaining);
VIXDISKLIB_EXPORT char *VixDiskLib_GetErrorText(VixError error, const char *locale);
VIXDISKLIB_EXPORT void VixDiskLib_FreeErrorText(char *text);

/* Connections. */
#if VIXDISKLIB_API >= 67
VIXDISKLIB_EXPORT VixDiskLibConnectParams *VixDiskLib_AllocateConnectParams(void);
#endif
VIXDISKLIB_EXPORT void VixDiskLib_FreeConnectParams(VixDiskLibConnectParams *params);
VIXDISKLIB_EXPORT VixError VixDiskLib_GetConnectParams(VixDiskLibConnection connection, VixDiskLibConnectParams **out);
VIXDISKLIB_EXPORT VixError VixDiskLib_Connect(const VixDiskLibConnectParams *params, VixDiskLibConnection *out);
VIXDISKLIB_EXPORT VixError VixDiskLib_ConnectEx(const VixDiskLibConnectParams *params, Bool readOnly,
                                                const char *snapshotRef, const char *transportModes,
                                                VixDiskLibConnection *out);
VIXDISKLIB_EXPORT VixError VixDiskLib_Disconnect(VixDiskLibConnection connection);
VIXDISKLIB_EXPORT VixError VixDiskLib_PrepareForAccess(const VixDiskLibConnectParams *params, const char *identity);
VIXDISKLIB_EXPORT VixError VixDiskLib_EndAccess(const VixDiskLibConnectParams *params, const char *identity);

/* Open disks. */
VIXDISKLIB_EXPORT VixError VixDiskLib_Open(VixDiskLibConnection connection, const char *path, uint32 flags,
                                           VixDiskLibHandle *out);
VIXDISKLIB_EXPORT VixError VixDiskLib_Close(VixDiskLibHandle handle);
VIXDISKLIB_EXPORT VixError VixDiskLib_GetInfo(VixDiskLibHandle handle, VixDiskLibInfo **out);
VIXDISKLIB_EXPORT void VixDiskLib_FreeInfo(VixDiskLibInfo *info);
VIXDISKLIB_EXPORT const char *VixDiskLib_GetTransportMode(VixDiskLibHandle handle);
VIXDISKLIB_EXPORT VixError VixDiskLib_Read(VixDiskLibHandle handle, VixDiskLibSectorType start,
                                           VixDiskLibSectorType count, uint8 *buffer);
VIXDISKLIB_EXPORT VixError VixDiskLib_Write(VixDiskLibHandle handle, VixDiskLibSectorType start,
                                            VixDiskLibSectorType count, const uint8 *buffer);
VIXDISKLIB_EXPORT VixError VixDiskLib_ReadAsync(VixDiskLibHandle handle, VixDiskLibSectorType start,
                                                VixDiskLibSectorType count, uint8 *buffer,
                                                VixDiskLibCompletionCB *done, void *data);
VIXDISKLIB_EXPORT VixError VixDiskLib_WriteAsync(VixDiskLibHandle handle, VixDiskLibSectorType start,
                                                 VixDiskLibSectorType count, const uint8 *buffer,
                                                 VixDiskLibCompletionCB *done, void *data);
VIXDISKLIB_EXPORT VixError VixDiskLib_Flush(VixDiskLibHandle handle);
VIXDISKLIB_EXPORT VixError VixDiskLib_Wait(VixDiskLibHandle handle);
#if VIXDISKLIB_API >= 67
VIXDISKLIB_EXPORT VixError VixDiskLib_QueryAllocatedBlocks(VixDiskLibHandle handle, VixDiskLibSectorType start,
                                                           VixDiskLibSectorType count, VixDiskLibSectorType chunk,
                                                           VixDiskLibBlockList **out);
VIXDISKLIB_EXPORT VixError VixDiskLib_FreeBlockList(VixDiskLibBlockList *list);
#endif
VIXDISKLIB_EXPORT VixError VixDiskLib_GetMetadataKeys(VixDiskLibHandle handle, char *keys, size_t size,
                                                      size_t *required);
VIXDISKLIB_EXPORT VixError VixDiskLib_ReadMetadata(VixDiskLibHandle handle, const char *key, char *buffer, size_t size,
                                                   size_t *required);
VIXDISKLIB_EXPORT VixError VixDiskLib_WriteMetadata(VixDiskLibHandle handle, const char *key, const char *value);

/* Making, copying and chaining local disks. */
VIXDISKLIB_EXPORT VixError VixDiskLib_CheckRepair(VixDiskLibConnection connection, const char *path, Bool repair);
VIXDISKLIB_EXPORT VixError VixDiskLib_Create(VixDiskLibConnection connection, const char *path,
                                             const VixDiskLibCreateParams *params, VixDiskLibProgressFunc *progress,
                                             void *data);
VIXDISKLIB_EXPORT VixError VixDiskLib_CreateChild(VixDiskLibHandle parent, const char *path, VixDiskLibDiskType type,
                                                  VixDiskLibProgressFunc *progress, void *data);
VIXDISKLIB_EXPORT VixError VixDiskLib_Clone(VixDiskLibConnection target, const char *targetPath,
                                            VixDiskLibConnection source, const char *sourcePath,
                                            const VixDiskLibCreateParams *params, VixDiskLibProgressFunc *progress,
                                            void *data, Bool overwrite);
VIXDISKLIB_EXPORT VixError VixDiskLib_Grow(VixDiskLibConnection connection, const char *path,
                                           VixDiskLibSectorType capacity, Bool updateGeometry,
                                           VixDiskLibProgressFunc *progress, void *data);
VIXDISKLIB_EXPORT VixError VixDiskLib_Shrink(VixDiskLibHandle handle, VixDiskLibProgressFunc *progress, void *data);
VIXDISKLIB_EXPORT VixError VixDiskLib_Defragment(VixDiskLibHandle handle, VixDiskLibProgressFunc *progress,
                                                 void *data);
VIXDISKLIB_EXPORT VixError VixDiskLib_SpaceNeededForClone(VixDiskLibHandle handle, VixDiskLibDiskType type,
                                                          uint64 *bytes);
VIXDISKLIB_EXPORT VixError VixDiskLib_Attach(VixDiskLibHandle parent, VixDiskLibHandle child);
VIXDISKLIB_EXPORT VixError VixDiskLib_IsAttachPossible(VixDiskLibHandle parent, VixDiskLibHandle child);
VIXDISKLIB_EXPORT VixError VixDiskLib_Unlink(VixDiskLibConnection connection, const char *path);
VIXDISKLIB_EXPORT VixError VixDiskLib_Rename(const char *from, const char *to);

#endif
