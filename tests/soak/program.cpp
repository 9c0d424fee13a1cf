#include "tests/soak/program.hpp"

#include <algorithm>
#include <utility>

namespace romancy::soak {

std::uint64_t Random::next() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

namespace {

constexpr int kDepth = 3;

// Each step's path: its place in the tree. Children count anew: they are instances of their own.
void number(Json& steps, const std::string& prefix) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Json& step = steps[i];
    const std::string path = prefix + std::to_string(i);
    step["p"] = path;
    if (step.contains("of")) {
      for (std::size_t j = 0; j < step["of"].size(); ++j) number(step["of"][j], path + "." + std::to_string(j) + ".");
    }
    if (step.contains("steps")) number(step["steps"], "");
  }
}

Json step(const char* kind, Json with = Json::object()) {
  with["k"] = kind;
  return with;
}

class Maker {
 public:
  Maker(std::uint64_t seed, int number) : random_(seed * 1'000'003 + static_cast<std::uint64_t>(number) * 7919) {
    random_.next();
    made_.number = number;
    made_.id = "p" + std::to_string(number);
  }

  Program make() {
    const int family = random_.below(100);
    if (family < 30) solo();
    else if (family < 36) limited();
    else if (family < 42) deploy();
    else if (family < 52) mail();
    else if (family < 62) audience(false);
    else if (family < 72) audience(true);
    else if (family < 84) competing();
    else if (family < 87) schedule();
    else if (family < 93) lives();
    else if (family < 96) hurried();
    else two();
    return std::move(made_);
  }

 private:
  std::string name(const std::string& what) { return made_.id + "." + what; }
  std::string fresh(const std::string& what) { return name(what + std::to_string(++names_)); }

  // A braced list, because its elements are drawn in the order in which they are written; arguments are not.
  void act(Action action) { made_.actions.push_back(std::move(action)); }

  std::string key() { return "key " + std::to_string(random_.below(3)); }

  // Registers the actor and all children in its steps, and starts it unless it is one.
  void enter(Actor actor) {
    if (!actor.child) {
      number(actor.steps, "");
      Json with{{"id", actor.id}, {"workflow", actor.workflow}, {"queue", actor.queue}, {"input", {{"steps", actor.steps}}}};
      if (random_.chance(25)) with["priority"] = random_.between(-4, 4);
      if (random_.chance(actor.queue == "default" ? 25 : 70)) with["key"] = key();
      if (random_.chance(15)) with["by_client"] = true;
      act({"start", with, random_.below(100)});
    }
    made_.actors.push_back(actor);
    children_of(actor, actor.steps, !actor.optional && !actor.cancellable);
  }
  void children_of(const Actor& parent, const Json& steps, bool certain) {
    for (const Json& one : steps) {
      const std::string kind = one.at("k");
      const bool inside = certain && (kind == "all" || kind == "shield");
      if (one.contains("of")) {
        for (const Json& list : one.at("of")) children_of(parent, list, inside);
      }
      if (one.contains("refused")) continue;
      if (kind == "child") {
        const std::string how = one.at("how");
        const bool follows = one.value("follows", true) && how != "detached";
        Actor child{.id = one.at("id"), .steps = one.at("steps")};
        child.child = true;
        child.parent = parent.id;
        child.optional = !certain;
        child.must_cancel = how == "cancel";
        child.cancellable = how == "cancel" || (follows && (!certain || how == "forget"));
        enter(std::move(child));
      } else if (kind == "fan") {
        for (int i = 0; i < one.at("width").get<int>(); ++i) {
          Actor child{.id = one.at("id").get<std::string>() + "-" + std::to_string(i), .steps = one.at("steps")};
          child.child = true;
          child.parent = parent.id;
          child.optional = child.cancellable = !certain;
          enter(std::move(child));
        }
      }
    }
  }

  // ---- steps -------------------------------------------------------------------------------------------------------------

  Json activity() {
    static const char* const kVia[] = {"plain", "plain", "tx", "txs", "queue", "sql", "async"};
    Json one{{"via", kVia[random_.below(7)]}, {"n", random_.below(1000)}};
    if (random_.chance(30)) one["fail"] = random_.between(1, 2);
    const int special = random_.below(100);
    if (special < 8) one["end"] = "terminal";
    else if (special < 12) one["via"] = "brittle";
    else if (special < 15) one["via"] = "slow";
    if (one["via"] == "async") one["ms"] = random_.between(1, 60);
    return step("act", one);
  }
  Json pause() {
    const int ms = random_.chance(10) ? random_.between(500, 2500) : random_.between(5, 200);
    return step("sleep", {{"ms", ms}, {"until", random_.chance(25)}});
  }
  Json list(int depth, int most = 3) {
    Json steps = Json::array();
    for (int n = random_.between(1, most); n > 0; --n) some(steps, depth);
    return steps;
  }
  Json child(int depth) {
    static const char* const kHow[] = {"await", "await", "result", "forget", "cancel", "talk", "detached"};
    const std::string how = kHow[random_.below(7)];
    Json one{{"how", how}, {"id", fresh("c")}, {"ms", random_.between(1, 80)}};
    if (random_.chance(6)) {
      one["how"] = "await";
      one["id"] = self_;
      one["refused"] = true;
      one["steps"] = Json::array();
      return step("child", one);
    }
    const std::string before = std::exchange(self_, one["id"].get<std::string>());
    one["steps"] = list(depth + 1);
    self_ = before;
    if (random_.chance(25)) one["priority"] = random_.between(-4, 4);
    if (random_.chance(25)) one["key"] = key();
    if (how == "forget") one["follows"] = random_.chance(50);
    if (how == "cancel") one["steps"].push_back(step("never"));
    else if (how == "talk") one["steps"].push_back(step("recv", {{"ch", "talk"}, {"count", 1}, {"expect", {0}}}));
    else if (random_.chance(12)) one["steps"].push_back(step("fail"));
    return step("child", one);
  }

