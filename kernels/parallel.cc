#include "kernels/parallel.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace lapidary::kernels {
namespace {

// Cache lines that a member asks for between two looks at whether there is
// work.
constexpr size_t kPrefetchLines = 8;
constexpr size_t kLine = 64;

// Of ParallelChunks and ParallelStripes: larger teams have no more.
constexpr int kMostShares = 64;

// How long a thread spins before it sleeps: longer than what a step does
// between two products, shorter than anyone would notice in a process list.
// Going to sleep and being woken costs 25-40 us (a futex), spinning 0.2 us.
constexpr std::chrono::microseconds kSpin{100};
constexpr int kSpinsPerClockRead = 32;

// Whether a team has more threads than there are processors.
std::atomic<bool> crowded{false};

void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// A number that one thread changes and others wait for.
class Signal {
 public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }

  void Set(uint32_t value) {
    value_.store(value, std::memory_order_seq_cst);
    Wake();
  }

  // Returns what is left.
  uint32_t CountDown() {
    const uint32_t left = value_.fetch_sub(1, std::memory_order_seq_cst) - 1;
    if (left == 0) Wake();
    return left;
  }

  // Returns when done(value()), after some spinning and then some sleep.
  //   meanwhile  called while spinning, again and again
  template <class Done, class Meanwhile>
  void WaitUntil(const Done& done, const Meanwhile& meanwhile) {
    if (Spin(done, meanwhile)) return;
    for (;;) {
      sleepers_.fetch_add(1, std::memory_order_seq_cst);
      const uint32_t seen = value_.load(std::memory_order_seq_cst);
      if (!done(seen)) Futex(FUTEX_WAIT_PRIVATE, seen);
      sleepers_.fetch_sub(1, std::memory_order_seq_cst);
      if (done(value())) return;
    }
  }

 private:
  template <class Done, class Meanwhile>
  bool Spin(const Done& done, const Meanwhile& meanwhile) const {
    const auto start = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < kSpinsPerClockRead; ++i) {
        if (done(value())) return true;
        meanwhile();
      }
      // The thread that is waited for may want this processor. Where it has its
      // own, a yield would only hand this one to other programs, for far longer
      // than it takes to be woken from a futex.
      if (crowded.load(std::memory_order_relaxed)) sched_yield();
    } while (std::chrono::steady_clock::now() - start < kSpin);
    return false;
  }

  void Wake() {
    if (sleepers_.load(std::memory_order_seq_cst) != 0) {
      Futex(FUTEX_WAKE_PRIVATE, INT_MAX);
    }
  }

  void Futex(int operation, uint32_t argument) {
    static_assert(sizeof(value_) == sizeof(uint32_t));
    syscall(SYS_futex, &value_, operation, argument, nullptr, nullptr, 0);
  }

  alignas(64) std::atomic<uint32_t> value_{0};
  std::atomic<uint32_t> sleepers_{0};
};

// True in a thread that does a share of a team's work.
thread_local bool in_team = false;
thread_local int threads_wanted = 0;  // 0: never set

std::vector<int> UsableCpus() {
  std::vector<int> cpus;
  cpu_set_t usable;
  if (sched_getaffinity(0, sizeof(usable), &usable) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &usable)) cpus.push_back(cpu);
  }
  return cpus;
}

void PinThread(pthread_t thread, int cpu) {
  cpu_set_t own;
  CPU_ZERO(&own);
  CPU_SET(cpu, &own);
  pthread_setaffinity_np(thread, sizeof(own), &own);
}

using Body = absl::FunctionRef<void(int, int)>;

class Team {
 public:
  // Never destroyed: its members may outlive every other static.
  static Team& Get() {
    static Team* team = new Team;
    return *team;
  }

  // False, having done nothing, where the team is at another's work.
  bool Run(int threads, Body body) {
    std::unique_lock<std::mutex> lock(owner_, std::try_to_lock);
    if (!lock.owns_lock()) return false;
    while (members_ < threads - 1) StartMember();
    body_ = &body;
    threads_ = threads;
    left_.Set(members_);
    turn_.Set(turn_.value() + 1);
    in_team = true;
    DoShare(0);
    in_team = false;
    left_.WaitUntil([](uint32_t left) { return left == 0; }, Relax);
    // Not before all have let go of what the caller is about to unwind.
    if (failure_ != nullptr) {
      std::rethrow_exception(std::exchange(failure_, nullptr));
    }
    return true;
  }

  // To be called by the owner-to-be only: between its calls of Run.
  void Prefetch(absl::FunctionRef<MemoryPiece(int)> piece) {
    const std::unique_lock<std::mutex> lock(owner_, std::try_to_lock);
    if (!lock.owns_lock()) return;
    for (auto& member : pieces_) {
      const MemoryPiece p = piece(member->index);
      member->data.store(static_cast<const std::byte*>(p.data),
                         std::memory_order_relaxed);
      member->left.store(p.size, std::memory_order_relaxed);
    }
  }

  // Member i keeps to cpus[i], from now on.
  void Pin(const std::vector<int>& cpus) {
    const std::lock_guard<std::mutex> lock(owner_);
    cpus_ = cpus;
    for (size_t i = 0; i < handles_.size(); ++i) PinMember(i + 1);
  }

