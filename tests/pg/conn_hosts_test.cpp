// Where Conn connects to: several hosts, names, addresses that swallow packets, what kind of server is wanted.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <vector>

#include "common/base/unique_fd.hpp"
#include "common/pg/kept_conn.hpp"
#include "common/pg/settings.hpp"
#include "tests/pg/conn_support.hpp"
#include "tests/support/daemons.hpp"

namespace romancy::pg {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

std::string value(const Keywords& keywords, std::string_view key) {
  for (const auto& [name, text] : keywords)
    if (name == key) return text;
  return "(none)";
}

std::vector<std::string> tries(const std::string& conninfo) {
  ConnOptions options;
  options.conninfo = conninfo;
  const auto all = targets(options);
  EXPECT_TRUE(all) << all.error().text;
  std::vector<std::string> texts;
  for (const Target& target : *all) {
    texts.push_back(value(target.keywords, "host") + " " + value(target.keywords, "hostaddr") + " " +
                    value(target.keywords, "port") + " " + value(target.keywords, "target_session_attrs") +
                    (target.name.empty() ? "" : " look up " + target.name));
  }
  return texts;
}

// Environment variables for the time of a test.
class Variables {
 public:
  explicit Variables(std::vector<std::pair<std::string, std::string>> variables) : set_(std::move(variables)) {
    for (const auto& [name, text] : set_) ::setenv(name.c_str(), text.c_str(), 1);
  }
  ~Variables() {
    for (const auto& [name, text] : set_) ::unsetenv(name.c_str());
  }
  Variables(const Variables&) = delete;
  Variables& operator=(const Variables&) = delete;

 private:
  std::vector<std::pair<std::string, std::string>> set_;
};

class Targets : public testing::Test {
 protected:
  // ./dev test sets these for the cluster of the tests.
  void SetUp() override {
    for (const char* name : {"PGHOST", "PGPORT", "PGUSER"}) ::unsetenv(name);
  }
};

TEST_F(Targets, EachHostIsATryOfItsOwnAndNamesAreLookedUpFirst) {
  EXPECT_THAT(tries("host=db1,10.0.0.2,/run/pg,::1,@x port=1,2,3,4,5 target_session_attrs=read-write"),
              ElementsAre("db1 (none) 1 read-write look up db1", "10.0.0.2 (none) 2 read-write",
                          "/run/pg (none) 3 read-write", "::1 (none) 4 read-write", "@x (none) 5 read-write"));
  EXPECT_THAT(tries("host=db1,db2 hostaddr=10.0.0.1, port=5433"),
              ElementsAre("db1 10.0.0.1 5433 any", "db2 (none) 5433 any look up db2"));
  EXPECT_THAT(tries("dbname=x"), ElementsAre("(none) (none) 5432 any"));
  EXPECT_THAT(tries("postgresql://db1:1,db2/x?target_session_attrs=standby"),
              ElementsAre("db1 (none) 1 standby look up db1", "db2 (none)  standby look up db2"));
}

TEST_F(Targets, AStandbyIsPreferredOverTheWholeListBeforeAnyServerIsTaken) {
  EXPECT_THAT(tries("host=10.0.0.1,10.0.0.2 target_session_attrs=prefer-standby"),
              ElementsAre("10.0.0.1 (none) 5432 standby", "10.0.0.2 (none) 5432 standby", "10.0.0.1 (none) 5432 any",
                          "10.0.0.2 (none) 5432 any"));
}

TEST_F(Targets, HostsOfTheEnvironmentAndOfAServiceFileAreTriedOneByOneToo) {
  const test::TempDir dir;
  const auto file = dir.write("services", "[shop]\nhost=db3,db4\nport=7\ntarget_session_attrs=read-write\nsslmode=disable\n");
  const Variables variables({{"PGSERVICEFILE", file}, {"PGHOST", "db1,db2"}, {"PGTARGETSESSIONATTRS", "primary"}});
  EXPECT_THAT(tries("dbname=x"), ElementsAre("db1 (none) 5432 primary look up db1", "db2 (none) 5432 primary look up db2"));
  EXPECT_THAT(tries("service=shop"),
              ElementsAre("db3 (none) 7 read-write look up db3", "db4 (none) 7 read-write look up db4"));
}

TEST_F(Targets, AnAddressThatWasLookedUpKeepsTheNameOfItsHost) {
  ConnOptions options;
  options.conninfo = "host=db1 sslmode=verify-full connect_timeout=3";
  const auto all = targets(options);
  ASSERT_TRUE(all);
  const Keywords at = (*all)[0].at("10.0.0.1");
  EXPECT_EQ(value(at, "host"), "db1");  // what TLS compares the certificate with
  EXPECT_EQ(value(at, "hostaddr"), "10.0.0.1");
  EXPECT_EQ(value(at, "connect_timeout"), "(none)");
}

// A TCP port of 127.0.0.1 that accepts no connection (its backlog is full): packets go there and nothing comes back.
class BlackHole {
 public:
  BlackHole() : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listening_.get(), reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
    EXPECT_EQ(::listen(listening_.get(), 0), 0);
    socklen_t size = sizeof address_;
    EXPECT_EQ(::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&address_), &size), 0);
    for (int i = 0; i < 4; ++i) {  // a backlog of 0 is one or two
      filling_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      (void)::connect(filling_.back().get(), reinterpret_cast<sockaddr*>(&address_), sizeof address_);  // EINPROGRESS
    }
  }
  [[nodiscard]] std::string port() const { return std::to_string(ntohs(address_.sin_port)); }

 private:
  UniqueFd listening_;
  sockaddr_in address_{};
  std::vector<UniqueFd> filling_;
};