  void some(Json& steps, int depth) {
    const int what = random_.below(100);
    const bool deep = depth < kDepth;
    if (what < 38 || (what >= 71 && !deep)) steps.push_back(activity());
    else if (what < 49) steps.push_back(pause());
    else if (what < 54) steps.push_back(step("pure"));
    else if (what < 61) steps.push_back(step("event"));
    else if (what < 67) {
      const std::string channel = fresh("self");
      const int count = random_.between(1, 4);
      Json expect = Json::array();
      for (int i = 0; i < count; ++i) expect.push_back(i);
      steps.push_back(step("pub", {{"ch", channel}, {"count", count}, {"to", self_}}));
      steps.push_back(step("recv", {{"ch", channel}, {"count", count}, {"expect", expect}}));
    } else if (what < 71) {
      steps.push_back(step("recvfor", {{"ch", fresh("none")}, {"ms", random_.between(1, 100)}}));
    } else if (what < 77) {
      Json of = Json::array();
      for (int n = random_.between(2, 4); n > 0; --n) of.push_back(list(depth + 1, 2));
      steps.push_back(step("all", {{"of", of}}));
    } else if (what < 82) {
      Json of = Json::array({list(depth + 1, 2), list(depth + 1, 2)});
      steps.push_back(step("any", {{"of", of}}));
    } else if (what < 86) {
      Json of = Json::array();
      const int n = random_.between(2, 4);
      for (int i = 0; i < n; ++i) of.push_back(list(depth + 1, 2));
      steps.push_back(step("race", {{"of", of}, {"take", random_.between(1, n)}}));
    } else if (what < 90) {
      Json inner = list(depth + 1, 2);
      if (random_.chance(50)) inner.push_back(step("guard", {{"of", Json::array({list(kDepth, 2)})}}));
      else inner.push_back(step("never"));
      steps.push_back(step("scope", {{"of", Json::array({inner})}, {"ms", random_.between(1, 150)}}));
    } else if (what < 92) {
      steps.push_back(step("shield", {{"of", Json::array({list(depth + 1, 2)})}}));
    } else if (what < 99) {
      steps.push_back(child(depth));
    } else {
      Json inner = Json::array({step("act", {{"via", "tx"}, {"n", 1}})});
      steps.push_back(step("fan", {{"id", fresh("f")}, {"width", random_.between(5, 25)}, {"steps", inner}}));
    }
  }

  // ---- families -----------------------------------------------------------------------------------------------------------

  void solo() {
    made_.kind = "solo";
    Actor main{.id = self_ = name("main"), .steps = Json::array()};
    const int length = random_.between(3, 8);
    const bool saga = random_.chance(35);
    const bool again = !saga && random_.chance(25);
    for (int i = 0; i < length; ++i) {
      some(main.steps, 0);
      if (saga && random_.chance(50)) main.steps.push_back(step("comp", {{"fail", random_.chance(30) ? 1 : 0}}));
      if (again && random_.chance(35)) main.steps.push_back(step("recur"));
    }
    if (saga) {
      if (random_.chance(15)) main.steps.push_back(step("forget"));
      if (random_.chance(12)) main.steps.push_back(step("comp", {{"never", true}}));
      main.steps.push_back(step("comp"));
      if (random_.chance(75)) main.steps.push_back(step("fail"));
    } else if (random_.chance(10)) {
      main.steps.push_back(step("guard", {{"of", Json::array({list(kDepth, 2)})}}));
      main.cancellable = true;
    }
    const bool guarded = main.cancellable;
    if (random_.chance(30)) main.cancellable = true;
    const bool cancelled = main.cancellable;
    enter(std::move(main));
    if (random_.chance(12)) {
      made_.actions.back().with["at_ms"] = random_.between(100, 2500);
      made_.actions.back().with.erase("by_client");
    }
    if (cancelled) act({"cancel", {{"id", name("main")}}, guarded ? random_.between(1500, 3000) : random_.between(10, 2000)});
    if (random_.chance(20)) act({"wait", {{"id", name("main")}}});
  }

