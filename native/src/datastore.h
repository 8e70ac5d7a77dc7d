#ifndef STANDIN_DATASTORE_H
#define STANDIN_DATASTORE_H

#include <limits.h>

#include "vixDiskLib.h"

/*
 * The file of this host that a datastore path such as `[ds1] web01/web01.vmdk` stands for: datastores are folders below
 * `root`. VIX_E_FILE_NAME_INVALID for anything that leads out of them.
 */
VixError datastore_resolve(const char *root, const char *path, char into[PATH_MAX]);

#endif
