#include "route_table.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace node_kvm {

Route::Route(uint32_t id, RouteOptions options)
    : id_(id),
      space_(options.space),
      base_(options.base),
      size_(options.size),
      posted_(std::move(options.posted)),
      settling_(std::move(options.settling)),
      status_(std::move(options.status)),
      cause_(std::move(options.cause)),
      selected_(std::move(options.selected)),
      latches_(new Latch[options.latched.size() / 2]),
      latch_count_(options.latched.size() / 2) {
  const std::vector<uint32_t>& latches = options.latched;
  std::sort(posted_.begin(), posted_.end());
  std::sort(settling_.begin(), settling_.end());
  std::vector<size_t> order(latch_count_);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return latches[a * 2] < latches[b * 2]; });
  for (size_t i = 0; i < latch_count_; i++) {
    latches_[i].offset = latches[order[i] * 2];
    latches_[i].width = latches[order[i] * 2 + 1];
  }
}

bool Route::IsPosted(uint64_t offset) const {
  auto found = std::lower_bound(posted_.begin(), posted_.end(), offset);
  return found != posted_.end() && *found == offset;
}

bool Route::IsSettling(uint64_t offset) const {
  return std::binary_search(settling_.begin(), settling_.end(), offset);
}

Latch* Route::FindLatch(uint64_t offset) const {
  Latch* end = latches_.get() + latch_count_;
  Latch* found =
      std::lower_bound(latches_.get(), end, offset,
                       [](const Latch& latch, uint64_t wanted) { return latch.offset < wanted; });
  return found != end && found->offset == offset ? found : nullptr;
}

Latch* Route::FindLatch(uint64_t offset, uint32_t width) const {
  Latch* latch = FindLatch(offset);
  return latch && latch->width == width ? latch : nullptr;
}

const Route* RouteTable::Find(Space space, uint64_t address, uint64_t width) const {
  const auto& routes = routes_[static_cast<size_t>(space)];
  auto after = std::upper_bound(
      routes.begin(), routes.end(), address,
      [](uint64_t point, const std::shared_ptr<Route>& route) { return point < route->base(); });
  if (after == routes.begin()) return nullptr;
  const Route* route = std::prev(after)->get();
  uint64_t offset = address - route->base();
  return offset < route->size() && width <= route->size() - offset ? route : nullptr;
}

void RouteTable::MoveLines() const {
  for (const auto& routes : routes_) {
    for (const auto& route : routes) {
      if (route->cause()) route->cause()->Move();
    }
  }
}

std::unique_ptr<const RouteTable> RouteTable::With(std::shared_ptr<Route> route) const {
  auto table = std::make_unique<RouteTable>(*this);
  auto& routes = table->routes_[static_cast<size_t>(route->space())];
  auto after = std::upper_bound(
      routes.begin(), routes.end(), route->base(),
      [](uint64_t point, const std::shared_ptr<Route>& other) { return point < other->base(); });
  if (after != routes.end() && (*after)->base() - route->base() < route->size()) return nullptr;
  if (after != routes.begin()) {
    const Route& before = **std::prev(after);
    if (route->base() - before.base() < before.size()) return nullptr;
  }
  routes.insert(after, std::move(route));
  return table;
}

std::unique_ptr<const RouteTable> RouteTable::Without(uint32_t id) const {
  auto table = std::make_unique<RouteTable>(*this);
  for (auto& routes : table->routes_) {
    std::erase_if(routes, [id](const std::shared_ptr<Route>& route) { return route->id() == id; });
  }
  return table;
}

void CurrentRoutes::Replace(std::unique_ptr<const RouteTable> table) {
  retired_.emplace_back(current_.exchange(table.release(), std::memory_order_seq_cst));
  std::erase_if(retired_, [this](const std::unique_ptr<const RouteTable>& old) {
    return std::none_of(readers_.begin(), readers_.end(), [&](const Hazard* hazard) {
      return hazard->load(std::memory_order_seq_cst) == old.get();
    });
  });
}

}  // namespace node_kvm