TEST_F(ConnTest, AnAddressThatSwallowsPacketsDoesNotHideTheNextHost) {
  const BlackHole hole;
  const auto where = sql("SELECT split_part(current_setting('unix_socket_directories'), ',', 1), "
                         "current_setting('port'), current_user, current_database()");
  options.conninfo = "host=127.0.0.1,localhost," + where.str(0, 0) + " port=" + hole.port() + "," + hole.port() + "," +
                     where.str(0, 1) + " user=" + where.str(0, 2) + " dbname=" + where.str(0, 3) + " connect_timeout=0";
  options.connect_timeout = 200ms;
  Recorded r(loop, options);
  r.up(loop);
  EXPECT_TRUE(Blocking::connect(options));
  options.conninfo = "host=localhost port=" + hole.port() + " user=x";
  Recorded lost(loop, options);
  lost.conn->open();
  io::run_until(loop, [&] { return lost.down.has_value(); });
  EXPECT_THAT(lost.down->text, HasSubstr("localhost (127.0.0.1): no answer within 200 ms"));
}

// The cluster of the tests is a primary that listens on a Unix socket: its two names are two hosts.
TEST_F(ConnTest, TheKindOfServerThatIsWantedIsLookedForInAllHosts) {
  const auto where = sql("SELECT split_part(current_setting('unix_socket_directories'), ',', 1), "
                         "current_setting('port'), current_user, current_database()");
  const std::string twice = "host=" + where.str(0, 0) + "," + where.str(0, 0) + "/. port=" + where.str(0, 1) +
                            " user=" + where.str(0, 2) + " dbname=" + where.str(0, 3) + " target_session_attrs=";
  for (const char* kind : {"any", "read-write", "primary", "prefer-standby"}) {
    options.conninfo = twice + kind;
    Recorded r(loop, options);
    r.up(loop);
  }
  for (const char* kind : {"standby", "read-only"}) {
    options.conninfo = twice + kind;
    Recorded r(loop, options);
    r.conn->open();
    io::run_until(loop, [&] { return r.down.has_value(); });
    EXPECT_EQ(r.down->kind, ErrorKind::retry) << r.down->text;
  }
}

