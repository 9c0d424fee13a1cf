// R1..R4: descriptors, memory, shared memory, logs that run out.
#include <gtest/gtest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>

#include "common/base/unique_fd.hpp"
#include "tests/support/site.hpp"

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

// What the worker had in hand waits until it can say that it lost its session, or the session expires: it lives, so nobody
// else ends it. The time counts from when there are descriptors again.
TEST(Faults, R1_NoDescriptorLeft) {
  const std::vector<std::string> victims{"listener", "relay", "worker.1"};
  run({.id = "R1", .fault = "listener, relay and worker may open no further descriptor (prlimit), and lose their connections", .bound = 5s,
       .inject = [&](Site& s) {
         for (const auto& name : victims) {
           const rlimit none{.rlim_cur = 4, .rlim_max = 1024};
           EXPECT_EQ(::prlimit(s.pid(name), RLIMIT_NOFILE, &none, nullptr), 0) << name;
         }
         s.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'suite'");
         s.expect_progress(40);  // the other worker has descriptors
       },
       .heal = [&](Site& s) {
         for (const auto& name : victims) {
           const rlimit enough{.rlim_cur = 1024, .rlim_max = 1024};
           EXPECT_EQ(::prlimit(s.pid(name), RLIMIT_NOFILE, &enough, nullptr), 0) << name;
         }
       },
       .proof = [](Site& s) {
         for (const auto& [name, pid] : s.pids()) {
           if (s.restarts(name) != 0) return std::string();
         }
         return s.logged("Too many open files") > 0 || s.logged("too many open files") > 0 ? std::string("the log says so; recovered when there were some again") : "";
       }});
}

TEST(Faults, R2_OutOfMemory) {
  ROMANCY_NEEDS(why_no_memory_cgroup());
  const std::string group = "/sys/fs/cgroup/memory/romancy-faults-" + std::to_string(::getpid());
  auto killed = std::make_shared<std::string>();
  run({.id = "R2", .fault = "the kernel kills roles for want of memory (cgroup)", .bound = 5s,
       .inject = [group, killed](Site& s) {
         // No room at all: the next page that one of its processes touches is too much.
         shell("mkdir -p " + group + " && echo 4k > " + group + "/memory.limit_in_bytes");
         const auto kills = [group] { return try_shell("grep -q 'oom_kill [1-9]' " + group + "/memory.oom_control") == 0; };
         for (const std::string name : {"worker.1", "timer", "relay", "listener"}) {
           // One that runs may live on what it has for long; one that has just begun cannot.
           for (int tries = 0; tries < 5; ++tries) {
             const pid_t victim = s.pid(name);
             try_shell("echo " + std::to_string(victim) + " > " + group + "/cgroup.procs");
             if (eventually([&] { return process_gone(victim); }, std::chrono::seconds(2))) {
               if (killed->find(name) == std::string::npos) *killed += (killed->empty() ? "" : ", ") + name;
               break;
             }
             ::kill(victim, SIGKILL);
             EXPECT_TRUE(eventually([&] { return process_gone(victim); }));
           }
           EXPECT_TRUE(eventually([&] { return s.ready(name); })) << name << s.log();
         }
         EXPECT_TRUE(kills());
         EXPECT_TRUE(eventually([&] { return try_shell("rmdir " + group) == 0; }));
       },
       .proof = [killed](Site&) { return killed->empty() ? "" : "killed by the kernel, and started again: " + *killed; },
       .options = {.supervisor = "restart_delay_max = \"1s\"\n"}});
}

// The status board and the sockets live there. What cannot be made is said, and nothing is left half made.
TEST(Faults, R3_RuntimeDirectoryFull) {
  ROMANCY_NEEDS(why_no_tmpfs());
  TempDir dir;
  const std::string disk = dir.path() + "/run";
  shell("mkdir " + disk + " && mount -t tmpfs -o size=1m none " + disk);
  {
    SiteOptions options;
    options.runtime_dir = disk;
    auto said = std::make_shared<std::string>();
    run({.id = "R3", .fault = "the runtime directory is full when the supervisor starts", .bound = 3s,
         .inject = [=](Site& s) {
           s.supervisor_may_change();
           EXPECT_EQ(s.supervisor().terminate(), 0);
           // Room for what is written before the board, and not for the board.
           try_shell("rm -f " + disk + "/board; dd if=/dev/zero of=" + disk + "/filler bs=4k");
           shell("truncate -s -64k " + disk + "/filler");
           s.start_supervisor();
           const int status = s.supervisor().wait();
           EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
           EXPECT_NE(WEXITSTATUS(status), 0);
           *said = s.log();
           shell("rm -f " + disk + "/filler");
         },
         .heal = [](Site& s) { s.start_supervisor(); },
         .proof = [said](Site&) { return said->find("board.new: No space left on device") != std::string::npos ? std::string("refused to start: No space left on device; no SIGBUS") : ""; },
         .options = options});
  }
  try_shell("umount " + disk);
}

TEST(Faults, R4_LogDiskFull) {
  ROMANCY_NEEDS(why_no_tmpfs());
  TempDir dir;
  const std::string disk = dir.path() + "/log";
  shell("mkdir " + disk + " && mount -t tmpfs -o size=64k none " + disk);
  {
    SiteOptions options;
    options.log = disk + "/log";
    options.extra = "[log]\nlevel = \"debug\"\n";
    run({.id = "R4a", .fault = "the disk of the log is full", .bound = 1s,
         .inject = [=](Site& s) {
           try_shell("dd if=/dev/zero of=" + disk + "/filler bs=4k");
           s.expect_progress(40);
           s.kill("worker.1");
           s.expect_progress(40);
           shell("rm " + disk + "/filler");
         },
         .proof = [](Site& s) { return s.restarts("worker.1") == 1 ? std::string("lines were lost; work was not") : ""; },
         .options = options});
  }
  try_shell("umount " + disk);
}

// Whoever reads the log stands still: a pipe holds 64 kB, then a write would wait.
TEST(Faults, R4_LogReaderStopped) {
  TempDir dir;
  const std::string fifo = dir.path() + "/log";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const UniqueFd reader(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  SiteOptions options;
  options.log = fifo;
  options.extra = "[log]\nlevel = \"debug\"\n";
  const auto drain = [&reader] {
    std::size_t all = 0;
    char buffer[65536];
    for (ssize_t got = 0; (got = ::read(reader.get(), buffer, sizeof buffer)) > 0;) all += static_cast<std::size_t>(got);
    return all;
  };
  auto held = std::make_shared<std::size_t>(0);
  run({.id = "R4b", .fault = "who reads the log (a pipe) stands still", .bound = 1s,
       .inject = [=](Site& s) {
         drain();
         // Lines of everybody, until the pipe is full.
         for (int i = 0; i < 40 && !testing::Test::HasFailure(); ++i) {
           s.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'suite'");
           s.expect_progress(5);
         }
         *held = drain();
       },
       .proof = [=](Site&) { return *held >= 60'000 ? std::to_string(*held) + " bytes stood in the pipe; nobody waited" : ""; },
       .options = options});
}

}  // namespace
}  // namespace romancy::test