  // Several in a queue whose limits are changed, and which is paused, while they run. All programs share the two queues.
  void limited() {
    const bool rate = random_.chance(40);
    made_.kind = rate ? "queue with a rate" : "queue with limits";
    const std::string queue = rate ? "soak-rate" : "soak-limit";
    const int count = random_.between(3, 9);
    for (int i = 0; i < count; ++i) {
      Actor one{.id = self_ = name("q" + std::to_string(i)), .steps = list(1, 3), .workflow = rate ? "soak_rated" : "soak_limited", .queue = queue};
      if (random_.chance(25)) one.steps.push_back(step("recur"));
      if (random_.chance(50)) some(one.steps, 1);
      enter(std::move(one));
      if (random_.chance(12)) {
        Json limits{{"queue", queue}};
        if (rate) limits["rate"] = random_.between(20, 80);
        else if (random_.chance(80)) limits["concurrency"] = random_.between(1, 5);
        if (!rate && random_.chance(60)) limits["key_concurrency"] = random_.between(1, 2);
        if (random_.chance(15)) act({"remove_queue", {{"queue", queue}}});
        act({"set_queue", limits});
      }
    }
    if (random_.chance(50)) {
      act({"pause_queue", {{"queue", queue}}, random_.below(200)});
      act({"resume_queue", {{"queue", queue}}, random_.between(50, 1000)});
    }
  }

  // Instances that begin while a version drains, and some that are moved to the other.
  void deploy() {
    made_.kind = "deploy";
    const int count = random_.between(3, 6);
    const std::string old = random_.chance(50) ? "1" : "2";
    for (int i = 0; i < count; ++i) {
      Actor one{.id = self_ = name("d" + std::to_string(i)), .steps = Json::array()};
      for (int generations = random_.between(1, 3); generations > 0; --generations) {
        one.steps.push_back(step("act", {{"via", "tx"}, {"n", 1}}));
        some(one.steps, 1);
        one.steps.push_back(step("act", {{"via", "txs"}, {"n", 2}}));
        if (generations > 1) one.steps.push_back(step("recur"));
      }
      enter(std::move(one));
      if (i == count / 2) act({"drain_version", {{"version", old}}});
    }
    if (random_.chance(50)) act({"move", {{"id", name("d" + std::to_string(random_.below(count)))}, {"version", random_.chance(50) ? "1" : "2"}}});
    act({"resume_version", {{"version", old}}, random_.between(50, 1000)});
  }

