// What the API accepts at its limits and refuses beyond them, by name: size, depth, numbers, names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class Limits : public Storage {
 protected:
  void SetUp() override { a.run(start("i1")); }
  // Every function that takes a payload, given this one; and the argument's name.
  static std::vector<std::pair<std::string, std::string>> with(const std::string& payload) {
    return {{"start_workflow('w', " + payload + ")", "input"},
            {"publish('c', " + payload + ")", "data"},
            {"publish('c', '1', jsonb_build_object('k', " + payload + "))", "metadata"},
            {"publish('c', " + payload + ", target_instance_id => 'i1')", "data"},
            {"publish_to_group('g', 'c', " + payload + ")", "data"},
            {"publish_to_group('g', 'c', '1', jsonb_build_object('k', " + payload + "))", "metadata"},
            {"add_outbox_event('t', 's', " + payload + ")", "data"}};
  }
  void accepted(const std::string& payload) {
    for (const auto& [call, argument] : with(payload)) EXPECT_EQ(a.run("SELECT " + call + " IS NOT NULL"), "t") << call;
  }
  void refused(const std::string& payload, const std::string& why) {
    const std::string before = counts({"instances", "inbox", "outbox", "pokes", "message_ids"});
    for (const auto& [call, argument] : with(payload))
      EXPECT_THAT(a.error("SELECT " + call), AllOf(StartsWith("22023 " + argument + ": "), HasSubstr(why))) << call;
    EXPECT_EQ(counts({"instances", "inbox", "outbox", "pokes", "message_ids"}), before) << "nothing is half-applied";
  }
  // A number inside so many arrays.
  static std::string nested(int levels) {
    return "(repeat('[', " + std::to_string(levels) + ") || 1 || repeat(']', " + std::to_string(levels) + "))::jsonb";
  }
};

TEST_F(Limits, OfSizeAre16MebibytesOfJsonbAndNoByteMore) {
  // A jsonb string of n bytes takes 12 more: its header, and those of the value and of the datum.
  const std::string mib16 = std::to_string(16 * 1024 * 1024);
  const auto text = [&](const std::string& bytes) { return "to_jsonb(repeat('x', " + bytes + "))"; };
  EXPECT_EQ(a.run("SELECT pg_column_size(" + text(mib16 + " - 12") + ")"), mib16);
  EXPECT_EQ(a.run("SELECT start_workflow('w', " + text(mib16 + " - 12") + ", 'full')"), "full");
  EXPECT_EQ(a.run("SELECT publish('c', " + text(mib16 + " - 12") + ", target_instance_id => 'i1') IS NOT NULL"), "t");
  EXPECT_EQ(a.run("SELECT add_outbox_event('t', 's', " + text(mib16 + " - 12") + ", 'e')"), "e");
  EXPECT_EQ(a.run("SELECT publish_to_group('g', 'c', " + text(mib16 + " - 12") + ") IS NOT NULL"), "t");
  EXPECT_EQ(a.run("SELECT length(data #>> '{}') FROM inbox WHERE kind = 2"), std::to_string(16 * 1024 * 1024 - 12));
  refused(text(mib16 + " - 11"), "16 MiB are allowed");
}

TEST_F(Limits, OfSizeCountAlsoWhatATableStoresCompressed) {
  a.run("CREATE TEMP TABLE big AS SELECT to_jsonb(repeat('x', 17000000)) AS x, jsonb_build_object('k', repeat('x', "
        "17000000)) AS object, jsonb_build_object('k', repeat('x', 16000000)) AS small");
  ASSERT_EQ(a.run("SELECT pg_column_size(x) < 1000000 FROM big"), "t");
  for (const char* column : {"x", "object"})
    EXPECT_THAT(a.error("SELECT publish('c', " + std::string(column) + ") FROM big"),
                AllOf(StartsWith("22023 data: is 170000"), HasSubstr("16 MiB are allowed")));
  EXPECT_EQ(a.run("SELECT publish('c', small) IS NOT NULL FROM big"), "t");
}

TEST_F(Limits, OfDepthAre63Levels) {
  EXPECT_EQ(a.run("SELECT publish('c', " + nested(63) + ") IS NOT NULL"), "t");
  accepted(nested(62));  // metadata wraps it once
  refused(nested(64), "nested deeper than 63 levels");
}

TEST_F(Limits, OfNumbersAreThoseOfADouble) {
  accepted("'[1.7e308, -1.7e308, 9223372036854775807, -9223372036854775808, 18446744073709551616, 0.1, 1e-300]'");
  for (const char* number : {"1.8e308", "-1.8e308", "1e400", "[{\"a\": [-1e999]}]"})
    refused("'" + std::string(number) + "'::jsonb", "a number that does not fit a double");
}

