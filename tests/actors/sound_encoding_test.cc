// Sounds cut into windows and encoded as they come, with nano's tower.
#include "actors/sound_encoding.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "actors/audio.h"
#include "gtest/gtest.h"
#include "kernels/parallel.h"
#include "storage/packed_model.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

testing::AssertionResult AreNear(const kernels::Tensor& a,
                                 const kernels::Tensor& b) {
  if (a.shape() != b.shape()) {
    return testing::AssertionFailure() << "of other shapes";
  }
  for (int64_t i = 0; i < a.elements(); ++i) {
    const float x = a.data<float>()[i], y = b.data<float>()[i];
    // Not >, which a NaN would pass.
    if (!(std::fabs(x - y) <= 1e-5)) {
      return testing::AssertionFailure() << x << " and " << y << " at " << i;
    }
  }
  return testing::AssertionSuccess();
}

class SoundEncodingTest : public testing::Test {
 protected:
  SoundEncodingTest()
      : model_(*PackedModel::Open(PackedNano(), {})),
        window_(*SoundWindowOf(model_->config())),
        tower_(*model_->LoadAudio()) {}

  // Noise with pauses of 300 ms in it, of all loudnesses.
  std::vector<float> Sound(int64_t samples, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> noise(0.0f, 0.1f);
    std::vector<float> sound(samples);
    for (int64_t i = 0; i < samples; ++i) {
      const bool pause = (i + 3000 * int64_t{seed}) % 26000 < 4800;
      sound[i] = noise(random) * (pause ? 0.01f : 1.0f);
    }
    return sound;
  }

  kernels::Tensor Whole(const std::vector<float>& sound) {
    SoundEncoding encoding(&tower_, window_);
    encoding.PushAll(sound);
    while (!encoding.done()) EXPECT_TRUE(encoding.Step().ok());
    return *encoding.Rows();
  }

  // Pieces of random lengths, and some of the work between them.
  kernels::Tensor Live(const std::vector<float>& sound, std::mt19937& random) {
    SoundEncoding encoding(&tower_, window_);
    size_t at = 0;
    while (at < sound.size()) {
      const size_t piece = std::min<size_t>(
          sound.size() - at,
          random() % 2 == 0 ? 1 + random() % 300 : 1 + random() % 40000);
      encoding.Push({sound.data() + at, piece});
      at += piece;
      for (uint32_t steps = random() % 60; steps > 0; --steps) {
        if (!encoding.HasWork()) break;
        EXPECT_TRUE(encoding.Step().ok());
      }
    }
    encoding.Finish();
    while (!encoding.done()) EXPECT_TRUE(encoding.Step().ok());
    return *encoding.Rows();
  }

  std::unique_ptr<PackedModel> model_;
  SoundWindow window_;
  kernels::audio::AudioTower tower_;
};

TEST_F(SoundEncodingTest, LiveSound_GivesTheRowsOfTheWholeFile) {
  std::mt19937 random(5);
  const int64_t window = window_.samples;
  for (const int64_t samples :
       {int64_t{1}, int64_t{500}, int64_t{16000}, window - 1, window,
        window + 1, window + 9000, 3 * window + 77}) {
    for (uint32_t seed = 1; seed < 5; ++seed) {
      const std::vector<float> sound = Sound(samples, seed);
      const kernels::Tensor whole = Whole(sound);
      ASSERT_EQ(whole.dim(0), CountWindows(sound, window) * window_.rows());
      const kernels::Tensor live = Live(sound, random);
      EXPECT_TRUE(AreNear(live, whole)) << samples << " " << seed;
    }
  }
}

// Sounds of all lengths that share batches, as the audio actor has them do:
// pieces come in the middle of batches, some sounds go, some are far behind.
class Crowd {
 public:
  Crowd(kernels::audio::AudioTower* tower, const SoundWindow& window,
        const std::vector<std::vector<float>>& sounds, uint32_t seed)
      : tower_(tower), random_(seed), left_(sounds.size()) {
    for (const std::vector<float>& sound : sounds) {
      Member member;
      member.sound = &sound;
      member.encoding = std::make_unique<SoundEncoding>(tower, window);
      members_.push_back(std::move(member));
    }
  }

  // The rows of each sound; of those that went, none.
  std::vector<kernels::Tensor> Run() {
    while (left_ > 0) {
      if (random_() % 3 == 0) PushTo(Any());
      if (random_() % 1000 == 0) Drop(Any());
      if (batch_ == nullptr) {
        Gather();
      } else if (!batch_->Step()) {
        batch_.reset();
        in_batch_.clear();
      }
    }
    std::vector<kernels::Tensor> rows;
    for (const Member& member : members_) rows.push_back(member.rows);
    return rows;
  }

 private:
  struct Member {
    const std::vector<float>* sound = nullptr;
    std::unique_ptr<SoundEncoding> encoding;  // null: it is done, or went
    size_t pushed = 0;
    bool finished = false;
    kernels::Tensor rows;
  };

