/* What the kernel says of this process, for the benchmarks of memory and idleness in C++; the
 * figures are those of bench/process.c. */
#ifndef PEER_PROCESS_H
#define PEER_PROCESS_H
#include <filesystem>
#include <fstream>
#include <string>

/* The number after @key, such as "VmRSS:", in a status file of /proc. */
inline double process_number(const std::filesystem::path &status, const std::string &key)
{
    std::ifstream file(status);
    for (std::string line; std::getline(file, line);)
        if (line.rfind(key, 0) == 0)
            return std::stod(line.substr(key.size()));
    return 0;
}

inline double process_bytes(const std::string &key)
{
    return process_number("/proc/self/status", key) * 1024;
}

inline double process_switches()
{
    double sum = 0;
    for (const auto &thread : std::filesystem::directory_iterator("/proc/self/task")) {
        sum += process_number(thread.path() / "status", "voluntary_ctxt_switches:");
        sum += process_number(thread.path() / "status", "nonvoluntary_ctxt_switches:");
    }
    return sum;
}

#endif