  Json isolation() {
    static const char* const kLevels[] = {"READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};
    return kLevels[random_.below(4)];
  }
  static Json first(int count) {
    Json all = Json::array();
    for (int i = 0; i < count; ++i) all.push_back(i);
    return all;
  }

  // One reads what several, and clients, send it; in order from each, whatever comes between.
  void mail() {
    made_.kind = "mail";
    const int senders = random_.between(1, 3);
    Actor main{.id = self_ = name("main"), .steps = Json::array()};
    some(main.steps, 1);
    for (int i = 0; i < senders; ++i) {
      const int count = random_.between(1, 6);
      const std::string channel = "from " + std::to_string(i);
      if (random_.chance(30)) {
        main.steps.push_back(step("recvfor", {{"ch", channel}, {"ms", random_.between(1, 300)}, {"then", true}, {"expect", 0}}));
        if (count > 1) {
          Json rest = Json::array();
          for (int j = 1; j < count; ++j) rest.push_back(j);
          main.steps.push_back(step("recv", {{"ch", channel}, {"count", count - 1}, {"expect", rest}}));
        }
      } else {
        main.steps.push_back(step("recv", {{"ch", channel}, {"count", count}, {"expect", first(count)}}));
      }
      if (random_.chance(50)) some(main.steps, 1);
      if (random_.chance(20)) main.steps.push_back(step("recur"));
      counts_.push_back(count);
    }
    const int outside = random_.between(1, 5);
    main.steps.push_back(step("recv", {{"ch", "outside"}, {"count", outside}, {"expect", first(outside)}}));
    enter(std::move(main));
    for (int i = 0; i < senders; ++i) {
      Actor sender{.id = self_ = name("sender" + std::to_string(i)), .steps = Json::array()};
      if (random_.chance(50)) some(sender.steps, 1);
      sender.steps.push_back(step("pub", {{"ch", "from " + std::to_string(i)}, {"count", counts_[static_cast<std::size_t>(i)]}, {"to", name("main")}}));
      enter(std::move(sender));
    }
    const Json level = isolation();
    for (int i = 0; i < outside; ++i) {
      act({"publish", {{"ch", "outside"}, {"to", name("main")}, {"i", i}, {"level", level}, {"rolled_back", random_.chance(20)}, {"hold_ms", random_.chance(15) ? random_.between(10, 400) : 0}},
          random_.below(80)});
    }
  }

  // Several hear one, as subscribers or as members of a group; once they have left they hear nothing.
  void audience(bool group) {
    made_.kind = group ? "group" : "broadcast";
    const int listeners = random_.between(2, 4), count = random_.between(1, 5);
    const std::string channel = fresh("ch"), herd = fresh("herd");
    const bool outside = random_.chance(50);
    Json zeros = Json::array(), ids = Json::array();
    for (int i = 0; i < listeners; ++i) {
      zeros.push_back(0);
      ids.push_back(name("hears" + std::to_string(i)));
    }
    const std::string speaker = name("speaks");
    // It first: what a workflow sends to an instance that is not there is dropped.
    Actor main{.id = self_ = speaker, .steps = Json::array()};
    main.steps.push_back(step("recv", {{"ch", "ready"}, {"count", listeners}, {"expect", zeros}}));
    if (group) main.steps.push_back(step("members", {{"group", herd}, {"ids", ids}}));
    Json say{{"ch", channel}, {"count", count}};
    if (group) say["group"] = herd;
    if (!outside) main.steps.push_back(step("pub", say));
    main.steps.push_back(step("recv", {{"ch", "gone"}, {"count", listeners}, {"expect", zeros}}));
    say["count"] = 1;
    main.steps.push_back(step("pub", say));
    for (const Json& id : ids) main.steps.push_back(step("pub", {{"ch", "end"}, {"count", 1}, {"to", id}}));
    enter(std::move(main));
    for (int i = 0; i < listeners; ++i) {
      Actor one{.id = self_ = name("hears" + std::to_string(i)), .steps = Json::array()};
      if (random_.chance(40)) some(one.steps, 1);
      one.steps.push_back(group ? step("join", {{"group", herd}}) : step("sub", {{"ch", channel}}));
      one.steps.push_back(step("pub", {{"ch", "ready"}, {"count", 1}, {"to", speaker}}));
      if (random_.chance(40)) some(one.steps, 1);
      if (random_.chance(20)) one.steps.push_back(step("recur"));
      one.steps.push_back(step("recv", {{"ch", channel}, {"count", count}, {"expect", first(count)}, {"event", !group && random_.chance(30)}}));
      one.steps.push_back(group ? step("leave", {{"group", herd}}) : step("unsub", {{"ch", channel}}));
      one.steps.push_back(step("pub", {{"ch", "gone"}, {"count", 1}, {"to", speaker}}));
      one.steps.push_back(step("recv", {{"ch", "end"}, {"count", 1}, {"expect", {0}}}));
      one.steps.push_back(step("recvfor", {{"ch", channel}, {"ms", 20}}));
      enter(std::move(one));
    }
    if (outside) {
      act({"until", {{"id", speaker}, {"p", group ? "1" : "0"}}});
      const Json level = isolation();
      for (int i = 0; i < count; ++i) {
        Json with{{"ch", channel}, {"i", i}, {"level", level}, {"rolled_back", random_.chance(20)}, {"hold_ms", random_.chance(15) ? random_.between(10, 400) : 0}};
        if (group) with["group"] = herd;
        act({"publish", with, random_.below(60)});
      }
    }
  }

  // Several take the messages of one channel, each of them once; some are cancelled over it.
  void competing() {
    made_.kind = "competing";
    const int consumers = random_.between(2, 4), steady = random_.between(1, consumers);
    made_.competing = random_.between(3, 12);
    const std::string channel = fresh("ch"), speaker = name("speaks");
    const bool outside = random_.chance(50);
    Json zeros = Json::array();
    for (int i = 0; i < steady; ++i) zeros.push_back(0);
    if (random_.chance(40)) act({"declare", {{"ch", channel}}});
    Json stop = Json::array();
    for (int i = 0; i < consumers; ++i) stop.push_back(name("takes" + std::to_string(i)));
    Actor main{.id = self_ = speaker, .steps = Json::array()};
    main.steps.push_back(step("recv", {{"ch", "ready"}, {"count", steady}, {"expect", zeros}}));
    if (!outside) main.steps.push_back(step("pub", {{"ch", channel}, {"count", made_.competing}}));
    if (random_.chance(40)) some(main.steps, 1);
    main.steps.push_back(step("recv", {{"ch", "ack"}, {"count", made_.competing}, {"expect", first(made_.competing)}, {"any_order", true}}));
    for (const Json& id : stop) main.steps.push_back(step("pub", {{"ch", "stop"}, {"count", 1}, {"to", id}}));
    enter(std::move(main));
    for (int i = 0; i < consumers; ++i) {
      Actor one{.id = self_ = stop[static_cast<std::size_t>(i)].get<std::string>(), .steps = Json::array()};
      one.steps.push_back(step("sub", {{"ch", channel}, {"competing", true}}));
      if (i < steady) one.steps.push_back(step("pub", {{"ch", "ready"}, {"count", 1}, {"to", speaker}}));
      one.steps.push_back(step("consume", {{"ch", channel}, {"stop", "stop"}, {"ack", "ack"}, {"to", speaker}}));
      one.cancellable = i >= steady;
      enter(std::move(one));
    }
    const Json level = isolation();
    if (outside) act({"until", {{"id", speaker}, {"p", "0"}}});
    const int cancels = consumers - steady;
    for (int i = 0; i < std::max(cancels, outside ? made_.competing : 0); ++i) {
      if (outside && i < made_.competing) {
        act({"publish", {{"ch", channel}, {"i", i}, {"level", level}, {"rolled_back", random_.chance(20)}, {"hold_ms", 0}}, random_.below(50)});
      }
      if (i < cancels) act({"cancel", {{"id", name("takes" + std::to_string(steady + i))}}, random_.below(300)});
    }
  }

  void schedule() {
    made_.kind = "schedule";
    made_.schedule = true;
    static const char* const kOverlap[] = {"skip", "allow", "cancel_other", "queue_one"};
    Json steps = Json::array({step("act", {{"via", "tx"}, {"n", 1}}), step("sleep", {{"ms", random_.between(1, 2500)}})});
    number(steps, "");
    const std::string schedule = name("s");
    act({"schedule", {{"name", schedule}, {"input", {{"steps", steps}}}, {"overlap", kOverlap[random_.below(4)]}, {"jitter_ms", random_.chance(50) ? random_.between(1, 900) : 0}, {"cron", random_.chance(20)}}});
    const bool paused = random_.chance(50);
    if (paused) {
      act({"pause", {{"name", schedule}}, random_.between(1000, 3000)});
      act({"resume", {{"name", schedule}}, random_.between(100, 2500)});
    }
    if (random_.chance(50)) act({"trigger", {{"name", schedule}}, random_.between(100, 1500)});
    act({"unschedule", {{"name", schedule}, {"whole", !paused}}, random_.between(2000, 5000)});
    Actor ticks{.id = schedule, .steps = steps};
    made_.actors.push_back(ticks);  // a pattern: each tick is one
  }

  // One id, several lives.
  void lives() {
    made_.kind = "lives";
    const std::string id = name("main");
    const auto life = [&](const std::string& prefix) {
      Json steps = Json::array({step("act", {{"via", "tx"}, {"n", 1}}), step("sleep", {{"ms", random_.between(1, 50)}}), step("act", {{"via", "plain"}, {"n", 2}})});
      if (random_.chance(40)) steps.insert(steps.begin() + 1, step("recur"));
      number(steps, prefix);
      return steps;
    };
    const auto start = [&](const Json& steps, const char* on_finished) {
      act({"start", {{"id", id}, {"workflow", "soak"}, {"input", {{"steps", steps}}}, {"on_finished", on_finished}}, random_.below(100)});
    };
    Json steps = life("a");
    start(steps, "return");
    for (int n = 0; n < random_.between(1, 3); ++n) {
      act({"until", {{"id", id}, {"finished", true}}});
      if (random_.chance(40)) act({"refused", {{"id", id}}});
      if (random_.chance(40)) start(life("never"), "return");
      made_.former.emplace_back(id, steps);
      steps = life(std::string(1, static_cast<char>('b' + n)));
      if (random_.chance(50)) {
        act({"remove", {{"id", id}}});
        start(steps, "refuse");
      } else {
        start(steps, "replace");
      }
    }
    act({"until", {{"id", id}, {"finished", true}}});
    act({"await", {{"id", id}}});
    Actor last{.id = id, .steps = steps};
    made_.actors.push_back(last);
  }

  // Its own time is over before it is.
  void hurried() {
    made_.kind = "hurried";
    Actor main{.id = self_ = name("main"), .steps = Json::array(), .workflow = "soak_hurried"};
    main.steps.push_back(step("comp"));
    main.steps.push_back(step("never"));
    main.optional = false;
    enter(std::move(main));
  }

  // One cancels another.
  void two() {
    made_.kind = "two";
    Actor victim{.id = self_ = name("victim"), .steps = Json::array()};
    some(victim.steps, 1);
    victim.steps.push_back(step("comp"));
    victim.steps.push_back(step("never"));
    victim.cancellable = victim.must_cancel = true;
    enter(std::move(victim));
    Actor main{.id = self_ = name("main"), .steps = Json::array()};
    some(main.steps, 1);
    main.steps.push_back(step("cancel", {{"id", name("victim")}}));
    enter(std::move(main));
  }

  Random random_;
  Program made_;
  std::string self_;
  int names_ = 0;
  std::vector<int> counts_;
};

// ---- the model ------------------------------------------------------------------------------------------------------------

class Checker {
 public:
  Checker(const Program& program, const Facts& facts) : program_(program), facts_(facts) {}

