#include "harness.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define LOG_SIZE (4 * 1024 * 1024)

Library vix;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *log_text;
static size_t log_length;
static char folder[PATH_MAX];
static pid_t owner;

void harness_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: not true: %s\nlogged:\n%s\n", file, line, what, log_text == NULL ? "" : log_text);
    exit(1);
}

void harness_check_error(VixError expected, VixError got, const char *file, int line, const char *what) {
    if (got == expected) return;
    fprintf(stderr, "%s:%d: %llu instead of %llu: %s\nlogged:\n%s\n", file, line, (unsigned long long)got,
            (unsigned long long)expected, what, log_text == NULL ? "" : log_text);
    exit(1);
}

static void collect(const char *format, va_list arguments) {
    pthread_mutex_lock(&lock);
    if (log_text != NULL && log_length + 2 < LOG_SIZE) {
        int length = vsnprintf(log_text + log_length, LOG_SIZE - log_length - 1, format, arguments);
        if (length > 0) log_length += (size_t)length < LOG_SIZE - log_length - 1 ? (size_t)length : 0;
        log_text[log_length++] = '\n';
        log_text[log_length] = '\0';
    }
    pthread_mutex_unlock(&lock);
}

static void collect_panic(const char *format, va_list arguments) {
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

unsigned harness_logged(const char *text) {
    unsigned count = 0;
    pthread_mutex_lock(&lock);
    for (const char *at = log_text; (at = strstr(at, text)) != NULL; at++) count++;
    pthread_mutex_unlock(&lock);
    return count;
}

static void remove_folder(void) {
    char command[PATH_MAX + 32];
    free(log_text);
    if (folder[0] == '\0' || getpid() != owner) return;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) fprintf(stderr, "cannot remove %s\n", folder);
}

const char *harness_folder(void) {
    if (folder[0] != '\0') return folder;
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/standin-XXXXXX", parent == NULL ? "/tmp" : parent);
    CHECK(mkdtemp(folder) != NULL);
    owner = getpid();
    atexit(remove_folder);
    return folder;
}

void harness_load(const char *library_folder, int flags) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/lib64/libvixDiskLib.so.%d", library_folder, VIXDISKLIB_API / 10);
    void *library = dlopen(path, flags);
    if (library == NULL) harness_fail(__FILE__, __LINE__, dlerror());
#define FIND(name) CHECK((vix.name = (__typeof__(vix.name))dlsym(library, "VixDiskLib_" #name)) != NULL);
    FUNCTIONS(FIND)
#undef FIND
}

void harness_rules(const char *lines) {
    char path[PATH_MAX + 16], fresh[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/rules", harness_folder());
    snprintf(fresh, sizeof fresh, "%s/rules.new", harness_folder());
    FILE *file = fopen(fresh, "w");
    CHECK(file != NULL);
    fprintf(file, "# written by the tests\ndatastores=%s\nstats=%s/stats\n%s\n", folder, folder, lines);
    CHECK(fclose(file) == 0 && rename(fresh, path) == 0);
    setenv("VIXDISKLIB_STANDIN_RULES", path, 1);
}

VixError harness_init_ex(uint32 major, const char *library_folder) {
    if (log_text == NULL) log_text = calloc(1, LOG_SIZE);
    CHECK(log_text != NULL);
    return vix.InitEx(major, 5, collect, collect, collect_panic, library_folder, NULL);
}

void harness_init(const char *library_folder) {
    CHECK_ERROR(VIX_OK, harness_init_ex(6, library_folder));
}

unsigned harness_counted(const char *start) {
    char path[PATH_MAX + 16], line[PATH_MAX];
    snprintf(path, sizeof path, "%s/stats", harness_folder());
    FILE *file = fopen(path, "r");
    unsigned count = 0;
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, start, strlen(start)) == 0) count++;
    }
    fclose(file);
    return count;
}

VixDiskLibConnectParams *harness_params(void) {
#if VIXDISKLIB_API >= 67
    VixDiskLibConnectParams *params = vix.AllocateConnectParams();
#else
    static VixDiskLibConnectParams zeroed;
    VixDiskLibConnectParams *params = &zeroed;
#endif
    CHECK(params != NULL);
    params->vmxSpec = "moref=vm-42";
    params->serverName = "vcenter.example";
    params->thumbPrint = "AA:BB:CC";
    params->credType = VIXDISKLIB_CRED_UID;
    params->creds.uid.userName = "backup";
    params->creds.uid.password = "s3cret-word";
    return params;
}

VixDiskLibConnection harness_connect(const VixDiskLibConnectParams *params, const char *transports) {
    VixDiskLibConnection connection = NULL;
    CHECK_ERROR(VIX_OK, vix.ConnectEx(params, 0, "snapshot-33", transports, &connection));
    return connection;
}

VixDiskLibHandle harness_open(VixDiskLibConnection connection, const char *path, uint32 flags) {
    VixDiskLibHandle handle = NULL;
    CHECK_ERROR(VIX_OK, vix.Open(connection, path, flags, &handle));
    return handle;
}
