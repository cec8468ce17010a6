// Files of images or sounds on their way through an actor that has them
// encoded: which are known from before, who waits for each of the others, and
// how many more may come.
//
//   if (Job* job = jobs.Take(file, key, {promise, cancelled})) Begin(job);
//   // else it is answered, refused, or on its way already
//   …
//   jobs.Finish(job, {status, rows});
//
// Whoever uses it decides what is done for a job, and in which order.
#ifndef LAPIDARY_ACTORS_MEDIA_JOBS_H_
#define LAPIDARY_ACTORS_MEDIA_JOBS_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "actors/media_cache.h"
#include "actors/messages.h"
#include "storage/file_io.h"

namespace lapidary {

struct MediaAsker {
  caf::typed_response_promise<EncodedMedium> promise;
  std::shared_ptr<const std::atomic<bool>> cancelled;  // as in EncodeImage
};

// Who waits for a file; threads that work on it ask.
class MediaWaiting {
 public:
  // `cancelled` as in EncodeImage.
  void Add(std::shared_ptr<const std::atomic<bool>> cancelled) {
    std::lock_guard<std::mutex> lock(mutex_);
    cancelled_.push_back(std::move(cancelled));
  }
  bool any() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::any_of(cancelled_.begin(), cancelled_.end(),
                       [](const auto& cancelled) {
                         return cancelled == nullptr || !*cancelled;
                       });
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<const std::atomic<bool>>> cancelled_;
};

struct MediaJob {
  uint64_t id = 0;  // of this actor's
  std::string key;  // EncodeImage::key
  std::shared_ptr<const std::string> file;
  std::vector<MediaAsker> askers;
  std::shared_ptr<MediaWaiting> waiting = std::make_shared<MediaWaiting>();

  void Add(MediaAsker asker) {
    waiting->Add(asker.cancelled);
    askers.push_back(std::move(asker));
  }
  bool wanted() const { return waiting->any(); }
  bool Is(const std::string& other_key, const std::string& other) const {
    return key == other_key && *file == other;
  }
  void Answer(const EncodedMedium& answer) const {
    for (MediaAsker asker : askers) asker.promise.deliver(answer);
  }
};

// Files that may wait beside the one at work; one more is refused with
// RESOURCE_EXHAUSTED.
struct MediaBounds {
  size_t max_files = 64;  // the last of them would wait minutes
  size_t max_bytes = size_t{256} << 20;
};

// Said to a node that asks for another tower by its fingerprint.
inline absl::Status OtherTower() {
  return absl::FailedPreconditionError(
      "this node serves another model, or another packing of it");
}

// `Job` is a MediaJob, with whatever else is known of one. Jobs stay where they
// are in memory until they are finished.
template <typename Job>
class MediaJobs {
 public:
  // Before anything else.
  //   what     "image", "sound"
  //   changed  called before those are answered whom a change concerns
  void Open(
      absl::string_view what, const MediaBounds& bounds, size_t cache_bytes,
      std::function<void()> changed = [] {}) {
    what_ = std::string(what);
    bounds_ = bounds;
    cache_ = std::make_unique<MediaCache>(cache_bytes);
    changed_ = std::move(changed);
  }

  // A file that is to be encoded now, at the end of the line; null where it
  // need not be, for the asker has its answer or is among those who wait.
  //   key  EncodeImage::key
  Job* Take(std::shared_ptr<const std::string> file, const std::string& key,
            MediaAsker asker) {
    const std::string name = key.empty() ? Checksum(*file) : key;
    if (kernels::Tensor rows = cache_->Find(name, *file); !rows.empty()) {
      ++cache_hits_;
      changed_();
      asker.promise.deliver(EncodedMedium{absl::OkStatus(), std::move(rows)});
      return nullptr;
    }
    for (Job& job : jobs_) {
      if (!job.Is(name, *file)) continue;
      ++cache_hits_;
      changed_();
      job.Add(std::move(asker));
      return nullptr;
    }
    if (!jobs_.empty() && (bytes_ + file->size() > bounds_.max_bytes ||
                           jobs_.size() > bounds_.max_files)) {
      asker.promise.deliver(EncodedMedium{Full(), {}});
      return nullptr;
    }
    ++cache_misses_;
    bytes_ += file->size();
    Job& job = jobs_.emplace_back();
    job.id = ++last_id_;
    job.key = name;
    job.file = std::move(file);
    job.Add(std::move(asker));
    changed_();
    return &job;
  }

