#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/proc/config.hpp"
#include "common/proc/config_table.hpp"

namespace romancy::proc {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

std::string refusal(std::string_view toml) {
  const auto config = parse_config(toml, "romancy.toml");
  if (config) return "accepted";
  EXPECT_EQ(config.error().kind, ErrorKind::refuse);
  return config.error().text;
}

TEST(Config, AnEmptyFileMeansTheDocumentedDefaults) {
  const auto config = parse_config("", "romancy.toml");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->conninfo, "postgresql:///romancy");
  EXPECT_EQ(config->schema, "romancy");
  EXPECT_EQ(config->listener, Listening::automatic);
  EXPECT_EQ(config->connect_timeout, 5s);
  EXPECT_EQ(config->reconnect_delay, 100ms);
  EXPECT_EQ(config->reconnect_delay_max, 60s);
  EXPECT_EQ(config->fallback_interval, 30s);
  EXPECT_EQ(config->gap_spread, 500ms);
  EXPECT_EQ(config->workflow_interval, 1s);
  EXPECT_EQ(config->timer_interval, 1s);
  EXPECT_EQ(config->channel_timeout_interval, 5s);
  EXPECT_EQ(config->max_workflows, 100);
  EXPECT_EQ(config->max_timers, 100);
  EXPECT_EQ(config->max_messages, 100);
  EXPECT_EQ(config->max_outbox, 100);
  EXPECT_TRUE(config->relay);
  EXPECT_FALSE(config->migrate);
  EXPECT_TRUE(config->resumers.empty());
}

TEST(Config, EveryKindOfValueIsRead) {
  const auto config = parse_config(R"(
    [database]
    url = "host=/tmp dbname=x"
    migrate = true
    [log]
    level = "debug"
    [listener]
    enabled = false
    reconnect_delay = "250ms"
    [batch]
    workflows = 7
    [[resumer]]
    name = "orders"
    command = ["/opt/orders", "--fast"]
    processes = 3
    version = "2026-11"
    [[resumer]]
    command = ["/opt/other"]
  )", "romancy.toml");
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->conninfo, "host=/tmp dbname=x");
  EXPECT_TRUE(config->migrate);
  EXPECT_EQ(config->log_level, log::Level::debug);
  EXPECT_EQ(config->listener, Listening::off);
  EXPECT_EQ(config->reconnect_delay, 250ms);
  EXPECT_EQ(config->max_workflows, 7);
  ASSERT_EQ(config->resumers.size(), 2u);
  EXPECT_EQ(config->resumers[0].name, "orders");
  EXPECT_EQ(config->resumers[0].processes, 3);
  EXPECT_THAT(config->resumers[0].command, ::testing::ElementsAre("/opt/orders", "--fast"));
  EXPECT_EQ(config->resumers[0].version, "2026-11");
  EXPECT_EQ(config->resumers[1].name, "worker");
  EXPECT_EQ(config->resumers[1].version, "");
}

TEST(Config, AWrongValueIsRefusedWithFileLineKeyValueAndRange) {
  EXPECT_EQ(refusal("[batch]\n\nworkflows = 0\n"), "romancy.toml:3: batch.workflows = 0: must be 1 to 1000");
  EXPECT_EQ(refusal("[poll]\ntimer_interval = \"1week\""),
            "romancy.toml:2: poll.timer_interval = \"1week\": must be a duration like \"30s\", 10ms to 1h");
  EXPECT_THAT(refusal("[poll]\ntimer_interval = 5"), HasSubstr("poll.timer_interval = 5"));
  EXPECT_THAT(refusal("[listener]\nenabled = \"yes\""), HasSubstr("\"auto\", true or false"));
  EXPECT_THAT(refusal("[log]\nlevel = \"loud\""), HasSubstr("\"debug\", \"info\", \"warn\" or \"error\""));
  EXPECT_THAT(refusal("[database]\nschema = \"Romancy\""), HasSubstr("database.schema = \"Romancy\""));
  EXPECT_THAT(refusal("[database]\nmigrate = 1"), HasSubstr("true or false"));
  EXPECT_THAT(refusal("[worker]\nactivity_threads = 1.5"), HasSubstr("worker.activity_threads = 1.5"));
  EXPECT_THAT(refusal("[runtime]\ndir = \"" + ("/" + std::string(94, 'x')) + "\""), HasSubstr("at most 94 bytes"));
  EXPECT_THAT(refusal("[relay]\nurl = \"ftp://x\""), HasSubstr("http://"));
  EXPECT_THAT(refusal("[[resumer]]\ncommand = [\"orders\"]"), HasSubstr("resumer.command = "));
  EXPECT_THAT(refusal("[[resumer]]\ncommand = [1]"), HasSubstr("array of texts"));
}