  Verdict run() {
    for (const Actor& actor : program_.actors) {
      if (program_.schedule) ticks(actor);
      else one(actor);
    }
    for (const auto& [id, steps] : program_.former) {
      for (const Json& step : steps) {
        if (step.at("k") == "act") may_write_[{id, step.at("p")}] = {1, 1, step.at("via") == "tx"};
      }
    }
    if (program_.competing >= 0) {
      std::sort(taken_.begin(), taken_.end());
      std::vector<int> all(static_cast<std::size_t>(program_.competing));
      for (int i = 0; i < program_.competing; ++i) all[static_cast<std::size_t>(i)] = i;
      if (taken_ != all) wrong(program_.id + ".speaks", "the consumers got " + Json(taken_).dump() + " of " + std::to_string(program_.competing) + " messages");
    }
    effects();
    versions();
    for (const auto& instance : facts_.instances) {
      const std::string& id = instance.first;
      const bool known = std::any_of(program_.actors.begin(), program_.actors.end(), [&](const Actor& a) { return a.id == id || (program_.schedule && id.starts_with(a.id + "@")); });
      if (!known) wrong(id, "nobody was to start this");
    }
    return std::move(verdict_);
  }

 private:
  struct Range {
    int low, high;
    bool ledger;
  };
  void wrong(const std::string& id, const std::string& what) { verdict_.violations.emplace_back(id, what); }
  void cover(const std::string& kind) { ++verdict_.covered[kind]; }