  Member* Any() { return &members_[random_() % members_.size()]; }

  void PushTo(Member* member) {
    if (member->encoding == nullptr || member->finished) return;
    const size_t most = random_() % 4 == 0 ? 160000 : 9000;
    const size_t count = std::min<size_t>(
        member->sound->size() - member->pushed, random_() % most);
    member->encoding->Push({member->sound->data() + member->pushed, count});
    member->pushed += count;
    member->finished = member->pushed == member->sound->size();
    if (member->finished) member->encoding->Finish();
  }

  void Leave(Member* member) {
    member->encoding.reset();
    in_batch_.erase(member);
    if (in_batch_.empty()) batch_.reset();
    --left_;
  }
  void Drop(Member* member) {
    if (member->encoding != nullptr) Leave(member);
  }

  void Gather() {
    std::vector<kernels::audio::AudioState*> clips;
    for (Member& member : members_) {
      if (member.encoding == nullptr) continue;
      if (!member.encoding->HasWork(1 + random_() % 12)) continue;
      const auto next = member.encoding->Next(
          random_() % 2 == 0 ? SoundEncoding::kAll : 1 + random_() % 32000);
      ASSERT_TRUE(next.ok()) << next.status();
      if (*next == nullptr) {
        ASSERT_TRUE(member.encoding->done());
        member.rows = *member.encoding->Rows();
        Leave(&member);
        continue;
      }
      clips.push_back(*next);
      in_batch_.insert(&member);
    }
    if (clips.empty()) return;
    batch_ = std::make_unique<kernels::audio::AudioBatch>(tower_, clips);
  }

  kernels::audio::AudioTower* tower_;
  std::mt19937 random_;
  std::vector<Member> members_;
  size_t left_;  // that are neither done nor gone
  std::unique_ptr<kernels::audio::AudioBatch> batch_;
  std::set<Member*> in_batch_;
};

TEST_F(SoundEncodingTest, SoundsOfABatch_HaveTheRowsOfTheWholeFiles) {
  const int64_t window = window_.samples;
  for (uint32_t round = 0; round < 16; ++round) {
    std::mt19937 random(round);
    const auto up_to = [&random](int64_t most) {
      return 1 + static_cast<int64_t>(random() % most);
    };
    std::vector<std::vector<float>> sounds;
    for (uint32_t i = 0; i < (round == 0 ? 64 : 1 + round % 8); ++i) {
      const int64_t lengths[] = {up_to(700), up_to(30000), up_to(30000),
                                 window - 3 + up_to(6),
                                 window + up_to(2 * window)};
      sounds.push_back(Sound(lengths[random() % 5], 1 + random() % 7));
    }
    kernels::SetComputeThreads(round % 3 == 0 ? 2 : 1);
    const std::vector<kernels::Tensor> rows =
        Crowd(&tower_, window_, sounds, round).Run();
    size_t complete = 0;
    for (size_t i = 0; i < sounds.size(); ++i) {
      if (rows[i].empty()) continue;
      ++complete;
      EXPECT_TRUE(AreNear(rows[i], Whole(sounds[i])))
          << "round " << round << ", sound " << i << " of " << sounds[i].size()
          << " samples";
    }
    EXPECT_GT(2 * complete, sounds.size()) << round;
  }
}

TEST_F(SoundEncodingTest, PlacesWithoutSound_HoldThePaddingRow) {
  const kernels::Tensor rows = Whole(Sound(8000, 1));
  const int64_t width = rows.dim(1);
  std::vector<float> padding(width), end(width);
  EmbedHardToken(tower_.weights(), tower_.config().padding_row(),
                 padding.data());
  EmbedHardToken(tower_.weights(), window_.end_row, end.data());
  const auto row = [&](int64_t i) {
    const float* data = rows.data<float>() + i * width;
    return std::vector<float>(data, data + width);
  };
  const int64_t heard = tower_.config().SoftTokens(8000);
  EXPECT_NE(row(heard - 1), padding);
  for (int64_t i = heard; i < window_.soft_tokens; ++i) {
    EXPECT_EQ(row(i), padding);
  }
  EXPECT_EQ(row(window_.soft_tokens), end);
}

TEST_F(SoundEncodingTest, FewFrames_WaitForOthers) {
  SoundEncoding encoding(&tower_, window_);
  const std::vector<float> sound = Sound(6000, 1);
  encoding.Push(sound);
  EXPECT_FALSE(encoding.HasWork());
  encoding.Push(sound);
  EXPECT_TRUE(encoding.HasWork());
  while (encoding.HasWork()) ASSERT_TRUE(encoding.Step().ok());
  EXPECT_GT(encoding.tokens(), 0);
  EXPECT_LT(encoding.waiting_samples(), 8000);
  encoding.Finish();
  EXPECT_TRUE(encoding.HasWork());
}

}  // namespace
}  // namespace lapidary
