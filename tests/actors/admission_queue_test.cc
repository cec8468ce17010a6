#include "actors/admission_queue.h"

#include <chrono>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

using std::chrono::seconds;

AdmissionQueue::Time At(int second) {
  return AdmissionQueue::Time(seconds(1000 + second));
}

std::vector<SequenceId> Drain(AdmissionQueue& queue) {
  std::vector<SequenceId> order;
  while (!queue.empty()) {
    order.push_back(queue.front());
    queue.Remove(queue.front());
  }
  return order;
}

TEST(AdmissionQueueTest, EqualsGoInTheOrderOfArrival) {
  AdmissionQueue queue;
  for (SequenceId id : {7, 3, 9}) queue.Push(id, Priority::kNormal, At(0));
  EXPECT_EQ(Drain(queue), std::vector<SequenceId>({7, 3, 9}));
}

TEST(AdmissionQueueTest, PriorityOvertakesWhatWaits) {
  AdmissionQueue queue;
  queue.Push(1, Priority::kLow, At(0));
  queue.Push(2, Priority::kNormal, At(1));
  queue.Push(3, Priority::kHigh, At(2));
  queue.Push(4, Priority::kHigh, At(3));
  EXPECT_EQ(Drain(queue), std::vector<SequenceId>({3, 4, 2, 1}));
}

TEST(AdmissionQueueTest, WhoHasWaitedHisHeadStartOutIsOvertakenByNobody) {
  AdmissionQueue queue;
  queue.Push(1, Priority::kLow, At(0));
  queue.Push(2, Priority::kNormal, At(9));
  queue.Push(3, Priority::kNormal, At(11));
  queue.Push(4, Priority::kHigh, At(19));
  queue.Push(5, Priority::kHigh, At(21));
  EXPECT_EQ(Drain(queue), std::vector<SequenceId>({2, 4, 1, 3, 5}));
}

TEST(AdmissionQueueTest, CountsByPriorityAndWhoStandsAhead) {
  AdmissionQueue queue;
  queue.Push(1, Priority::kLow, At(0));
  queue.Push(2, Priority::kNormal, At(0));
  queue.Push(3, Priority::kNormal, At(0));
  EXPECT_EQ(queue.size(), 3);
  EXPECT_EQ(queue.count(Priority::kLow), 1);
  EXPECT_EQ(queue.count(Priority::kNormal), 2);
  EXPECT_EQ(queue.Ahead(Priority::kLow, At(1)), 3);
  EXPECT_EQ(queue.Ahead(Priority::kNormal, At(1)), 2);
  EXPECT_EQ(queue.Ahead(Priority::kHigh, At(1)), 0);
  queue.Remove(2);
  EXPECT_EQ(queue.count(Priority::kNormal), 1);
  EXPECT_EQ(queue.front(), 3u);
}

}  // namespace
}  // namespace lapidary