  void ticks(const Actor& pattern) {
    for (const auto& [id, instance] : facts_.instances) {
      Actor tick = pattern;
      tick.id = id;
      tick.cancellable = true;
      one(tick);
    }
  }

  void one(const Actor& actor) {
    const auto found = facts_.instances.find(actor.id);
    if (found == facts_.instances.end()) {
      if (!actor.optional) wrong(actor.id, "was never started");
      return;
    }
    const Facts::Instance& is = found->second;
    self_ = actor.id;
    stoppable_ = actor.cancellable;
    log_ = is.progress.is_object() ? is.progress.value("log", Json::object()) : Json::object();
    if (actor.child) cover("a child " + is.status);
    const bool fails = std::any_of(actor.steps.begin(), actor.steps.end(), [](const Json& s) { return s.at("k") == "fail"; });
    const bool late = actor.workflow == "soak_hurried";
    bool fits = false;
    if (is.status == "completed") fits = !fails && !late && !actor.must_cancel;
    else if (is.status == "failed") fits = (late && is.error_type == "WorkflowTimedOut") || (fails && is.error_type == "Planned");
    else if (is.status == "cancelled") fits = actor.cancellable;
    if (!fits) wrong(actor.id, "ended as " + is.status + " " + is.error_type);
    if (is.status == "completed" && (!is.output.is_object() || is.output.value("log", Json()) != log_)) {
      wrong(actor.id, "its output is not what its status value said");
    }
    if (is.status == "completed" && log_.size() < actor.steps.size()) wrong(actor.id, "completed with " + std::to_string(log_.size()) + " outcomes");
    list(actor.steps, is.status == "completed");
    saga(actor, is.status != "completed");
    cover("ended as " + is.status + (late ? " in time" : ""));
  }

  void list(const Json& steps, bool must) {
    bool blocked = false;
    for (const Json& step : steps) {
      const std::string path = step.at("p");
      const auto outcome = log_.find(path);
      if (blocked) {
        if (outcome != log_.end()) wrong(self_, "step " + path + " was done, and one before it was not");
        continue;  // none of its effects may be: they are in no range
      }
      const bool partial = outcome == log_.end() || (outcome->is_object() && outcome->contains("got") && step.at("k") != "recvfor" && !outcome->value("done", false));
      if (partial) {
        if (must && step.at("k") != "fail") wrong(self_, "step " + path + " was left out");
        blocked = true;
      }
      inspect(step, outcome == log_.end() ? Json() : *outcome, partial);
    }
  }

  void branches(const Json& step, bool must) {
    for (const Json& of : step.at("of")) list(of, must);
  }

  void expect(bool fact, const Json& step, const Json& outcome, const std::string& what) {
    if (!fact) wrong(self_, "step " + step.at("p").get<std::string>() + " (" + step.at("k").get<std::string>() + "): " + what + ": " + outcome.dump());
  }

  // One step; partial: it had begun at most.
  void inspect(const Json& step, const Json& outcome, bool partial) {
    const std::string kind = step.at("k"), path = step.at("p");
    if (!partial) cover(kind);
    if (kind == "act") activity(step, outcome, partial);
    else if (kind == "sleep") {
      if (!partial) expect(outcome.at("us").get<std::int64_t>() >= step.at("ms").get<std::int64_t>() * 1000, step, outcome, "woke early");
    } else if (kind == "all" || kind == "shield" || kind == "guard") branches(step, !partial);
    else if (kind == "any" || kind == "race") {
      const Json won = partial ? Json::array() : outcome.at("won");
      if (!partial) expect(static_cast<int>(won.size()) == step.value("take", 1), step, outcome, "another number of winners");
      for (std::size_t i = 0; i < step.at("of").size(); ++i) {
        list(step.at("of")[i], std::find(won.begin(), won.end(), Json(i)) != won.end());
      }
    } else if (kind == "scope") {
      const Json& inner = step.at("of")[0];
      const bool guarded = inner.back().at("k") == "guard", before = std::exchange(stoppable_, true);
      list(inner, false);
      stoppable_ = before;
      if (!partial) {
        // Cancelled before it came to the guard, it has no clean-up to do.
        const bool cleaned = log_.contains(inner.back().at("p").get<std::string>());
        expect(outcome.at("cancelled").get<bool>() == !(guarded && cleaned), step, outcome, "cancelled or not");
        if (guarded && cleaned) cover("cleaned up in a shield");
      }
    } else if (kind == "recv") received(step, outcome, partial);
    else if (kind == "recvfor") {
      if (!partial) {
        expect(outcome.at("got") == step.value("expect", Json()), step, outcome, "another message");
        cover(outcome.at("in_time").get<bool>() ? "received in time" : "receive timed out");
      }
    } else if (kind == "consume") {
      if (outcome.is_object()) {
        for (const Json& i : outcome.at("got")) taken_.push_back(i.get<int>());
        if (partial) cover("consumer cancelled");
      }
    } else if (kind == "child") child(step, outcome, partial);
    else if (kind == "fan") {
      if (!partial) expect(outcome.at("ok") == step.at("width"), step, outcome, "another number of children");
    } else if (kind == "pure") {
      may_write_[{self_, path}] = {partial ? 0 : 1, 1, true};
      if (!partial) {
        const auto row = facts_.effects.find({self_, path});
        expect(outcome.at("bytes") == 2, step, outcome, "other bytes");
        expect(row != facts_.effects.end() && row->second.note == outcome.at("said").get<std::string>(), step, outcome, "a replay said something else");
        const bool patched = outcome.at("patched");
        expect(patched == facts_.patched.contains({self_, outcome.at("generation").get<int>()}), step, outcome, "patched() and history disagree");
        cover(patched ? "patched" : "not patched: died before");
      }
    } else if (kind == "members") {
      if (!partial) expect(outcome.at("ids") == step.at("ids"), step, outcome, "other members");
    } else if (kind == "event") {
      verdict_.events_allowed.insert(self_ + " " + path);
      if (!partial) verdict_.events.insert(self_ + " " + path);
    }
  }

