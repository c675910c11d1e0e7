#pragma once

#include "options.h"

// From here on only files and ports of `options` can be reached, and no process outside signalled.
// Needs no_new_privs. Ends the process if the kernel cannot and `best_effort` is not set.
void RestrictFilesAndPorts(const struct options* options);