  // Removes a job and answers all who asked for it; rows are kept for the next
  // who asks.
  void Finish(Job* job, const EncodedMedium& answer) {
    const auto at = At(job);
    const Job done = std::move(*at);
    jobs_.erase(at);
    bytes_ -= done.file->size();
    if (answer.status.ok()) cache_->Add(done.key, done.file, answer.rows);
    changed_();
    done.Answer(answer);
  }

  // Gives up what nobody waits for any more.
  //   first  jobs at the front of the line that stay
  template <typename GiveUp>
  void DropUnwanted(size_t first, GiveUp give_up) {
    std::vector<Job*> unwanted;
    for (Job& job : jobs_) {
      if (first > 0) {
        --first;
      } else if (!job.wanted()) {
        unwanted.push_back(&job);
      }
    }
    for (Job* job : unwanted) {
      give_up(*job);
      Finish(job, {Unwanted(), {}});
    }
  }
  void DropUnwanted(size_t first) {
    DropUnwanted(first, [](Job&) {});
  }

  // Answers all who wait; at the end of the actor.
  void FailAll(const absl::Status& status) {
    for (const Job& job : jobs_) job.Answer({status, {}});
    jobs_.clear();
    bytes_ = 0;
  }

  // Puts the job behind `others` of those behind it.
  void MoveBack(Job* job, size_t others) {
    const auto from = At(job);
    auto to = std::next(from);
    for (; others > 0 && to != jobs_.end(); --others) ++to;
    jobs_.splice(to, jobs_, from);
  }

  bool empty() const { return jobs_.empty(); }
  size_t size() const { return jobs_.size(); }
  Job& front() { return jobs_.front(); }
  const Job& front() const { return jobs_.front(); }
  auto begin() const { return jobs_.begin(); }
  auto end() const { return jobs_.end(); }
  // Null: it has been finished.
  Job* Find(uint64_t id) {
    for (Job& job : jobs_) {
      if (job.id == id) return &job;
    }
    return nullptr;
  }
  // Of a file that was encoded before; empty if it was not.
  kernels::Tensor Known(const std::string& file, const std::string& key) {
    return cache_->Find(key.empty() ? Checksum(file) : key, file);
  }

  absl::Status Unwanted() const {
    return absl::CancelledError(
        absl::StrCat("the client no longer waits for the ", what_));
  }

  // Its part of a VisionStatus or an AudioStatus.
  template <typename Status>
  void Describe(Status* status) const {
    status->cache_hits = cache_hits_;
    status->cache_misses = cache_misses_;
    status->cache_bytes = cache_->bytes();
    status->cache_capacity = cache_->capacity();
    status->waiting = static_cast<int64_t>(jobs_.size());
  }

 private:
  auto At(const Job* job) {
    return std::find_if(jobs_.begin(), jobs_.end(),
                        [job](const Job& other) { return &other == job; });
  }
  absl::Status Full() const {
    return absl::ResourceExhaustedError(absl::StrCat(
        jobs_.size(), " ", what_, "s of ", bytes_, " bytes wait already, ",
        bounds_.max_files, " of ", bounds_.max_bytes, " may; try again later"));
  }

  std::string what_;
  MediaBounds bounds_;
  std::unique_ptr<MediaCache> cache_;
  std::function<void()> changed_;
  std::list<Job> jobs_;  // in the order in which they came, or were moved to
  uint64_t last_id_ = 0;
  size_t bytes_ = 0;  // of all jobs' files
  uint64_t cache_hits_ = 0, cache_misses_ = 0;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_MEDIA_JOBS_H_