TEST(Config, APasswordInAWrongValueIsNotRepeated) {
  EXPECT_THAT(refusal("[database]\nurl = \"postgresql://u:hunter2@h/\\u0001\""),
              AllOf(HasSubstr("database.url"), Not(HasSubstr("hunter2"))));
}

TEST(Config, UnknownKeysAndSectionsAreRefusedWithTheNearestKnownOne) {
  EXPECT_EQ(refusal("[batch]\nworkflow = 5"),
            "romancy.toml:2: batch.workflow: unknown key (the nearest is workflows)");
  EXPECT_EQ(refusal("[listner]\n"), "romancy.toml:1: listner: unknown section (the nearest is [listener])");
  EXPECT_THAT(refusal("schema = \"x\"\n"), HasSubstr("outside of a section (the nearest is schema in [database])"));
  EXPECT_THAT(refusal("[[resumer]]\ncomand = [\"/x\"]"), HasSubstr("the nearest is command"));
}

TEST(Config, TheFirstMistakeOfTheFileIsTheOneReported) {
  EXPECT_THAT(refusal("[worker]\nmax_in_flight = 0\n[batch]\nworkflows = 0"), HasSubstr("romancy.toml:2:"));
}

TEST(Config, BrokenTomlNamesTheLine) { EXPECT_THAT(refusal("[batch]\nworkflows = \n"), HasSubstr("romancy.toml:2:")); }

TEST(Config, ValuesThatContradictEachOtherAreRefused) {
  EXPECT_THAT(refusal("[supervisor]\nrestart_delay = \"1m\""),
              HasSubstr("supervisor.restart_delay = \"60s\": must not be longer than supervisor.restart_delay_max"));
  EXPECT_THAT(refusal("[[resumer]]\nname = \"a\""), HasSubstr("resumer.a: command is missing"));
  EXPECT_THAT(refusal("[[resumer]]\ncommand = [\"/x\"]\n[[resumer]]\ncommand = [\"/y\"]"),
              HasSubstr("used by another [[resumer]]"));
  EXPECT_THAT(refusal("[[resumer]]\nname = \"a\"\ncommand = [\"/x\"]\nprocesses = 32\n"
                      "[[resumer]]\nname = \"b\"\ncommand = [\"/x\"]\nprocesses = 32"),
              HasSubstr("must be at most 61"));
}

TEST(Config, AHeaderWithoutAKeyIsRefusedAndDoesNotEndTheProgram) {
  for (const char* text : {"[ =]", "[,]", "[[ {]]", "[\x01]", "[listener.=]", "= 1", "[\xef\xbb\xbc"}) EXPECT_THAT(refusal(text), HasSubstr("romancy.toml")) << text;
}

TEST(Config, ARefusalQuotesNoControlCharacters) {
  using namespace std::string_view_literals;
  for (const auto text : {"[session]\ntimeout =n\0\x1b[2J"sv, "[session]\n\"a\\u0000\\u001b\" = 1\n"sv}) {
    const std::string said = refusal(text);
    EXPECT_THAT(said, HasSubstr("romancy.toml"));
    EXPECT_EQ(std::count_if(said.begin(), said.end(), [](unsigned char c) { return c < 0x20; }), 0) << said;
  }
}

