#include "runtime/base/cpu.h"
#include <unistd.h>
unsigned filch__cpu_count(void) { long n = sysconf(_SC_NPROCESSORS_ONLN); return n > 0 ? (unsigned)n : 1; }