  void activity(const Json& step, const Json& outcome, bool partial) {
    const std::string via = step.at("via"), end = via == "brittle" || via == "slow" ? via : step.value("end", "ok");
    const bool writes = end == "ok" && via != "async";
    const bool ok = !partial && outcome.contains("ok");
    if (writes) may_write_[{self_, step.at("p")}] = {ok ? 1 : 0, 1, via == "tx" || via == "txs" || via == "sql"};
    if (partial) return;
    cover("act " + via + (via == end || end == "ok" ? "" : " " + end));
    if (step.value("fail", 0) > 0) cover("act retried");
    const auto row = facts_.effects.find({self_, step.at("p")});
    if (via == "queue" && row != facts_.effects.end() && row->second.note == "details") cover("details of an attempt before");
    if (end == "ok" && ok) return expect(outcome.at("ok") == step.at("n").get<std::int64_t>() * 7 + 1, step, outcome, "another result");
    const std::string error = outcome.value("error", "");
    const std::string planned = end == "terminal" ? "Refused" : end == "brittle" ? "std::runtime_error" : end == "slow" ? "AttemptTimedOut" : "";
    // Cancelled while it ran, it may have been stopped, or have failed with another attempt not made.
    static const std::set<std::string> kStopped{"Stopped", "std::runtime_error", "SqlError", "AttemptTimedOut", "HeartbeatTimedOut", "Released"};
    const bool stopped = stoppable_ && kStopped.contains(error);
    expect(!error.empty() && (error == planned || stopped), step, outcome, "another end");
  }

  void received(const Json& step, const Json& outcome, bool partial) {
    if (!outcome.is_object()) return;
    std::vector<int> got = outcome.at("got").get<std::vector<int>>(), all = step.at("expect").get<std::vector<int>>();
    if (step.value("any_order", false)) {
      if (partial) return;
      std::sort(got.begin(), got.end());
    } else if (partial) {
      all.resize(std::min(all.size(), got.size()));
    }
    expect(got == all, step, outcome, "not the messages that were sent, in their order");
  }

  void child(const Json& step, const Json& outcome, bool partial) {
    if (partial) return;
    const std::string how = step.at("how"), error = outcome.value("error", "");
    if (step.contains("refused")) {
      cover("child refused");
      return expect(error == "ChildRefused", step, outcome, "not refused");
    }
    cover("child " + how);
    if (step.contains("priority")) cover("child with a priority");
    if (step.contains("key")) cover("child with a key");
    const auto found = facts_.instances.find(step.at("id").get<std::string>());
    if (found == facts_.instances.end()) return expect(false, step, outcome, "the child was never started");
    if (outcome.contains("started")) return;
    const Facts::Instance& is = found->second;
    const bool same = (outcome.contains("ok") && is.status == "completed" && outcome.at("ok") == is.output.at("log").size()) ||
                      (error == "WorkflowCancelled" && is.status == "cancelled") || (error == is.error_type && is.status == "failed");
    expect(same, step, outcome, "the child ended as " + is.status + " " + is.error_type);
    if (how == "cancel") expect(error == "WorkflowCancelled", step, outcome, "not cancelled");
  }

  // Compensations: all that were registered and not forgotten, newest first, if it did not complete.
  void saga(const Actor& actor, bool undone) {
    std::vector<std::string> registered;
    bool given_up = false;
    for (const Json& step : actor.steps) {
      if (!log_.contains(step.at("p").get<std::string>())) break;
      if (step.at("k") == "forget") registered.clear(), given_up = false;
      if (step.at("k") != "comp") continue;
      if (step.value("never", false)) given_up = true;
      else registered.push_back(step.at("p").get<std::string>() + "~undo");
    }
    if (!undone) return;
    if (given_up) cover("compensation given up");
    if (!registered.empty()) cover("compensated");
    std::int64_t before = 0;
    for (auto path = registered.rbegin(); path != registered.rend(); ++path) {
      may_write_[{self_, *path}] = {1, 1, true};
      const auto row = facts_.effects.find({self_, *path});
      if (row == facts_.effects.end()) continue;  // effects() says so
      if (row->second.order < before) wrong(self_, "compensation " + *path + " came out of order");
      before = row->second.order;
    }
  }

