#include "init.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "background.h"
#include "connection.h"
#include "handle.h"
#include "log.h"
#include "openssl_origin.h"
#include "plugin.h"
#include "rules.h"
#include "stack.h"
#include "stats.h"

/* Version pairs that callers pass in practice: (6,5) by most, up to the library's own. */
#define MAJOR_MIN 5
#define MAJOR_MAX (VIXDISKLIB_API / 10)

typedef enum { STATE_FRESH, STATE_STARTING, STATE_RUNNING, STATE_ENDED } State;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static State state;
static pid_t process;
static pid_t designated_thread;
static bool is_basic;
static void *plugin;

static State current_state(void) {
    pthread_mutex_lock(&lock);
    State now = state;
    pthread_mutex_unlock(&lock);
    return now;
}

static void change_state(State to) {
    pthread_mutex_lock(&lock);
    state = to;
    pthread_mutex_unlock(&lock);
}

VixError init_check(void) {
    if (current_state() != STATE_RUNNING) return VIX_E_DISK_NOINIT;
    if (getpid() == process) return VIX_OK;
    log_warn("FORK RULE: the process forked after InitEx, and the library's threads stayed behind");
    return VIX_E_FAIL;
}

bool init_is_designated_thread(void) {
    return (pid_t)syscall(SYS_gettid) == designated_thread;
}

bool init_is_basic(void) {
    return is_basic;
}

static VixError start_plugin(const char *library_folder) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/lib64/libdiskLibPlugin.so", library_folder);
    if (length < 0 || (size_t)length >= sizeof path) return VIX_E_DISK_SUBSYSTEM_INIT_FAIL;
    plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    PluginStart *start = plugin == NULL ? NULL : (PluginStart *)dlsym(plugin, PLUGIN_START);
    if (start == NULL) {
        const char *why = dlerror();
        log_warn("Plug-in: cannot load %s: %s", path, why == NULL ? "unknown error" : why);
        return VIX_E_DISK_SUBSYSTEM_INIT_FAIL;
    }
    Rules *rules = rules_get();
    if (rules == NULL) return VIX_E_DISK_NOINIT;
    bool needs_library_path = rules->needs_library_path;
    if (rules->hangs_init) rules_hang();
    rules_put(rules);
    char why[PATH_MAX] = "";
    switch (start(needs_library_path, why, sizeof why)) {
        case PLUGIN_STARTED:
            log_info("Plug-in: %s is loaded", path);
            return VIX_OK;
        case PLUGIN_FOREIGN_OPENSSL:
            log_panic("PANIC: OpenSSL of the plug-in is not the bundled one but that of %s", why);
        case PLUGIN_NO_LIBRARY:
        default:
            log_warn("Plug-in: %s", why);
            return VIX_E_DISK_SUBSYSTEM_INIT_FAIL;
    }
}

static VixError start(const char *library_folder, const char *config) {
    char found[PATH_MAX];
    if (!openssl_is_bundled(found, sizeof found)) {
        log_panic("PANIC: OpenSSL of the library is not the bundled one but that of %s", found);
    }
    if (config != NULL && access(config, R_OK) != 0) log_warn("Init: cannot read the configuration %s", config);
    log_warn("VDDK_PhoneHome: Get CEIP status failed");
    log_info("Init: stand-in for VDDK %d.%d, checksum %u", VIXDISKLIB_API / 10, VIXDISKLIB_API % 10, stack_use());
    VixError error = rules_start();
    if (error == VIX_OK) error = background_start();
    if (error != VIX_OK) {
        rules_stop();
        return error;
    }
    if (library_folder != NULL) error = start_plugin(library_folder);
    if (error == VIX_OK) return VIX_OK;
    background_stop();
    rules_stop();
    return error;
}

/* Once per process: starting again, also after Exit, is refused. A start that failed may be tried again. */
static VixError init(uint32 major, VixDiskLibGenericLogFunc *log, VixDiskLibGenericLogFunc *warn,
                     VixDiskLibGenericLogFunc *panic, const char *library_folder, const char *config) {
    pthread_mutex_lock(&lock);
    bool is_first = state == STATE_FRESH;
    if (is_first) state = STATE_STARTING;
    pthread_mutex_unlock(&lock);
    if (!is_first) {
        log_warn("Init: the library was started before in this process");
        return VIX_E_INVALID_ARG;
    }
    log_to(log, warn, panic);
    VixError error = VIX_OK;
    if (major < MAJOR_MIN || major > MAJOR_MAX) {
        log_warn("Init: version %u is not between %d and %d", major, MAJOR_MIN, MAJOR_MAX);
        error = VIX_E_INVALID_ARG;
    }
    process = getpid();
    designated_thread = (pid_t)syscall(SYS_gettid);
    is_basic = library_folder == NULL;
    if (error == VIX_OK) error = start(library_folder, config);
    change_state(error == VIX_OK ? STATE_RUNNING : STATE_FRESH);
    return error;
}

VixError VixDiskLib_InitEx(uint32 majorVersion, __attribute__((unused)) uint32 minorVersion,
                           VixDiskLibGenericLogFunc *log, VixDiskLibGenericLogFunc *warn,
                           VixDiskLibGenericLogFunc *panic, const char *libDir, const char *configFile) {
    if (libDir == NULL) return VIX_E_INVALID_ARG;
    return init(majorVersion, log, warn, panic, libDir, configFile);
}

VixError VixDiskLib_Init(uint32 majorVersion, __attribute__((unused)) uint32 minorVersion,
                         VixDiskLibGenericLogFunc *log, VixDiskLibGenericLogFunc *warn,
                         VixDiskLibGenericLogFunc *panic, __attribute__((unused)) const char *libDir) {
    return init(majorVersion, log, warn, panic, NULL, NULL);
}

void VixDiskLib_Exit(void) {
    if (init_check() != VIX_OK) return;
    /* From here on every other call is refused. */
    change_state(STATE_ENDED);
    unsigned handles = handle_stop();
    unsigned connections = connection_stop();
    if (handles > 0 || connections > 0) {
        log_warn("HANDLE RULE: Exit with %u open handles and %u connections", handles, connections);
    }
    stats_event("exit");
    background_stop();
    rules_stop();
    log_info("Exit: done");
    log_to(NULL, NULL, NULL);
    if (plugin != NULL) dlclose(plugin);
    plugin = NULL;
}

const char *VixDiskLib_ListTransportModes(void) {
    return is_basic ? "file:nbd" : TRANSPORTS_ALL;
}
