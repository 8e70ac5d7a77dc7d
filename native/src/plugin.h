#ifndef STANDIN_PLUGIN_H
#define STANDIN_PLUGIN_H

#include <stddef.h>

/* Loaded by the plug-in by its bare name, as the real one loads its many libraries: found by LD_LIBRARY_PATH only. */
#define PLUGIN_LIBRARY "libvim-standin.so.1"

/* The name of the plug-in's one function. */
#define PLUGIN_START "StandIn_PluginStart"

typedef enum { PLUGIN_STARTED, PLUGIN_FOREIGN_OPENSSL, PLUGIN_NO_LIBRARY } PluginResult;

/* Starts the plug-in. `why` names the file that is wrong. */
typedef PluginResult PluginStart(int needs_library_path, char *why, size_t why_size);

#endif
