#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exercise.h"
#include "harness.h"
#include "sample_disk.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE

static uint8 buffer[SECTOR];

static VixError try_connect(const VixDiskLibConnectParams *params, const char *snapshot) {
    VixDiskLibConnection connection = NULL;
    VixError error = vix.ConnectEx(params, 1, snapshot, NULL, &connection);
    CHECK((error == VIX_OK) == (connection != NULL));
    if (connection != NULL) CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
    return error;
}

/* What Open answers on a connection of its own. `mode` = the transport that is expected, when it succeeds. */
static VixError try_open(const char *snapshot, const char *transports, const char *path, const char *mode) {
    VixDiskLibConnectParams *params = harness_params();
    VixDiskLibConnection connection = NULL;
    VixDiskLibHandle handle = NULL;
    CHECK_ERROR(VIX_OK, vix.ConnectEx(params, 1, snapshot, transports, &connection));
    VixError error = vix.Open(connection, path, VIXDISKLIB_FLAG_OPEN_READ_ONLY, &handle);
    if (error == VIX_OK) {
        CHECK(mode == NULL || strcmp(vix.GetTransportMode(handle), mode) == 0);
        CHECK_ERROR(VIX_OK, vix.Close(handle));
    }
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
#if VIXDISKLIB_API >= 67
    vix.FreeConnectParams(params);
#endif
    return error;
}

/* The file of the rule `sessions` is read anew for each connection. */
static void test_sessions(const VixDiskLibConnectParams *params) {
    char path[] = "/tmp/vddk-sessions-XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0);
    char rules[64];
    snprintf(rules, sizeof rules, "sessions=%s\n", path);
    harness_rules(rules);
    CHECK_ERROR(VIX_E_INVALID_LOGIN_CREDENTIALS, try_connect(params, NULL));
    static const char lines[] = "00\n" SAMPLE_PASSWORD_SHA256 "\n";
    CHECK(write(file, lines, sizeof lines - 1) == (ssize_t)(sizeof lines - 1));
    CHECK_ERROR(VIX_OK, try_connect(params, NULL));
    CHECK(unlink(path) == 0 && close(file) == 0);
    CHECK_ERROR(VIX_E_INVALID_LOGIN_CREDENTIALS, try_connect(params, NULL));
    harness_rules("refuse_session=6\n");
    CHECK_ERROR(VIX_E_NOT_SUPPORTED, try_connect(params, NULL));
}

void test_login(const char *library_folder) {
    harness_rules("thumbprint=AA:BB:CC\nuser=backup\npassword_sha256=" SAMPLE_PASSWORD_SHA256
                  "\nrunning=vm-7,vm-42\nsnapshots=snapshot-1,snapshot-33\n");
    harness_init(library_folder);
    VixDiskLibConnectParams *params = harness_params();
    CHECK_ERROR(VIX_OK, try_connect(params, "snapshot-33"));
    CHECK_ERROR(VIX_OK, try_connect(params, NULL));
    CHECK_ERROR(VIX_E_SNAPSHOT_NOTFOUND, try_connect(params, "snapshot-3"));
    CHECK_ERROR(VIX_OK, vix.PrepareForAccess(params, "12345678901234567890123456789012345678901234567890"));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.PrepareForAccess(params, "123456789012345678901234567890123456789012345678901"));
    CHECK_ERROR(VIX_E_INVALID_ARG, vix.EndAccess(params, NULL));
    params->creds.uid.password = "wrong-word";
    CHECK_ERROR(VIX_E_INVALID_LOGIN_CREDENTIALS, try_connect(params, NULL));
    params->creds.uid.password = "s3cret-word";
    params->creds.uid.userName = "somebody";
    CHECK_ERROR(VIX_E_INVALID_LOGIN_CREDENTIALS, try_connect(params, NULL));
    params->creds.uid.userName = NULL;
    CHECK_ERROR(VIX_E_INVALID_ARG, try_connect(params, NULL));
    params->creds.uid.userName = "backup";
    params->vmxSpec = "vm-42";
    CHECK_ERROR(VIX_E_VM_NOT_FOUND, try_connect(params, NULL));
    params->vmxSpec = "moref=vm-42";
    params->credType = VIXDISKLIB_CRED_SSPI;
    CHECK_ERROR(VIX_E_NOT_SUPPORTED, try_connect(params, NULL));
    params->credType = VIXDISKLIB_CRED_SESSIONID;
    params->creds.sessionId.cookie = "s3cret-word";
    params->creds.sessionId.key = NULL;
    CHECK_ERROR(VIX_E_INVALID_ARG, try_connect(params, NULL));
    params->creds.sessionId.key = " ";
    CHECK_ERROR(VIX_OK, try_connect(params, NULL));
    test_sessions(params);
    harness_rules("cookie_sha256=00\n");
    CHECK_ERROR(VIX_E_INVALID_LOGIN_CREDENTIALS, try_connect(params, NULL));
    CHECK_ERROR(VIX_E_INVALID_ARG, try_connect(NULL, NULL));
