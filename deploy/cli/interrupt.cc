#include "deploy/cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <utility>

#include "deploy/cli/app.h"

namespace lapidary::cli {
namespace {

// What the handler may touch: a handler runs between any two instructions.
std::atomic<int> signal_pipe{-1};
std::atomic<bool> signal_seen{false};

void OnInterrupt(int) {
  if (signal_seen.exchange(true)) _exit(kExitInterrupted);
  const char byte = 'c';
  // Nothing can be done here about a pipe that is full: it holds a byte then.
  if (write(signal_pipe.load(), &byte, 1) < 0) return;
}

}  // namespace

struct CancelOnInterrupt::Watcher {
  int pipe_ends[2] = {-1, -1};
  struct sigaction previous = {};
  std::thread thread;
};

CancelOnInterrupt::CancelOnInterrupt(std::function<void()> cancel)
    : watcher_(new Watcher) {
  signal_seen = false;
  // Without a pipe (no descriptors left) SIGINT keeps its default: it ends the
  // program.
  if (pipe(watcher_->pipe_ends) != 0) return;
  signal_pipe = watcher_->pipe_ends[1];
  watcher_->thread = std::thread(
      [cancel = std::move(cancel), descriptor = watcher_->pipe_ends[0]] {
        char byte = 0;
        if (read(descriptor, &byte, 1) == 1 && byte == 'c') cancel();
      });
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &watcher_->previous);
}

CancelOnInterrupt::~CancelOnInterrupt() {
  if (watcher_->thread.joinable()) {
    sigaction(SIGINT, &watcher_->previous, nullptr);
    close(watcher_->pipe_ends[1]);  // the thread reads the end of the pipe
    watcher_->thread.join();
    close(watcher_->pipe_ends[0]);
  }
  delete watcher_;
}

bool CancelOnInterrupt::interrupted() const { return signal_seen; }

}  // namespace lapidary::cli
