#include "supervisor/check.hpp"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "common/base/errno_text.hpp"

namespace romancy::supervisor {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);
constexpr std::size_t kLongestWord = 1000;

}  // namespace

Check::Check(io::Loop& loop, OnDone on_done)
    : loop_(loop), on_done_(std::move(on_done)), deadline_(loop, [this] {
        late_ = true;
        if (pid_ != 0) send_signal(pid_, pidfd_, SIGKILL);
        else maybe_done();
      }) {}

void Check::start(Program program) {
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return done(try_again(std::string("socketpair: ") + errno_text(errno)));
  }
  UniqueFd ours(pair[0]), theirs(pair[1]);
  program.out_fd = theirs.get();
  auto spawned = spawn(program);
  if (!spawned) return done(tl::unexpected(spawned.error()));
  pid_ = spawned->pid;
  pidfd_ = std::move(spawned->pidfd);
  io::LineStream::Handlers handlers;
  handlers.on_line = [this](std::string_view line) {
    if (!line.empty()) last_ = line.substr(0, kLongestWord);
  };
  handlers.on_close = [this](std::string_view) {
    heard_ = true;
    maybe_done();
  };
  out_ = std::make_unique<io::LineStream>(loop_, std::move(ours), io::LineCaps{}, std::move(handlers));
  deadline_.set_in(kPatience);
}

void Check::reaped(int wait_status) {
  pid_ = 0;
  pidfd_.reset();
  status_ = wait_status;
  maybe_done();
}

// What it said is complete at the end of its output; if somebody it left behind holds that open, at the deadline.
void Check::maybe_done() {
  if (!status_ || (!heard_ && !late_)) return;
  if (WIFEXITED(*status_) && WEXITSTATUS(*status_) == 0 && last_ == kFits) return done({});
  if (late_) return done(refuse("the check did not end within 10 s"));
  if (WIFEXITED(*status_) && !last_.empty() && last_ != kFits) return done(refuse(last_));
  done(refuse("the check ended with " + describe_exit(*status_) + " and did not say that all is well"));
}

void Check::done(Result<void> result) {
  if (std::exchange(done_, true)) return;
  deadline_.cancel();
  // Without `this`: whoever is told may be done with us.
  loop_.post([on_done = std::move(on_done_), result = std::move(result)] { on_done(result); });
}

}  // namespace romancy::supervisor