#if VIXDISKLIB_API >= 67
    VixDiskLibConnectParams own = *params;
    CHECK_ERROR(VIX_E_INVALID_ARG, try_connect(&own, NULL));
    vix.FreeConnectParams(params);
    CHECK_ERROR(VIX_E_INVALID_ARG, try_connect(params, NULL));
    CHECK(harness_logged("PARAMS RULE") == 2);
#endif
    harness_rules("thumbprint=AA:BB:CC\nrunning=vm-7,vm-42\n");
    CHECK_ERROR(VIX_OK, try_open("snapshot-33", NULL, SAMPLE_TOP, "nbdssl"));
    CHECK_ERROR(VIX_E_FILE_ACCESS_ERROR, try_open(NULL, NULL, SAMPLE_TOP, NULL));
    harness_rules("running=vm-4,vm-421\n");
    CHECK_ERROR(VIX_OK, try_open(NULL, NULL, SAMPLE_TOP, NULL));
    harness_rules("thumbprint=99:77\n");
    CHECK_ERROR(VIX_E_FAIL, try_open("snapshot-33", NULL, SAMPLE_TOP, NULL));
    CHECK(harness_logged("thumbprint of vcenter.example is 99:77 and not AA:BB:CC") == 1);
    CHECK(harness_logged("s3cret-word") == 0 && harness_logged("wrong-word") == 0);

    harness_rules("");
    char *name = strdup("vcenter.example");
    params = harness_params();
    params->serverName = name;
    VixDiskLibConnection connection = harness_connect(params, NULL);
    VixDiskLibHandle handle = NULL;
    name[0] = 'x';
    CHECK_ERROR(VIX_E_FAIL, vix.Open(connection, SAMPLE_TOP, 0, &handle));
    CHECK(harness_logged("were changed or freed before Disconnect") == 1);
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
    free(name);
    vix.Exit();
}

void test_names(const char *library_folder) {
    harness_init(library_folder);
    char link[4200];
    snprintf(link, sizeof link, "%s/ds1/outside.vmdk", harness_folder());
    CHECK(symlink("../rules", link) == 0);
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, try_open(NULL, NULL, "[ds1] outside.vmdk", NULL));
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, try_open(NULL, NULL, "[ds1] ../ds1/vm/disk.vmdk", NULL));
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, try_open(NULL, NULL, "[ds1] vm/../vm/disk.vmdk", NULL));
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, try_open(NULL, NULL, "[ds1] /vm/disk.vmdk", NULL));
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, try_open(NULL, NULL, "[ds1] vm//disk.vmdk", NULL));
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, try_open(NULL, NULL, "[..] ds1/vm/disk.vmdk", NULL));
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, try_open(NULL, NULL, "[a/b] vm/disk.vmdk", NULL));
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, try_open(NULL, NULL, "[ds1]vm/disk.vmdk", NULL));
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, try_open(NULL, NULL, "vm/disk.vmdk", NULL));
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, try_open(NULL, NULL, "", NULL));
    CHECK_ERROR(VIX_E_FILE_NOT_FOUND, try_open(NULL, NULL, "[ds1] vm/gone.vmdk", NULL));
    CHECK_ERROR(VIX_E_FILE_NOT_FOUND, try_open(NULL, NULL, "[ds9] vm/disk.vmdk", NULL));
    CHECK_ERROR(VIX_OK, try_open(NULL, NULL, SAMPLE_BASE, NULL));

    /* A connection to nothing opens files of this host. */
    VixDiskLibConnectParams *params = harness_params();
    memset(params, 0, sizeof *params);
    VixDiskLibConnection connection = NULL;
    VixDiskLibHandle handle = NULL;
    char path[4200];
    snprintf(path, sizeof path, "%s/ds1/vm/disk-000002.vmdk", harness_folder());
    CHECK_ERROR(VIX_OK, vix.Connect(params, &connection));
    CHECK_ERROR(VIX_E_FILE_NAME_INVALID, vix.Open(connection, "disk.vmdk", 0, &handle));
    handle = harness_open(connection, path, VIXDISKLIB_FLAG_OPEN_READ_ONLY);
    CHECK(strcmp(vix.GetTransportMode(handle), "file") == 0);
    CHECK_ERROR(VIX_OK, vix.Read(handle, 5, 1, buffer));
    CHECK(sample_holds(buffer, 5, 1, 'b'));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    CHECK_ERROR(VIX_OK, vix.CheckRepair(connection, path, 0));
    CHECK_ERROR(VIX_E_NOT_SUPPORTED, vix.CheckRepair(connection, path, 1));
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
    vix.Exit();
}