std::string host_of(const test::PrivateCluster& cluster) {
  const std::string conninfo = cluster.conninfo();
  return conninfo.substr(5, conninfo.find(' ') - 5);
}

TEST_F(ConnTest, OfAStandbyAndAPrimaryTheOneThatIsWantedIsTaken) {
  test::PrivateCluster standby, primary;
  standby.become_standby();
  const std::string both = "host=" + host_of(standby) + "," + host_of(primary) + " user=postgres dbname=postgres";
  ConnOptions with = options;
  with.schema.clear();
  const auto in_recovery = [&](const std::string& conninfo) {
    with.conninfo = conninfo;
    Recorded r(loop, with);
    r.up(loop);
    std::optional<bool> answer;
    r.conn->query_text("SELECT pg_is_in_recovery()", [&](Result<Rows> rows) { answer = rows && rows->boolean(0, 0); });
    io::run_until(loop, [&] { return answer.has_value(); });
    const auto blocking = Blocking::connect(with)->query("SELECT pg_is_in_recovery()");
    EXPECT_EQ(blocking->boolean(0, 0), *answer);
    return *answer;
  };
  EXPECT_TRUE(in_recovery(both));  // any: the first
  for (const char* kind : {"any", "standby", "prefer-standby", "read-only"}) {
    EXPECT_TRUE(in_recovery(both + " target_session_attrs=" + kind)) << kind;
  }
  for (const char* kind : {"read-write", "primary"}) {
    EXPECT_FALSE(in_recovery(both + " target_session_attrs=" + kind)) << kind;
  }
  const std::string turned = "host=" + host_of(primary) + "," + host_of(standby) + " user=postgres dbname=postgres";
  EXPECT_TRUE(in_recovery(turned + " target_session_attrs=prefer-standby"));  // though it stands second
}

// Never PQreset, which goes on with what it read before: a password that was changed, a host that moved.
TEST_F(ConnTest, EachConnectionReadsEverythingAnew) {
  const auto where = sql("SELECT split_part(current_setting('unix_socket_directories'), ',', 1), "
                         "current_setting('port'), current_user, current_database()");
  const test::TempDir dir;
  const auto service = [&](const std::string& database) {
    return dir.write("services", "[shop]\nhost=" + where.str(0, 0) + "\nport=" + where.str(0, 1) + "\nuser=" +
                                     where.str(0, 2) + "\ndbname=" + database + "\n");
  };
  const Variables variables({{"PGSERVICEFILE", service(where.str(0, 3))}});
  ConnOptions with = options;
  with.conninfo = "service=shop";
  with.schema.clear();
  int ups = 0;
  KeptConn kept(loop, with, Backoff(1ms, 10ms), {.on_up = [&] { ++ups; }, .on_down = {}, .on_notification = {}});
  kept.open();
  const auto database = [&] {
    std::string name;
    kept.conn().query_text("SELECT current_database()", [&](Result<Rows> rows) { name = rows->str(0, 0); });
    io::run_until(loop, [&] { return !name.empty(); });
    return name;
  };
  io::run_until(loop, [&] { return ups == 1; });
  EXPECT_EQ(database(), where.str(0, 3));
  service("postgres");
  terminate(kept.conn().backend_pid());
  io::run_until(loop, [&] { return ups == 2; });
  EXPECT_EQ(database(), "postgres");
}

TEST_F(ConnTest, WhatTheServerSaysUnaskedIsLoggedWithItsCode) {
  Recorded r(loop, options);
  r.up(loop);
  testing::internal::CaptureStderr();
  bool answered = false;
  r.conn->query_text("DO $$ BEGIN RAISE WARNING 'disk nearly full' USING ERRCODE = '53100'; END $$",
                     [&](const Result<Rows>& rows) { answered = rows.has_value(); });
  io::run_until(loop, [&] { return answered; });
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("PostgreSQL says text=\"disk nearly full\" sqlstate=53100"));
}

}  // namespace
}  // namespace romancy::pg
