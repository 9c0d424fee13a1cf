#include "common/pg/connect.hpp"

#include "common/io/alarm.hpp"
#include "common/io/resolve.hpp"
#include "common/io/watch.hpp"
#include "common/pg/answer.hpp"
#include "common/pg/settings.hpp"

namespace romancy::pg {

struct Connect::State : std::enable_shared_from_this<Connect::State> {
  io::Loop& loop;
  std::chrono::milliseconds timeout;
  Done done;
  Result<std::vector<Target>> hosts;
  std::size_t host = 0;     // the one being tried
  io::Addresses addresses;  // of its name, if that had to be looked up
  std::size_t address = 0;
  std::unique_ptr<io::Resolve> lookup;
  PgConn pg;
  std::unique_ptr<io::Watch> watch;  // on pg's socket: goes before pg
  io::Alarm deadline;
  std::optional<Error> failures;  // what the hosts before said
  bool over = false;

  State(io::Loop& on, const ConnOptions& options, Done call)
      : loop(on),
        timeout(options.connect_timeout),
        done(std::move(call)),
        hosts(targets(options)),
        deadline(on, [this] { out_of_time(); }) {}

  void finish(Result<PgConn> result) {
    const auto self = shared_from_this();  // done may destroy the Connect
    over = true;
    deadline.cancel();
    done(std::move(result));
  }

  [[nodiscard]] const Target& target() const { return (*hosts)[host]; }

  void start_host() {
    if (over) return;
    if (!hosts) return finish(tl::unexpected(hosts.error()));
    addresses.clear();
    address = 0;
    if (target().name.empty()) return start_address();
    deadline.set_in(timeout);
    lookup = std::make_unique<io::Resolve>(loop, target().name, [this](Result<io::Addresses> found) {
      const auto self = shared_from_this();
      lookup.reset();
      if (!found) return fail(std::move(found.error()));
      addresses = std::move(*found);
      start_address();
    });
  }

  void start_address() {
    if (over) return;
    pg = start(addresses.empty() ? target().keywords : target().at(addresses[address]));
    if (!pg) return finish(try_again("connect: out of memory"));
    if (PQstatus(pg.get()) == CONNECTION_BAD) return fail(connection_error(pg.get()));
    deadline.set_in(timeout);
    wait_for(false, true);  // "as if PQconnectPoll had last returned PGRES_POLLING_WRITING", says the manual
  }

  void out_of_time() {
    std::string who = target().said();
    if (!addresses.empty()) who += " (" + addresses[address] + ")";
    const std::string within = " within " + std::to_string(timeout.count()) + " ms";
    fail({ErrorKind::retry, who + (lookup ? ": the name was not looked up" : ": no answer") + within, {}});
  }

  // A fresh Watch each time: libpq may have closed the socket and made another one, even under the same number.
  void wait_for(bool readable, bool writable) {
    watch = std::make_unique<io::Watch>(loop, PQsocket(pg.get()), [this](bool, bool) { step(); });
    watch->want(readable, writable);
  }

  void step() {
    const auto self = shared_from_this();
    watch.reset();  // before PQconnectPoll can close what it watches
    switch (PQconnectPoll(pg.get())) {
      case PGRES_POLLING_READING: return wait_for(true, false);
      case PGRES_POLLING_WRITING: return wait_for(false, true);
      case PGRES_POLLING_OK: return finish(std::move(pg));
      case PGRES_POLLING_FAILED:
      case PGRES_POLLING_ACTIVE: return fail(connection_error(pg.get()));
    }
  }

  void fail(Error error) {
    watch.reset();
    lookup.reset();
    deadline.cancel();
    add_failure(failures, std::move(error));
    pg.reset();
    if (address + 1 < addresses.size()) {
      ++address;
      return loop.at_turn_end([self = shared_from_this()] { self->start_address(); });
    }
    if (++host < hosts->size()) return start_later();
    finish(tl::unexpected(std::move(*failures).within("connect")));
  }

  void start_later() {
    loop.at_turn_end([self = shared_from_this()] { self->start_host(); });
  }
};

Connect::Connect(io::Loop& loop, const ConnOptions& options, Done done)
    : state_(std::make_shared<State>(loop, options, std::move(done))) {
  state_->start_later();
}

Connect::~Connect() {
  state_->over = true;
  state_->lookup.reset();
  state_->watch.reset();
  state_->deadline.cancel();
  state_->pg.reset();
}

}  // namespace romancy::pg
