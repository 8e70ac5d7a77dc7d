/*
 * libdiskLibPlugin.so: in the real distribution it holds the transports and the client of the server. Here it is what
 * InitEx must find and what can be bound to a foreign OpenSSL a second time: deep binding is not inherited by what a
 * library loads later.
 */
#include "plugin.h"

#include <dlfcn.h>
#include <stdio.h>

#include "openssl_origin.h"

__attribute__((visibility("default"))) PluginStart StandIn_PluginStart;

PluginResult StandIn_PluginStart(int needs_library_path, char *why, size_t why_size) {
    if (!openssl_is_bundled(why, why_size)) return PLUGIN_FOREIGN_OPENSSL;
    if (!needs_library_path) return PLUGIN_STARTED;
    /* Stays loaded: the real ones do. */
    if (dlopen(PLUGIN_LIBRARY, RTLD_NOW | RTLD_LOCAL) != NULL) return PLUGIN_STARTED;
    const char *error = dlerror();
    snprintf(why, why_size, "%s", error == NULL ? PLUGIN_LIBRARY : error);
    return PLUGIN_NO_LIBRARY;
}
