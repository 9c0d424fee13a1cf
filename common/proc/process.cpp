#include "common/proc/process.hpp"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <variant>
#include <utility>

#include "common/base/errno_text.hpp"
#include "common/base/log.hpp"
#include "common/base/unique_fd.hpp"
#include "common/io/alarm.hpp"
#include "common/io/line_stream.hpp"
#include "common/io/signals.hpp"
#include "common/proc/inherited.hpp"

namespace romancy::proc {
namespace {

constexpr auto kBeatEvery = std::chrono::seconds(1);  // hang_timeout is at least twice this
constexpr std::size_t kMostTrouble = 400;             // bytes
constexpr int kExitForced = 1;                        // stopped, but not as asked

struct Arguments {
  std::string config_path;
  bool once = false;
};

std::string variable(const char* name) {
  const char* value = ::getenv(name);
  return value ? value : "";
}

void print_help(const ProcessSpec& spec, const char* program) {
  std::printf("%s: %s\n\n", spec.name.c_str(), spec.summary.c_str());
  std::printf("usage: %s [--config FILE] [--once]\n\n", program);
  std::printf("  --config FILE  the configuration (or ROMANCY_CONFIG); without it, the defaults below\n");
  std::printf("  --once         do what is due, then exit; 75 when the database is away\n");
  std::printf("  --help         this text\n");
  std::printf("  --version      name and version\n\n%s", config_help().c_str());
}

// The arguments, or the exit code of a process that has nothing more to do.
std::variant<Arguments, int> read_arguments(int argc, char** argv, const ProcessSpec& spec) {
  const option options[] = {{"config", required_argument, nullptr, 'c'},
                            {"once", no_argument, nullptr, 'o'},
                            {"help", no_argument, nullptr, 'h'},
                            {"version", no_argument, nullptr, 'v'},
                            {nullptr, 0, nullptr, 0}};
  Arguments arguments{variable(kEnvConfig), false};
  ::opterr = 0;  // the message is ours
  ::optind = 1;
  // No thread has been started yet. NOLINTNEXTLINE(concurrency-mt-unsafe)
  for (int choice = 0; (choice = ::getopt_long(argc, argv, ":", options, nullptr)) != -1;) {
    switch (choice) {
      case 'c': arguments.config_path = ::optarg; break;
      case 'o': arguments.once = true; break;
      case 'h': print_help(spec, argv[0]); return kExitOk;
      case 'v': std::printf("romancy %s %s\n", spec.name.c_str(), ROMANCY_VERSION); return kExitOk;
      default: {
        const char* wrong = argv[::optind - 1];
        std::fprintf(stderr, "%s: %s: %s; --help shows what there is\n", spec.name.c_str(), wrong,
                     choice == ':' ? "needs a value" : "unknown option");
        return kExitUsage;
      }
    }
  }
  if (::optind < argc) {
    std::fprintf(stderr, "%s: %s: unexpected argument; --help shows what there is\n", spec.name.c_str(),
                 argv[::optind]);
    return kExitUsage;
  }
  return arguments;
}

// Takes an inherited descriptor, so that programs we start ourselves do not inherit it too.
UniqueFd take(int fd) {
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return UniqueFd();
  return UniqueFd(fd);
}

bool at_eof(int fd) {
  char byte = 0;
  return ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

struct Inheritance {
  UniqueFd control, board;
  int slot = 0;
};

// What the supervisor handed down. The variables are taken out of the environment: they mean this process only.
// False: the parent died before we could tie our life to its.
bool inherit(Inheritance& got) {
  const std::string parent = variable(kEnvParent), slot = variable(kEnvSlot);
  if (!variable(kEnvControl).empty()) got.control = take(kControlFd);
  if (!slot.empty()) {
    got.board = take(kBoardFd);
    got.slot = std::atoi(slot.c_str());
  }
  // No thread has been started yet. NOLINTNEXTLINE(concurrency-mt-unsafe)
  for (const char* name : {kEnvControl, kEnvSlot, kEnvParent, kEnvInEffect}) ::unsetenv(name);
  if (parent.empty()) return true;
  // First arm, then look: a parent that dies in between is seen by one of the two. Another parent than the
  // supervisor may also be a shell script that started us; then the control socket tells who lives.
  if (::prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) {
    std::fprintf(stderr, "cannot ask to be told of the supervisor's death: %s; its socket tells\n", errno_text(errno));
  }
  const bool adopted = ::getppid() != std::atoi(parent.c_str());
  return !adopted || (got.control && !at_eof(got.control.get()));
}

// What the supervisor accepted, under the name of the file it came from: whatever that file says by now, a process that
// is restarted must not be the first to try it. Another file is read when the command line says so.
Result<Config> read_configuration(const std::string& path, const std::string& in_effect) {
  if (path.empty()) return default_config();
  if (in_effect.empty() || path != variable(kEnvConfig)) return load_config(path);
  const auto text = read_config(in_effect);
  if (!text) return tl::unexpected(text.error());
  return parse_config(*text, path);
}

class Skeleton final : public Process {
 public:
  Skeleton(const Arguments& arguments, Config config, std::string component, Inheritance inherited)
      : config_(std::move(config)),
        component_(std::move(component)),
        once_(arguments.once),
        board_(Board::private_one()) {
    if (inherited.board) {
      if (auto board = Board::adopt(std::move(inherited.board))) {
        board_ = std::move(*board);
        slot_ = board_.slot(inherited.slot);
      } else {  // another version of the supervisor: work, seen by nobody
        log::warn("status board refused: working unseen", {{"error", board.error().text}});
      }
    } else {
      slot_ = board_.slot(0);
    }
    slot_.claim(component_);
    if (inherited.control) listen_to_parent(std::move(inherited.control));
  }

  io::Loop& loop() override { return loop_; }
  const Config& config() const override { return config_; }
  Slot slot() override { return slot_; }
  const std::string& component() const override { return component_; }
  bool once() const override { return once_; }

  void ready() override {
    if (draining_) return;
    slot_.state(ProcState::ready);
    trouble("");
    if (announced_) return;
    announced_ = true;
    log::info("ready");
    if (control_ && !control_->send(kWordReady)) log::warn("the supervisor does not listen");  // its on_close drains
  }

  void not_ready(std::string_view why) override {
    if (!draining_) slot_.state(ProcState::starting);
    trouble(why);
  }

  // Told when it changes, not at each try. What libpq says of several hosts has no limit; a line has.
  void trouble(std::string_view why) override {
    std::string text(why.substr(0, kMostTrouble));
    for (char& c : text) {
      if (static_cast<unsigned char>(c) < ' ') c = ' ';
    }
    if (text == trouble_) return;
    trouble_ = std::move(text);
    if (control_ && !control_->send(kWordTrouble + trouble_)) log::debug("the supervisor does not listen");  // its on_close drains
  }

  bool patient() const override { return draining_ && !deadline_.armed(); }

  void finish(int exit_code) override {
    if (exit_code_) return;
    exit_code_ = exit_code;
    loop_.post([this] { loop_.stop(); });  // also right when called before run()
  }

  int run(const std::function<std::unique_ptr<Service>(Process&)>& make_service) {
    io::Signals signals(loop_, {SIGTERM, SIGINT}, [this](int signal) { on_signal(signal); });
    io::Alarm heart(loop_, [&] {
      slot_.beat();
      count_dropped_lines();
      heart.set_in(kBeatEvery);
    });
    heart.set_in(std::chrono::nanoseconds(0));
    service_ = make_service(*this);
    service_->start();
    loop_.run();
    service_.reset();
    slot_.state(ProcState::absent);
    const int code = exit_code_.value_or(kExitForced);
    log::info("stopped", {{"exit", code}});
    return code;
  }

 private:
  void listen_to_parent(UniqueFd fd) {
    io::LineStream::Handlers handlers;
    handlers.on_line = [this](std::string_view line) {
      if (line == kWordDrain) drain("asked");
      else if (line == kWordFinish) drain("asked", false);
      else if (line.starts_with(kWordLog)) change_level(line.substr(std::string_view(kWordLog).size()));
      else log::warn("unknown word from the supervisor", {{"word", line.substr(0, 80)}});
    };
    handlers.on_close = [this](std::string_view) { drain("the supervisor is gone"); };
    control_ = std::make_unique<io::LineStream>(loop_, std::move(fd), io::LineCaps{}, std::move(handlers));
  }

  void count_dropped_lines() {
    const std::uint64_t dropped = log::dropped();
    slot_.add(Counter::log_dropped, dropped - std::exchange(lines_dropped_, dropped));
  }

  void change_level(std::string_view word) {
    const auto level = parse_level(word);
    if (!level) return log::warn("unknown log level from the supervisor", {{"level", word.substr(0, 80)}});
    log::set_up(component_, *level);
    log::info("log level changed", {{"level", word}});
  }

  void on_signal(int signal) {
    if (++signals_ > 1) stop_now("second signal");
    drain(signal == SIGINT ? "SIGINT" : "SIGTERM");
  }

  // Asked again with a limit, the limit counts from then.
  void drain(const char* why, bool limited = true) {
    if (!service_) return;
    const bool hurried = limited && !deadline_.armed();
    if (hurried) deadline_.set_in(config_.stop_timeout);
    if (draining_) {
      if (hurried) service_->limited();
      return;
    }
    draining_ = true;
    slot_.state(ProcState::draining);
    log::info("draining", {{"why", why}});
    service_->drain([this] { finish(kExitOk); });
  }

  // Without destructors: a thread that does not end would keep them waiting, and everything durable is in PostgreSQL.
  [[noreturn]] void stop_now(const char* why) {
    log::warn("stopped hard", {{"why", why}});
    ::_exit(exit_code_.value_or(kExitForced));
  }

  const Config config_;
  const std::string component_;
  const bool once_;
  Board board_;
  Slot slot_;
  io::Loop loop_;
  io::Alarm deadline_{loop_, [this] { stop_now("stop_timeout is over"); }};
  std::unique_ptr<io::LineStream> control_;
  std::unique_ptr<Service> service_;
  std::optional<int> exit_code_;
  std::string trouble_;  // as last told
  bool announced_ = false;
  bool draining_ = false;
  int signals_ = 0;
  std::uint64_t lines_dropped_ = 0;  // of these, counted on the board
};

}  // namespace

int run_process(int argc, char** argv, const ProcessSpec& spec,
                const std::function<std::unique_ptr<Service>(Process&)>& make_service) {
  const auto read = read_arguments(argc, argv, spec);
  if (const int* exit_code = std::get_if<int>(&read)) return *exit_code;
  const auto& arguments = std::get<Arguments>(read);
  const std::string named = variable(kEnvComponent), in_effect = variable(kEnvInEffect);
  const std::string component = named.empty() ? spec.name : named;
  log::set_up(component, log::Level::info);
  Inheritance inherited;
  if (!inherit(inherited)) {
    log::warn("the supervisor is gone");
    return kExitOk;
  }
  auto config = read_configuration(arguments.config_path, in_effect);
  if (!config) {
    log::error("configuration refused", {{"error", config.error().text}});
    return kExitConfig;
  }
  log::set_up(component, config->log_level);
  log::info("starting", {{"version", ROMANCY_VERSION},
                         {"config", arguments.config_path.empty() ? "defaults" : arguments.config_path},
                         {"supervised", bool(inherited.control)}});
  Skeleton skeleton(arguments, std::move(*config), component, std::move(inherited));
  return skeleton.run(make_service);
}

}  // namespace romancy::proc
