// inherited: everything that crosses from the supervisor to a child, and nothing else does.
//
// The supervisor forks and execs a component with these descriptors and variables; a component started by hand has
// none of them and works alone. A user's worker (the SDK's run_worker) is such a component too.
#pragma once

namespace romancy::proc {

// Descriptors (open only when the variable beside it is set).
inline constexpr int kControlFd = 3;  // ROMANCY_CONTROL=1: stream socket pair; see the words below. EOF: the parent is gone
inline constexpr int kBoardFd = 4;    // ROMANCY_SLOT=<n>: the status board's file; the child owns slot n
inline constexpr int kHubFd = 5;      // ROMANCY_HUB=1, listener only: the hub's listening socket

// Environment.
inline constexpr const char* kEnvConfig = "ROMANCY_CONFIG";        // path of the configuration, if --config is absent
inline constexpr const char* kEnvInEffect = "ROMANCY_CONFIG_IN_EFFECT";  // a copy of it as it was when last accepted: read this
inline constexpr const char* kEnvComponent = "ROMANCY_COMPONENT";  // "listener", "timer", "relay", "<resumer name>.<n>"
inline constexpr const char* kEnvControl = "ROMANCY_CONTROL";
inline constexpr const char* kEnvSlot = "ROMANCY_SLOT";
inline constexpr const char* kEnvHub = "ROMANCY_HUB";
inline constexpr const char* kEnvParent = "ROMANCY_PARENT_PID";    // checked against getppid() after PR_SET_PDEATHSIG
inline constexpr const char* kEnvVersion = "ROMANCY_WORKER_VERSION";  // workers: the version of their code; also by hand

// Words on the control socket, one a line. Child to supervisor: "ready" once it does its work; "trouble TEXT": what keeps it
// from its work, for `romancy status`, "trouble " when nothing does any more. Supervisor to child:
// "drain": take nothing new, finish what is in hand within stop_timeout, exit 0; "finish": the same without a limit;
// "log debug": the least important lines to log from now on.
inline constexpr const char* kWordReady = "ready";
inline constexpr const char* kWordTrouble = "trouble ";
inline constexpr const char* kWordDrain = "drain";
inline constexpr const char* kWordFinish = "finish";
inline constexpr const char* kWordLog = "log ";

// Exit codes: part of the contract (docs/operating.md). Anything else is a crash.
inline constexpr int kExitOk = 0;         // stopped as asked
inline constexpr int kExitUsage = 64;     // wrong command line
inline constexpr int kExitDatabase = 75;  // the database is away (only with --once)
inline constexpr int kExitConfig = 78;    // the configuration is wrong: restarting cannot help

}  // namespace romancy::proc