void test_transports(const char *library_folder) {
    harness_rules("modes=san:nbdssl:nbd\n");
    harness_init(library_folder);
    CHECK_ERROR(VIX_OK, try_open("snapshot-33", NULL, SAMPLE_TOP, "san"));
    CHECK_ERROR(VIX_OK, try_open("snapshot-33", "file:hotadd:nbd:nbdssl", SAMPLE_TOP, "nbd"));
    CHECK_ERROR(VIX_OK, try_open("snapshot-33", "nbdssl", SAMPLE_TOP, "nbdssl"));
    CHECK_ERROR(VIX_E_FILE_NOT_FOUND, try_open("snapshot-33", "hotadd", SAMPLE_TOP, NULL));
    harness_rules("modes=san:nbdssl\nfallback=nbdssl\nrefuse_san=16065\n");
    CHECK_ERROR(VIX_OK, try_open("snapshot-33", "hotadd", SAMPLE_TOP, "nbdssl"));
    CHECK_ERROR(16065, try_open("snapshot-33", NULL, SAMPLE_TOP, NULL));
    CHECK_ERROR(VIX_OK, try_open("snapshot-33", "nbdssl:san", SAMPLE_TOP, "nbdssl"));
    harness_rules("connections=2\n");
    VixDiskLibConnection connection = harness_connect(harness_params(), NULL);
    VixDiskLibHandle first = harness_open(connection, SAMPLE_TOP, 4), third = NULL;
    VixDiskLibHandle second = harness_open(connection, SAMPLE_BASE, 4);
    CHECK_ERROR(VIX_E_HOST_NETWORK_CONN_REFUSED, vix.Open(connection, SAMPLE_HUGE, 4, &third));
    CHECK_ERROR(VIX_OK, vix.Close(first));
    CHECK_ERROR(VIX_OK, vix.Open(connection, SAMPLE_HUGE, 4, &third));
    CHECK_ERROR(VIX_OK, vix.Close(second));
    CHECK_ERROR(VIX_OK, vix.Close(third));
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
    vix.Exit();
}

