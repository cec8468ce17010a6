// What actors say of themselves, to Status and to each other: gauges, times and
// counters. Part of messages.h.
#ifndef LAPIDARY_ACTORS_MESSAGES_STATUS_H_
#define LAPIDARY_ACTORS_MESSAGES_STATUS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "caf/all.hpp"

namespace lapidary {

// What a stage holds.
struct StageGauges {
  int64_t pages_in_use = 0;  // by sequences
  int64_t pages_total = 0;
  uint64_t page_bytes = 0;
  uint64_t scratch_bytes = 0;
  int64_t sequences = 0;
  uint64_t weight_bytes_per_token = 0;  // that a decoded token reads
  int64_t pages_kept = 0;               // by blocks; some may be in use as well
};

// Where a step's time went inside its stage. What StepResult::compute_ns has
// beyond it is all that is small: norms, RoPE, AltUp, checks.
struct StageTimes {
  int64_t gemm_ns = 0;  // projections
  int64_t attention_ns = 0;
  int64_t head_ns = 0;      // logits
  int64_t sampling_ns = 0;  // draws and log-probabilities
};

// Steps of one kind, added up.
struct StepTotals {
  uint64_t steps = 0;
  uint64_t rows = 0;
  int64_t wait_ns = 0;        // before them, mostly for PLE rows
  int64_t round_trip_ns = 0;  // from sending a step to its result
  int64_t compute_ns = 0;     // of the round trips, inside the stage
  StageTimes stage;           // of compute_ns
};

// How requests are scheduled: who waits, who was refused and why, and what
// steps cost by the newest measurements (nanoseconds; 0: not known).
struct ScheduleStatus {
  int32_t queued_low = 0, queued_normal = 0, queued_high = 0;
  uint64_t refused_too_large = 0, refused_queue_full = 0, refused_deadline = 0;
  double decode_step_ns = 0;       // of the rows that decode now, at least 1
  double prompt_row_ns = 0;        // beside decoding rows
  double prompt_row_alone_ns = 0;  // in a step of prompts alone
  double place_interval_ns = 0;    // between places of the batch coming free
  int64_t prompt_rows = 0;         // most of the last steps that also decoded
};

// Pages are of the stage's KV memory.
struct PrefixCacheStatus {
  uint64_t lookups = 0;        // requests that could have begun with a prefix
  uint64_t hits = 0;           // and did
  uint64_t tokens_reused = 0;  // of prompts
  uint64_t evictions = 0;      // blocks and windows
  int64_t blocks = 0, pages = 0, max_pages = 0;
};

struct SequencerStatus {
  int32_t queued = 0, running = 0, max_queued = 0, max_running = 0;
  uint64_t accepted = 0, refused = 0, completed = 0, cancelled = 0, failed = 0;
  uint64_t steps = 0, prompt_tokens = 0, completion_tokens = 0;
  StageGauges stage;
  StepTotals prompt_steps;  // with prompt rows, beside decoding or not
  StepTotals decode_steps;  // all others
  ScheduleStatus schedule;
  PrefixCacheStatus prefixes;
};

struct PleStatus {
  uint64_t reads = 0, rows = 0, cache_hits = 0, cache_misses = 0;
  uint64_t bytes_read = 0, cache_bytes = 0, cache_capacity = 0;
  double read_us_p50 = 0, read_us_p99 = 0, read_us_max = 0;
  std::vector<std::pair<double, uint64_t>> latency;  // upper µs, count
};

// A node that is asked to encode images or sounds.
struct MediaPeer {
  std::string address;
  bool alive = false;
  uint64_t encoded = 0;  // that it encoded for us
  std::string reason;    // why it is not alive, or failed last
};

struct VisionStatus {
  bool loaded = false;
  uint64_t weight_bytes = 0;      // of the tower, loaded or not
  uint64_t activation_bytes = 0;  // held now
  uint64_t loads = 0, unloads = 0;
  uint64_t images = 0;  // encoded
  uint64_t cache_hits = 0, cache_misses = 0, cache_bytes = 0,
           cache_capacity = 0;
  int64_t waiting = 0;           // images
  uint64_t encode_ns = 0;        // wall-clock time of all encodes, added up
  std::string tower;             // PackedModel::vision_fingerprint
  std::vector<MediaPeer> peers;  // of a node without a tower of its own
};

struct AudioStatus {
  bool loaded = false;
  uint64_t weight_bytes = 0;      // of the tower, loaded or not
  uint64_t activation_bytes = 0;  // held now, by sounds in progress too
  uint64_t loads = 0, unloads = 0;
  uint64_t sounds = 0;   // files encoded
  uint64_t samples = 0;  // encoded, of files and live sounds, at kSoundRate
  uint64_t cache_hits = 0, cache_misses = 0, cache_bytes = 0,
           cache_capacity = 0;
  int64_t waiting = 0;               // files
  int64_t live = 0;                  // sounds that arrive now
  int64_t live_waiting_samples = 0;  // of them, not encoded yet: the most
  uint64_t live_batches = 0;         // in which they went through the tower
  uint64_t live_batch_sounds = 0;    // that were in them, added up
  uint64_t compute_ns = 0;           // of all slices, added up
  std::string tower;                 // PackedModel::audio_fingerprint
  std::vector<MediaPeer> peers;      // of a node without a tower of its own
};

struct RoleStatus {
  std::string role;
  bool alive = false;
  int32_t restarts = 0;
  std::string reason;
};

struct DirectoryStatus {
  std::vector<RoleStatus> roles;
};

// Of the process, as its encoder measured it.
struct ProcessStatus {
  uint64_t resident = 0;          // bytes
  uint64_t weights_resident = 0;  // of the mapped weight files
};

// Asks an actor for its status; each answers with a type of its own.
struct StatusQuery {
  std::string role;  // whose, where a node is asked: "vision" or "audio"
};

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ProcessStatus)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::VisionStatus)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::AudioStatus)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::StageGauges)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::SequencerStatus)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PleStatus)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::DirectoryStatus)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::StatusQuery)

#endif  // LAPIDARY_ACTORS_MESSAGES_STATUS_H_
