#include "listener/session_step.hpp"

namespace romancy::listener {
namespace {

// from         event               to           effect
// Stopped      StartAsked          Connecting   connect
// Connecting   Up                  Subscribing  listen
// Connecting   Down                Backoff      give_up     (pg::Conn bounds the time of a connect)
// Subscribing  Listening           Subscribing  prove       (a pooler may say yes to LISTEN and never deliver)
// Subscribing  Hint                Subscribing  none        (the resync on entering Live covers it)
// Subscribing  Proved              Live         announce
// Subscribing  Failed Down Overdue Backoff      give_up
// Live         Due                 Live         prove
// Live         Proved              Live         rest
// Live         Hint                Live         deliver
// Live         Failed Down Overdue Backoff      give_up
// Backoff      Due                 Connecting   connect
// any but Stopped  StopAsked       Stopped      close
// any but Stopped  StartAsked      (stays)      none        (it runs already)
// Stopped, Backoff: everything else is about a connection that is given up: none. Elsewhere it cannot happen: abort.
using enum SessionState;
using Event = SessionEvent;
using Effect = SessionEffect;

SessionTransition stopped(Event event) {
  return event == Event::StartAsked ? SessionTransition{Connecting, Effect::connect}
                                    : SessionTransition{Stopped, Effect::none};
}

SessionTransition connecting(Event event) {
  switch (event) {
    case Event::Up: return {Subscribing, Effect::listen};
    case Event::Down: return {Backoff, Effect::give_up};
    case Event::StopAsked: return {Stopped, Effect::close};
    case Event::StartAsked: return {Connecting, Effect::none};
    case Event::Listening:
    case Event::Proved:
    case Event::Hint:
    case Event::Failed:
    case Event::Overdue:
    case Event::Due: break;
  }
  return {Connecting, Effect::abort};
}

SessionTransition subscribing(Event event) {
  switch (event) {
    case Event::Listening: return {Subscribing, Effect::prove};
    case Event::Proved: return {Live, Effect::announce};
    case Event::Failed:
    case Event::Down:
    case Event::Overdue: return {Backoff, Effect::give_up};
    case Event::StopAsked: return {Stopped, Effect::close};
    case Event::StartAsked:
    case Event::Hint: return {Subscribing, Effect::none};
    case Event::Up:
    case Event::Due: break;
  }
  return {Subscribing, Effect::abort};
}

SessionTransition live(Event event) {
  switch (event) {
    case Event::Due: return {Live, Effect::prove};
    case Event::Proved: return {Live, Effect::rest};
    case Event::Hint: return {Live, Effect::deliver};
    case Event::Failed:
    case Event::Down:
    case Event::Overdue: return {Backoff, Effect::give_up};
    case Event::StopAsked: return {Stopped, Effect::close};
    case Event::StartAsked: return {Live, Effect::none};
    case Event::Up:
    case Event::Listening: break;
  }
  return {Live, Effect::abort};
}

SessionTransition backoff(Event event) {
  if (event == Event::Due) return {Connecting, Effect::connect};
  if (event == Event::StopAsked) return {Stopped, Effect::close};
  return {Backoff, Effect::none};
}

}  // namespace

SessionTransition step(SessionState from, SessionEvent event) {
  switch (from) {
    case Stopped: return stopped(event);
    case Connecting: return connecting(event);
    case Subscribing: return subscribing(event);
    case Live: return live(event);
    case Backoff: return backoff(event);
  }
  return {from, Effect::abort};
}

std::string_view name_of(SessionState state) {
  switch (state) {
    case Stopped: return "Stopped";
    case Connecting: return "Connecting";
    case Subscribing: return "Subscribing";
    case Live: return "Live";
    case Backoff: return "Backoff";
  }
  return "?";
}

}  // namespace romancy::listener
