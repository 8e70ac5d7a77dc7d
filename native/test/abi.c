/* Prints what a binding has to agree on with the library: sizes, offsets and constants, as JSON. */
#include <stdio.h>

#include "vixDiskLib.h"

#define SIZE(type) printf("  \"sizeof %s\": %zu,\n", #type, sizeof(VixDiskLib##type))
#define AT(type, field) printf("  \"%s.%s\": %zu,\n", #type, #field, offsetof(VixDiskLib##type, field))
#define VALUE(name) printf("  \"%s\": %lld,\n", #name, (long long)(name))

static void print_structs(void) {
    SIZE(ConnectParams);
    AT(ConnectParams, vmxSpec);
    AT(ConnectParams, serverName);
    AT(ConnectParams, thumbPrint);
    AT(ConnectParams, privateUse);
    AT(ConnectParams, credType);
    AT(ConnectParams, creds.uid.userName);
    AT(ConnectParams, creds.uid.password);
    AT(ConnectParams, creds.sessionId.cookie);
    AT(ConnectParams, creds.sessionId.userName);
    AT(ConnectParams, creds.sessionId.key);
    AT(ConnectParams, creds.ticketId);
    AT(ConnectParams, port);
    AT(ConnectParams, nfcHostPort);
    AT(ConnectParams, vimApiVer);
    SIZE(Geometry);
    SIZE(Info);
    AT(Info, biosGeo);
    AT(Info, physGeo);
    AT(Info, capacity);
    AT(Info, adapterType);
    AT(Info, numLinks);
    AT(Info, parentFileNameHint);
    AT(Info, uuid);
    SIZE(CreateParams);
    AT(CreateParams, diskType);
    AT(CreateParams, adapterType);
    AT(CreateParams, hwVersion);
    AT(CreateParams, capacity);
    SIZE(Block);
    AT(Block, offset);
    AT(Block, length);
    SIZE(BlockList);
    AT(BlockList, numBlocks);
    AT(BlockList, blocks);
    SIZE(VStorageObjectSpec);
#if VIXDISKLIB_API >= 67
    AT(ConnectParams, reserved);
    AT(ConnectParams, state);
    AT(ConnectParams, spec.vStorageObjSpec.id);
    AT(ConnectParams, spec.vStorageObjSpec.datastoreMoRef);
    AT(ConnectParams, spec.vStorageObjSpec.ssId);
    AT(ConnectParams, spec.dsSpec.datastoreMoRef);
    AT(ConnectParams, spec.dsSpec.diskFolder);
    AT(ConnectParams, specType);
#endif
#if VIXDISKLIB_API >= 70
    AT(Info, logicalSectorSize);
    AT(Info, physicalSectorSize);
    AT(CreateParams, logicalSectorSize);
    AT(CreateParams, physicalSectorSize);
#endif
}