 private:
  // Throws what std::thread throws, with nothing changed.
  void StartMember() {
    const int index = members_ + 1;
    handles_.reserve(index);
    pieces_.reserve(index);
    auto piece = std::make_unique<Piece>();
    piece->index = index;
    std::thread member([this, piece = piece.get(), turn = turn_.value()] {
      in_team = true;
      Serve(piece, turn);
    });
    members_ = index;
    if (index + 1 > UsableProcessors()) crowded = true;
    pieces_.push_back(std::move(piece));
    handles_.push_back(member.native_handle());
    PinMember(index);
    member.detach();  // it never ends, so its handle stays valid
  }

  // A thread's share of the work; what it throws, there being no memory, is
  // thrown again by the caller.
  void DoShare(int index) {
    try {
      (*body_)(index, threads_);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(failure_mutex_);
      if (failure_ == nullptr) failure_ = std::current_exception();
    }
  }

  void PinMember(size_t index) {
    if (index < cpus_.size()) PinThread(handles_[index - 1], cpus_[index]);
  }

  // What a member is to bring into its cache. A torn pair of the two would only
  // bring in the wrong lines.
  struct alignas(64) Piece {
    int index = 0;
    std::atomic<const std::byte*> data{nullptr};
    std::atomic<size_t> left{0};

    void PrefetchSome() {
      const size_t size = left.load(std::memory_order_relaxed);
      if (size == 0) return Relax();
      const std::byte* at = data.load(std::memory_order_relaxed);
      const size_t some = std::min(size, kPrefetchLines * kLine);
      for (size_t i = 0; i < some; i += kLine) {
        __builtin_prefetch(at + i, /*rw=*/0, /*locality=*/2);
      }
      data.store(at + some, std::memory_order_relaxed);
      left.store(size - some, std::memory_order_relaxed);
    }
  };

  void Serve(Piece* piece, uint32_t turn) {
    const int index = piece->index;
    for (;; ++turn) {
      turn_.WaitUntil([turn](uint32_t now) { return now != turn; },
                      [piece] { piece->PrefetchSome(); });
      piece->left.store(0, std::memory_order_relaxed);
      // Members beyond a smaller team's size only report.
      if (index < threads_) DoShare(index);
      left_.CountDown();
    }
  }

  std::mutex owner_;
  // What follows is the owner's; members read it between turn_ and left_.
  int members_ = 0;  // threads started, the caller not among them
  std::vector<pthread_t> handles_;              // [members_]
  std::vector<int> cpus_;                       // by member, the caller first
  std::vector<std::unique_ptr<Piece>> pieces_;  // [members_]
  const Body* body_ = nullptr;
  int threads_ = 0;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;  // the first of this piece of work
  Signal turn_;                 // grows by one with each piece of work
  Signal left_;                 // members that have not finished it
};

// What each thread does first, and others where they have nothing left.
struct Shares {
  // What is left of one.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t last = 0, step = 1;

    void Set(int64_t from, int64_t to, int64_t by) {
      next.store(from, std::memory_order_relaxed);
      last = to;
      step = by;
    }
  };

  void Run(absl::FunctionRef<void(int thread, int64_t i)> body) {
    RunTeam([&](int thread, int /*threads*/) {
      for (int i = 0; i < parts; ++i) {
        Share& from = share[(thread + i) % parts];
        int64_t at;
        while ((at = from.next.fetch_add(
                    from.step, std::memory_order_relaxed)) < from.last) {
          body(thread, at);
        }
      }
    });
  }

  const int parts = std::min(kMostShares, ComputeThreads());
  Share share[kMostShares];
};

}  // namespace

int UsableProcessors() {
  // Asked once: a pinned thread sees one processor only.
  static const int processors =
      std::max<int>(1, static_cast<int>(UsableCpus().size()));
  return processors;
}

void SetComputeThreads(int threads) { threads_wanted = std::max(1, threads); }

int ComputeThreads() {
  if (threads_wanted == 0) threads_wanted = UsableProcessors();
  return threads_wanted;
}

void PinComputeThreads() {
  const std::vector<int> cpus = UsableCpus();
  if (static_cast<int>(cpus.size()) != ComputeThreads()) return;
  Team::Get().Pin(cpus);
  PinThread(pthread_self(), cpus[0]);
}

void RunTeam(absl::FunctionRef<void(int thread, int threads)> body) {
  const int threads = in_team ? 1 : ComputeThreads();
  if (threads == 1 || !Team::Get().Run(threads, body)) body(0, 1);
}

void PrefetchWhileIdle(absl::FunctionRef<MemoryPiece(int thread)> piece) {
  if (!in_team && ComputeThreads() > 1) Team::Get().Prefetch(piece);
}

int64_t FirstChunk(int64_t count, int thread) {
  const int parts = std::min(kMostShares, ComputeThreads());
  return count * (thread % parts) / parts;
}

void ParallelChunks(int64_t count, absl::FunctionRef<void(int64_t)> body) {
  Shares shares;
  for (int part = 0; part < shares.parts; ++part) {
    shares.share[part].Set(count * part / shares.parts,
                           count * (part + 1) / shares.parts, 1);
  }
  shares.Run([&](int /*thread*/, int64_t i) { body(i); });
}

void ParallelStripes(int64_t count,
                     absl::FunctionRef<void(int thread, int64_t i)> body) {
  if (count <= 1) {  // not worth waking anybody
    if (count > 0) body(0, 0);
    return;
  }
  Shares shares;
  for (int part = 0; part < shares.parts; ++part) {
    shares.share[part].Set(part, count, shares.parts);
  }
  shares.Run(body);
}

}  // namespace lapidary::kernels
