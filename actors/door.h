// Who is refused at the door, and when to come back: from the pages that there
// are, the places in the queue, and, for a request with a deadline, from what
// steps have cost and how fast places have come free. What is let in is never
// thrown out for lack of room.
//
// A request is refused for its deadline only if by all that is known it cannot
// even begin to answer in time; or, where its length is certain, not finish. On
// an idle node it is always tried: it takes nothing from anybody, and tells
// what steps cost now.
#ifndef LAPIDARY_ACTORS_DOOR_H_
#define LAPIDARY_ACTORS_DOOR_H_

#include <chrono>
#include <cstdint>
#include <deque>

#include "absl/status/status.h"
#include "actors/messages.h"

namespace lapidary {

// How long it takes, while requests wait, until a place in the batch comes
// free.
class Turnover {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Whether a request waits, from now on.
  void Waiting(bool waiting, Time now);
  void Freed(Time now);
  // Nanoseconds from one to the next, over the last few; 0: not known.
  double interval_ns() const { return interval_ns_; }

 private:
  std::deque<Time> freed_;  // the first: when requests began to wait
  double interval_ns_ = 0;
};

enum class RefusalReason : uint8_t {
  kNone = 0,
  kTooLarge = 1,
  kQueueFull = 2,
  kDeadline = 3,
};

// What a request would find inside. Times are in nanoseconds; 0 where nothing
// is known.
struct Inside {
  bool idle = true;     // nobody runs or waits
  int64_t waiting = 0;  // requests
  int64_t max_waiting = 0;
  int64_t ahead = 0;  // of those that wait
  int64_t running = 0;
  // Places in the batch that are free, with pages for this request.
  int64_t places = 0;
  double place_interval_ns = 0;
  double prompts_ns = 0;  // its prompt, and what runs before it is done
  double alone_ns = 0;    // its prompt, if nobody else were there
  double token_ns = 0;    // of each token after the first
  double alone_token_ns = 0;
  int64_t pages_total = 0;
  uint64_t page_bytes = 0;
};

// What the request needs.
struct Needs {
  int64_t positions = 0;
  int64_t pages = 0;
  int64_t deadline_ns = 0;    // that the answer must be complete by; 0: none
  int64_t time_limit_ns = 0;  // that it must begin by
  // It cannot be complete with fewer.
  int64_t min_tokens = 1;
};

struct Refusal {
  RefusalReason reason = RefusalReason::kNone;
  absl::Status status;
  int64_t retry_after_ns = 0;  // as in Accepted
};

class Door {
 public:
  Refusal Check(const Needs& needs, const Inside& inside);
  // A place came free: one of those who were refused may come back.
  void Freed() {
    if (outside_ > 0) --outside_;
  }

 private:
  Refusal CheckTime(const Needs& needs, const Inside& inside) const;

  // Refused since places last came free. Each is told to come back a place
  // later than the one before, so that they do not all come at once.
  int64_t outside_ = 0;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_DOOR_H_