static void print_constants(void) {
    VALUE(VIXDISKLIB_SECTOR_SIZE);
    VALUE(VIXDISKLIB_MIN_CHUNK_SIZE);
    VALUE(VIXDISKLIB_MAX_CHUNK_NUMBER);
    VALUE(VIXDISKLIB_FLAG_OPEN_UNBUFFERED);
    VALUE(VIXDISKLIB_FLAG_OPEN_SINGLE_LINK);
    VALUE(VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    VALUE(VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB);
    VALUE(VIXDISKLIB_FLAG_OPEN_COMPRESSION_FASTLZ);
    VALUE(VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ);
    VALUE(VIXDISKLIB_FLAG_OPEN_COMPRESSION_MASK);
    VALUE(VIXDISKLIB_CRED_UID);
    VALUE(VIXDISKLIB_CRED_SESSIONID);
    VALUE(VIXDISKLIB_CRED_TICKETID);
    VALUE(VIXDISKLIB_CRED_SSPI);
    VALUE(VIXDISKLIB_CRED_UNKNOWN);
    VALUE(VIXDISKLIB_SPEC_VMX);
    VALUE(VIXDISKLIB_SPEC_VSTORAGE_OBJECT);
    VALUE(VIXDISKLIB_SPEC_DATASTORE);
    VALUE(VIXDISKLIB_DISK_MONOLITHIC_SPARSE);
    VALUE(VIXDISKLIB_DISK_MONOLITHIC_FLAT);
    VALUE(VIXDISKLIB_DISK_SPLIT_SPARSE);
    VALUE(VIXDISKLIB_DISK_SPLIT_FLAT);
    VALUE(VIXDISKLIB_DISK_VMFS_FLAT);
    VALUE(VIXDISKLIB_DISK_STREAM_OPTIMIZED);
    VALUE(VIXDISKLIB_DISK_VMFS_THIN);
    VALUE(VIXDISKLIB_DISK_VMFS_SPARSE);
    VALUE(VIXDISKLIB_DISK_UNKNOWN);
    VALUE(VIXDISKLIB_ADAPTER_IDE);
    VALUE(VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC);
    VALUE(VIXDISKLIB_ADAPTER_SCSI_LSILOGIC);
    VALUE(VIXDISKLIB_ADAPTER_UNKNOWN);
}

static void print_errors(void) {
    VALUE(VIX_OK);
    VALUE(VIX_E_FAIL);
    VALUE(VIX_E_OUT_OF_MEMORY);
    VALUE(VIX_E_INVALID_ARG);
    VALUE(VIX_E_FILE_NOT_FOUND);
    VALUE(VIX_E_OBJECT_IS_BUSY);
    VALUE(VIX_E_NOT_SUPPORTED);
    VALUE(VIX_E_FILE_ERROR);
    VALUE(VIX_E_DISK_FULL);
    VALUE(VIX_E_INCORRECT_FILE_TYPE);
    VALUE(VIX_E_FILE_READ_ONLY);
    VALUE(VIX_E_FILE_ACCESS_ERROR);
    VALUE(VIX_E_FILE_ALREADY_LOCKED);
    VALUE(VIX_E_FILE_NAME_INVALID);
    VALUE(VIX_E_BUFFER_TOOSMALL);
    VALUE(VIX_E_AUTHENTICATION_FAIL);
    VALUE(VIX_E_HOST_CONNECTION_LOST);
    VALUE(VIX_E_INVALID_LOGIN_CREDENTIALS);
    VALUE(VIX_E_VM_NOT_FOUND);
    VALUE(VIX_E_SNAPSHOT_NOTFOUND);
    VALUE(VIX_E_HOST_NETWORK_CONN_REFUSED);
    VALUE(VIX_E_HOST_TCP_CONN_LOST);
    VALUE(VIX_E_DISK_INVAL);
    VALUE(VIX_E_DISK_NOINIT);
    VALUE(VIX_E_DISK_PARTIALCHAIN);
    VALUE(VIX_E_DISK_OUTOFRANGE);
    VALUE(VIX_E_DISK_CID_MISMATCH);
    VALUE(VIX_E_DISK_NOTSUPPORTED);
    VALUE(VIX_E_DISK_INVALIDCHAIN);
    VALUE(VIX_E_DISK_KEY_NOTFOUND);
    VALUE(VIX_E_DISK_SUBSYSTEM_INIT_FAIL);
    VALUE(VIX_E_DISK_INVALID_CONNECTION);
    VALUE(VIX_E_DISK_INVALIDDISK);
    VALUE(VIX_E_CANNOT_CONNECT_TO_HOST);
    VALUE(VIX_ASYNC);
    VALUE(VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED);
}

int main(void) {
    printf("{\n");
    print_structs();
    print_constants();
    print_errors();
    printf("  \"sizeof VixError\": %zu,\n  \"sizeof Bool\": %zu\n}\n", sizeof(VixError), sizeof(Bool));
    return 0;
}
