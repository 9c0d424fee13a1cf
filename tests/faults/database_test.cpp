// D1..D13: what a PostgreSQL server can do to its clients.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "tests/support/site.hpp"
#include "tests/support/bare_peer.hpp"
#include "tests/support/pooler.hpp"

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

const char* kOurs = "usename = 'suite'";

std::string end_all() { return "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + std::string(kOurs); }

// All of them noticed that their connections were gone, and made others.
std::string reconnected(Site& site) {
  std::string text;
  for (const auto& [name, pid] : site.pids()) {
    const auto times = site.counter(name, "reconnects");
    if (times == 0) return "";
    text += (text.empty() ? "new connections: " : ", ") + name + " " + std::to_string(times);
  }
  return text;
}

void restart(const char* id, const char* fault, const std::string& mode) {
  run({.id = id, .fault = fault, .bound = 2s,
       .inject = [mode](Site& s) { s.server().stop(mode); },
       .heal = [](Site& s) { s.server().start(); },
       .proof = reconnected,
       .bound_text = "1 s and the back-off (at most 1 s)"});
}

TEST(FaultsSmoke, D1_ImmediateRestart) { restart("D1a", "PostgreSQL: immediate restart", "immediate"); }
TEST(Faults, D1_FastRestart) { restart("D1b", "PostgreSQL: fast restart", "fast"); }

// Known: a smart stop waits for every session, and clients are told nothing. Documented: stop the suite first.
TEST(Faults, D2_SmartStop) {
  run({.id = "D2", .fault = "PostgreSQL: smart stop, then fast", .bound = 2s,
       .inject = [](Site& s) {
         s.server().stop_soon("smart");
         EXPECT_TRUE(eventually([&] { return s.server().log().find("received smart shutdown request") != std::string::npos; }));
         EXPECT_FALSE(process_gone(s.server().postmaster())) << "it waits for our sessions";
         EXPECT_EQ(s.restarts("listener"), 0);
         s.server().stop("fast");
       },
       .heal = [](Site& s) { s.server().start(); },
       .proof = reconnected,
       .bound_text = "documented: it waits for our sessions"});
}

TEST(Faults, D3_PostmasterKilled) {
  run({.id = "D3a", .fault = "the postmaster is killed", .bound = 5s,
       .inject = [](Site& s) { s.server().kill_postmaster(); },
       .heal = [](Site& s) { s.server().start(); },
       .proof = reconnected});
}

TEST(Faults, D3_BackendKilled) {
  run({.id = "D3b", .fault = "a backend is killed, and the server recovers", .bound = 5s,
       .inject = [](Site& s) {
         const auto victim = s.count("SELECT pid FROM pg_stat_activity WHERE application_name = 'romancy-resumer' LIMIT 1");
         ASSERT_GT(victim, 0);
         ::kill(static_cast<pid_t>(victim), SIGKILL);
       },
       .proof = [](Site& s) { return s.server().log().find("terminating any other active server processes") != std::string::npos ? reconnected(s) : ""; }});
}

TEST(FaultsSmoke, D4_SessionsTerminatedAgainAndAgain) {
  run({.id = "D4", .fault = "pg_terminate_backend on each of our sessions, 5 times", .bound = 1s,
       .inject = [](Site& s) {
         for (int i = 0; i < 5; ++i) {
           s.ask(end_all());
           s.expect_progress();
         }
       },
       .proof = [](Site& s) { return s.counter("listener", "reconnects") >= 5 ? reconnected(s) : ""; }});
}

TEST(Faults, D5_HungBackendOfTheListener) {
  auto backend = std::make_shared<pid_t>(0);
  auto noticed = std::make_shared<std::int64_t>(0);
  run({.id = "D5a", .fault = "the listener's backend hangs (SIGSTOP)", .bound = 16s,
       .inject = [=](Site& s) {
         *backend = static_cast<pid_t>(s.count("SELECT pid FROM pg_stat_activity WHERE application_name = 'romancy-listener'"));
         ASSERT_GT(*backend, 0);
         const auto begun = s.now_us();
         ::kill(*backend, SIGSTOP);
         EXPECT_TRUE(eventually([&] { return s.counter("listener", "reconnects") > 0; })) << s.log();
         *noticed = (s.now_us() - begun) / 1000;
         ::kill(*backend, SIGCONT);  // so that it can see that nobody is there
       },
       .proof = [=](Site& s) {
         return s.counter("listener", "reconnects") > 0 ? "a new connection after " + std::to_string(*noticed) + " ms" : "";
       },
       .bound_text = "heartbeat and its deadline, 15 s"});
}

TEST(Faults, D5_HungBackendOfAWorker) {
  auto backend = std::make_shared<pid_t>(0);
  run({.id = "D5b", .fault = "a worker's backend hangs (SIGSTOP)", .bound = 20s,
       .inject = [=](Site& s) {
         // The worker that has something in hand: an activity, whose result it will not get rid of.
         s.run_sql("SELECT romancy.start_workflow('stuck', to_jsonb('" + s.dir().path() + "/gate'::text), 's-1')");
         EXPECT_TRUE(eventually([&] {
           *backend = static_cast<pid_t>(s.count(
               "SELECT l.pid FROM pg_locks l JOIN romancy.instances i ON i.session_id = (l.classid::bigint << 32 | l.objid::bigint) "
               "WHERE l.locktype = 'advisory' AND i.instance_id = 's-1'"));
           return *backend > 0;
         }));
         ::kill(*backend, SIGSTOP);
         s.dir().write("gate", "");
         // Its session expires; the other worker has all of it then.
         EXPECT_TRUE(eventually([&] { return s.counter("timer", "sessions_ended") > 0; })) << s.log();
         s.expect_progress();
         ::kill(*backend, SIGCONT);
       },
       .proof = [=](Site& s) { return s.counter("timer", "sessions_ended") > 0 ? std::string("its session expired, another worker went on") : ""; },
       .bound_text = "the session time-out, 10 s"});
}

// Synchronous, so that what was promised is on the standby as well (docs/concepts.md, promise 8).
TEST(Faults, D6_Failover) {
  SiteOptions options;
  auto standby = std::make_shared<std::unique_ptr<Server>>();
  const auto both = [=](Server& primary, bool app) {
    const std::string hosts = app ? "127.0.0.1,127.0.0.1" : primary.root() + "," + (*standby)->root();
    return "host=" + hosts + " port=" + std::to_string(primary.port()) + "," + std::to_string((*standby)->port()) +
           " user=" + (app ? "suite" : "postgres") + " dbname=faults target_session_attrs=read-write";
  };
  options.url = [=](Server& primary) {
    *standby = std::make_unique<Server>(Server::StandbyOf{primary});
    primary.configure("synchronous_standby_names = '*'");
    ::setenv("FAULTS_PG", both(primary, false).c_str(), 1);
    return both(primary, true);
  };
  options.inherit_pg = true;
  run({.id = "D6", .fault = "failover: the primary stops, its standby is promoted", .bound = 15s,
       .inject = [=](Site& s) {
         s.stop_sampling();
         s.server().stop("immediate");
         s.moved_to(**standby);
       },
       .heal = [=](Site& s) {
         (*standby)->promote();
         s.sample();
       },
       .proof = [=](Site& s) { return s.ask("SELECT NOT pg_is_in_recovery()") == "t" ? reconnected(s) : ""; },
       .options = options});
  ::unsetenv("FAULTS_PG");
}

// The role has a password from the start; while pg_hba trusts everybody, nobody asks for it.
void locked_out(const char* id, const char* fault, const std::function<void(Site&)>& lock_out, const std::function<void(Site&)>& let_in, const std::string& error) {
  run({.id = id, .fault = fault, .bound = 30s,
       .inject = [=](Site& s) {
         lock_out(s);
         s.ask(end_all());
         EXPECT_TRUE(eventually([&] { return s.logged(error) > 0; })) << error << "\n" << s.log();
       },
       .heal = let_in,
       .proof = [=](Site& s) {
         for (const auto& [name, pid] : s.pids()) {
           if (s.restarts(name) != 0) return std::string();
         }
         return "the log says '" + error + "'; nobody was started again";
       },
       .options = {.url = [](Server& server) { return server.app_conninfo() + " password=known"; }}});
}

TEST(Faults, D7_ConnectionsExhausted) {
  locked_out("D7a", "no connection is left (53300)", [](Site& s) { s.run_sql("ALTER ROLE suite CONNECTION LIMIT 0"); },
             [](Site& s) { s.run_sql("ALTER ROLE suite CONNECTION LIMIT -1"); }, "too many connections");
}
TEST(Faults, D7_RoleMayNotLogIn) {
  locked_out("D7b", "the role may not log in (28000)", [](Site& s) { s.run_sql("ALTER ROLE suite NOLOGIN"); },
             [](Site& s) { s.run_sql("ALTER ROLE suite LOGIN"); }, "not permitted to log in");
}
TEST(Faults, D7_RejectedByPgHba) {
  locked_out("D7c", "pg_hba rejects the role", [](Site& s) { s.server().access("local all postgres trust\nhost all all 127.0.0.1/32 reject\n"); },
             [](Site& s) { s.server().access("local all all trust\nhost all all 127.0.0.1/32 trust\n"); }, "pg_hba.conf");
}
TEST(Faults, D7_PasswordRotated) {
  locked_out("D7d", "the password is another one", [](Site& s) {
               s.run_sql("ALTER ROLE suite PASSWORD 'rotated'");
               s.server().access("local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
             },
             [](Site& s) { s.run_sql("ALTER ROLE suite PASSWORD 'known'"); }, "password");
}

// The password is changed in two steps, as it is in life: at the server, and some time later in the file that libpq reads. That
// file is read for each connection, so nothing has to be restarted.
void rotated(const char* id, const char* fault, const std::string& url, const std::string& file, const std::function<std::string(Server&, const std::string&)>& text,
             std::map<std::string, std::string> environment = {}) {
  auto keep = std::make_shared<TempDir>();
  const auto write = [=](Server& server, const std::string& password) {
    const std::string path = keep->path() + "/" + file;
    keep->write("new", text(server, password));
    std::filesystem::permissions(keep->path() + "/new", std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    std::filesystem::rename(keep->path() + "/new", path);
  };
  SiteOptions options;
  for (auto& [name, value] : environment) options.environment[name] = keep->path() + "/" + value;
  options.url = [=](Server& server) {
    shell("psql -qX -d '" + server.conninfo() + "' -c \"ALTER ROLE suite PASSWORD 'known'\"");
    server.access("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
    write(server, "known");
    return url.empty() ? server.app_conninfo() + " passfile=" + keep->path() + "/" + file : url;
  };
  const std::string words = "password authentication failed";
  const auto refused = [words](Site& s) {
    const std::string log = s.server().log();
    std::int64_t times = 0;
    for (auto at = log.find(words); at != std::string::npos; at = log.find(words, at + 1)) ++times;
    return times;
  };
  auto tries = std::make_shared<std::int64_t>(0);
  auto pids = std::make_shared<std::map<std::string, pid_t>>();
  run({.id = id, .fault = fault, .bound = 3s,
       .inject = [=](Site& s) {
         *pids = s.pids();
         EXPECT_EQ(pids->size(), 5u);
         s.run_sql("ALTER ROLE suite PASSWORD 'rotated'");
         s.ask(end_all());
         // Each of them says so, with the server's words.
         EXPECT_TRUE(eventually([&] {
           const Json all = s.status();
           return !all.is_null() && std::all_of(all.at("components").begin(), all.at("components").end(),
                                                [&](const Json& one) { return one.value("why", "").find(words) != std::string::npos; });
         })) << dump_json(s.status()) << s.log();
         for (const auto& [name, pid] : *pids) EXPECT_GT(s.logged(name + ": "), 0) << name;
         const auto until = s.now_us() + 6'000'000;
         EXPECT_TRUE(eventually([&] { return s.now_us() >= until; }));
         *tries = refused(s);
         EXPECT_EQ(s.pids(), *pids);
       },
       .heal = [=](Site& s) { write(s.server(), "rotated"); },
       .proof = [=](Site& s) {
         for (const auto& [name, pid] : s.pids()) {
           EXPECT_EQ(s.restarts(name), 0) << name;
           EXPECT_EQ(s.component(name).value("why", ""), "") << name;
         }
         EXPECT_EQ(s.pids(), *pids);
         // With back-off: five processes, the last wait a second.
         return *tries >= 5 && *tries <= 100 ? "status says '" + words + "' for each process; " + std::to_string(*tries) + " tries in 6 s, nobody was started again" : std::string();
       },
       .bound_text = "the back-off (at most 1 s) and 2 s",
       .options = options});
}

TEST(Faults, D7_PasswordRotatedInAPassfile) {
  rotated("D7e", "the password is changed; later the passfile is", "", "pgpass", [](Server& server, const std::string& password) {
    return "127.0.0.1:" + std::to_string(server.port()) + ":faults:suite:" + password + "\n";
  });
}
TEST(Faults, D7_PasswordRotatedInAServiceFile) {
  rotated("D7f", "the password is changed; later the service file is", "service=ours", "services", [](Server& server, const std::string& password) {
    return "[ours]\nhost=127.0.0.1\nport=" + std::to_string(server.port()) + "\nuser=suite\ndbname=faults\npassword=" + password + "\n";
  }, {{"PGSERVICEFILE", "services"}});
}

TEST(Faults, D8_SessionTimeouts) {
  run({.id = "D8a", .fault = "idle_session_timeout and statement_timeout of 500 ms on the role", .bound = 5s,
       .inject = [](Site& s) {
         s.run_sql("ALTER ROLE suite SET idle_session_timeout = '500ms'");
         s.run_sql("ALTER ROLE suite SET statement_timeout = '500ms'");
         s.ask(end_all());
         const auto until = s.now_us() + 4'000'000;
         while (s.now_us() < until && !testing::Test::HasFailure()) s.expect_progress();
         s.run_sql("ALTER ROLE suite RESET ALL");
         s.ask(end_all());
       },
       // Twice, when they were ended: none of these time-outs ends a session of ours.
       .proof = [](Site& s) { return s.counter("listener", "reconnects") <= 4 && s.logged("57P05") == 0 ? reconnected(s) : ""; }});
}

TEST(Faults, D8_TableLocked) {
  run({.id = "D8b", .fault = "somebody holds an exclusive lock on the instances for 3 s", .bound = 2s,
       .inject = [](Site& s) { s.run_sql("BEGIN; LOCK TABLE romancy.instances; SELECT pg_sleep(3); COMMIT"); },
       .heal = [](Site&) {},
       .proof = [](Site& s) {
         for (const auto& [name, pid] : s.pids()) {
           if (s.restarts(name) != 0) return std::string();
         }
         return std::string("all waited; nobody was started again");
       }});
}

// A pooler in transaction mode answers, says yes to LISTEN, and never delivers: the listener must not trust it.
TEST(Faults, D9_PgBouncerInTransactionMode) {
  ROMANCY_NEEDS(Pooler::why_not());
  Server server;
  TempDir dir;
  Pooler pooler(server.app_conninfo(), "transaction");
  const std::string config = dir.write("romancy.toml", "[database]\nurl = \"" + pooler.conninfo() + "\"\n[runtime]\ndir = \"" + dir.path() +
                                                            "\"\n[listener]\nheartbeat_timeout = \"2s\"\nreconnect_delay_max = \"1s\"\n");
  Daemon listener("romancy-listener", {"--config", config}, dir.path() + "/listener.log");
  EXPECT_TRUE(eventually([&] { return listener.logged("ready"); })) << listener.log();
  BarePeer peer = BarePeer::connect(dir.path() + "/hub.sock");
  peer.say(R"({"hello":1,"role":"observer","group":"me","channels":["workflow_resumable"]})");
  EXPECT_TRUE(eventually([&] { return !peer.lines().empty(); }));
  const auto live = [&] {
    const auto& lines = peer.lines();
    return std::any_of(lines.begin(), lines.end(), [](const std::string& line) { return line.find("\"live\":true") != std::string::npos; });
  };
  const auto tries = [&] {
    const std::string log = listener.log();
    int times = 0;
    for (auto at = log.find("trouble=pooler"); at != std::string::npos; at = log.find("trouble=pooler", at + 1)) ++times;
    return times;
  };
  // It is given the same server connection each time, so that its notifications to itself do come back; it is never trusted.
  EXPECT_TRUE(eventually([&] { return tries() >= 3; })) << listener.log();
  EXPECT_FALSE(live()) << listener.log();
  pooler.mode("session");
  EXPECT_TRUE(eventually(live)) << listener.log() << pooler.log();
  EXPECT_EQ(listener.terminate(), 0) << listener.log();
  report({.id = "D9", .fault = "PgBouncer in transaction mode before the listener", .inject = {}, .proof = {}, .bound_text = "never live"},
         "never trusted: subscribers poll, the log names the pooler; put into session mode, it was live", std::nullopt);
}

TEST(Faults, D10_NotifyQueueGrows) {
  auto most = std::make_shared<std::int64_t>(0);
  run({.id = "D10", .fault = "a foreign session listens and never reads on: the notification queue grows", .bound = 2s,
       .inject = [=](Site& s) {
         auto foreign = pg::Blocking::connect({.conninfo = s.server().conninfo(), .application_name = "foreign", .schema = {}, .set = {}});
         ASSERT_TRUE(foreign);
         ASSERT_TRUE(foreign->script("LISTEN something"));
         ASSERT_TRUE(foreign->script("BEGIN; SELECT 1"));
         const auto percent = [&] { return s.count("SELECT floor(pg_notification_queue_usage() * 100)::text"); };
         for (int i = 0; i < 500 && percent() < 11; ++i) {
           s.run_sql("SELECT pg_notify('something', repeat('x', 7900) || i) FROM generate_series(1, 1000) i");
         }
         EXPECT_TRUE(eventually([&] { return s.counter("listener", "notify_queue_percent") >= 11; })) << dump_json(s.component("listener"));
         *most = s.counter("listener", "notify_queue_percent");
         std::string status;
         EXPECT_EQ(s.cli("status", &status), 0);
         EXPECT_NE(status.find("note        PostgreSQL's notification queue is"), std::string::npos) << status;
         s.expect_progress();
       },
       .proof = [=](Site& s) {
         // It is told of once, and so is its end.
         EXPECT_TRUE(eventually([&] { return s.logged("PostgreSQL's notification queue has emptied") == 1; })) << s.log();
         EXPECT_EQ(s.counter("listener", "notify_queue_percent"), 0);
         return *most >= 11 && s.logged("PostgreSQL's notification queue fills") == 1 && s.ask("SELECT pg_notification_queue_usage() < 0.001") == "t"
                    ? "grew to " + std::to_string(*most) + " %, of which log and status warned; and back"
                    : "";
       },
       .options = {.listener = "heartbeat_interval = \"500ms\"\n"}});
}

TEST(Faults, D11_DiskFull) {
  ROMANCY_NEEDS(why_no_tmpfs());
  TempDir dir;
  const std::string disk = dir.path() + "/disk";
  shell("mkdir " + disk + " && mount -t tmpfs -o size=300m none " + disk);
  {
    SiteOptions options;
    options.server.root = disk;
    options.server.settings = {"max_wal_size = '64MB'", "min_wal_size = '32MB'"};
    run({.id = "D11", .fault = "the disk of PostgreSQL is full", .bound = 30s,
         .inject = [=](Site& s) {
           s.stop_sampling();
           try_shell("dd if=/dev/zero of=" + disk + "/filler bs=1M");
           s.ask("SELECT 1");
           EXPECT_TRUE(eventually([&] {
             try_shell("dd if=/dev/zero of=" + disk + "/filler2 bs=64k");
             return s.server().log().find("No space left on device") != std::string::npos;
           })) << s.server().log();
         },
         .heal = [=](Site& s) {
           shell("rm -f " + disk + "/filler " + disk + "/filler2");
           // It may have given itself up: somebody starts it then.
           if (!eventually([&] { return !s.ask("SELECT 1").empty(); }, 5s)) s.server().start();
           s.sample();
         },
         .proof = [](Site& s) {
           for (const auto& [name, pid] : s.pids()) {
             if (s.restarts(name) != 0) return std::string();
           }
           return std::string("No space left on device; nobody of ours was started again");
         },
         .options = options});
  }
  try_shell("umount " + disk);
}

TEST(Faults, D12_LongTransactionHoldsRows) {
  run({.id = "D12", .fault = "a transaction holds the row of an instance that nobody runs, and stays open", .bound = 1s,
       .inject = [](Site& s) {
         auto holder = pg::Blocking::connect({.conninfo = s.server().conninfo(), .application_name = "holder", .schema = {}, .set = {}});
         ASSERT_TRUE(holder);
         EXPECT_TRUE(eventually([&] {
           EXPECT_TRUE(holder->script("BEGIN"));
           auto rows = holder->query("SELECT 1 FROM romancy.instances WHERE instance_id = 'r-0' AND session_id IS NULL FOR UPDATE");
           if (rows && !rows->empty()) return true;
           EXPECT_TRUE(holder->script("ROLLBACK"));
           return false;
         }));
         s.expect_progress(60);
         ASSERT_TRUE(holder->script("COMMIT"));
       },
       .proof = [](Site&) { return std::string("the others went past"); }});
}

TEST(Faults, D13_DeadlocksAndSerializationFailures) {
  run({.id = "D13", .fault = "commits that deadlock, or fail to serialize", .bound = 5s,
       .inject = [](Site& s) {
         s.run_sql(R"sql(
           ALTER SYSTEM SET deadlock_timeout = '20ms';
         )sql");
         s.run_sql("SELECT pg_reload_conf()");
         // Whoever writes history takes two locks, in any order; now and then it is told to try again.
         s.run_sql(R"sql(
           CREATE FUNCTION load.quarrel() RETURNS trigger LANGUAGE plpgsql AS $$
           DECLARE first int := (random() * 1)::int;
           BEGIN
             -- Rarely, a row: a commit has up to a hundred runs, and fails with each of them.
             IF random() < 0.005 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF;
             IF random() < 0.1 THEN PERFORM pg_advisory_xact_lock(77, first), pg_sleep(0.01), pg_advisory_xact_lock(77, 1 - first); END IF;
             RETURN NEW;
           END $$;
         )sql");
         s.run_sql("GRANT USAGE ON SCHEMA load TO PUBLIC; CREATE TRIGGER quarrel BEFORE INSERT ON romancy.history FOR EACH ROW EXECUTE FUNCTION load.quarrel()");
         EXPECT_TRUE(eventually([&] { return s.server().log().find("deadlock detected") != std::string::npos && s.server().log().find("not now") != std::string::npos; }));
         s.expect_progress(40);
         s.run_sql("DROP TRIGGER quarrel ON romancy.history");
       },
       .proof = [](Site& s) {
         for (const auto& [name, pid] : s.pids()) {
           if (s.restarts(name) != 0) return std::string();
         }
         return s.logged("40P01") > 0 || s.logged("40001") > 0 ? std::string("40P01 and 40001, tried again") : "";
       }});
}

}  // namespace
}  // namespace romancy::test
