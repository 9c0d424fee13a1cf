// orders_worker: what the supervisor starts as a resumer ([[resumer]]); by hand:
//   SHOP_DATABASE=... orders_worker --config romancy.toml
#include "workflows.hpp"

int main(int argc, char** argv) {
  using namespace orders;
  return romancy::run_worker(argc, argv, {fulfil}, {reserve, release, charge, refund, ship});
}
