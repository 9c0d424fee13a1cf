// exit_codes: what the romancy command's exit codes mean. Part of the contract (docs/man).
#pragma once

namespace romancy::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitRefused = 1;      // asked and refused: unknown instance, finished already, not stuck ..
inline constexpr int kExitEnded = 2;        // what was waited for failed or was cancelled
inline constexpr int kExitUsage = 64;       // wrong command line
inline constexpr int kExitSupervisor = 69;  // no supervisor answers
inline constexpr int kExitBug = 70;         // our own fault
inline constexpr int kExitDatabase = 75;    // the database is away: try again
inline constexpr int kExitTimeout = 124;    // what was waited for has not ended in time
inline constexpr int kExitConfig = 78;      // configuration, credentials or schema: trying again cannot help

}  // namespace romancy::cli