// What leads to the supervisor is found beside any other mistake, and never guessed.
TEST(Config, TheRuntimeDirectoryIsFoundInAFileThatIsWrongElsewhere) {
  using namespace std::string_view_literals;
  for (const std::string_view toml : {"[runtime]\ndir = \"/x\"\n[poll]\ntimer_interval = 7\n"sv, "[nonsense]\n[runtime]\ndir = \"/x\" # here\n"sv,
                                      "[poll\n[runtime] # of it\n  dir=\"/x\"\n"sv, "[runtime]\ndir = \"/x\"\n[log]\nlevel = \n"sv,
                                      "[runtime\ndir = '/x'\n"sv, "[log]\nlevel = \"\ndir = \"/y\"\n[runtime]\ndir = \"/x\""sv}) {
    const auto dir = runtime_dir_of(toml, "romancy.toml");
    ASSERT_TRUE(dir) << toml << dir.error().text;
    EXPECT_EQ(*dir, "/x") << toml;
  }
  EXPECT_EQ(*runtime_dir_of("[log]\nlevel = \n", "romancy.toml"), "/run/romancy");
  EXPECT_THAT(runtime_dir_of("[runtime]\ndir = \"x\"\n", "romancy.toml").error().text, HasSubstr("romancy.toml:2: runtime.dir"));
  EXPECT_THAT(runtime_dir_of("[log]\n[runtime]\ndir = \"/x\n", "romancy.toml").error().text, HasSubstr("romancy.toml:3: runtime.dir"));
  EXPECT_THAT(runtime_dir_of("[log]\nlevel = \n[runtime]\ndir = 7\n", "romancy.toml").error().text, HasSubstr("romancy.toml:4: runtime.dir"));
}

TEST(Config, AFileThatCannotBeReadIsRefusedByName) {
  const auto config = load_config("/nonexistent/romancy.toml");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().text, HasSubstr("/nonexistent/romancy.toml"));
}

// Takes the "# " away from every line that looks like a key or a section.
std::string uncommented(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    std::string line = text.substr(at, end - at);
    const bool key = line.find(" = ") != std::string::npos && line.find('(') == std::string::npos;
    if ((key && line.rfind("# ", 0) == 0) || line.rfind("# [[", 0) == 0) line.erase(0, 2);
    out += line + "\n";
    at = end + 1;
  }
  return out;
}

TEST(Config, TheInstalledFileHoldsEveryOptionAtItsDefault) {
  const std::string text = config_commented();
  ASSERT_TRUE(parse_config(text, "installed"));
  const std::string active = uncommented(text);
  const auto config = parse_config(active, "uncommented");
  ASSERT_TRUE(config) << config.error().text << "\n" << active;
  ASSERT_EQ(config->resumers.size(), 1u);
  const auto items = read_toml(active, "uncommented");
  ASSERT_TRUE(items);
  for (const auto& setting : settings()) {
    if (setting.key == std::string("command")) continue;
    const auto item = std::find_if(items->begin(), items->end(), [&](const Item& i) {
      return i.section == setting.section && i.key == setting.key;
    });
    ASSERT_NE(item, items->end()) << setting.section << "." << setting.key;
    EXPECT_EQ(item->value, setting.fallback) << setting.section << "." << setting.key;
  }
}

TEST(Config, EveryOptionIsInHelpAndDocumentation) {
  for (const auto& setting : settings()) {
    EXPECT_THAT(config_help(), HasSubstr(std::string("  ") + setting.key + " = "));
    EXPECT_THAT(config_markdown(), HasSubstr("| `" + std::string(setting.key) + "` |"));
    EXPECT_STRNE(setting.sentence, "");
  }
}

TEST(Config, TheTableNamesEachOptionOnceInASectionThatExists) {
  std::set<std::string> seen;
  for (const auto& setting : settings()) {
    EXPECT_TRUE(seen.insert(std::string(setting.section) + "." + setting.key).second) << setting.key;
    EXPECT_TRUE(std::any_of(sections().begin(), sections().end(),
                            [&](const Section& s) { return std::string_view(s.name) == setting.section; }));
  }
}

TEST(Duration, TextAndValueAreTheSameThing) {
  for (const char* text : {"1ms", "250ms", "1s", "30s", "60s", "90s", "5m", "1h", "36h", "7d", "0ms"}) {
    const auto value = parse_duration(text);
    ASSERT_TRUE(value) << text;
    EXPECT_EQ(format_duration(*value), text);
  }
  for (const char* text : {"", "s", "5", "-5s", "5 s", "1.5s", "5S", "99999999999999999d", "5sec"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

}  // namespace
}  // namespace romancy::proc
