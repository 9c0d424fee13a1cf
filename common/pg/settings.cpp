#include "common/pg/settings.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "common/pg/answer.hpp"

namespace romancy::pg {
namespace {

using Settings = std::map<std::string, std::string>;

// In `options` words end at white space, and a backslash takes the meaning from the next character.
void add_option(std::string& options, std::string_view name, std::string_view value) {
  (options += " -c ") += name;
  options += '=';
  for (const char c : value) {
    if (c == '\\' || c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f') options += '\\';
    options += c;
  }
}

std::string quoted_identifier(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  quoted += '"';
  return quoted;
}

std::string server_options(const ConnOptions& wanted, std::string given) {
  std::string& options = given;  // the operator's come first: ours win
  // pg_temp last: named nowhere it would be searched first, and a temporary table could stand in for one of ours.
  if (!wanted.schema.empty()) add_option(options, "search_path", quoted_identifier(wanted.schema) + ", pg_temp");
  add_option(options, "TimeZone", "UTC");
  add_option(options, "DateStyle", "ISO, YMD");
  add_option(options, "idle_session_timeout", "0");  // it ends connections that LISTEN (57P05)
  // The server's side of the keepalives: without them it keeps the session of a host that vanished for hours, and
  // with it the session's advisory lock.
  add_option(options, "tcp_keepalives_idle", "10");
  add_option(options, "tcp_keepalives_interval", "5");
  add_option(options, "tcp_keepalives_count", "3");
  add_option(options, "tcp_user_timeout", "15s");
  for (const auto& [name, value] : wanted.set) add_option(options, name, value);
  return options;
}

// As libpq decides it: a text that is neither a URI nor has a '=' is the name of a database.
Result<Settings> parse(const std::string& conninfo) {
  Settings settings;
  const bool uri = conninfo.starts_with("postgresql://") || conninfo.starts_with("postgres://");
  if (!uri && conninfo.find('=') == conninfo.npos) {
    if (!conninfo.empty()) settings["dbname"] = conninfo;
    return settings;
  }
  char* complaint = nullptr;
  PQconninfoOption* parsed = PQconninfoParse(conninfo.c_str(), &complaint);
  PQfreemem(complaint);  // not shown: it quotes the connection string, and that may hold a password
  if (!parsed) return refuse("the connection string is not valid (see the PostgreSQL manual, 34.1.1)");
  for (const auto* option = parsed; option->keyword; ++option)
    if (option->val && *option->val) settings[option->keyword] = option->val;
  PQconninfoFree(parsed);
  return settings;
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  for (auto comma = list.find(','); comma != list.npos; comma = list.find(',', from)) {
    parts.push_back(list.substr(from, comma - from));
    from = comma + 1;
  }
  parts.push_back(list.substr(from));
  return parts;
}

// Where to connect may also stand in the environment or in a service file. libpq looks there itself, but tells what it
// found only of a connection it has begun; and to begin one it would look up names, which blocks. So it is given a
// setting that it refuses, after it has looked there and before it does anything else.
void add_defaults(Settings& settings) {
  Settings with = settings;
  with["ssl_min_protocol_version"] = "none of them";
  std::vector<const char*> names, values;
  for (const auto& [name, value] : with) {
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  const PgConn refused(PQconnectStartParams(names.data(), values.data(), 0));
  PQconninfoOption* found = refused ? PQconninfo(refused.get()) : nullptr;
  for (const auto* option = found; option && option->keyword; ++option) {
    const std::string_view keyword = option->keyword;
    const bool where = keyword == "host" || keyword == "hostaddr" || keyword == "port" || keyword == "target_session_attrs";
    if (where && option->val && *option->val) settings.emplace(keyword, option->val);
  }
  PQconninfoFree(found);
}

// Is it something that has to be looked up? Addresses are not, nor directories of Unix sockets, nor abstract ones.
std::string name_in(const Settings& settings) {
  const auto host = settings.find("host");
  if (settings.contains("hostaddr") || host == settings.end() || host->second.empty()) return {};
  const std::string& text = host->second;
  in_addr four{};
  if (text[0] == '/' || text[0] == '@' || text.find(':') != text.npos || ::inet_pton(AF_INET, text.c_str(), &four) == 1)
    return {};
  return text;
}

Target target_of(const Settings& settings) { return {Keywords(settings.begin(), settings.end()), name_in(settings)}; }

std::vector<Target> one_for_each_host(const Settings& settings) {
  const auto list = [&](const char* key) {
    const auto at = settings.find(key);
    return at == settings.end() ? std::vector<std::string>{} : split(at->second);
  };
  const auto hosts = list("host");
  const auto addresses = list("hostaddr");
  const auto ports = list("port");
  const auto count = std::max(hosts.size(), addresses.size());
  const auto fits = [&](const auto& l) { return l.empty() || l.size() == count; };
  if (!fits(hosts) || !fits(addresses) || !(fits(ports) || ports.size() == 1)) {
    return {{Keywords(settings.begin(), settings.end()), {}}};  // libpq's to refuse, before it looks anything up
  }
  if (count == 0) return {target_of(settings)};
  std::vector<Target> all;
  for (std::size_t i = 0; i < count; ++i) {
    Settings one = settings;
    if (!hosts.empty()) one["host"] = hosts[i];
    if (!addresses.empty()) one["hostaddr"] = addresses[i];
    if (addresses.empty() || addresses[i].empty()) one.erase("hostaddr");
    if (ports.size() == count) one["port"] = ports[i];
    all.push_back(target_of(one));
  }
  return all;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> worker_settings() {
  return {
      {"plan_cache_mode", "force_generic_plan"},
      {"enable_seqscan", "off"},
      // A sequential scan that cannot be avoided is priced at 1e10 then, and would start the compiler: 600 ms a query.
      {"jit", "off"},
      {"default_transaction_isolation", "read committed"},
      // Every transaction of ours is sent whole, with its end: one that idles is stuck, and holds rows of others.
      {"idle_in_transaction_session_timeout", "60s"},
  };
}

Keywords Target::at(const std::string& address) const {
  Keywords with = keywords;
  with.emplace_back("hostaddr", address);
  return with;
}

std::string Target::said() const {
  const auto value = [this](std::string_view key) {
    for (const auto& [keyword, text] : keywords)
      if (keyword == key) return text;
    return std::string();
  };
  const std::string host = value("host");
  return host.empty() ? value("hostaddr") : host;
}

Result<std::vector<Target>> targets(const ConnOptions& options) {
  auto settings = parse(options.conninfo);
  if (!settings) return tl::unexpected(settings.error());
  // The operator's values for these stand.
  settings->erase("connect_timeout");  // ours, because asynchronous libpq does not enforce it
  settings->emplace("keepalives_idle", "10");
  settings->emplace("keepalives_interval", "5");
  settings->emplace("keepalives_count", "3");
  settings->emplace("tcp_user_timeout", "15000");
  // And these are ours.
  (*settings)["client_encoding"] = "UTF8";
  if (!options.application_name.empty()) (*settings)["application_name"] = options.application_name;
  std::string given = (*settings)["options"];
  if (const char* environment = std::getenv("PGOPTIONS"); given.empty() && environment) given = environment;
  (*settings)["options"] = server_options(options, std::move(given));
  add_defaults(*settings);
  const auto wanted = settings->find("target_session_attrs");
  if (wanted == settings->end() || wanted->second != "prefer-standby") return one_for_each_host(*settings);
  // Any standby of the list, and only if there is none, any server.
  wanted->second = "standby";
  auto all = one_for_each_host(*settings);
  wanted->second = "any";
  for (Target& target : one_for_each_host(*settings)) all.push_back(std::move(target));
  return all;
}

PgConn start(const Keywords& keywords) {
  std::vector<const char*> names, values;
  for (const auto& [name, value] : keywords) {
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  PgConn conn(PQconnectStartParams(names.data(), values.data(), 0));
  if (conn) {
    ask_sqlstate(conn.get());
    take_notices(conn.get(), nullptr);
  }
  return conn;
}

}  // namespace romancy::pg
