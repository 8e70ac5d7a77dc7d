#ifndef STANDIN_FILE_ERROR_H
#define STANDIN_FILE_ERROR_H

#include "vixDiskLib.h"

/* The error of the library for an errno of a file operation. */
VixError file_error(int number);

#endif
