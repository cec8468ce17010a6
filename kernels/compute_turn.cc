#include "kernels/compute_turn.h"

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace lapidary::kernels {
namespace {

struct Queue {
  std::mutex mutex;
  std::condition_variable passed_on;
  uint64_t next = 0;     // number of the next who asks
  uint64_t current = 0;  // whose turn it is
};

// Never destroyed: threads may outlive every other static.
Queue& TheQueue() {
  static Queue* queue = new Queue;
  return *queue;
}

}  // namespace

ComputeTurn::ComputeTurn() {
  Queue& queue = TheQueue();
  std::unique_lock<std::mutex> lock(queue.mutex);
  const uint64_t own = queue.next++;
  queue.passed_on.wait(lock, [&] { return queue.current == own; });
}

ComputeTurn::~ComputeTurn() {
  Queue& queue = TheQueue();
  {
    const std::lock_guard<std::mutex> lock(queue.mutex);
    ++queue.current;
  }
  queue.passed_on.notify_all();
}

}  // namespace lapidary::kernels
