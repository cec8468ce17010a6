// Ctrl-C while a request runs: the first one cancels the request, a second one
// ends the program. Outside of a request one is enough.
#ifndef LAPIDARY_DEPLOY_CLI_INTERRUPT_H_
#define LAPIDARY_DEPLOY_CLI_INTERRUPT_H_

#include <functional>

namespace lapidary::cli {

// From construction to destruction the first SIGINT calls `cancel`, on a thread
// of its own. One at a time.
class CancelOnInterrupt {
 public:
  explicit CancelOnInterrupt(std::function<void()> cancel);
  ~CancelOnInterrupt();
  CancelOnInterrupt(const CancelOnInterrupt&) = delete;
  CancelOnInterrupt& operator=(const CancelOnInterrupt&) = delete;

  // Whether SIGINT has come.
  bool interrupted() const;

 private:
  struct Watcher;
  Watcher* watcher_;
};

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_INTERRUPT_H_