void test_faults(const char *library_folder) {
    harness_rules("fail_open=14009@1\nfail_read=14011@2\nfail_read=0x500030001@4\n");
    harness_init(library_folder);
    CHECK_ERROR(VIX_E_HOST_NETWORK_CONN_REFUSED, try_open("snapshot-33", NULL, SAMPLE_TOP, NULL));
    VixDiskLibConnection connection = harness_connect(harness_params(), NULL);
    VixDiskLibHandle handle = harness_open(connection, SAMPLE_TOP, 0);
    CHECK_ERROR(VIX_OK, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_E_HOST_TCP_CONN_LOST, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_OK, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(0x500030001, vix.Read(handle, 0, 1, buffer));
    char *text = vix.GetErrorText(0x500030001, NULL);
    CHECK(strcmp(text, "Unknown error [code 0x500030001]") == 0);
    vix.FreeErrorText(text);
    CHECK_ERROR(VIX_OK, vix.Read(handle, 0, 1, buffer));
    /* While the disk is open; "from now" counts from the new rules. */
    harness_rules("fail_read=36@1\n");
    CHECK_ERROR(VIX_E_HOST_CONNECTION_LOST, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_OK, vix.Read(handle, 0, 1, buffer));
    harness_rules("session_expired_after=2\n");
    CHECK_ERROR(VIX_OK, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_OK, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_E_AUTHENTICATION_FAIL, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_E_AUTHENTICATION_FAIL, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    handle = harness_open(connection, SAMPLE_TOP, 0);
    CHECK_ERROR(VIX_OK, vix.Read(handle, 0, 1, buffer));
    CHECK_ERROR(VIX_OK, vix.Close(handle));
    CHECK_ERROR(VIX_OK, vix.Disconnect(connection));
    vix.Exit();
}

void test_rule_file(const char *library_folder) {
    harness_rules("no_such_key=1\n");
    CHECK_ERROR(VIX_E_FAIL, harness_init_ex(6, library_folder));
    CHECK(harness_logged("(no_such_key) is not understood") == 1);
    harness_rules("fail_read=1\n");
    CHECK_ERROR(VIX_E_FAIL, harness_init_ex(6, library_folder));
    harness_rules("");
    setenv("VIXDISKLIB_STANDIN_RULES", "/nonexistent/rules", 1);
    CHECK_ERROR(VIX_E_FAIL, harness_init_ex(6, library_folder));
    CHECK(harness_logged("cannot use the rule file /nonexistent/rules") == 1);
    unsetenv("VIXDISKLIB_STANDIN_RULES");
    CHECK_ERROR(VIX_E_FAIL, harness_init_ex(6, library_folder));
    harness_rules("# a comment\n\nlatency_us=1\n");
    harness_init(library_folder);
    /* Wrong rules later leave the good ones in force. */
    harness_rules("latency_us=soon\n");
    CHECK_ERROR(VIX_OK, try_open(NULL, NULL, SAMPLE_TOP, NULL));
    CHECK(harness_logged("the rule file changed and cannot be used") == 1);
    vix.Exit();
}

void test_start(const char *library_folder) {
    VixDiskLibConnection connection = NULL;
    CHECK_ERROR(VIX_E_DISK_NOINIT, vix.Connect(NULL, &connection));
    CHECK_ERROR(VIX_E_INVALID_ARG, harness_init_ex(4, library_folder));
    CHECK_ERROR(VIX_E_INVALID_ARG, harness_init_ex(99, library_folder));
    CHECK_ERROR(VIX_E_INVALID_ARG, harness_init_ex(6, NULL));
    CHECK_ERROR(VIX_E_DISK_SUBSYSTEM_INIT_FAIL, harness_init_ex(6, "/nonexistent"));
    CHECK(harness_logged("cannot load /nonexistent/lib64/libdiskLibPlugin.so") == 1);
    /* A folder too deep, as when callers name lib64 itself. */
    char deep[4200];
    snprintf(deep, sizeof deep, "%s/lib64", library_folder);
    CHECK_ERROR(VIX_E_DISK_SUBSYSTEM_INIT_FAIL, harness_init_ex(6, deep));
    harness_rules("library_path=required\n");
    CHECK_ERROR(VIX_E_DISK_SUBSYSTEM_INIT_FAIL, harness_init_ex(6, library_folder));
    CHECK(harness_logged("libvim-standin.so.1") >= 1);
    harness_rules("");
    CHECK_ERROR(VIX_OK, vix.Init(6, 5, NULL, NULL, NULL, library_folder));
    CHECK(strcmp(vix.ListTransportModes(), "file:nbd") == 0);
    CHECK_ERROR(VIX_OK, try_open(NULL, NULL, SAMPLE_TOP, "nbd"));
    vix.Exit();
}

/* The second read ends the process; what comes after it is never reached. */
void test_panic(const char *library_folder) {
    harness_rules("panic_read=2\n");
    harness_init(library_folder);
    VixDiskLibConnection connection = harness_connect(harness_params(), NULL);
    VixDiskLibHandle handle = harness_open(connection, SAMPLE_TOP, 0);
    CHECK_ERROR(VIX_OK, vix.Read(handle, 0, 1, buffer));
    vix.Read(handle, 0, 1, buffer);
    fprintf(stderr, "still there\n");
}