TEST_F(Limits, OfNamesAre255BytesWithoutControlCharacters) {
  const std::string longest = "repeat('ü', 127) || 'x'", too_long = "repeat('ü', 128)";
  EXPECT_EQ(a.run("SELECT publish_to_group(" + longest + ", " + longest + ", '1') IS NOT NULL"), "t");
  a.run("SELECT declare_channel(" + longest + ", 'competing'), publish(" + longest + ", '1')");
  for (const auto& [call, says] : std::vector<std::pair<std::string, std::string>>{
           {"publish_to_group(" + too_long + ", 'c', '1')", "group_name: is 256 bytes long, at most 255 are allowed"},
           {"publish_to_group('g', " + too_long + ", '1')", "channel: is 256 bytes long, at most 255 are allowed"},
           {"publish_to_group(NULL, 'c', '1')", "group_name: must not be NULL"},
           {"publish_to_group('', 'c', '1')", "group_name: must not be empty"},
           {"publish_to_group(E'a\\tb', 'c', '1')", "group_name: must not contain control characters"},
           {"publish_to_group('g', 'c', NULL)", "data: must not be NULL (the JSON null is 'null')"},
           {"publish_to_group('g', 'c', '1', '7')", "metadata: must be a JSON object, not number"},
           {"declare_channel(" + too_long + ", 'competing')", "channel: is 256 bytes long, at most 255 are allowed"},
           {"declare_channel('c', NULL)", "mode: must be broadcast or competing, not NULL"},
           {"retry_compensations('')", "instance_id: must not be empty"},
           {"retry_compensations('nobody')", "instance_id: there is no instance 'nobody'"},
           {"give_up_compensations('nobody')", "instance_id: there is no instance 'nobody'"}})
    EXPECT_EQ(a.error("SELECT " + call), "22023 " + says) << call;
}

TEST_F(Limits, ABinaryValueIsThatAndNothingElse) {
  EXPECT_EQ(a.run("SELECT binary('\\x00ff10'::bytea), binary(''::bytea)"), "{\"$binary\": \"AP8Q\"}|{\"$binary\": \"\"}");
  EXPECT_EQ(a.run("SELECT binary('{\"$binary\": \"AP8Q\"}'::jsonb), binary(NULL::bytea) IS NULL"), "\\x00ff10|t");
  EXPECT_EQ(a.run("SELECT binary(x) ->> '$binary' ~ '\\s', binary(binary(x)) = x FROM (SELECT decode(repeat('ab', 1000), "
                  "'hex') x) y"),
            "f|t")
      << "encode() breaks lines, this does not";
  for (const char* wrong : {"1", "[]", "{}", "{\"$binary\": 1}", "{\"$binary\": \"YWI=\", \"x\": 1}", "{\"x\": \"YWI=\"}"})
    EXPECT_THAT(a.error("SELECT binary('" + std::string(wrong) + "'::jsonb)"),
                StartsWith("22023 value: must be {\"$binary\": \"<base64>\"}"))
        << wrong;
  EXPECT_THAT(a.error("SELECT binary('{\"$binary\": \"Y*\"}'::jsonb)"), StartsWith("22023 value: invalid"));
}

TEST_F(Limits, ADecisionAboutCompensationsGoesOnlyWhereOneIsAwaited) {
  const std::string statuses[] = {"running", "completed", "failed", "cancelled", "stuck", "compensating"};
  for (int number = 1; number <= 6; ++number) {
    a.run("UPDATE instances SET note = 'compensatio', status = " + std::to_string(number));
    a.run("DELETE FROM guard_notes");
    for (const char* call : {"retry_compensations('i1')", "give_up_compensations('i1')"})
      EXPECT_EQ(a.error(std::string("SELECT ") + call),
                "55000 instance_id: 'i1' has no failed compensations, it is " + statuses[number - 1]);
  }
  a.run("UPDATE instances SET note = NULL");
  EXPECT_THAT(a.error("SELECT retry_compensations('i1')"), StartsWith("55000"));
  a.run("UPDATE instances SET note = 'compensation failed: refund'; DELETE FROM inbox; DELETE FROM pokes");
  a.run("SELECT retry_compensations('i1'), give_up_compensations('i1')");
  EXPECT_EQ(a.run("SELECT kind, data FROM inbox ORDER BY id"), "10|{\"retry\": true}\n10|{\"retry\": false}");
  EXPECT_EQ(invariants(), "");
  a.run("DELETE FROM guard_notes");
}

}  // namespace
}  // namespace romancy::test