  void effects() {
    for (const auto& [where, range] : may_write_) {
      const auto row = facts_.effects.find(where);
      const int times = row == facts_.effects.end() ? 0 : row->second.times;
      if (times < range.low || times > range.high) {
        wrong(where.first, "effect " + where.second + " is there " + std::to_string(times) + " times, not " + std::to_string(range.low) + " to " + std::to_string(range.high));
      }
      if (times > 0 && row->second.ledger != range.ledger) wrong(where.first, "effect " + where.second + " is in the wrong table");
    }
    for (const auto& [where, row] : facts_.effects) {
      if (!may_write_.contains(where)) wrong(where.first, "effect " + where.second + " should not be there");
    }
  }

  // What one generation wrote together with its own record, workers of one version wrote: that to which it is pinned.
  void versions() {
    std::map<std::string, std::set<std::string>> of_instance;
    for (const auto& [generation, made_by] : facts_.made_by) {
      const auto& [id, number] = generation;
      of_instance[id].insert(made_by.begin(), made_by.end());
      if (facts_.moved.contains(id)) continue;
      std::string all;
      for (const std::string& version : made_by) all += " " + version;
      if (made_by.size() > 1) wrong(id, "generation " + number + " was made by versions" + all);
      const auto found = facts_.instances.find(id);
      if (found != facts_.instances.end() && std::to_string(found->second.generation) == number && !made_by.contains(found->second.version)) {
        wrong(id, "generation " + number + " is pinned to version " + found->second.version + " and was made by" + all);
      }
    }
    for (const auto& [id, versions] : of_instance) {
      for (const std::string& version : versions) cover("by version " + version);
      if (versions.size() > 1) cover(facts_.moved.contains(id) ? "moved, and by both versions" : "generations by both versions");
    }
  }

  const Program& program_;
  const Facts& facts_;
  Verdict verdict_;
  std::map<std::pair<std::string, std::string>, Range> may_write_;
  std::vector<int> taken_;
  std::string self_;
  bool stoppable_ = false;  // what runs may be asked to stop, and end in another way than was planned
  Json log_;
};

}  // namespace

Json Program::text() const {
  Json all{{"program", id}, {"kind", kind}, {"actors", Json::array()}, {"actions", Json::array()}};
  for (const Actor& actor : actors) all["actors"].push_back({{"id", actor.id}, {"steps", actor.steps}, {"cancellable", actor.cancellable}});
  for (const Action& action : actions) {
    Json with = action.with;
    if (action.what == "start") with.erase("input");
    all["actions"].push_back({{"what", action.what}, {"after_ms", action.after_ms}, {"with", with}});
  }
  return all;
}

Program make_program(std::uint64_t seed, int number) { return Maker(seed, number).make(); }
Verdict check(const Program& program, const Facts& facts) { return Checker(program, facts).run(); }

const std::vector<std::string>& all_kinds() {
  static const std::vector<std::string> kAll{
      "act plain", "act tx", "act txs", "act queue", "act sql", "act async", "act brittle", "act slow", "act retried", "act plain terminal",
      "act tx terminal", "act txs terminal", "act queue terminal", "act sql terminal", "act async terminal",
      "sleep", "all", "any", "race", "scope", "shield", "guard", "cleaned up in a shield", "pure", "patched", "event", "recv", "recvfor",
      "received in time", "receive timed out", "pub", "sub", "unsub", "join", "leave", "members", "consume", "consumer cancelled",
      "child await", "child result", "child forget", "child cancel", "child talk", "child detached", "child refused", "fan",
      "a child completed", "a child failed", "a child cancelled", "comp", "forget", "compensated", "compensation given up", "recur", "cancel",
      "ended as completed", "ended as failed", "ended as cancelled", "ended as failed in time",
      "ticks", "removed by id", "compensations tried again", "client: start", "client: start, refuse", "client: start, replace",
      "client: start, return", "client: start_at", "client: refused", "client: remove", "client: await", "client: publish", "client: cancel",
      "client: declare", "client: schedule", "client: pause", "client: resume", "client: trigger", "client: unschedule",
      "client: wait", "client: start, by client.hpp", "client: start, with a priority", "client: start, with a key", "client: set_queue",
      "client: pause_queue", "client: resume_queue", "client: remove_queue", "client: drain_version", "client: resume_version", "client: move",
      "program: queue with limits", "program: queue with a rate", "by version 1", "by version 2", "generations by both versions",
      "details of an attempt before", "child with a priority", "child with a key", "client: under an old snapshot", "client: rolled back", "client: a transaction held open"};
  return kAll;
}

}  // namespace romancy::soak
