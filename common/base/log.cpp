#include "common/base/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "common/base/line_writer.hpp"

namespace romancy::log {
namespace {

struct Words {
  std::atomic<Level> level{Level::info};
  std::atomic<std::shared_ptr<const std::string>> component{std::make_shared<const std::string>("romancy")};
  std::atomic<std::uint64_t> dropped{0};
};

// Standard error, never waited for: what it does not take is counted, and said as soon as it takes something again.
class Stderr final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit Stderr(Words& words) : words_(words) {}

 private:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    spdlog::memory_buf_t lines;
    if (unsaid_ > 0) {
      // In one piece with the line that gets through, or the notice alone would take up what little room there is.
      const std::string notice = "warn " + *words_.component.load() + ": log lines dropped lines=" + std::to_string(unsaid_);
      formatter_->format({msg.logger_name, msg.level, notice}, lines);
    }
    formatter_->format(msg, lines);
    if (writer_.write({lines.data(), lines.size()})) {
      unsaid_ = 0;
      return;
    }
    ++unsaid_;
    words_.dropped.fetch_add(1, std::memory_order_relaxed);
  }
  void flush_() override {}

  Words& words_;
  LineWriter writer_{STDERR_FILENO};
  std::uint64_t unsaid_ = 0;
};

struct Sink : Words {
  spdlog::logger out{"romancy", std::make_shared<Stderr>(*this)};

  Sink() {
    // The level and the component are written by us: spdlog's own names ("warning") are not the configuration's.
    out.set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%fZ %v",
                                                                  spdlog::pattern_time_type::utc));
    out.set_level(spdlog::level::trace);
  }
};

// Never destroyed: a static destructor or a thread that outlives main() may still have something to say.
Sink& sink() {
  static Sink* const the = new Sink;
  return *the;
}

const char* name_of(Level level) {
  switch (level) {
    case Level::debug: return "debug";
    case Level::info: return "info";
    case Level::warn: return "warn";
    case Level::error: return "error";
  }
  return "?";
}

// Bytes above 0x7e pass: they are UTF-8 more often than not, and cannot end a line.
void add_escaped(std::string& line, std::string_view text, bool quoted) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == '\n') line += "\\n";
    else if (byte == '\t') line += "\\t";
    else if (byte == '\r') line += "\\r";
    else if (byte < 0x20 || byte == 0x7f) (line += "\\x") += {kHex[byte >> 4], kHex[byte & 0x0f]};
    else if (quoted && (c == '"' || c == '\\')) (line += '\\') += c;
    else line += c;
  }
}

bool plain(std::string_view value) {
  if (value.empty()) return false;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == 0x7f || c == '"' || c == '\\' || c == '=') return false;
  }
  return true;
}

void add_value(std::string& line, std::string_view value) {
  if (plain(value)) {
    line += value;
    return;
  }
  line += '"';
  add_escaped(line, value, true);
  line += '"';
}

}  // namespace

void set_up(std::string_view component, Level level) {
  sink().component = std::make_shared<const std::string>(component);
  sink().level = level;
}

std::uint64_t dropped() { return sink().dropped.load(std::memory_order_relaxed); }

void write(Level level, std::string_view event, std::span<const Field> fields) try {
  Sink& to = sink();
  if (level < to.level.load(std::memory_order_relaxed)) return;
  std::string line = name_of(level);
  line += ' ';
  add_escaped(line, *to.component.load(), false);
  line += ": ";
  add_escaped(line, event, false);
  for (const Field& field : fields) {
    (line += ' ') += field.key;
    line += '=';
    add_value(line, field.value);
  }
  to.out.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
} catch (...) {
  // Out of memory, or stderr is gone. A program must not die of being unable to complain.
}

}  // namespace romancy::log
