#ifndef STANDIN_LOGIN_H
#define STANDIN_LOGIN_H

#include <stdbool.h>

#include "vixDiskLib.h"

/* Whether parameters name a server or a VM; else they are for files of this host. */
bool login_is_remote(const VixDiskLibConnectParams *params);

/* Whether the parameters of a remote connection are complete and name a user that the rules let in. */
VixError login_check(const VixDiskLibConnectParams *params);

/* The reference of the VM: `vm-42` of `moref=vm-42`, or NULL. */
const char *login_vm(const VixDiskLibConnectParams *params);

#endif
