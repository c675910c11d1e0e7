#pragma once

// System calls that no monitor needs and that reach far into the kernel fail with EPERM from here
// on. Needs no_new_privs.
void FilterSystemCalls(void);
