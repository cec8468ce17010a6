#include "actors/node_roles.h"

#include <algorithm>

#include "actors/audio.h"
#include "actors/encoder.h"
#include "actors/media_fetch.h"
#include "actors/ple_server.h"
#include "actors/remote_audio.h"
#include "actors/remote_vision.h"
#include "actors/sequencer.h"
#include "actors/stage.h"
#include "actors/vision.h"
#include "kernels/parallel.h"

namespace lapidary {
namespace {

using Spawn = decltype(RoleSpec::spawn);

Spawn LocalVision(const NodeFacts& node) {
  VisionActorConfig vision;
  vision.model = node.model;
  vision.pinned = node.options.vision.mode == VisionOptions::Mode::kPinned;
  vision.idle = absl::ToChronoNanoseconds(node.options.vision.idle);
  vision.cache_bytes = node.options.vision.cache_bytes;
  vision.limits = node.image_limits;
  vision.board = node.board;
  vision.threads = ThreadsOf(node.options);
  return [vision](caf::actor_system& sys) {
    return caf::actor_cast<caf::strong_actor_ptr>(
        sys.spawn<caf::detached>(Vision, vision));
  };
}

Spawn LocalAudio(const NodeFacts& node) {
  AudioActorConfig audio;
  audio.model = node.model;
  audio.pinned = node.options.audio.mode == AudioOptions::Mode::kPinned;
  audio.idle = absl::ToChronoNanoseconds(node.options.audio.idle);
  audio.cache_bytes = node.sounds.cache_bytes;
  audio.limits.max_seconds = node.sounds.max_seconds;
  audio.open_clips = node.sounds.open_clips;
  audio.max_live = node.sounds.max_live;
  audio.board = node.audio_board;
  audio.threads = ThreadsOf(node.options);
  return [audio](caf::actor_system& sys) {
    return caf::actor_cast<caf::strong_actor_ptr>(
        sys.spawn<caf::detached>(Audio, audio));
  };
}

// Both are spawned detached: they wait for gRPC when they end, and copy files.
Spawn VisionPeers(const NodeFacts& node) {
  RemoteVisionConfig vision;
  vision.rows = node.model->config().image_rows();
  vision.peers.peers = node.options.vision.peers;
  vision.peers.role = "vision";
  vision.peers.what = "image";
  vision.peers.tower = node.model->vision_fingerprint();
  vision.peers.width = node.model->config().text.hidden_size;
  vision.peers.max_rows = vision.rows;
  vision.peers.cache_bytes = node.options.vision.cache_bytes;
  return [vision](caf::actor_system& sys) {
    return caf::actor_cast<caf::strong_actor_ptr>(
        sys.spawn<caf::detached>(RemoteVision, vision));
  };
}

Spawn AudioPeers(const NodeFacts& node) {
  RemoteAudioConfig audio;
  audio.model = node.model;
  audio.limits.max_seconds = node.sounds.max_seconds;
  audio.max_live = node.sounds.max_live;
  audio.peers.peers = node.options.audio.peers;
  audio.peers.role = "audio";
  audio.peers.what = "sound";
  audio.peers.cache_bytes = node.sounds.cache_bytes;
  return [audio](caf::actor_system& sys) {
    return caf::actor_cast<caf::strong_actor_ptr>(
        sys.spawn<caf::detached>(RemoteAudio, audio));
  };
}

}  // namespace

int ThreadsOf(const NodeOptions& options) {
  if (options.threads > 0) return options.threads;
  return kernels::UsableProcessors();
}

std::vector<RoleSpec> NodeRoles(const NodeFacts& node,
                                const DirectoryActor& directory) {
  const kernels::text::LayerRange layers = {
      0, node.model->config().text.num_hidden_layers};
  PleServerConfig ple{node.model->ple_folder(), node.model->ple_shape(),
                      node.options.ple, node.options.verify_weights};

  StageConfig stage;
  stage.model = node.model;
  stage.layers = layers;
  stage.options.max_rows = node.options.max_batch_rows;
  stage.options.head_rows = node.memory.head_rows;
  stage.options.kv_dtype = node.options.kv_dtype;
  stage.kv_pages = node.kv_pages;
  stage.trim_prefill = node.options.trim_prefill;
  stage.threads = ThreadsOf(node.options);

  SequencerConfig sequencer;
  sequencer.directory = directory;
  sequencer.layers = layers;
  sequencer.ple_tokens = static_cast<int32_t>(node.model->ple_shape().tokens);
  sequencer.kv_layout = node.kv_layout;
  sequencer.prefix_pages = std::min<int64_t>(
      node.kv_pages,
      node.options.prefix_cache_bytes.value_or(node.memory.kv_bytes / 2) /
          node.kv_layout.PageBytes());
  sequencer.batch.max_rows = node.options.max_batch_rows;
  sequencer.batch.max_slowdown = node.options.max_slowdown;
  sequencer.prompt_rows_ahead = node.memory.prompt_rows_ahead;
  sequencer.max_running = node.options.max_running;
  sequencer.max_queued = node.options.max_queued;

  std::vector<RoleSpec> roles = {
      {"encoder",
       [served = node.served](caf::actor_system& sys) {
         return caf::actor_cast<caf::strong_actor_ptr>(
             sys.spawn<caf::detached>(Encoder, served));
       }},
      {"ple_server",
       [ple](caf::actor_system& sys) {
         return caf::actor_cast<caf::strong_actor_ptr>(
             sys.spawn<caf::detached>(PleServer, ple));
       }},
      {"stage",
       [stage](caf::actor_system& sys) {
         return caf::actor_cast<caf::strong_actor_ptr>(
             sys.spawn<caf::detached>(Stage, stage));
       }},
      {"sequencer",
       [sequencer](caf::actor_system& sys) {
         return caf::actor_cast<caf::strong_actor_ptr>(
             sys.spawn(Sequencer, sequencer));
       }},
  };
  if (!node.options.media.urls.empty() || !node.options.media.folder.empty()) {
    MediaFetchConfig fetch;
    fetch.policy = node.options.media;
    roles.push_back({kMediaFetchRole, [fetch](caf::actor_system& sys) {
                       return caf::actor_cast<caf::strong_actor_ptr>(
                           sys.spawn(MediaFetch, fetch));
                     }});
  }
  if (node.sees()) {
    roles.push_back(
        {"vision", node.holds_tower() ? LocalVision(node) : VisionPeers(node)});
  }
  if (node.hears()) {
    roles.push_back({"audio", node.holds_audio_tower() ? LocalAudio(node)
                                                       : AudioPeers(node)});
  }
  return roles;
}

}  // namespace lapidary
